package past

import (
	"fmt"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// outcome is about the latest run that had the host.
func (f Facts) outcome(a *Answer, s seen) {
	r, h := *s.run, s.host
	in := fmt.Sprintf("run %s, %s", r.ID, f.when(r.Started))
	if !r.State.Final() {
		f.unfinished(a, s, in)
		return
	}
	why, _ := r.Why(f.Host)
	a.Outcome, a.Cause = string(h.Outcome), why.Cause
	if why.Words != "" {
		a.Why = append(a.Why, why.Words)
	}
	if h.Task != "" && h.Patch == nil && !h.Outcome.Well() {
		a.Why = append(a.Why, strings.TrimSpace(fmt.Sprintf("in the task %q %s", h.Task, h.Path)))
	}
	switch h.Outcome {
	case orchestrator.Patched:
		a.Answer = fmt.Sprintf("%s is patched: %s, %s", f.Host, in, did(h))
	case orchestrator.Unchanged:
		a.Answer = fmt.Sprintf("%s is well: %s, found nothing to do", f.Host, in)
	case orchestrator.Held:
		a.Answer = fmt.Sprintf("%s was not patched: it was held in %s", f.Host, in)
	case orchestrator.HostFailed:
		a.Answer = fmt.Sprintf("%s was not patched: it failed in wave %d of %s", f.Host, s.wave.Number, in)
		if packages := a.Run.Packages; packages > 0 {
			a.Answer = fmt.Sprintf("%s was patched in part: it failed in wave %d of %s", f.Host, s.wave.Number, in)
			a.Also = append(a.Also, fmt.Sprintf("before it failed, packages changed: %d", packages))
		}
	case orchestrator.HostUnreachable:
		a.Answer = fmt.Sprintf("%s was not patched: ssh did not reach it in wave %d of %s", f.Host, s.wave.Number, in)
		if h.Excused {
			a.Also = append(a.Also, "it may be absent (patching_optional), so nobody was told")
		}
	case orchestrator.HostInterrupted:
		a.Answer = fmt.Sprintf("whether %s was patched is not known: %s, was cut short in the middle", f.Host, in)
		a.Also = append(a.Also, "what runs on it goes on there, and the next run finds it")
	default:
		a.Answer = fmt.Sprintf("%s was not touched: %s, %s", f.Host, in, untouched(r, s.wave, why))
	}
	a.Also = append(a.Also, care(h)...)
	if s.without != nil {
		a.Also = append(a.Also, fmt.Sprintf("the latest full run, %s, %s, did not have it: it was no target then", s.without.ID, f.when(s.without.Started)))
	}
	a.Do = append(a.Do, f.steps(s, why)...)
}

// untouched says what kept a run from a host.
func untouched(r orchestrator.Report, w orchestrator.WaveReport, why orchestrator.Why) string {
	ended := map[orchestrator.State]string{orchestrator.Halted: "was halted", orchestrator.Interrupted: "was interrupted", orchestrator.Failed: "failed"}[r.State]
	switch {
	case why.Cause == orchestrator.CausePlaybook:
		return fmt.Sprintf("ran wave %d, and its playbook has no task for it", w.Number)
	case why.Wave != nil:
		return fmt.Sprintf("%s by wave %d, before its wave %d", ended, *why.Wave, w.Number)
	}
	return ended + fmt.Sprintf(" in its wave %d", w.Number)
}

// unfinished is about a run that has no end.
func (f Facts) unfinished(a *Answer, s seen, in string) {
	outcome := s.host.Outcome
	switch {
	case f.Busy || s.run.State == orchestrator.AwaitingReboot:
		a.Outcome = UnderWay
		a.Answer = fmt.Sprintf("%s is under way (%s), and wave %d, which has %s, is %s", in, s.run.State, s.wave.Number, f.Host, s.wave.State)
		if outcome != orchestrator.Undecided {
			a.Answer += "; it came out " + string(outcome)
		}
		if s.run.State == orchestrator.AwaitingReboot && !f.Busy {
			a.Also = append(a.Also, fmt.Sprintf("the run ends when %s, the controller, has rebooted; if it is back already, resume ends it", s.run.Controller))
			a.Do = append(a.Do, Step{Command: program + " resume"})
		}
	default:
		a.Outcome, a.Cause = CutShort, orchestrator.CauseDied
		a.Answer = fmt.Sprintf("whether %s was patched is not known: %s, was cut short while it was %s, and nobody has ended it", f.Host, in, s.run.State)
		if outcome != orchestrator.Undecided {
			a.Answer = fmt.Sprintf("%s came out %s, and then its run, %s, was cut short while it was %s", f.Host, outcome, in, s.run.State)
		}
		a.Do = append(a.Do, Step{Command: program + " resume", Say: "go on with it"})
	}
	if s.host.Message != "" {
		a.Why = append(a.Why, s.host.Message)
	}
}

// care is what a host that came through still needs, or what was left as it was.
func care(h orchestrator.HostReport) (notes []string) {
	p := h.Patch
	if p == nil {
		return nil
	}
	if p.RebootRequired {
		notes = append(notes, "it needs a reboot: "+strings.Join(p.RebootReasons, ", "))
	}
	for _, k := range p.KeptBack {
		notes = append(notes, fmt.Sprintf("%s was kept back: %s", k.Name, k.Reason))
	}
	for _, k := range p.HeldPackages {
		notes = append(notes, fmt.Sprintf("%s is on hold there, by apt-mark", k.Name))
	}
	for _, k := range p.Excluded {
		notes = append(notes, fmt.Sprintf("%s was left as it is, by patching_exclude", k.Name))
	}
	return append(notes, p.Warnings...)
}

// inTheWay is what would keep the next run from the host, and what else should be known.
func (f Facts) inTheWay(a *Answer, s seen) {
	if f.Plan == nil && f.Refused != nil {
		a.Also = append(a.Also, "as things are no run can begin: "+f.Refused.Error())
		if a.Outcome == Never {
			a.Do = append([]Step{{Command: program + " waves", Say: "mend what it names"}}, a.Do...)
		}
	}
	if f.Full != "" {
		a.Also = append(a.Also, f.Full)
		if a.Cause == "" || a.Outcome == Never || a.Outcome == CutShort {
			a.Cause = orchestrator.CauseDisk
		}
		a.Do = append([]Step{{Say: "make room there: without it no run can keep its journal"}}, a.Do...)
	}
	if f.FleetHold != nil {
		a.Also = append(a.Also, "the fleet is held: "+f.FleetHold.Text(f.Now))
		a.Do = append([]Step{{Command: program + " hold clear", Say: "when you are done"}}, a.Do...)
	}
	if f.HostHold != nil {
		a.Also = append(a.Also, "it is held by itself: "+f.HostHold.Text(f.Now))
		a.Do = append([]Step{{Command: program + " hold clear --host " + quote(f.Host), Say: "when you are done"}}, a.Do...)
	}
	if f.Closed != nil && !strings.Contains(strings.Join(a.Why, "\n"), f.Closed.Error()) {
		a.Also = append(a.Also, "no run may begin now: "+f.Closed.Error())
	}
	if r := f.Refusal; r != nil && s.run != nil && a.Outcome != NotBegun && r.Time.After(s.run.Started) {
		a.Also = append(a.Also, fmt.Sprintf("another run was wanted %s, and did not begin: %s", f.when(r.Time), r.Reason))
	}
	if u := s.unbegun; u != nil && a.Outcome != NotBegun {
		a.Also = append(a.Also, fmt.Sprintf("run %s, %s, ended before it touched anything: %s", u.ID, f.when(u.Started), u.Reason))
	}
	if f.Busy && a.Outcome != UnderWay {
		a.Also = append(a.Also, "a run is under way now")
	}
	if s.damaged != nil && a.Outcome != Unknown {
		a.Also = append(a.Also, s.damaged.Error())
	}
}

// did says what a run did to a host. A playbook that is not the role changed something, and does not say what.
func did(h orchestrator.HostReport) string {
	if h.Patch == nil {
		return "changed it"
	}
	text := "changed " + packages(len(h.Patch.Packages))
	if h.Patch.Rebooted {
		text += ", and restarted it"
	}
	return text
}

func packages(n int) string {
	if n == 1 {
		return "1 package"
	}
	return fmt.Sprintf("%d packages", n)
}

// when is a time for people, and how long ago that is.
func (f Facts) when(t time.Time) string {
	return Ago(t, f.Now)
}

// Clock is a time for people, by the clock of this machine.
func Clock(t time.Time) string { return t.Local().Format("Mon 2006-01-02 15:04") }

// Ago is [Clock], and how long before now that was.
func Ago(t, now time.Time) string {
	text := Clock(t)
	ago := now.Sub(t)
	switch {
	case ago < 0:
		return text
	case ago < time.Hour:
		return fmt.Sprintf("%s (%d min ago)", text, int(ago.Minutes()))
	case ago < 48*time.Hour:
		return fmt.Sprintf("%s (%d h ago)", text, int(ago.Hours()))
	}
	return fmt.Sprintf("%s (%d days ago)", text, int(ago.Hours()/24))
}
