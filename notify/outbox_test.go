package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func newBox(t *testing.T, channels ...Channel) *Outbox {
	t.Helper()
	return &Outbox{Dir: filepath.Join(t.TempDir(), "outbox"), Channels: channels}
}

func (o *Outbox) counts(t *testing.T, channel string) Counts {
	t.Helper()
	all, err := o.Counts()
	if err != nil {
		t.Fatal(err)
	}
	return all[channel]
}

func put(t *testing.T, o *Outbox, m Message, channels ...string) {
	t.Helper()
	if err := o.Put(m, channels...); err != nil {
		t.Fatal(err)
	}
}

var down = &Error{Channel: "b", Reason: "down"}

// One channel that is down keeps its messages, in order; the other has them at once.
func TestFlush(t *testing.T) {
	a, b := &recorder{}, &recorder{fail: always(down)}
	o := newBox(t, Channel{"a", a}, Channel{"b", b})
	for n := range 3 {
		put(t, o, message(n), "a", "b", "nobody")
	}
	results := o.flushSoon(t)
	if a.titles() != "m0 m1 m2" || b.titles() != "" || b.n != 1 {
		t.Errorf("a %s, b %s after %d attempts", a.titles(), b.titles(), b.n)
	}
	if r := results[0]; r.Delivered != 3 || r.Waiting != 0 || r.Err != nil {
		t.Errorf("a: %+v", r)
	}
	if r := results[1]; r.Delivered != 0 || r.Waiting != 3 || !errors.Is(r.Err, down) {
		t.Errorf("b: %+v", r)
	}
	b.fail = nil
	other := &Outbox{Dir: o.Dir, Channels: o.Channels} // as another process would
	other.flushSoon(t)
	if b.titles() != "m0 m1 m2" || o.counts(t, "b") != (Counts{}) {
		t.Errorf("b %s, %+v", b.titles(), o.counts(t, "b"))
	}
	if other.flushSoon(t); a.n != 3 || b.n != 4 {
		t.Errorf("delivered again: %d %d", a.n, b.n)
	}
	info, err := os.Stat(o.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// flushSoon has no time for a second attempt.
func (o *Outbox) flushSoon(t *testing.T) []Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	return o.Flush(ctx)
}

// Settings that are wrong keep messages; a message that is wrong goes, and is counted.
func TestFaultsAndTheOutbox(t *testing.T) {
	r := &recorder{fail: func(m Message, _ int) error {
		if m.Title == "m1" {
			return &Error{Channel: "a", Fault: Content, Status: 400, Reason: "never"}
		}
		return nil
	}}
	o := newBox(t, Channel{"a", r})
	for n := range 3 {
		put(t, o, message(n), "a")
	}
	results := o.flushSoon(t)
	if results[0].Err == nil || results[0].Dropped != 1 || results[0].Delivered != 2 || o.counts(t, "a") != (Counts{Dropped: 1}) {
		t.Errorf("%+v, %+v", results, o.counts(t, "a"))
	}
	put(t, o, message(3), "a")
	r.fail = always(&Error{Channel: "a", Fault: Settings, Status: 401, Reason: "token"})
	o.flushSoon(t)
	o.Channels[0].Notifier = nil
	if got := o.flushSoon(t); got[0].Err == nil || o.counts(t, "a") != (Counts{Waiting: 1, Dropped: 1}) {
		t.Errorf("%+v, %+v", got, o.counts(t, "a"))
	}
	r.fail = nil
	o.Channels[0].Notifier = r
	if o.flushSoon(t); r.titles() != "m0 m2 m3" || o.counts(t, "a") != (Counts{Dropped: 1}) {
		t.Errorf("%s, %+v", r.titles(), o.counts(t, "a"))
	}
}

// Bounds in age and number; a message that says when it is worthless.
func TestBounds(t *testing.T) {
	r := &recorder{}
	o := newBox(t, Channel{"a", r})
	o.MaxAge, o.MaxWaiting = time.Hour, 3
	old := message(0)
	old.Time = time.Now().Add(-2 * time.Hour)
	put(t, o, old, "a")
	gone := message(1)
	gone.Expires = time.Now().Add(-time.Second)
	put(t, o, gone, "a")
	put(t, o, message(2), "a")
	if got := o.flushSoon(t); got[0].Dropped != 2 || got[0].Delivered != 1 || got[0].Err != nil || r.titles() != "m2" {
		t.Errorf("%+v, %s", got, r.titles())
	}
	for n := range 10 {
		put(t, o, message(n), "a")
	}
	if got := o.counts(t, "a"); got != (Counts{Waiting: 3, Dropped: 9}) {
		t.Errorf("%+v", got)
	}
	if o.flushSoon(t); r.titles() != "m2 m7 m8 m9" {
		t.Errorf("the newest are kept: %s", r.titles())
	}
}

// What the far end asks is remembered, and kept by the next process.
func TestLeftAlone(t *testing.T) {
	r := &recorder{fail: always(&Error{Channel: "a", Status: 429, Reason: "limit", RetryAfter: time.Minute})}
	o := newBox(t, Channel{"a", r})
	put(t, o, message(0), "a")
	o.flushSoon(t)
	other := &Outbox{Dir: o.Dir, Channels: o.Channels}
	if got := other.flushSoon(t); r.n != 1 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "left alone until") {
		t.Errorf("%d attempts, %+v", r.n, got)
	}
	if _, err := o.Send(t.Context(), message(1), "nobody"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got, err := o.Send(ctx, message(1), "a"); err != nil || r.n != 1 || got[0].Waiting != 2 {
		t.Errorf("%+v, %v after %d attempts", got, err, r.n)
	}
}

// Send makes one attempt for this message and leaves the others waiting.
func TestSend(t *testing.T) {
	r := &recorder{}
	o := newBox(t, Channel{"a", r})
	put(t, o, message(0), "a")
	got, err := o.Send(t.Context(), message(1), "a")
	if err != nil || got[0].Delivered != 1 || got[0].Waiting != 1 || r.titles() != "m1" {
		t.Errorf("%+v, %v, %s", got, err, r.titles())
	}
	r.fail = always(down)
	start := time.Now()
	if got, err := o.Send(t.Context(), message(2), "a"); err != nil || got[0].Waiting != 2 || r.n != 2 || time.Since(start) > 10*time.Second {
		t.Errorf("%+v, %v after %d attempts", got, err, r.n)
	}
}

// An outbox that cannot be written is an error, and no message is half there.
func TestPutErrors(t *testing.T) {
	o := newBox(t, Channel{"a", &recorder{}}, Channel{"b", &recorder{}})
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Put(message(0), "a", "b"); err == nil || !strings.Contains(err.Error(), "for a") {
		t.Error(err)
	}
	if got := o.counts(t, "b"); got.Waiting != 1 {
		t.Errorf("b: %+v", got)
	}
}

// What is no message of ours is given up, and counted: it must not be in the way of the others.
func TestDamaged(t *testing.T) {
	r := &recorder{}
	o := newBox(t, Channel{"a", r})
	put(t, o, message(0), "a")
	dir := filepath.Join(o.Dir, "a")
	for name, text := range map[string]string{"00000000000000000001-x.json": "{", ".tmp-1": "{}", "notes.txt": "mine"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.flushSoon(t)
	o.flushSoon(t)
	if r.titles() != "m0" || o.counts(t, "a") != (Counts{Dropped: 1}) {
		t.Errorf("%s, %+v", r.titles(), o.counts(t, "a"))
	}
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Error(err)
	}
}

// Two processes at the same time: each message arrives once.
func TestTogether(t *testing.T) {
	r := &recorder{}
	o := newBox(t, Channel{"a", r})
	const each = 20
	done := make(chan error)
	for p := range 4 {
		go func() {
			mine := &Outbox{Dir: o.Dir, Channels: o.Channels}
			var err error
			for n := range each {
				m := message(n)
				m.ID = fmt.Sprintf("p%d-%d", p, n)
				m.Title = m.ID
				err = errors.Join(err, mine.Put(m, "a"))
				if n%5 == 0 {
					mine.Flush(t.Context())
				}
			}
			for _, res := range mine.Flush(t.Context()) {
				err = errors.Join(err, res.Err)
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	o.Flush(t.Context())
	got := strings.Fields(r.titles())
	slices.Sort(got)
	if len(slices.Compact(got)) != 4*each || len(got) != 4*each {
		t.Errorf("%d messages, %d different ones", len(got), len(slices.Compact(got)))
	}
}

// A process that is killed between the far end's answer and its own note delivers twice; the same id says so.
func TestAtLeastOnce(t *testing.T) {
	r := &recorder{}
	o := newBox(t, Channel{"a", r})
	m := message(0)
	m.ID = ""
	put(t, o, m, "a")
	names, _ := waiting(filepath.Join(o.Dir, "a"))
	path := filepath.Join(o.Dir, "a", names[0])
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o.flushSoon(t)
	if err := os.WriteFile(path, text, 0o600); err != nil { // as if it had died before the removal
		t.Fatal(err)
	}
	o.flushSoon(t)
	if len(r.got) != 2 || r.got[0].ID == "" || r.got[0].ID != r.got[1].ID {
		t.Errorf("%+v", r.got)
	}
}

// Someone else's delivery is waited for only as long as there is time.
func TestBusy(t *testing.T) {
	o := newBox(t, Channel{"a", &recorder{}})
	put(t, o, message(0), "a")
	unlock, err := lock(t.Context(), filepath.Join(o.Dir, "a", ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	if got := o.flushSoon(t); !errors.Is(got[0].Err, context.DeadlineExceeded) || got[0].Waiting != 1 {
		t.Errorf("%+v", got)
	}
	unlock()
	if got := o.flushSoon(t); got[0].Delivered != 1 {
		t.Errorf("%+v", got)
	}
}

// A disk that takes no message is no reason for silence: there is one attempt, and what it does not reach counts.
func TestUnwritable(t *testing.T) {
	a, b := &recorder{}, &recorder{fail: always(down)}
	o := newBox(t, Channel{"a", a}, Channel{"b", b})
	if err := os.WriteFile(o.Dir, nil, 0o600); err != nil { // a file in the folder's place
		t.Fatal(err)
	}
	if err := o.Put(message(0), "a", "b"); err == nil {
		t.Error("it was written")
	}
	got := o.flushSoon(t)
	if a.titles() != "m0" || got[0].Delivered != 1 || b.n != 1 || got[1].Waiting != 1 || !errors.Is(got[1].Err, down) {
		t.Errorf("%s, %+v", a.titles(), got)
	}
	if got, err := o.Send(t.Context(), message(1), "a"); err == nil || a.titles() != "m0 m1" || got[0].Delivered != 1 {
		t.Errorf("%s, %+v, %v", a.titles(), got, err)
	}
	b.fail = nil
	if o.flushSoon(t); b.titles() != "m0" || a.n != 2 {
		t.Errorf("%s, %d attempts at a", b.titles(), a.n)
	}
}

// Messages of a channel that nobody has any more do not wait for ever.
func TestChannelGone(t *testing.T) {
	o := newBox(t, Channel{"a", &recorder{}}, Channel{"b", &recorder{}})
	old := message(0)
	old.Time = time.Now().Add(-30 * 24 * time.Hour)
	put(t, o, old, "b")
	put(t, o, message(1), "b")
	left := &Outbox{Dir: o.Dir, Channels: o.Channels[:1]}
	got := left.flushSoon(t)
	if len(got) != 2 || got[1].Channel != "b" || got[1].Dropped != 1 || got[1].Waiting != 1 || o.counts(t, "b") != (Counts{Waiting: 1, Dropped: 1}) {
		t.Errorf("%+v, %+v", got, o.counts(t, "b"))
	}
	if got := left.flushSoon(t); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// The order is that in which messages came, whatever the clock said.
func TestClockSetBack(t *testing.T) {
	r := &recorder{}
	o := newBox(t, Channel{"a", r})
	put(t, o, message(0), "a")
	dir := filepath.Join(o.Dir, "a")
	names, _ := waiting(dir)
	future := fmt.Sprintf("%020d-x.json", time.Now().Add(time.Hour).UnixNano())
	if err := os.Rename(filepath.Join(dir, names[0]), filepath.Join(dir, future)); err != nil {
		t.Fatal(err)
	}
	put(t, o, message(1), "a")
	if o.flushSoon(t); r.titles() != "m0 m1" {
		t.Error(r.titles())
	}
}

// A message is given up only where that can be counted.
func TestUncounted(t *testing.T) {
	r := &recorder{fail: always(&Error{Channel: "a", Fault: Content, Reason: "never"})}
	o := newBox(t, Channel{"a", r})
	put(t, o, message(0), "a")
	if err := os.Mkdir(filepath.Join(o.Dir, "a", stateFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := o.flushSoon(t); got[0].Dropped != 0 || got[0].Waiting != 1 || got[0].Err == nil {
		t.Errorf("%+v", got)
	}
}
