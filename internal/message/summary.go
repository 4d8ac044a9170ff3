package message

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"homelab-patch-orchestrate/notify"
	"homelab-patch-orchestrate/orchestrator"
)

// How much of a list is shown.
const (
	mostLost     = 8
	mostHosts    = 8 // of a wave, named one by one
	mostPackages = 15
	mostWaves    = 12
	codeLines    = 12
)

// Summary is about a run that has ended. alarmed is whether people were told of a failure and not yet of its end, which
// only a full run can be.
func Summary(r orchestrator.Report, alarmed bool, l Links) Notice {
	code := orchestrator.ExitFailed // silence is not success
	if r.ExitCode != nil {
		code = *r.ExitCode
	}
	total := r.Total()
	m := notify.Message{Ref: r.ID, Time: r.Ended, Text: r.Reason, ID: r.ID + "-end"}
	if m.Time.IsZero() {
		m.Time = time.Now().UTC()
	}
	well := total - lost(r)
	took := ""
	if !r.Started.IsZero() && r.Ended.After(r.Started) {
		took = " in " + r.Ended.Sub(r.Started).Round(time.Second).String()
	}
	switch {
	case r.State == orchestrator.Interrupted:
		m.Level, m.Title = notify.Warning, fmt.Sprintf("Patching was interrupted: %d of %s done", well, count(total, "host"))
		if r.Kind == orchestrator.Rollback {
			m.Title = "The rollback of " + members(r) + " was interrupted"
		}
		trouble(&m, r)
		m.Links = l.buttons(runbook)
		return Notice{Interrupted, m}
	case code != orchestrator.ExitDone:
		m.Level, m.Title = notify.Critical, headline(r)
		if code == orchestrator.ExitLosses {
			m.Level = notify.Warning
		}
		trouble(&m, r)
		m.Links = l.buttons(runbook)
		return Notice{Failure, m}
	case alarmed && (r.Kind == orchestrator.Full || r.Kind == orchestrator.Retry):
		m.Level = notify.Success
		m.Title = fmt.Sprintf("Patching works again: %s well%s", count(total, "host"), took)
		facts(&m, r)
		m.Links = l.buttons("")
		return Notice{Recovered, m}
	case r.Kind == orchestrator.Rollback:
		m.Level, m.Title = notify.Success, "Rolled back "+members(r)+took
		facts(&m, r)
		m.Links = l.buttons("")
		return Notice{Success, m}
	case r.Count(orchestrator.Unchanged) == total:
		m.Level, m.Text = notify.Quiet, ""
		m.Title = fmt.Sprintf("Nothing to do on %s%s", count(total, "host"), took)
		m.Fields = attention(r)
		return Notice{Nothing, m}
	}
	m.Level = notify.Success
	m.Title = fmt.Sprintf("Patched %d of %s%s", r.Count(orchestrator.Patched), count(total, "host"), took)
	facts(&m, r)
	m.Links = l.buttons("")
	return Notice{Success, m}
}

// headline says in one line which host it was.
func headline(r orchestrator.Report) string {
	var names []string
	for h := range losses(r) {
		names = append(names, h.Name)
	}
	refused := r.Refused()
	switch {
	case r.Kind == orchestrator.Rollback:
		return "The rollback of " + members(r) + " failed"
	case r.State == orchestrator.Halted && len(refused) > 0:
		return "Patching was halted by the gate " + refused[0].Gate
	case len(names) == 0:
		return "Patching failed"
	case r.State == orchestrator.Passed:
		return "Patching finished without " + few(names, 2)
	case r.State == orchestrator.Halted:
		return "Patching was halted by " + few(names, 2)
	}
	return "Patching failed on " + few(names, 2)
}

// members names the hosts of a run: of a rollback it is one.
func members(r orchestrator.Report) string {
	var names []string
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			names = append(names, h.Name)
		}
	}
	return few(names, 2)
}

// losses yields the hosts that count against the budget and were tried, with their wave.
func losses(r orchestrator.Report) func(yield func(orchestrator.HostReport, orchestrator.WaveReport) bool) {
	return func(yield func(orchestrator.HostReport, orchestrator.WaveReport) bool) {
		for _, w := range r.Waves {
			for _, h := range w.Hosts {
				if h.Lost() && h.Outcome != orchestrator.HostNotAttempted && h.Outcome != orchestrator.Undecided && !yield(h, w) {
					return
				}
			}
		}
	}
}

func lost(r orchestrator.Report) int {
	n := 0
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			if !h.Outcome.Well() {
				n++
			}
		}
	}
	return n
}

// trouble says which host, which task and why, what was not touched, and what to do next.
func trouble(m *notify.Message, r orchestrator.Report) {
	var wrong []string
	for _, a := range r.Refused() {
		wrong = append(wrong, fmt.Sprintf("gate %s, %s, at %s UTC: %s", a.Gate, a.When, a.Time.UTC().Format(time.TimeOnly), first(a.Reason, 200)))
	}
	for h, w := range losses(r) {
		s := h.Name
		if w.Group != "" { // by hand there are no waves
			s += fmt.Sprintf(" (wave %d)", w.Number)
		}
		s += " " + string(h.Outcome)
		if h.Task != "" && h.Patch == nil {
			s += ", task " + h.Task
		}
		if h.Message != "" {
			s += ": " + first(h.Message, 200)
		}
		wrong = append(wrong, s)
		if m.Code == "" {
			m.Code = detail(h)
		}
	}
	if len(wrong) > 0 {
		m.Fields = append(m.Fields, notify.Field{Name: "What went wrong", Value: strings.Join(some(wrong, mostLost), "\n")})
	}
	var left []string
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			if h.Outcome == orchestrator.HostNotAttempted || h.Outcome == orchestrator.Undecided {
				left = append(left, h.Name)
			}
		}
	}
	if len(left) > 0 {
		m.Fields = append(m.Fields, notify.Field{Name: "Not touched", Value: few(left, 12)})
	}
	if n := r.Count(orchestrator.Patched) + r.Count(orchestrator.Unchanged); n > 0 {
		m.Fields = append(m.Fields, notify.Field{Name: "Done", Value: count(n, "host")})
	}
	m.Fields = append(m.Fields, attention(r)...)
	next := "Look at what is named above, mend it, and start another run: hosts that are done are quick."
	if r.Count(orchestrator.HostInterrupted) > 0 {
		next = "What runs on an interrupted host goes on there, and the next run finds it. Start another run."
	}
	if r.Kind == orchestrator.Rollback {
		next = "Look at the host, and at what is named above. What is back stays back when the rollback is repeated."
	}
	m.Fields = append(m.Fields, notify.Field{Name: "What to do", Value: next})
}

// detail is the first lines of why, from the host itself.
func detail(h orchestrator.HostReport) string {
	text := ""
	if h.Patch != nil && h.Patch.Failure != nil {
		text = h.Patch.Failure.Detail
	}
	if text == "" && strings.Contains(h.Message, "\n") {
		text = h.Message
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > codeLines { // the reason is at the end
		lines = lines[len(lines)-codeLines:]
	}
	return strings.Join(lines, "\n")
}

// first is the first line of a text, and at most n runes of it.
func first(s string, n int) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + " …"
	}
	return s
}

// facts are what a run that went well did.
func facts(m *notify.Message, r orchestrator.Report) {
	for _, w := range r.Waves[:min(len(r.Waves), mostWaves)] {
		name := fmt.Sprintf("Wave %d", w.Number)
		if !w.Ended.IsZero() && w.Ended.After(w.Started) {
			name += ", " + w.Ended.Sub(w.Started).Round(time.Second).String()
		}
		m.Fields = append(m.Fields, notify.Field{Name: name, Value: wave(w)})
	}
	if n := len(r.Waves) - mostWaves; n > 0 {
		m.Fields = append(m.Fields, notify.Field{Name: "More waves", Value: count(n, "wave")})
	}
	if list := changes(r); len(list) > 0 {
		m.Fields = append(m.Fields, notify.Field{Name: "Packages", Value: strings.Join(some(list, mostPackages), "\n")})
	}
	var rebooted []string
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			if h.Patch != nil && h.Patch.Rebooted {
				rebooted = append(rebooted, h.Name)
			}
		}
	}
	if len(rebooted) > 0 {
		m.Fields = append(m.Fields, notify.Field{Name: "Rebooted", Value: few(rebooted, 12)})
	}
	m.Fields = append(m.Fields, attention(r)...)
}

// wave names the hosts of a small wave, and counts those of a large one.
func wave(w orchestrator.WaveReport) string {
	if len(w.Hosts) <= mostHosts {
		var lines []string
		for _, h := range w.Hosts {
			s := h.Name + ": " + string(h.Outcome)
			if h.Patch != nil && len(h.Patch.Packages) > 0 {
				s += ", " + packages(len(h.Patch.Packages))
			}
			if h.Patch != nil && h.Patch.Rebooted {
				s += ", rebooted"
			}
			lines = append(lines, s)
		}
		return strings.Join(lines, "\n")
	}
	var parts []string
	for _, o := range []orchestrator.Outcome{orchestrator.Patched, orchestrator.Unchanged, orchestrator.Held, orchestrator.HostUnreachable} {
		if n := w.Count(o); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	return strings.Join(parts, ", ")
}

// changes lists each change of a package once, security first, then by how many hosts have it.
func changes(r orchestrator.Report) []string {
	all := r.Changes()
	slices.SortFunc(all, func(a, b orchestrator.PackageChange) int {
		if a.Security != b.Security {
			if a.Security {
				return -1
			}
			return 1
		}
		return cmp.Or(len(b.Hosts)-len(a.Hosts), cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	var lines []string
	for _, c := range all {
		s := fmt.Sprintf("%s %s → %s", c.Name, cmp.Or(c.From, "new"), cmp.Or(c.To, "removed"))
		if c.Security {
			s += " (security)"
		}
		if len(c.Hosts) > 1 {
			s += ", " + count(len(c.Hosts), "host")
		}
		lines = append(lines, s)
	}
	return lines
}

// attention is what somebody should look at though nothing failed.
func attention(r orchestrator.Report) []notify.Field {
	var reboot, held, absent, warned []string
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			switch {
			case h.Outcome == orchestrator.Held:
				held = append(held, h.Name)
			case h.Excused:
				absent = append(absent, h.Name)
			}
			if h.Patch != nil && h.Patch.RebootRequired {
				reboot = append(reboot, h.Name)
			}
			if h.Patch != nil && len(h.Patch.Warnings) > 0 {
				warned = append(warned, h.Name+": "+first(h.Patch.Warnings[0], 150))
			}
		}
	}
	var fields []notify.Field
	for _, f := range []struct {
		name  string
		hosts []string
	}{{"Needs a reboot", reboot}, {"Held", held}, {"Unreachable, and allowed to be", absent}} {
		if len(f.hosts) > 0 {
			fields = append(fields, notify.Field{Name: f.name, Value: few(f.hosts, 12)})
		}
	}
	if len(warned) > 0 {
		fields = append(fields, notify.Field{Name: "Warnings", Value: strings.Join(some(warned, 5), "\n")})
	}
	return fields
}

// ByHand is the report of an ansible-playbook that somebody ran without the orchestrator: what the role published, by
// host.
func ByHand(hosts map[string]*orchestrator.Patch) orchestrator.Report {
	now := time.Now().UTC()
	r := orchestrator.Report{State: orchestrator.Passed, Kind: orchestrator.Narrowed, Ended: now, Reason: "patched by hand"}
	w := orchestrator.WaveReport{State: orchestrator.Passed}
	code := orchestrator.ExitDone
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		p := hosts[name]
		h := orchestrator.HostReport{Name: name, Patch: p, Outcome: orchestrator.Unchanged}
		switch {
		case p == nil:
			h.Outcome = orchestrator.HostNotAttempted
		case p.Failure != nil:
			h.Outcome, h.Message = orchestrator.HostFailed, p.Failure.Reason
		case p.Hold != nil:
			h.Outcome = orchestrator.Held
		case len(p.Packages) > 0 || p.Rebooted:
			h.Outcome = orchestrator.Patched
		}
		if h.Lost() {
			code, r.State = orchestrator.ExitLosses, orchestrator.Failed
		}
		w.Hosts = append(w.Hosts, h)
	}
	r.Waves, r.ExitCode = []orchestrator.WaveReport{w}, &code
	return r
}
