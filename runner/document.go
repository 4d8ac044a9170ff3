package runner

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"time"
)

// JSONCallback is the name of the stock callback whose document
// [DecodeJSONCallback] reads. It is not part of ansible-core: the collection
// ansible.posix has it.
const JSONCallback = "ansible.posix.json"

const (
	maxTaskHead = 64 << 10 // bytes of a task's name, path and times
	maxSpool    = 1 << 20  // bytes of a task's results held in memory until its name is known
)

// firstMember is what the document begins with: its members are sorted.
const firstMember = `"custom_stats"`

// DecodeJSONCallback reads the document of the stock callback
// ansible.posix.json, which Ansible prints at the end of a run, and yields
// what of it [Decode] would have yielded: plays, tasks, results and the recap.
// With the strategies free and host_pinned a task comes once for each host.
// Lines before the document, such as those of -v, are left out, and so is
// what follows it. So are the modules' arguments.
//
// The document is read as a stream, so memory does not grow with its length:
// of one result at most [MaxData] bytes are kept, and where the results of one
// task are more than 1 MiB they wait in a file without a name in
// [os.TempDir] until their task is known, whose name the document has after
// them.
//
// That format has lost, for good: which failures were ignored or rescued (the
// recap counts them), loop items and attempts as they came, when a host began
// and ended a task (Time is when the last host ended it), handlers, tags and
// the version; the name of a host that a task was delegated to (Delegated is
// its address), and that a loop was delegated; that a host was unreachable in
// a task with no_log, whose result looks well (the recap counts it). Data is left out where Python wrote NaN or Infinity into it. Of
// a run that was cut short there is no document at all.
//
// An error that holds [ErrStream], and says where, ends it: there is no
// document, it ends in the middle, or it is another one. An error of r ends
// it, too.
func DecodeJSONCallback(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		d := document{in: &scanner{r: bufio.NewReaderSize(r, 64<<10)}}
		d.yield = func(e Event) error {
			if !yield(e, nil) {
				return errStopped
			}
			return nil
		}
		if err := d.read(); err != nil && err != errStopped {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: the document of %s ends in the middle", ErrStream, JSONCallback)
			}
			yield(Event{}, err)
		}
	}
}

// errStopped says that nobody wants more events.
var errStopped = errors.New("stopped")

// document is one document being read.
type document struct {
	in    *scanner
	yield func(Event) error
	play  string
}

func (d *document) read() error {
	if err := d.begin(); err != nil {
		return err
	}
	recap := false
	err := d.in.object(func(name string) error {
		switch name {
		case "plays":
			return d.in.array(d.readPlay)
		case "stats":
			recap = true
			raw, cut, err := d.in.keep(maxStats)
			e := Event{Kind: KindStats}
			if err == nil && (cut > 0 || json.Unmarshal(raw, &e.Stats) != nil) {
				err = fmt.Errorf("%w: the recap of %s cannot be read", ErrStream, JSONCallback)
			}
			if err != nil {
				return err
			}
			return d.yield(e)
		}
		return d.in.value(io.Discard)
	})
	if err == nil && !recap {
		err = fmt.Errorf("%w: the document of %s has no recap", ErrStream, JSONCallback)
	}
	return err
}

// begin goes to the beginning of the document: a line that begins with {.
func (d *document) begin() error {
	r := d.in.r
	for {
		if b, err := r.Peek(1); err == nil && b[0] == '{' {
			b, _ = r.Peek(256) // more than any indent
			if bytes.HasPrefix(bytes.TrimLeft(b[1:], " \r\n\t"), []byte(firstMember)) {
				return nil
			}
		}
		for {
			_, err := r.ReadSlice('\n')
			if err == io.EOF {
				return fmt.Errorf("%w: there is no document of %s", ErrStream, JSONCallback)
			}
			if err == nil {
				break
			}
			if err != bufio.ErrBufferFull {
				return fmt.Errorf("read %s: %w", JSONCallback, err)
			}
		}
	}
}

// about is what the document says of a play or a task.
type about struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Path     string `json:"path"`
	Duration struct {
		Start string `json:"start"`
		End   string `json:"end"`
	} `json:"duration"`
}

func (s *scanner) about() (about, error) {
	var a about
	raw, cut, err := s.keep(maxTaskHead)
	if err == nil && (cut > 0 || json.Unmarshal(raw, &a) != nil) {
		err = fmt.Errorf("%w: the name of a play or task of %s cannot be read", ErrStream, JSONCallback)
	}
	return a, err
}

// timeOf is a time of the document; one that cannot be read is zero.
func timeOf(text string) time.Time {
	t, _ := time.Parse(time.RFC3339, text)
	return t
}

// readPlay reads one element of plays; its head precedes its tasks.
func (d *document) readPlay() error {
	return d.in.object(func(name string) error {
		switch name {
		case "play":
			a, err := d.in.about()
			if err != nil {
				return err
			}
			d.play = strings.TrimSpace(a.Name)
			return d.yield(Event{Kind: KindPlay, Time: timeOf(a.Duration.Start), Play: d.play})
		case "tasks":
			return d.in.array(d.readTask)
		}
		return d.in.value(io.Discard)
	})
}

// readTask reads one element of tasks; its results precede its head.
func (d *document) readTask() error {
	var results spool
	defer results.close()
	var task about
	err := d.in.object(func(name string) (err error) {
		switch name {
		case "hosts":
			return d.in.value(&results)
		case "task":
			task, err = d.in.about()
			return err
		}
		return d.in.value(io.Discard)
	})
	if err != nil {
		return err
	}
	head := Event{Kind: KindTask, Time: timeOf(task.Duration.Start), Play: d.play, Task: task.Name, TaskID: task.ID, Path: task.Path}
	// The document has `role : name`. A name of a person's may look like that, but then it is in no folder of that role.
	if role, name, ok := strings.Cut(task.Name, " : "); ok && strings.Contains(task.Path, "/"+role[strings.LastIndexByte(role, '.')+1:]+"/") {
		head.Role, head.Task = role, name
	}
	if err := d.yield(head); err != nil {
		return err
	}
	r, err := results.reader()
	if r == nil || err != nil {
		return err
	}
	head.Kind, head.Time = KindResult, timeOf(task.Duration.End)
	s := &scanner{r: bufio.NewReader(r)}
	return s.object(func(host string) error {
		e := head
		e.Host = host
		if err := s.result(&e); err != nil {
			return err
		}
		return d.yield(e)
	})
}

// result reads one result of a task into e.
func (s *scanner) result(e *Event) error {
	var data bytes.Buffer
	var failed, skipped, unreachable, changed, hidden bool
	var item string
	texts := map[string]string{}
	length := len("{}")
	data.WriteByte('{')
	err := s.object(func(name string) error {
		raw, cut, err := s.keep(MaxData)
		if err != nil {
			return err
		}
		switch {
		case name == "invocation": // arguments: long, and not all modules know which are secret
			return nil
		case name == "censored":
			hidden = true
		case name == "exception" && hidden: // 2.19 keeps it; the members are sorted
			return nil
		}
		switch name {
		case "action":
			e.Action = text(raw, cut)
		case "failed":
			failed = truth(raw)
		case "skipped":
			skipped = truth(raw)
		case "unreachable":
			unreachable = truth(raw)
		case "changed":
			changed = truth(raw)
		case "attempts":
			json.Unmarshal(raw, &e.Attempts)
		case "results":
			raw, item = items(raw)
		case "_ansible_delegated_vars":
			var to struct {
				Address string `json:"ansible_host"` // its name is lost
			}
			json.Unmarshal(raw, &to)
			e.Delegated = cmp.Or(to.Address, "unknown")
		default:
			if slices.Contains(reasons, name) {
				texts[name] = text(raw[:min(len(raw), maxText)], cut+max(0, len(raw)-maxText))
			}
		}
		key, err := json.Marshal(name)
		if length += len(key) + len(raw) + cut + len(":,"); length <= MaxData {
			if data.Len() > 1 {
				data.WriteByte(',')
			}
			data.Write(key)
			data.WriteByte(':')
			data.Write(raw)
		}
		return err
	})
	switch {
	case unreachable:
		e.Status = StatusUnreachable
	case failed:
		e.Status = StatusFailed
	case skipped:
		e.Status = StatusSkipped
	case changed:
		e.Status = StatusChanged
	default:
		e.Status = StatusOK
	}
	if failed || unreachable {
		if e.Msg = item; item == "" {
			e.Msg = reason(texts)
		}
	}
	data.WriteByte('}')
	if length > MaxData || !json.Valid(data.Bytes()) {
		e.Cut = length
	} else {
		e.Data = data.Bytes()
	}
	return err
}

// stdout returns where the engine's standard output goes, and where in
// Document that begins.
func (p Playbook) stdout(log *serial) (w *serial, start int64, err error) {
	if p.Document == nil {
		return log, 0, nil
	}
	start, err = p.Document.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, fmt.Errorf("document of %s: %w", JSONCallback, err)
	}
	return &serial{w: p.Document}, start, nil
}

// readDocument has the document of the run decide how the hosts of res came
// out. The live events know more of why.
func (p Playbook) readDocument(res *Result, start int64) error {
	f := newFold(p.Hosts)
	for ev, err := range DecodeJSONCallback(io.NewSectionReader(p.Document, start, math.MaxInt64-start)) {
		if err != nil {
			return err
		}
		f.add(ev)
	}
	for name, told := range f.result().Hosts {
		h := res.Hosts[name]
		h.Outcome, h.Stats = told.Outcome, told.Stats
		res.Hosts[name] = h
	}
	return nil
}
