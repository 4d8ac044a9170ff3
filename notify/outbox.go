package notify

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	Err       error // why it is not empty; nil if it is
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
// says what could not be written; the other channels have the message all the same.
func (o *Outbox) Put(m Message, channels ...string) error {
	m = stamped(m)
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("keep the message: %w", err)
	}
	var errs []error
	for _, c := range o.Channels {
		if !slices.Contains(channels, c.Name) {
			continue
		}
		if err := o.put(c.Name, fileName(m), data); err != nil {
			errs = append(errs, fmt.Errorf("keep the message for %s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}

// stamped gives a message an id and a time.
func stamped(m Message) Message {
	if m.Time.IsZero() {
		m.Time = time.Now().UTC()
	}
	if m.ID == "" {
		m.ID = strings.ToLower(rand.Text())
	}
	return m
}

// fileName sorts by time. An id is the caller's, and may hold anything.
func fileName(m Message) string {
	id := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, m.ID)
	return fmt.Sprintf("%020d-%s.json", max(m.Time.UnixNano(), 0), id[:min(len(id), 100)])
}

func (o *Outbox) put(channel, name string, data []byte) error {
	dir := filepath.Join(o.Dir, channel)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(o.Dir, 0o700); err != nil {
		return err
	}
	if err := writeDurably(dir, name, data); err != nil {
		return err
	}
	names, err := waiting(dir)
	if err != nil {
		return err
	}
	for len(names) > o.maxWaiting() {
		if err := o.drop(dir, names[0]); err != nil {
			return err
		}
		names = names[1:]
	}
	return nil
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
	err := changeState(dir, func(s *state) { s.Dropped++ })
	if rm := os.Remove(filepath.Join(dir, name)); !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// Send makes a message durable and makes one attempt to deliver it, on all channels side by side. It returns when the
// attempts are over or ctx ends. The error is one of durability only: what was not delivered waits.
func (o *Outbox) Send(ctx context.Context, m Message, channels ...string) ([]Result, error) {
	m = stamped(m)
	err := o.Put(m, channels...)
	return o.each(channels, func(c Channel) Result {
		return o.deliver(ctx, c, []string{fileName(m)}, func(ctx context.Context, n Notifier, m Message) error {
			return n.Notify(ctx, m)
		})
	}), err
}

// Flush tries to deliver what waits, on all channels side by side, the oldest message of a channel first. It stops
// where a channel does not take one, and returns when all channels are done or ctx ends.
func (o *Outbox) Flush(ctx context.Context) []Result {
	var all []string
	for _, c := range o.Channels {
		all = append(all, c.Name)
	}
	return o.each(all, func(c Channel) Result { return o.deliver(ctx, c, nil, Retry) })
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
