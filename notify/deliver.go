package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// messageLimit is far more than any message of ours: a wrong file must not fill memory.
const messageLimit = 1 << 20

// attempt hands one message over.
type attempt func(context.Context, Notifier, Message) error

// errUnreadable is a file that is no message of ours.
var errUnreadable = errors.New("it is no message")

// deliver hands the named messages, or all that wait, to a channel, one after the other, until one fails.
func (o *Outbox) deliver(ctx context.Context, c Channel, names []string, try attempt) (r Result) {
	r.Channel = c.Name
	dir := filepath.Join(o.Dir, c.Name)
	defer func() {
		if left, err := waiting(dir); err == nil {
			r.Waiting = len(left)
		} else {
			r.Err = errors.Join(r.Err, err)
		}
	}()
	if list, err := waiting(dir); err != nil || len(list) == 0 {
		r.Err = err
		return r // so that an empty outbox costs nothing, not even a lock
	}
	// Two processes at once would deliver everything twice.
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		r.Err = err
		return r
	}
	defer unlock()
	if names == nil {
		if names, err = waiting(dir); err != nil {
			r.Err = err
			return r
		}
	}
	for _, name := range names {
		if err := o.one(ctx, c, dir, name, try, &r); err != nil {
			r.Err = errors.Join(r.Err, err)
			return r
		}
	}
	return r
}

// one hands over one message. The error ends the channel's turn; one that was given up does not.
func (o *Outbox) one(ctx context.Context, c Channel, dir, name string, try attempt, r *Result) error {
	path := filepath.Join(dir, name)
	m, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another process has delivered it
	}
	give := func(why error) error {
		r.Err = errors.Join(r.Err, why)
		if err := o.drop(dir, name); err != nil {
			return err
		}
		r.Dropped++
		return nil
	}
	if errors.Is(err, errUnreadable) { // never written by us: the rename makes them whole
		return give(fmt.Errorf("%s: %w", c.Name, err))
	}
	if err != nil {
		return err
	}
	if o.old(m) {
		return give(nil)
	}
	if c.Notifier == nil {
		return fmt.Errorf("%s: %w", c.Name, errNoSettings)
	}
	if until := loadState(dir).NotBefore; time.Now().Before(until) && time.Until(until) < 24*time.Hour {
		if end, ok := ctx.Deadline(); ok && end.Before(until) {
			return fmt.Errorf("%s: the server asked to be left alone until %s", c.Name, until.UTC().Format(time.TimeOnly+" UTC"))
		}
		select {
		case <-time.After(time.Until(until)):
		case <-ctx.Done():
			return &Error{Channel: c.Name, Reason: "given up before it was tried", Err: ctx.Err()}
		}
	}
	err = try(ctx, c.Notifier, m)
	if err == nil {
		r.Delivered++
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: delivered, and will be once more: %w", c.Name, err)
		}
		return nil
	}
	var failed *Error
	if !errors.As(err, &failed) {
		return err
	}
	if failed.Fault == Content {
		return give(err)
	}
	if failed.RetryAfter > 0 {
		err = errors.Join(err, changeState(dir, func(s *state) { s.NotBefore = time.Now().Add(failed.RetryAfter).UTC() }))
	}
	return err
}

func load(path string) (Message, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Message{}, err
	}
	if info.Size() > messageLimit {
		return Message{}, fmt.Errorf("%w: %s has %d bytes", errUnreadable, filepath.Base(path), info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Message{}, err
	}
	var m Message
	if err := json.Unmarshal(data, &m); err != nil {
		return Message{}, fmt.Errorf("%w: %s: %w", errUnreadable, filepath.Base(path), err)
	}
	return m, nil
}

const stateFile = ".state.json" // dotted, as the locks are: what systemd counts as waiting are the messages

// loadState returns what a channel remembers; nothing if that cannot be read.
func loadState(dir string) (s state) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err == nil {
		_ = json.Unmarshal(data, &s)
	}
	return s
}

// changeState is short, and safe against other processes.
func changeState(dir string, change func(*state)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // a process that was stopped in the middle
	defer cancel()
	unlock, err := lock(ctx, filepath.Join(dir, ".state.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	s := loadState(dir)
	change(&s)
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeDurably(dir, stateFile, data)
}

// writeDurably replaces a file so that the old one or the new one is there, whatever happens.
func writeDurably(dir, name string, data []byte) (err error) {
	tmp, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock waits until this process alone holds the file, or ctx ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another process is delivering: %w", ctx.Err())
		}
	}
}
