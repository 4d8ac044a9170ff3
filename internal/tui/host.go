package tui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// host is a host of a wave, by its events until its wave has ended.
type host struct {
	name        string
	wave        *wave
	ready       bool   // it was prepared before the first wave, or could not be
	task, words string // what it is at, and how far in its own words
	done, total int    // packages; total is 0 if it has not said
	began, last time.Time
	busy        bool // between the beginning of a task and its end, or between two tasks
	outcome     orchestrator.Outcome
	note        string
	published   bool   // the role has said how it went
	did         string // by that, in words
	failure     string // by that
	decided     bool   // the outcome is the wave's, and final
}

// decide sets the final outcome.
func (h *host) decide(o orchestrator.Outcome, why string) {
	h.outcome, h.note, h.decided, h.busy = o, why, true, false
}

// event follows a task. Of a host whose outcome is final only the times are new.
func (h *host) event(e runner.Event) {
	if h.began.IsZero() {
		h.began = e.Time
	}
	if e.Time.After(h.last) {
		h.last = e.Time
	}
	if h.decided {
		return
	}
	switch e.Kind {
	case runner.KindBegin:
		h.begin(e)
	case runner.KindRetry:
		h.retry(e)
	case runner.KindStall:
		h.words = "no progress"
	case runner.KindResult:
		h.result(e)
	}
}

// settled reports whether a host that is being prepared is done with it.
func settled(e runner.Event) bool {
	p, _ := orchestrator.Published(e)
	return p != nil || e.Kind == runner.KindResult && e.Status == runner.StatusUnreachable && !e.Ignored
}

func (h *host) begin(e runner.Event) {
	h.task, h.words, h.busy = e.Task, "", true
	if !h.published { // a failure before was rescued
		h.outcome, h.note = orchestrator.Undecided, ""
	}
}

// retry takes how far a host is, which the role says in its own words and,
// since it counts packages, in numbers.
func (h *host) retry(e runner.Event) {
	var said struct {
		Progress *struct {
			Phase       string
			Done, Total int
		}
	}
	h.task, h.words = e.Task, e.Msg
	if json.Unmarshal(e.Data, &said) == nil && said.Progress != nil {
		h.words, h.done, h.total = said.Progress.Phase, said.Progress.Done, said.Progress.Total
	}
}

func (h *host) result(e runner.Event) {
	switch {
	case e.Ignored:
	case e.Status == runner.StatusFailed:
		h.outcome, h.note, h.busy = orchestrator.HostFailed, e.Task+": "+e.Msg, false
		if h.failure != "" {
			h.note = h.failure
		}
		return
	case e.Status == runner.StatusUnreachable:
		h.outcome, h.note, h.busy = orchestrator.HostUnreachable, e.Msg, false
		return
	}
	if h.done < h.total && e.Task == h.task {
		h.done = h.total
	}
	if p, _ := orchestrator.Published(e); p != nil {
		h.publishes(p)
		h.outcome = p.Outcome()
		switch {
		case p.Failure != nil:
			h.note = p.Failure.Reason
		case p.Hold != nil:
			h.note = p.Hold.Reason
		}
	}
	if h.published {
		h.busy = false
	}
}

// publishes keeps of the role's word what is shown: all of it, of all hosts, is large.
func (h *host) publishes(p *orchestrator.Patch) {
	h.published, h.did, h.failure = true, did(p), ""
	if p.Failure != nil {
		h.failure = p.Failure.Reason
	}
}

// packages is how far the host is with its packages.
func (h *host) packages() string {
	if h.total == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", min(h.done, h.total), h.total)
}

// says is what there is to know of a host that has ended.
func (h *host) says() string { return cmp.Or(h.note, h.did) }

func did(p *orchestrator.Patch) string {
	words := ""
	if n := len(p.Packages); n > 0 {
		words = plural(n, "package")
		if p.Check {
			words += " would change"
		}
	}
	if p.Rebooted {
		if words != "" {
			words += ", "
		}
		words += "restarted"
	}
	return words
}

// elapsed is how long the host was at work; empty if it never was.
func (h *host) elapsed(now time.Time) string {
	switch {
	case h.began.IsZero():
		return ""
	case h.busy:
		return Elapsed(now.Sub(h.began))
	}
	return Elapsed(h.last.Sub(h.began))
}
