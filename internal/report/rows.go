package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// What the tables of a page have, and those of Markdown.

// line is a host in the table.
type line struct {
	Host, Outcome, Packages, Reboot, Took, Note string
	Wave                                        int
	Controller, Optional                        bool
}

// Lines are all hosts.
func (p page) Lines() []line {
	all := make([]line, 0, p.Total())
	i := 0
	for _, w := range p.Waves {
		for _, h := range w.Hosts {
			l := line{Host: h.Name, Outcome: word(h.Outcome), Wave: w.Number, Controller: h.Controller, Optional: h.Optional,
				Reboot: plainLine(Reboot(h), 60), Note: note(h, w)}
			if h.Patch != nil {
				l.Packages = fmt.Sprint(len(h.Patch.Packages))
			}
			if at := p.Derived.Hosts[i]; len(at.Work) > 0 {
				l.Took = elapsed(time.Duration(at.Seconds * float64(time.Second)))
			}
			i++
			all = append(all, l)
		}
	}
	return all
}

// PackagesTitle is the head of the column of packages.
func (p page) PackagesTitle() string {
	if p.Kind == orchestrator.Check {
		return "Would change"
	}
	return "Packages"
}

// change is a change of a package in the table.
type change struct {
	Name, From, To, On string
	Security           bool
	Hosts              []string // empty if On says it
}

// Changes are those of packages, security first, then by how many hosts have them.
func (p page) Changes() (all []change) {
	sorted := slices.SortedStableFunc(slices.Values(p.Derived.Packages), func(a, b Change) int {
		if a.Security != b.Security {
			if a.Security {
				return -1
			}
			return 1
		}
		return cmp.Or(len(b.Hosts)-len(a.Hosts), cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	done := p.Count(orchestrator.Patched)
	for _, c := range sorted[:min(len(sorted), mostChanges)] {
		l := change{Name: plainLine(c.Name, 100), From: cmp.Or(plainLine(c.From, 100), "new"), To: cmp.Or(plainLine(c.To, 100), "removed"),
			Security: c.Security, On: count(len(c.Hosts), "host")}
		switch {
		case len(c.Hosts) == 1:
			l.On = c.Hosts[0]
		case len(c.Hosts) == p.Total():
			l.On = "every host"
		case len(c.Hosts) == done && done > mostNames:
			l.On = fmt.Sprintf("every patched host, %d", done)
		default:
			l.Hosts = some(c.Hosts, mostNames)
		}
		all = append(all, l)
	}
	return all
}

// ChangesLeft is how many changes Changes leaves out.
func (p page) ChangesLeft() int { return max(0, len(p.Derived.Packages)-mostChanges) }

// span is a wave in its table.
type span struct {
	Name, Group, State, Began, Took, Pause, Hosts string
}

// Spans are the waves.
func (p page) Spans() (all []span) {
	for _, w := range p.Waves {
		s := span{Name: fmt.Sprint(w.Number), Group: w.Group, State: string(w.State), Hosts: tally(w)}
		if !w.Started.IsZero() {
			s.Began = p.Timeline.Clock(w.Started)
		}
		if !w.Ended.IsZero() {
			s.Took = elapsed(w.Ended.Sub(w.Started))
		}
		for _, q := range p.Derived.Pauses {
			if q.Wave == w.Number {
				s.Pause = elapsed(q.Ended.Sub(q.Started))
			}
		}
		all = append(all, s)
	}
	return all
}

// tally counts the hosts of a wave.
func tally(w orchestrator.WaveReport) string {
	var parts []string
	for _, o := range outcomes() {
		if n := w.Count(o); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word(o)))
		}
	}
	return strings.Join(parts, ", ")
}

// answer is one of a gate.
type answer struct {
	Gate, When, At, Reason string
	OK                     bool
}

// Answers are those of all gates, in their order.
func (p page) Answers() (all []answer) {
	for _, w := range p.Waves {
		for _, g := range w.Gates {
			all = append(all, answer{plainLine(g.Gate, 100), g.When, p.Timeline.Clock(g.Time), plainLine(g.Reason, 500), g.OK})
		}
	}
	return all
}

// Remarks are the notes of the run, and which hosts outside of it were touched.
func (p page) Remarks() (all []string) {
	for _, n := range p.Notes {
		all = append(all, plainLine(n, 500))
	}
	for _, w := range p.Waves {
		for _, s := range w.Strangers {
			all = append(all, fmt.Sprintf("wave %d: a host outside of it was touched and lost: %s", w.Number, plainLine(s, 200)))
		}
	}
	for _, at := range p.Resumed {
		all = append(all, "gone on with at "+p.Timeline.Clock(at))
	}
	if p.Count(orchestrator.HostInterrupted) > 0 {
		all = append(all, "what runs on an interrupted host goes on there; the next run finds it")
	}
	if p.Derived.Missing != "" {
		all = append(all, p.Derived.Missing)
	}
	return some(all, mostNotes)
}

// some returns the first n, and one more that counts the others.
func some(all []string, n int) []string {
	if len(all) <= n {
		return all
	}
	return append(all[:n:n], fmt.Sprintf("and %d more", len(all)-n))
}
