package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of an outbox that does not say otherwise.
const (
	DefaultMaxAge     = 7 * 24 * time.Hour
	DefaultMaxWaiting = 500
)

// Outbox keeps each message on disk until every channel it is for has it. Several processes may share one.
type Outbox struct {
	// Dir is its folder, made with mode 0700 when the first message comes.
	Dir string
	// Channels are where messages go, each name once.
	Channels []Channel
	// MaxAge is how long after it happened a message is still delivered; zero is [DefaultMaxAge].
	MaxAge time.Duration
	// MaxWaiting is how many messages may wait for a channel; zero is [DefaultMaxWaiting]. The oldest is given up first.
	MaxWaiting int

	mu     sync.Mutex
	memory map[string][]Message // by channel: what could not be written; the next Flush tries it, and it goes with us
}

// Channel is a notifier and its name, which is also that of its folder.
type Channel struct {
	Name string
	// Notifier makes the attempts. Nil is a channel whose settings cannot be used: its messages wait.
	Notifier Notifier
}

// Result is what an attempt to empty a channel came to.
type Result struct {
	Channel   string
	Delivered int
	Dropped   int   // given up: too old, or of a kind that the far end will never take
	Waiting   int   // left
	Err       error // why it is not empty, or what was given up; nil if all was delivered
}

// Counts are a channel's messages.
type Counts struct {
	Waiting int
	Dropped int // since the outbox exists
}

// state is what a channel remembers between processes.
type state struct {
	Dropped   int       `json:"dropped"`
	NotBefore time.Time `json:"not_before,omitzero"` // the far end asked to be left alone until then
}

// errNoSettings is why nothing is tried.
var errNoSettings = errors.New("its settings cannot be used; the messages wait until they are mended")

// Put makes a message durable for each of the channels. Those that the outbox does not have are left out. The error
// says what could not be written: that is kept in memory, and the next Flush of this Outbox makes the one attempt there
// is. The other channels have the message all the same.
func (o *Outbox) Put(m Message, channels ...string) error {
	m = stamped(m)
	var errs []error
	for _, c := range o.Channels {
		if !slices.Contains(channels, c.Name) {
			continue
		}
		if _, err := o.put(c.Name, m); err != nil {
			errs = append(errs, err)
			o.remember(c.Name, m)
		}
	}
	return errors.Join(errs...)
}

func (o *Outbox) remember(channel string, m Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.memory == nil {
		o.memory = map[string][]Message{}
	}
	o.memory[channel] = append(o.memory[channel], m)
}

// stamped gives a message an id and a time, and bounds its texts: more than that no channel shows.
func stamped(m Message) Message {
	m.Title, m.Text, m.Code = cut(m.Title, 1000, octets), cut(m.Text, textLimit, octets), cut(m.Code, textLimit, octets)
	if len(m.Image) > discordImage {
		m.Image = nil
	}
	m.Fields = slices.Clone(m.Fields[:min(len(m.Fields), 2*discordFields)])
	for i, f := range m.Fields {
		m.Fields[i] = Field{cut(f.Name, 1000, octets), cut(f.Value, 4000, octets)}
	}
	if m.Time.IsZero() {
		m.Time = time.Now().UTC()
	}
	if m.ID == "" {
		m.ID = strings.ToLower(rand.Text())
	}
	return m
}

// textLimit is more than any channel shows of a text, in bytes.
const textLimit = 16 << 10

// fileName sorts after newest, also where the clock was set back. An id is the caller's, and may hold anything.
func fileName(m Message, newest string) string {
	at := time.Now().UnixNano()
	if last, err := strconv.ParseInt(newest[:min(len(newest), 20)], 10, 64); err == nil && last >= at {
		at = last + 1
	}
	id := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, m.ID)
	return fmt.Sprintf("%020d-%s.json", at, id[:min(len(id), 100)])
}

// put writes a message for one channel, and returns the name of its file.
func (o *Outbox) put(channel string, m Message) (name string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep the message for %s: %w", channel, err)
		}
	}()
	data, err := plainJSON(m)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(o.Dir, channel)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := os.Chmod(o.Dir, 0o700); err != nil {
		return "", err
	}
	names, err := waiting(dir)
	if err != nil {
		return "", err
	}
	newest := ""
	if len(names) > 0 {
		newest = names[len(names)-1]
	}
	name = fileName(m, newest)
	if err := writeDurably(dir, name, data); err != nil {
		return "", err
	}
	for ; len(names) >= o.maxWaiting(); names = names[1:] {
		if o.drop(dir, names[0]) != nil {
			break // it is one too many, and the next message tries again
		}
	}
	return name, nil
}

func (o *Outbox) maxWaiting() int {
	if o.MaxWaiting > 0 {
		return o.MaxWaiting
	}
	return DefaultMaxWaiting
}

func (o *Outbox) maxAge() time.Duration {
	if o.MaxAge > 0 {
		return o.MaxAge
	}
	return DefaultMaxAge
}

// waiting lists the messages of a channel, oldest first.
func waiting(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && e.Name()[0] != '.' {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Counts returns how many messages each channel has, the ones that are no longer configured included.
func (o *Outbox) Counts() (map[string]Counts, error) {
	all := map[string]Counts{}
	for _, c := range o.Channels {
		all[c.Name] = Counts{}
	}
	entries, err := os.ReadDir(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, fmt.Errorf("count the messages: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(o.Dir, e.Name())
		names, err := waiting(dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("count the messages: %w", err))
			continue
		}
		all[e.Name()] = Counts{Waiting: len(names), Dropped: loadState(dir).Dropped}
	}
	return all, errors.Join(errs...)
}

// drop gives a message up, and counts it first: one counted twice is better than one lost in silence.
func (o *Outbox) drop(dir, name string) error {
	if err := changeState(dir, func(s *state) { s.Dropped++ }); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Send makes a message durable and makes one attempt to deliver it, on all channels side by side. It returns when the
// attempts are over or ctx ends. The error is one of durability only: what was not delivered waits.
func (o *Outbox) Send(ctx context.Context, m Message, channels ...string) ([]Result, error) {
	m = stamped(m)
	once := func(ctx context.Context, n Notifier, m Message) error { return n.Notify(ctx, m) }
	var mu sync.Mutex
	var errs []error
	results := o.each(channels, func(c Channel) Result {
		name, err := o.put(c.Name, m)
		if err == nil {
			return o.deliver(ctx, c, []string{name}, once)
		}
		mu.Lock()
		errs = append(errs, err)
		mu.Unlock()
		o.remember(c.Name, m)
		r := Result{Channel: c.Name}
		o.recall(ctx, c, once, &r)
		return r
	})
	return results, errors.Join(errs...)
}

// Flush tries to deliver what waits, on all channels side by side, the oldest message of a channel first. It stops
// where a channel does not take one, and returns when all channels are done or ctx ends. What is too old is given up,
// also that of channels which there no longer are.
func (o *Outbox) Flush(ctx context.Context) []Result {
	var all []string
	for _, c := range o.Channels {
		all = append(all, c.Name)
	}
	results := o.each(all, func(c Channel) Result {
		r := o.deliver(ctx, c, nil, Retry)
		o.recall(ctx, c, Retry, &r)
		return r
	})
	return append(results, o.expire(all)...)
}

// recall tries what is only in memory. What is not taken stays there, and counts as waiting.
func (o *Outbox) recall(ctx context.Context, c Channel, attempt attempt, r *Result) {
	o.mu.Lock()
	left := o.memory[c.Name]
	delete(o.memory, c.Name)
	o.mu.Unlock()
	for len(left) > 0 {
		err := fmt.Errorf("%s: %w", c.Name, errNoSettings)
		if c.Notifier != nil {
			err = attempt(ctx, c.Notifier, left[0])
		}
		if err != nil {
			r.Err = errors.Join(r.Err, err)
			break
		}
		left = left[1:]
		r.Delivered++
	}
	r.Waiting += len(left)
	for _, m := range left {
		o.remember(c.Name, m)
	}
}

// expire gives up what is too old of channels that there no longer are.
func (o *Outbox) expire(channels []string) (results []Result) {
	entries, _ := os.ReadDir(o.Dir) // none: nothing to expire
	for _, e := range entries {
		if !e.IsDir() || slices.Contains(channels, e.Name()) {
			continue
		}
		r := Result{Channel: e.Name()}
		dir := filepath.Join(o.Dir, e.Name())
		names, err := waiting(dir)
		r.Err = err
		for _, name := range names {
			if m, err := load(filepath.Join(dir, name)); err == nil && o.old(m) && o.drop(dir, name) == nil {
				r.Dropped++
			}
		}
		if r.Waiting = len(names) - r.Dropped; r.Dropped > 0 || r.Err != nil {
			results = append(results, r)
		}
	}
	return results
}

// old reports whether a message is no longer worth delivering.
func (o *Outbox) old(m Message) bool {
	now := time.Now()
	return now.Sub(m.Time) > o.maxAge() || !m.Expires.IsZero() && now.After(m.Expires)
}

// each calls f for every channel that is named, at the same time, and waits for all.
func (o *Outbox) each(names []string, f func(Channel) Result) []Result {
	var chosen []Channel
	for _, c := range o.Channels {
		if slices.Contains(names, c.Name) {
			chosen = append(chosen, c)
		}
	}
	results := make([]Result, len(chosen))
	done := make(chan struct{})
	for i, c := range chosen {
		go func() {
			results[i] = f(c)
			done <- struct{}{}
		}()
	}
	for range chosen {
		<-done
	}
	return results
}
