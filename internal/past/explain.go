// Package past looks back: why a host was or was not patched, how long the tasks of a run took, and what differs between two
// runs. It decides and puts into words; it reads no file, asks no host, and knows of nothing but what it is given.
//
//	answer, known := past.Explain(past.Facts{Host: "web", Now: time.Now(), Plan: plan, Runs: runs})
//	times, err := past.Timings(runner.Heads(events))
//	difference := past.Diff(earlier, later)
package past

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Facts are what is known when somebody asks about a host. Host, Now and Runs are required; what is zero is not known.
type Facts struct {
	Host string
	Now  time.Time
	// Plan is what a full run would do now, nil if there is none; then Refused says why a run would be refused.
	Plan    *orchestrator.Plan
	Refused error
	// Runs yields every run that left a folder, the latest first, as [orchestrator.Store.Load] returns it; a report that
	// could not be read has its ID all the same.
	Runs iter.Seq2[orchestrator.Report, error]
	// Refusal is the latest full run that never began.
	Refusal *orchestrator.Refusal
	// Busy is whether a process holds the lock now.
	Busy bool
	// FleetHold and HostHold are the holds there are now, on the controller.
	FleetHold, HostHold *orchestrator.Hold
	// Closed says why no run may begin now, by the schedule; nil if one may.
	Closed error
	// Full says that there is no room where runs keep their journals; empty if there is.
	Full string
	// Next is when systemd starts the next run.
	Next time.Time
}

// What became of a host, where it is none of the outcomes of a run.
const (
	NoTarget = "no-target" // no run would have it
	Never    = "never"     // no run has had it yet
	NotBegun = "not-begun" // the latest run never began
	UnderWay = "under-way" // a run is at work
	CutShort = "cut-short" // its run died, and nobody has ended it
	Unknown  = "unknown"   // the journal of the latest run cannot be read
)

// Answer is why a host was or was not patched.
type Answer struct {
	Host    string             `json:"host"`
	Outcome string             `json:"outcome"` // of the latest run that had it, or what else became of it
	Cause   orchestrator.Cause `json:"cause"`   // empty if it came through
	Answer  string             `json:"answer"`  // one sentence
	Why     []string           `json:"why"`     // in the words of who knows, the most telling first
	Also    []string           `json:"also"`    // what else stands in the way, or should be known
	Run     *Ref               `json:"run"`     // the run that it is about; null if there is none
	Last    *Ref               `json:"last_patched"`
	Do      []Step             `json:"do"`       // in this order
	Next    *time.Time         `json:"next_run"` // null if no timer is known
}

// Ref is a run, and what it did to the host.
type Ref struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"` // when it began
	Kind     string    `json:"kind"`
	State    string    `json:"state"`
	Outcome  string    `json:"outcome,omitempty"`
	Packages int       `json:"packages"`
}

// Step is one thing to do: a command, or something that no command does. On is the host for it; empty is the controller.
type Step struct {
	On      string `json:"on,omitempty"`
	Command string `json:"command,omitempty"`
	Say     string `json:"say,omitempty"`
}

// seen is what the runs tell of the host.
type seen struct {
	run     *orchestrator.Report // the latest that was no dry run and has the host
	wave    orchestrator.WaveReport
	host    orchestrator.HostReport
	unbegun *orchestrator.Report // a later one that failed before its first wave
	without *orchestrator.Report // a later full one that did not have the host
	damaged error                // a later journal that cannot be read
	broken  time.Time            // when its run began, about
	patched *Ref
	known   bool // some run, a dry one too, has the host
	later   bool // a run that patched others came after it
}

// Explain says why the host was or was not patched. It is false where neither the inventory nor any run has the host.
func Explain(f Facts) (Answer, bool) {
	s := f.look()
	in, place := f.place()
	if !in && !s.known && f.Plan != nil {
		return Answer{}, false
	}
	a := Answer{Host: f.Host, Why: []string{}, Also: []string{}, Do: []Step{}, Last: s.patched}
	if s.run != nil {
		a.Run = ref(*s.run, s.host)
	}
	switch {
	case f.Plan != nil && place == nil:
		f.noTarget(&a)
	case f.neverBegan(&a, s):
	case s.damaged != nil:
		a.Outcome, a.Cause = Unknown, orchestrator.CauseJournal
		a.Answer = fmt.Sprintf("what the latest run did to %s is not known: its journal cannot be read", f.Host)
		a.Why = append(a.Why, s.damaged.Error())
		a.Do = append(a.Do, journalSteps(s.damaged)...)
	case s.run == nil:
		a.Outcome = Never
		a.Answer = fmt.Sprintf("%s was not patched yet: no run has had it", f.Host)
		a.Do = append(a.Do, f.run()...)
	default:
		f.outcome(&a, s)
	}
	f.inTheWay(&a, s)
	if !f.Next.IsZero() {
		next := f.Next
		a.Next = &next
	}
	return a, true
}

// look goes back through the runs as far as it has to: to the last one that patched the host.
func (f Facts) look() (s seen) {
	for report, err := range f.Runs {
		if err != nil {
			if s.run == nil && s.unbegun == nil && s.damaged == nil && !errors.Is(err, os.ErrNotExist) {
				s.damaged, s.broken = err, began(report.ID)
			}
			continue
		}
		w, h, has := find(report, f.Host)
		s.known = s.known || has
		switch {
		case report.Kind == orchestrator.Check:
		case has:
			r := report
			if s.run == nil {
				s.run, s.wave, s.host = &r, w, h
			}
			if s.patched == nil && h.Outcome == orchestrator.Patched {
				s.patched = ref(r, h)
			}
		case s.run != nil:
		case len(report.Waves) > 0:
			s.later = true
			if r := report; report.Kind == orchestrator.Full && s.without == nil {
				s.without = &r
			}
		case report.Kind == orchestrator.Full && s.unbegun == nil && s.damaged == nil:
			r := report
			s.unbegun = &r
		}
		if s.patched != nil {
			break
		}
	}
	return s
}

// began is when a run began, by its id.
func began(id string) time.Time {
	stamp, _, _ := strings.Cut(id, "-")
	t, _ := time.Parse("20060102T150405Z", stamp)
	return t
}

func find(r orchestrator.Report, host string) (orchestrator.WaveReport, orchestrator.HostReport, bool) {
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			if h.Name == host {
				return w, h, true
			}
		}
	}
	return orchestrator.WaveReport{}, orchestrator.HostReport{}, false
}

func ref(r orchestrator.Report, h orchestrator.HostReport) *Ref {
	n := 0
	if h.Patch != nil {
		n = len(h.Patch.Packages)
	}
	return &Ref{ID: r.ID, Time: r.Started, Kind: string(r.Kind), State: string(r.State), Outcome: string(h.Outcome), Packages: n}
}

// place returns the wave that a run would have the host in; in says that the inventory has it at all.
func (f Facts) place() (in bool, place *orchestrator.Wave) {
	if f.Plan == nil {
		return false, nil
	}
	for i, w := range f.Plan.Waves {
		for _, h := range w.Hosts {
			if h.Name == f.Host {
				return true, &f.Plan.Waves[i]
			}
		}
	}
	for _, u := range f.Plan.Unpatched {
		if u.Name == f.Host {
			return true, nil
		}
	}
	return false, nil
}

// noTarget is about a host that no run would have.
func (f Facts) noTarget(a *Answer) {
	a.Outcome, a.Cause = NoTarget, orchestrator.CauseInventory
	reason := "it is not in the inventory any more"
	for _, u := range f.Plan.Unpatched {
		if u.Name == f.Host {
			reason = "it is " + u.Reason
		}
	}
	a.Answer = fmt.Sprintf("%s is patched by no run: %s", f.Host, reason)
	a.Do = append(a.Do, Step{Say: "to have it patched, put it into patching_targets and one wave of the inventory (inventory add, where there is a fleet.yaml)"},
		Step{Command: program + " waves", Say: "who is patched when"})
}

// neverBegan is about a run later than all that had the host, which ended before it touched anything. A host that was lost
// has troubles of its own: they are the answer, until they are mended.
func (f Facts) neverBegan(a *Answer, s seen) bool {
	if s.run != nil && s.host.Lost() && s.host.Outcome != orchestrator.HostNotAttempted && s.host.Outcome != orchestrator.Undecided {
		return false
	}
	if f.Busy {
		return false
	}
	var at time.Time
	code, reason := 0, ""
	if s.unbegun != nil {
		at, reason = s.unbegun.Started, s.unbegun.Reason
		if s.unbegun.ExitCode != nil {
			code = *s.unbegun.ExitCode
		}
		a.Run = ref(*s.unbegun, orchestrator.HostReport{})
	}
	if r := f.Refusal; r != nil && r.Time.After(at) && r.Time.After(s.broken) && (s.run == nil || s.run.State.Final() && r.Time.After(s.run.Ended)) {
		at, code, reason = r.Time, r.ExitCode, r.Reason
		a.Run = nil
	}
	if at.IsZero() {
		return false
	}
	a.Outcome, a.Cause = NotBegun, unbegun(code, reason)
	a.Answer = fmt.Sprintf("%s was not patched by the latest run, %s: that run never began (exit code %d)", f.Host, f.when(at), code)
	a.Why = append(a.Why, reason)
	if s.run != nil && s.host.Outcome != orchestrator.Patched {
		before := fmt.Sprintf("before that it came out %s, in run %s, %s", s.host.Outcome, s.run.ID, f.when(s.run.Started))
		if s.host.Message != "" {
			before += ": " + s.host.Message
		}
		a.Also = append(a.Also, before)
	}
	a.Do = append(a.Do, f.begin(a.Cause)...)
	return true
}
