package tui

import (
	"fmt"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// Run is what is known of a run under way. Its methods may be called from any
// goroutine, and wait for nobody.
type Run struct {
	id string // an earlier run that is being closed is none of ours

	mu    sync.Mutex
	state orchestrator.State
	doing string // what the run does besides patching; empty if nothing
	waves []*wave
	hosts map[string]*host
	now   *wave // the one that was begun last; nil before the first
	ahead bool  // hosts are being prepared, or were
	// Hosts that are prepared, and those that have ended, kept as events come: who counted them at each event would do the
	// square of the fleet.
	ready, well, lost int
}

// wave is a wave of the run.
type wave struct {
	number       int
	state        orchestrator.State
	began, ended time.Time
	took         time.Duration // at most, in earlier runs; 0 if that is not known
	hosts        []*host
	over         int // hosts that have ended
	names        int // columns of the longest name of a host
}

// NewRun returns what is known of a run by what a report says of its waves.
// took is how long they took before.
func NewRun(id string, waves []orchestrator.WaveReport, took orchestrator.Durations) *Run {
	r := &Run{id: id, state: orchestrator.Pending, hosts: map[string]*host{}}
	for _, rw := range waves {
		w := &wave{number: rw.Number, state: rw.State, began: rw.Started, ended: rw.Ended, took: took[rw.Group]}
		for _, rh := range rw.Hosts {
			h := &host{name: rh.Name, wave: w}
			if rh.Patch != nil {
				h.publishes(rh.Patch)
			}
			if rh.Outcome != orchestrator.Undecided {
				h.decide(rh.Outcome, rh.Message)
			}
			r.tally(h, 1)
			w.names = max(w.names, ansi.StringWidthWc(oneLine(h.name)))
			w.hosts = append(w.hosts, h)
			r.hosts[h.name] = h
		}
		if w.state != orchestrator.Pending {
			r.now = w
		}
		r.waves = append(r.waves, w)
	}
	return r
}

// Say sets in words what the run does besides patching. They hold until a wave
// comes into another state, or the run ends.
func (r *Run) Say(words string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doing = words
}

// Change follows the states of run and waves, and the outcomes of hosts.
func (r *Run) Change(c orchestrator.Change) { r.change(c) }

// change returns the wave that is over by the change, if one is.
func (r *Run) change(c orchestrator.Change) *wave {
	if c.Run != r.id {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Host != "" {
		if h := r.hosts[c.Host]; h != nil {
			r.tally(h, -1)
			defer r.tally(h, 1)
			h.decide(orchestrator.Outcome(c.To), c.Reason)
		}
		return nil
	}
	if c.Wave == nil { // it follows its wave, of which the words are
		if r.state = orchestrator.State(c.To); r.state.Final() || r.state == orchestrator.AwaitingReboot {
			r.doing = ""
		}
		return nil
	}
	r.doing = ""
	for _, w := range r.waves {
		if w.number == *c.Wave {
			w.enter(orchestrator.State(c.To), c.Time)
			r.now = w
			if w.state.Final() {
				return w
			}
		}
	}
	return nil
}

// enter puts the wave into a state.
func (w *wave) enter(to orchestrator.State, at time.Time) {
	w.state = to
	switch {
	case to == orchestrator.Running:
		w.began = at
	case w.ended.IsZero():
		w.ended = at
	}
}

// Event follows the tasks of each host: in its wave, and, when it is prepared
// before the first one, no further than to its end.
func (r *Run) Event(e runner.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch h := r.hosts[e.Host]; {
	case h == nil:
	case h.wave.state == orchestrator.Pending || e.Time.Before(h.wave.began):
		r.ahead = true
		if !h.ready && settled(e) {
			h.ready = true
			r.ready++
		}
	default:
		r.tally(h, -1)
		h.event(e)
		r.tally(h, 1)
	}
}

// tally counts a host where it stands, or with -1 takes it from there.
func (r *Run) tally(h *host, n int) {
	switch {
	case h.busy || h.outcome == orchestrator.Undecided:
		return
	case h.outcome.Well():
		r.well += n
	default:
		r.lost += n
	}
	h.wave.over += n
}

// Count is how many hosts have ended in the wave that was begun last, how many
// it has, and how many of the whole run are well, are lost, and are in it. A
// host that has said how it came out counts, though it is final only with its
// wave.
type Count struct{ Ended, Wave, Well, Lost, Run int }

// Count counts the hosts.
func (r *Run) Count() Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count()
}

func (r *Run) count() Count {
	c := Count{Well: r.well, Lost: r.lost, Run: len(r.hosts)}
	if r.now != nil {
		c.Ended, c.Wave = r.now.over, len(r.now.hosts)
	}
	return c
}

// Status is the run in one line.
func (r *Run) Status() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	words, c := r.words(), r.count()
	if c.Run == 0 {
		return words
	}
	return fmt.Sprintf("%s; hosts well so far: %d, lost: %d, of %d", words, c.Well, c.Lost, c.Run)
}

// words is what the run does now.
func (r *Run) words() string {
	switch {
	case r.doing != "":
		return r.doing
	case r.state == orchestrator.AwaitingReboot:
		return "the controller is patched and restarts; after its boot the run is ended"
	case r.state.Final():
		return "the run is " + string(r.state)
	case r.now == nil && r.ahead:
		return fmt.Sprintf("before the first wave hosts plan and download, %d of %d done", r.ready, len(r.hosts))
	case r.now == nil:
		return "the run begins"
	case r.now.state == orchestrator.Running:
		return fmt.Sprintf("wave %d of %s is running, %d of %s ended", r.now.number, plural(len(r.waves), "wave"), r.now.over, plural(len(r.now.hosts), "host"))
	}
	return fmt.Sprintf("wave %d of %s is %s", r.now.number, plural(len(r.waves), "wave"), r.now.state)
}

// left is how long the run may still take, by how long its waves took at most
// before; false if that is not known of each.
func (r *Run) left(at time.Time) (time.Duration, bool) {
	var sum time.Duration
	for _, w := range r.waves {
		switch {
		case w.state.Final() || !w.ended.IsZero():
			continue
		case w.took == 0:
			return 0, false
		case w.state == orchestrator.Running:
			sum += max(0, w.took-at.Sub(w.began))
		default:
			sum += w.took
		}
	}
	return sum, sum > 0
}

// WaveState is what is known of a wave.
type WaveState struct {
	Number       int
	State        orchestrator.State
	Began, Ended time.Time     // zero if it has not
	Before       time.Duration // that it took at most in earlier runs; 0 if that is not known
	Hosts        []HostState
}

// HostState is what is known of a host.
type HostState struct {
	Name, Task  string // the task that it is at, or was last
	Done, Total int    // packages; Total is 0 if it has not said
	Began, Last time.Time
	Busy        bool
	Outcome     orchestrator.Outcome // final when its wave has ended
	Note        string
}

// Waves returns what is known of each wave.
func (r *Run) Waves() (waves []WaveState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.waves {
		known := WaveState{Number: w.number, State: w.state, Began: w.began, Ended: w.ended, Before: w.took}
		for _, h := range w.hosts {
			known.Hosts = append(known.Hosts, HostState{h.name, h.task, h.done, h.total, h.began, h.last, h.busy, h.outcome, h.note})
		}
		waves = append(waves, known)
	}
	return waves
}

// unfinished is the wave that was begun and has not ended; nil if there is none.
func (r *Run) unfinished() *wave {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || r.now.state.Final() {
		return nil
	}
	return r.now
}
