package runner

import (
	"strings"
	"time"
)

// fold turns events into the result of each host. Its memory grows with hosts,
// not with events.
type fold struct {
	hosts    map[string]*hostFold
	stats    map[string]Stats
	version  string
	complete bool
	started  time.Time
	ended    time.Time
}

type hostFold struct {
	seen        bool
	reached     bool
	lost        bool
	busy        map[string]place // tasks begun and not ended, by id
	counts      Stats            // as far as events tell: no rescues
	failed      bool             // by the latest task that ended
	unreachable bool
	last        Event  // the latest failure nobody forgave
	item        string // why a loop item failed in the task that is busy
	stall       string // words, once its connection was ended for want of progress
}

// place is a task and where it stands.
type place struct{ task, path string }

func newFold(expected []string) *fold {
	f := &fold{hosts: map[string]*hostFold{}, started: time.Now().UTC()}
	for _, h := range expected {
		f.host(h)
	}
	return f
}

func (f *fold) host(name string) *hostFold {
	h := f.hosts[name]
	if h == nil {
		h = &hostFold{busy: map[string]place{}}
		f.hosts[name] = h
	}
	return h
}

func (f *fold) add(e Event) {
	f.ended = e.Time
	switch e.Kind {
	case KindStart:
		f.version = e.Version
	case KindStats:
		f.stats, f.complete = e.Stats, true
	case KindStall:
		f.host(e.Host).stall = e.Msg
	case KindBegin:
		h := f.host(e.Host)
		h.seen, h.item = true, ""
		h.busy[e.TaskID] = place{e.Task, e.Path}
	case KindItem:
		if h := f.host(e.Host); e.Status == StatusFailed && h.item == "" {
			h.item = e.Msg
			if e.Item != "" {
				h.item = "item " + e.Item + ": " + e.Msg
			}
		}
	case KindResult:
		f.host(e.Host).end(e)
	}
}

// end folds the end of a task.
func (h *hostFold) end(e Event) {
	h.seen = true
	delete(h.busy, e.TaskID)
	switch e.Status {
	case StatusOK:
		h.counts.OK++
	case StatusChanged:
		h.counts.OK++
		h.counts.Changed++
	case StatusSkipped:
		h.counts.Skipped++
	}
	bad := e.Status == StatusFailed || e.Status == StatusUnreachable
	if e.Status != StatusSkipped && e.Status != StatusUnreachable && e.Delegated == "" && !staysHere(e.Action) {
		h.reached = true
	}
	h.failed = bad && !e.Ignored
	if !bad {
		h.stall = "" // it got over it
		return
	}
	if e.Ignored {
		h.lost = h.lost || e.Status == StatusUnreachable
		h.counts.OK++
		h.counts.Ignored++
		return
	}
	if h.item != "" {
		e.Msg = h.item
	}
	e.Data = nil // may be large
	h.last = e
	if e.Status == StatusUnreachable {
		h.counts.Unreachable++
		h.unreachable = true
	} else {
		h.counts.Failed++
	}
}

// staysHere reports whether an action runs on the controller alone, and so
// says nothing about the host it is run for.
func staysHere(action string) bool {
	action = strings.TrimPrefix(strings.TrimPrefix(action, "ansible.builtin."), "ansible.legacy.")
	switch action {
	case "add_host", "assert", "debug", "fail", "group_by", "import_playbook", "import_role", "import_tasks", "include",
		"include_role", "include_tasks", "include_vars", "meta", "pause", "set_fact", "set_stats", "validate_argument_spec":
		return true
	}
	return false
}

func (f *fold) result() Result {
	r := Result{
		Hosts: make(map[string]HostResult, len(f.hosts)), Version: f.version, ExitCode: -1,
		Complete: f.complete, Started: f.started, Ended: f.ended,
	}
	if r.Ended.IsZero() {
		r.Ended = time.Now().UTC()
	}
	for name, h := range f.hosts {
		stats, recapped := f.stats[name]
		r.Hosts[name] = h.result(stats, recapped, f.complete)
	}
	for name, stats := range f.stats {
		if f.hosts[name] == nil {
			r.Hosts[name] = (&hostFold{seen: true}).result(stats, true, true)
		}
	}
	return r
}

// result decides how the host came out. The recap knows best, since it alone
// tells a rescued failure; a run without one has ended nobody's play.
func (h *hostFold) result(stats Stats, recapped, complete bool) HostResult {
	r := HostResult{Stats: h.counts, Reached: h.reached, Lost: h.lost && !h.reached}
	if complete {
		r.Stats = stats
	}
	switch {
	case !h.seen && !recapped:
		r.Outcome = NotAttempted
		return r
	case complete && stats.Unreachable > 0, !complete && h.unreachable:
		r.Outcome = Unreachable
	case complete && stats.Failed > 0, !complete && h.failed && len(h.busy) == 0:
		r.Outcome = Failed
	case !complete || !recapped || len(h.busy) > 0:
		r.Outcome = Interrupted
		for _, at := range h.busy {
			r.Task, r.Path = at.task, at.path
		}
		return r
	case stats.Changed > 0:
		r.Outcome = Changed
		return r
	default:
		r.Outcome = OK
		return r
	}
	r.Task, r.Path, r.Msg = h.last.Task, h.last.Path, h.last.Msg
	if h.stall != "" {
		r.Msg = h.stall
		if h.last.Msg != "" {
			r.Msg += ": " + h.last.Msg
		}
	}
	return r
}
