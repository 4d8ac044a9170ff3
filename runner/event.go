package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"
)

// Kind says what an [Event] reports.
type Kind string

// The kinds of events, in the order a run produces them.
const (
	KindStart    Kind = "start"    // the engine is up; Version and Labels are set
	KindPlaybook Kind = "playbook" // the playbook was read; Path is its own, Data what the command line said
	KindPlay     Kind = "play"     // a play begins; TaskID is its id, Path is set
	KindTask     Kind = "task"     // a task or handler begins; Path and Tags are set
	KindBegin    Kind = "begin"    // a host begins a task
	KindRetry    Kind = "retry"    // an attempt of an until loop ended without success
	KindPoll     Kind = "poll"     // an asynchronous task was looked at
	KindItem     Kind = "item"     // one item of a loop has ended
	KindResult   Kind = "result"   // a host has ended a task
	KindStall    Kind = "stall"    // this package ended the ssh processes of a host without progress
	KindStats    Kind = "stats"    // the play recap, always the last line of a run that was not cut short
)

// Status is how an item or a task ended on a host.
type Status string

// Statuses of [KindItem] and [KindResult].
const (
	StatusOK          Status = "ok"
	StatusChanged     Status = "changed"
	StatusSkipped     Status = "skipped"
	StatusFailed      Status = "failed"
	StatusUnreachable Status = "unreachable"
)

// Event is one line of what ansible-playbook reports while it runs. A field
// that does not belong to the event's kind is zero.
type Event struct {
	Kind      Kind
	Time      time.Time
	Version   string   // of ansible-core, on KindStart
	Labels    []string // Playbook.Labels, on KindStart
	Play      string
	Task      string // its name, or its action where it has none; variables in it have their values in what a host ended
	Role      string // that the task is of, with its collection if that is how it was found; empty if it is of none
	TaskID    string // tells two tasks of the same name apart
	Path      string // file:line of the task or the play
	Action    string // module or action plugin, as the playbook spells it
	Host      string
	Status    Status
	Ignored   bool      // a failure that ignore_errors or ignore_unreachable forgave
	Item      string    // label of the loop item
	Attempts  int       // attempts of an until loop, this one included
	Delegated string    // host the task was delegated to
	Started   time.Time // when the host began the task
	Handler   bool
	Tags      []string
	Msg       string           // why it failed, at most some 2 kB
	Stats     map[string]Stats // on KindStats
	Cut       int              // bytes of Data that were left out because there were too many
	Size      int              // bytes of its line in the stream, with the end of the line and blank lines before it; 0 where it is of no stream
	Data      json.RawMessage  // the task's result as the module returned it, unparsed; nil where there is none or it was cut
}

// Stats counts a host's tasks as Ansible's own recap does.
type Stats struct {
	OK          int `json:"ok"`
	Changed     int `json:"changed"`
	Unreachable int `json:"unreachable"`
	Failed      int `json:"failures"`
	Skipped     int `json:"skipped"`
	Rescued     int `json:"rescued"`
	Ignored     int `json:"ignored"`
}

// MaxData is how many bytes of one task's result are kept in [Event.Data].
// A longer result is read to its end, and its length reported in Event.Cut.
const MaxData = 1 << 20

// maxStats bounds the recap, which has a member for each host and is kept whole.
const maxStats = 64 << 20

// statsLine begins the recap's line: the plugin writes the kind first.
var statsLine = []byte(`{"kind":"stats"`)

// maxHead bounds the part of a line that precedes data. The callback plugin
// keeps it far below.
const maxHead = 64 << 10

// dataKey begins the last member of a line. Its bytes cannot occur inside a
// JSON string, where the quotes would be escaped, and no other object of a
// line has such a key.
var dataKey = []byte(`,"data":`)

// ErrStream is held by the errors of [Decode] that speak of one line: what is
// not an event. The lines after it are still decoded.
var ErrStream = errors.New("not a line of the event stream")

// Decode reads the lines of the carried callback plugin. Lines may have any
// length; what is kept of one is bounded by [MaxData]. A line that is not an
// event, such as the last half line of a killed engine, yields an error that
// holds [ErrStream] and decoding goes on; an error of r ends it.
func Decode(r io.Reader) iter.Seq2[Event, error] { return decode(r, false) }

// Heads is [Decode] for who has no use for Event.Data: it is nil, and much is saved.
func Heads(r io.Reader) iter.Seq2[Event, error] { return decode(r, true) }

func decode(r io.Reader, heads bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		d := newDecoder()
		d.heads = heads
		lines := lineReader{r: bufio.NewReaderSize(r, 64<<10)}
		size := 0
		for {
			line, cut, err := lines.next()
			size += len(line) + cut
			if err == nil {
				size++
			}
			if len(line) > 0 {
				e, derr := d.line(line, cut)
				e.Size, size = size, 0
				if !yield(e, derr) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Event{}, fmt.Errorf("read events: %w", err))
				return
			}
		}
	}
}

// lineReader returns whole lines without their end, keeping at most maxHead
// + MaxData bytes of each.
type lineReader struct {
	r   *bufio.Reader
	buf []byte
}

// more reports whether another whole line has been read already.
func (l *lineReader) more() bool {
	ahead, _ := l.r.Peek(l.r.Buffered())
	return bytes.IndexByte(ahead, '\n') >= 0
}

// next returns a line that is valid until the next call, and how many bytes of
// it were not kept.
func (l *lineReader) next() (line []byte, cut int, err error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if err == nil {
			part = part[:len(part)-1]
		}
		limit := maxHead + MaxData
		if bytes.HasPrefix(l.buf, statsLine) {
			limit = maxStats
		}
		keep := min(len(part), limit-len(l.buf))
		l.buf = append(l.buf, part[:keep]...)
		cut += len(part) - keep
		if err != bufio.ErrBufferFull {
			return l.buf, cut, err
		}
	}
}

// head is the part of a line before its data.
type head struct {
	Kind      Kind     `json:"kind"`
	Time      float64  `json:"time"` // unix seconds
	Version   string   `json:"version"`
	Labels    []string `json:"labels"`
	Play      string   `json:"play"`
	Task      string   `json:"task"`
	Role      string   `json:"role"`
	TaskID    string   `json:"id"`
	Path      string   `json:"path"`
	Action    string   `json:"action"`
	Host      string   `json:"host"`
	Status    Status   `json:"status"`
	Ignored   bool     `json:"ignored"`
	Item      string   `json:"item"`
	Attempts  int      `json:"attempts"`
	Delegated string   `json:"delegated"`
	Started   float64  `json:"started"`
	Handler   bool     `json:"handler"`
	Tags      []string `json:"tags"`
	Msg       string   `json:"msg"`
	Cut       int      `json:"cut"` // in a stored line
}

// headEnd returns where the data member begins, -1 if there is none.
func headEnd(line []byte) int { return bytes.Index(line, dataKey) }

func (d *decoder) line(line []byte, cut int) (Event, error) {
	raw := line
	var data []byte
	if i := headEnd(line); i >= 0 {
		data = line[i+len(dataKey):]
		d.raw = append(append(d.raw[:0], line[:i]...), '}')
		raw = d.raw
		if cut > 0 {
			cut, data = cut+len(data)-1, nil
		} else if n := len(data); n == 0 || data[n-1] != '}' {
			return Event{}, fmt.Errorf("%w: it ends in the middle", ErrStream)
		} else if data = data[:n-1]; len(data) > MaxData && !bytes.HasPrefix(line, statsLine) {
			cut, data = len(data), nil
		}
	}
	if err := d.head(raw); err != nil {
		return Event{}, fmt.Errorf("%w: %v", ErrStream, err)
	}
	h := &d.h
	if h.Kind == "" {
		return Event{}, fmt.Errorf("%w: it has no kind", ErrStream)
	}
	e := Event{
		Kind: h.Kind, Time: unix(h.Time), Version: h.Version, Labels: h.Labels, Play: h.Play, Task: h.Task, Role: h.Role, TaskID: h.TaskID,
		Path: h.Path, Action: h.Action, Host: h.Host, Status: h.Status, Ignored: h.Ignored, Item: h.Item,
		Attempts: h.Attempts, Delegated: h.Delegated, Started: unix(h.Started), Handler: h.Handler,
		Tags: h.Tags, Msg: h.Msg, Cut: max(cut, h.Cut),
	}
	if h.Kind == KindStats {
		stats := map[string]Stats{} // a name of its own: e then stays off the heap
		if err := json.Unmarshal(data, &stats); err != nil {
			return Event{}, fmt.Errorf("%w: stats: %v", ErrStream, err)
		}
		e.Stats = stats
		return e, nil
	}
	if len(data) > 0 && !d.heads && !bytes.Equal(data, []byte("null")) {
		e.Data = bytes.Clone(data)
	}
	return e, nil
}

func unix(s float64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	sec, frac := math.Modf(s)
	return time.Unix(int64(sec), int64(frac*1e9)).UTC()
}
