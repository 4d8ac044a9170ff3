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
	busy map[string]work
}

// work is what a host is at.
type work struct {
	begin Event
	since time.Time // of its latest sign of life
}

func newStall(p Playbook, e *engine) *stall {
	return &stall{deadline: p.HostDeadline, addresses: p.Addresses, engine: e, busy: map[string]work{}}
}

// follow reads events from r to its end, copies their lines to events, and
// hands them to emit.
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
	lines := lineReader{r: bufio.NewReaderSize(r, 64<<10)}
	for {
		line, cut, err := lines.next()
		if len(line) > 0 {
			if e, derr := decodeLine(line, cut); derr == nil {
				s.event(e)
				store(events, e, line)
			}
			// A line that is no event is the half line of a killed engine: the
			// missing recap tells of it.
		}
		if err != nil {
			return
		}
	}
}

// store writes the line of e, without data that was too much to keep.
func store(w io.Writer, e Event, line []byte) {
	if w == io.Discard {
		return
	}
	if e.Cut > 0 {
		line = fmt.Appendf(line[:headEnd(line)], `,"cut":%d,"data":null}`, e.Cut)
	}
	w.Write(append(line, '\n'))
}

func (s *stall) event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Host != "" {
		switch e.Kind {
		case KindBegin:
			s.busy[e.Host] = work{e, time.Now()}
		case KindResult:
			delete(s.busy, e.Host)
		default:
			if w, ok := s.busy[e.Host]; ok {
				w.since = time.Now()
				s.busy[e.Host] = w
			}
		}
	}
	s.emit(e)
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
		s.busy[host] = w
		e := w.begin
		e.Kind, e.Time = KindStall, now.UTC()
		e.Msg = fmt.Sprintf("no progress for %s in task %q, %s", s.deadline, e.Task, what)
		s.emit(e)
	}
}
