package runner

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"time"
)

// stall follows the events of a run and ends the ssh processes of a host that
// is busy and reports nothing for too long.
type stall struct {
	deadline  time.Duration
	addresses map[string]string
	engine    *engine

	mu   sync.Mutex // held while emit runs, so that it never runs twice at a time
	emit func(Event)
	busy map[string]*work // by host
	idle []*work          // to be used again
}

// work is what a host is at.
type work struct {
	begin Event
	since time.Time // of its latest sign of life
}

func newStall(p Playbook, e *engine) *stall {
	return &stall{deadline: p.HostDeadline, addresses: p.Addresses, engine: e, busy: map[string]*work{}}
}

// follow reads events from r to its end, copies their lines to events, and
// hands them to emit. Lines that came together are written together, before
// the next ones are waited for.
func (s *stall) follow(r io.Reader, events io.Writer, emit func(Event)) {
	s.emit = emit
	if s.deadline > 0 {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			s.watch(stop)
		}()
		defer func() { close(stop); <-stopped }()
	}
	d := newDecoder()
	lines := lineReader{r: bufio.NewReaderSize(r, 64<<10)}
	kept := bufio.NewWriterSize(events, 64<<10)
	for {
		line, cut, err := lines.next()
		if len(line) > 0 {
			if e, derr := d.line(line, cut); derr == nil {
				s.event(e)
				store(kept, e, line)
			}
			// A line that is no event is the half line of a killed engine: the
			// missing recap tells of it.
		}
		if (err != nil || !lines.more()) && kept.Flush() != nil {
			kept.Reset(events) // a full disk may have room again
		}
		if err != nil {
			return
		}
	}
}

// store writes the line of e, without data that was too much to keep.
func store(w *bufio.Writer, e Event, line []byte) {
	if e.Cut > 0 {
		line = fmt.Appendf(line[:headEnd(line)], `,"cut":%d,"data":null}`, e.Cut)
	}
	w.Write(line)
	w.WriteByte('\n')
}

func (s *stall) event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Host != "" {
		switch w := s.busy[e.Host]; {
		case e.Kind == KindBegin && w == nil:
			s.busy[e.Host] = s.work(e)
		case w == nil:
		case e.Kind == KindBegin:
			w.begin, w.since = e, time.Now()
		case e.Kind == KindResult:
			delete(s.busy, e.Host)
			s.idle = append(s.idle, w)
		default:
			w.since = time.Now()
		}
	}
	s.emit(e)
}

// work is what a host has just begun.
func (s *stall) work(begin Event) *work {
	w := &work{}
	if n := len(s.idle); n > 0 {
		w, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	w.begin, w.since = begin, time.Now()
	return w
}

func (s *stall) watch(stop <-chan struct{}) {
	t := time.NewTicker(max(s.deadline/20, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-t.C:
			s.look(now)
		}
	}
}

// look ends the connections of hosts past their deadline. One that is still
// busy a deadline later is ended again: Ansible may have tried again.
func (s *stall) look(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for host, w := range s.busy {
		if now.Sub(w.since) < s.deadline {
			continue
		}
		address := s.addresses[host]
		if address == "" {
			address = host
		}
		what := "so its ssh connection was ended"
		if s.engine.session().endHost(address) == 0 {
			what = "and it has no ssh connection to end"
		}
		w.since = now
		e := w.begin
		e.Kind, e.Time = KindStall, now.UTC()
		e.Msg = fmt.Sprintf("no progress for %s in task %q, %s", s.deadline, e.Task, what)
		s.emit(e)
	}
}
