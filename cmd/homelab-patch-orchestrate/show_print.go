package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"homelab-patch-orchestrate/internal/past"
	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

func (p *printer) waveTable(r orchestrator.Report) {
	t := table{}
	t.row("WAVE", "STATE", "BEGAN", "TOOK", "HOSTS", "REASON")
	for _, w := range r.Waves {
		began, took := "-", "-"
		if !w.Started.IsZero() {
			began = w.Started.Local().Format(time.TimeOnly)
		}
		if !w.Ended.IsZero() {
			took = tui.Elapsed(w.Ended.Sub(w.Started))
		}
		n := map[string]int{}
		for _, h := range w.Hosts {
			n[string(h.Outcome)]++
		}
		t.row(w.Number, w.State, began, took, outcomes(n), w.Reason)
	}
	t.print(p.out, "", p.width())
}

// errors tells of each host that was lost what is known: the task and where it is written, the cause, the words, and what
// the host itself said last.
func (p *printer) errors(r orchestrator.Report) {
	n := 0
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			if h.Outcome.Well() || h.Outcome == orchestrator.HostNotAttempted || h.Outcome == orchestrator.Undecided {
				continue
			}
			if n++; n == 1 {
				fmt.Fprintln(p.out, "\nwhat went wrong")
			}
			if n <= mostErrors {
				p.trouble(r, w, h)
			}
		}
	}
	if n > mostErrors {
		fmt.Fprintf(p.out, "  and on %d more hosts: show RUN HOST has each\n", n-mostErrors)
	}
}

func (p *printer) trouble(r orchestrator.Report, w orchestrator.WaveReport, h orchestrator.HostReport) {
	why, _ := r.Why(h.Name)
	fmt.Fprintf(p.out, "  %s, wave %d: %s (%s)\n", clean(h.Name), w.Number, tui.Paint(color(p.out), string(h.Outcome)), why.Cause)
	if h.Task != "" {
		fmt.Fprintf(p.out, "    task %q %s\n", clean(h.Task), clean(within(h.Path)))
	}
	if why.Words != "" {
		p.lines("    ", why.Words)
	}
	if h.Patch != nil && h.Patch.Failure != nil && h.Patch.Failure.Detail != "" && h.Patch.Failure.Detail != why.Words {
		p.lines("    | ", h.Patch.Failure.Detail)
	}
}

// gates prints every answer of a gate.
func (p *printer) gates(r orchestrator.Report) {
	t := table{}
	t.row("GATE", "ASKED", "AT", "ANSWER", "REASON")
	for _, w := range r.Waves {
		for _, a := range w.Gates {
			answer := "no"
			if a.OK {
				answer = "yes"
			}
			t.row(a.Gate, a.When, a.Time.Local().Format(time.TimeOnly), answer, a.Reason)
		}
	}
	if len(t.rows) > 1 {
		fmt.Fprintln(p.out)
		t.print(p.out, "", p.width())
	}
}

// carried is where the playbooks and roles of this program are when they run.
var carried = regexp.MustCompile(`^/.*/content/[0-9a-f]{16}/`)

// within is where a task is written; of what the program carries, its place in there.
func within(path string) string { return carried.ReplaceAllString(path, "") }

// spent is a time for people: most tasks take less than a minute.
func spent(seconds float64) string {
	if seconds < 60 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	return tui.Elapsed(past.Seconds(seconds))
}

// times prints the tasks and hosts that took longest; a heading that is empty leaves them out.
func (p *printer) times(all *past.Times, tasks, hosts string) {
	if all == nil {
		return
	}
	if tasks != "" && len(all.Tasks) > 0 {
		fmt.Fprintln(p.out, "\n"+tasks)
		t := table{}
		head := []any{"LONGEST", "ON", "HOSTS", "TASK"}
		if hosts == "" { // they are of one
			head = []any{"TOOK", "TASK"}
		}
		t.row(head...)
		for _, task := range all.Tasks[:min(mostTimes, len(all.Tasks))] {
			if hosts == "" {
				t.row(spent(task.Seconds), strings.TrimSpace(task.Task+"  "+within(task.Path)))
				continue
			}
			t.row(spent(task.Seconds), task.Host, task.Hosts, strings.TrimSpace(task.Task+"  "+within(task.Path)))
		}
		t.print(p.out, "  ", p.width())
	}
	if hosts != "" && len(all.Hosts) > 1 {
		fmt.Fprintln(p.out, "\n"+hosts)
		t := table{}
		t.row("BUSY", "HOST", "MOST OF IT IN")
		for _, h := range all.Hosts[:min(mostTimes, len(all.Hosts))] {
			t.row(spent(h.Seconds), h.Host, fmt.Sprintf("%s (%s)", h.Task, spent(h.Longest)))
		}
		t.print(p.out, "  ", p.width())
	}
	if all.Bad > 0 {
		fmt.Fprintf(p.out, "lines of events.jsonl that cannot be read: %d\n", all.Bad)
	}
}

// oneHost prints all that a run has on one host.
func (p *printer) oneHost(s showJSON) {
	h := s.Host.HostReport
	fmt.Fprintf(p.out, "%s in wave %d of run %s (%s), %s: %s\n", clean(h.Name), *s.Wave, s.Run.ID, s.Run.Kind,
		past.Ago(s.Run.Started, time.Now()), tui.Paint(color(p.out), string(h.Outcome)))
	if s.Host.Cause != "" {
		fmt.Fprintf(p.out, "cause: %s\n", s.Host.Cause)
	}
	if h.Task != "" {
		fmt.Fprintf(p.out, "task: %q %s\n", clean(h.Task), clean(within(h.Path)))
	}
	if s.Host.Why != "" {
		p.lines("  ", s.Host.Why)
	}
	if h.Excused {
		fmt.Fprintln(p.out, "it may be absent (patching_optional), and does not count")
	}
	if h.Stats != (runner.Stats{}) {
		fmt.Fprintf(p.out, "tasks: ok %d, changed %d, failed %d, unreachable %d, skipped %d, rescued %d, ignored %d\n",
			h.Stats.OK, h.Stats.Changed, h.Stats.Failed, h.Stats.Unreachable, h.Stats.Skipped, h.Stats.Rescued, h.Stats.Ignored)
	}
	if h.Patch != nil {
		p.patch(h)
	}
	p.times(s.Times, "tasks that took longest", "")
	p.files(s)
	if s.ARA != "" {
		fmt.Fprintf(p.out, "ARA: %s\n", s.ARA)
	}
}

// patch prints what the role said of a host.
func (p *printer) patch(h orchestrator.HostReport) {
	k := h.Patch
	one := orchestrator.Report{Waves: []orchestrator.WaveReport{{Hosts: []orchestrator.HostReport{h}}}}
	fmt.Fprintf(p.out, "reboot: %s\n", clean(reboot(h)))
	list := func(what string, all ...string) {
		if len(all) > 0 && all[0] != "" {
			fmt.Fprintf(p.out, "%s: %s\n", what, clean(strings.Join(all, "; ")))
		}
	}
	list("reboot because", k.RebootReasons...)
	kernel := k.Kernel.Running
	if k.Kernel.Installed != "" && k.Kernel.Installed != kernel {
		kernel += " runs, " + k.Kernel.Installed + " is installed"
	}
	list("kernel", kernel)
	var kept, held, excluded []string
	for _, b := range k.KeptBack {
		kept = append(kept, fmt.Sprintf("%s %s (%s)", b.Name, b.To, b.Reason))
	}
	for _, b := range k.HeldPackages {
		held = append(held, b.Name+" "+b.Installed)
	}
	for _, b := range k.Excluded {
		excluded = append(excluded, b.Name+" "+b.From)
	}
	list("kept back", kept...)
	list("on hold by apt-mark", held...)
	list("left by patching_exclude", excluded...)
	list("conffiles kept as they are", k.Conffiles...)
	list("restarted", k.ServicesRestarted...)
	list("failed units before", k.FailedUnits.Before...)
	list("failed units after", k.FailedUnits.After...)
	list("warnings", k.Warnings...)
	if k.Hold != nil {
		list("MAINTENANCE on it", k.Hold.Reason)
	}
	if k.DpkgAudit != "" {
		fmt.Fprintln(p.out, "dpkg --audit")
		p.lines("  ", k.DpkgAudit)
	}
	if k.Failure != nil && k.Failure.Detail != "" {
		fmt.Fprintf(p.out, "what it said, in phase %s\n", clean(k.Failure.Phase))
		p.lines("  | ", k.Failure.Detail)
	}
	p.packages(p.out, one)
}
