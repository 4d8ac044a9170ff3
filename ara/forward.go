package ara

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"homelab-patch-orchestrate/runner"
)

// events is the file in the folder of a run that has what [runner.Playbook].Events was given, of one engine after the other.
const events = "events.jsonl"

// saveEvery is how often progress is written while records are sent. What is newer is asked for after a crash.
const saveEvery = 5 * time.Second

// Forwarder puts the events of one run on record. It is for one goroutine.
type Forwarder struct {
	Client *Client
	Dir    string // the folder of the run
	Ignore Ignore
	// Labels are those of a playbook whose own events have none.
	Labels []string

	machine string // this one
	lock    *os.File
	p       progress
	unsure  bool // a record that is about to be made may be there
	checked bool // the server was asked what it is
	saved   time.Time
}

// Record is a value that is put beside a playbook.
type Record struct {
	Key   string
	Type  string // as ARA shows it: text, url, json, list or dict
	Value any
}

// Open takes the run for this process, and reads what is on record. The error is [ErrBusy] if another process has it.
func (f *Forwarder) Open() error {
	l, err := lock(f.Dir)
	if err != nil {
		return err
	}
	p, name, err := load(f.Dir)
	if err == nil && name == done {
		err = Again(f.Dir)
	}
	if err != nil {
		l.Close()
		return err
	}
	if p.Server != f.Client.Server || p.Version == 0 { // what it knows is another server's
		p = progress{Version: 1, Server: f.Client.Server}
	}
	f.lock, f.p, f.unsure, f.checked = l, p, true, false
	f.machine, _ = os.Hostname()
	return nil
}

// Close writes what is on record and lets go of the run.
func (f *Forwarder) Close() error {
	if f.lock == nil {
		return nil
	}
	err := f.p.save(f.Dir, Pending)
	f.lock.Close()
	f.lock = nil
	return err
}

// Send puts every whole line that the events have by now on record. After an error the next Send goes on where it was.
func (f *Forwarder) Send(ctx context.Context) error {
	err := f.send(ctx)
	f.note(ctx, err)
	return err
}

// note remembers why it does not go on, for who asks. That the caller's time was over is no word about the server.
func (f *Forwarder) note(ctx context.Context, err error) {
	f.p.Error, f.p.Tried = "", time.Now().UTC()
	if err == nil {
		return
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.p.Error = err.Error()
	}
	f.save()
}

// save is no reason to stop: what it did not write is asked for.
func (f *Forwarder) save() {
	f.saved = time.Now()
	if f.p.save(f.Dir, Pending) != nil {
		f.saved = f.saved.Add(time.Minute)
	}
}

func (f *Forwarder) send(ctx context.Context) error {
	if fi, err := os.Stat(filepath.Join(f.Dir, events)); err == nil && fi.Size() == f.p.Offset {
		return nil
	}
	file, err := os.Open(filepath.Join(f.Dir, events))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no engine was started yet
	}
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer file.Close()
	end, err := lastLine(file)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	if end <= f.p.Offset {
		return nil
	}
	if !f.checked {
		if _, err := f.Client.Version(ctx); err != nil {
			return err
		}
		f.checked = true
	}
	for e, err := range runner.Decode(io.NewSectionReader(file, f.p.Offset, end-f.p.Offset)) {
		if err != nil && !errors.Is(err, runner.ErrStream) {
			return err
		}
		if err == nil {
			if err := f.event(ctx, e); err != nil {
				return err
			}
		}
		f.p.Offset += int64(e.Size)
		if time.Since(f.saved) > saveEvery {
			f.save()
		}
	}
	return nil
}

// lastLine returns where the last whole line of a file ends.
func lastLine(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end := fi.Size(); end > 0; {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// Finish is for a run that has ended and whose events are all sent: it ends a playbook that was cut short, puts
// the records beside each playbook, and says on disk that nothing is left.
func (f *Forwarder) Finish(ctx context.Context, records []Record) error {
	err := f.finish(ctx, records)
	f.note(ctx, err)
	if err == nil {
		f.save()
		err = finish(f.Dir)
		f.lock.Close()
		f.lock = nil
	}
	return err
}

func (f *Forwarder) finish(ctx context.Context, records []Record) error {
	if f.p.Open != nil {
		if err := f.guard(ctx, f.end(ctx, "expired")); err != nil {
			return err
		}
	}
	for i := range f.p.Playbooks {
		b := &f.p.Playbooks[i]
		if b.Told || b.Gone || records == nil {
			continue
		}
		for _, r := range records {
			if err := f.record(ctx, b, r); err != nil {
				return err
			}
		}
		b.Told = true
	}
	return nil
}

// record puts one value beside a playbook.
func (f *Forwarder) record(ctx context.Context, b *playbook, r Record) error {
	body := map[string]any{"playbook": b.ID, "key": limit(r.Key, nameLimit), "type": r.Type, "value": r.Value}
	id, err := f.find(ctx, "records", query{"playbook": b.ID, "key": body["key"]}, nil)
	if err == nil && id == 0 {
		_, err = f.Client.post(ctx, "records", body)
	} else if err == nil {
		err = f.Client.patch(ctx, "records", id, body)
	}
	if refused(err) {
		b.Refused++
		return nil
	}
	if status(err) == 404 {
		b.Gone = true
		return nil
	}
	return err
}
