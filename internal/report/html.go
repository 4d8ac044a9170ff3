package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// What the pages are made of. Style and script stand in them, and nothing else may act there.
var (
	//go:embed page.html.tmpl
	pageText string
	//go:embed index.html.tmpl
	indexText string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// Bounds of what a page shows; the JSON has all of it.
const (
	mostFailures = 100 // with their excerpts
	mostChanges  = 2000
	mostNames    = 100 // of hosts of one change
	mostNotes    = 200
)

// policy is the Content-Security-Policy of a page: its own style and script by their hashes, and nothing from anywhere.
func policy() string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) + "; img-src data:; base-uri 'none'; form-action 'none'"
}

// frame is what every page has.
type frame struct {
	Policy string
	Style  template.CSS
	Script template.JS
}

func newFrame() frame { return frame{policy(), template.CSS(style), template.JS(script)} }

// HTML writes the report as one page that needs nothing else: no network, no font, no other file. Times are on the clock
// of the zone.
func (r Report) HTML(w io.Writer, zone *time.Location) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	return t.Execute(w, page{frame: newFrame(), Report: r, Timeline: r.timeline(zone), zone: zone})
}

// page is what the template asks.
type page struct {
	frame
	Report
	Timeline timeline
	zone     *time.Location
}

// Tone is the colour of the run: ok, warn, bad, or busy as long as it goes on.
func (p page) Tone() string { return tone(p.State, p.ExitCode) }

func tone(s orchestrator.State, code *int) string {
	switch {
	case !s.Final():
		return "busy"
	case s == orchestrator.Interrupted, s == orchestrator.Passed && code != nil && *code != orchestrator.ExitDone:
		return "warn"
	case s == orchestrator.Passed:
		return "ok"
	}
	return "bad"
}

// What says what kind of run it was.
func (p page) What() string { return what(p.Kind, p.Of) }

func what(kind orchestrator.Kind, of string) string {
	switch kind {
	case orchestrator.Check:
		return "dry run: nothing was changed"
	case orchestrator.Retry:
		return "retry of " + of
	case orchestrator.Narrowed:
		return "of a part of the fleet"
	}
	return "of the whole fleet"
}

// When says when it was, and how long it took.
func (p page) When() string {
	s := p.Started.In(p.zone).Format("Monday, 2 January 2006, 15:04 MST")
	if p.Ended.IsZero() {
		return s + ", not ended"
	}
	return s + ", took " + elapsed(p.Ended.Sub(p.Started))
}

// Zone is the zone of the page's times.
func (p page) Zone() string { return p.Started.In(p.zone).Format("MST") }

func (p page) Why() string { return plainLine(p.Reason, 1000) }

// Log is where what Ansible printed is kept.
func (p page) Log() string { return p.dir + "/ansible.log" }

// figure is a number to be read across a room.
type figure struct {
	N    int
	Word string
	X, W float64 // its part of all hosts, in percent
}

// Figures are the hosts by outcome.
func (p page) Figures() (all []figure) {
	x, total := 0.0, p.Total()
	for _, o := range outcomes() {
		n := p.Count(o)
		if n == 0 {
			continue
		}
		w := 100 * float64(n) / float64(total)
		all = append(all, figure{n, word(o), x, w})
		x += w
	}
	return all
}

func (p page) Changed() int { return len(p.Derived.Packages) }

// failure is a host that was tried and lost.
type failure struct {
	Host, Outcome, Task, Path, Why, Excerpt, Phase string
	Wave                                           int
	Tasks                                          []Task
}

// Failures are as many of them as a page has room for.
func (p page) Failures() (all []failure) {
	i := 0
	for _, w := range p.Waves {
		for _, h := range w.Hosts {
			at := p.Derived.Hosts[i]
			i++
			if !h.Lost() || h.Outcome == orchestrator.HostNotAttempted || h.Outcome == orchestrator.Undecided {
				continue
			}
			if len(all) == mostFailures {
				return all
			}
			f := failure{Host: h.Name, Outcome: word(h.Outcome), Wave: w.Number, Task: plainLine(h.Task, 200), Path: plainLine(h.Path, 300),
				Why: why(h), Excerpt: excerpt(h), Tasks: at.Tasks}
			if h.Patch != nil && h.Patch.Failure != nil {
				f.Phase = plainLine(h.Patch.Failure.Phase, 60)
			}
			all = append(all, f)
		}
	}
	return all
}

// FailuresLeft is how many hosts Failures leaves out.
func (p page) FailuresLeft() int {
	tried := len(p.Derived.Lost) - p.Count(orchestrator.HostNotAttempted) - p.Count(orchestrator.Undecided)
	return max(0, tried-mostFailures)
}

// Stops are the reasons for which waves did not go well.
func (p page) Stops() (all []string) {
	for _, w := range p.Waves {
		if w.Reason != "" && !strings.Contains(p.Reason, w.Reason) {
			all = append(all, fmt.Sprintf("wave %d: %s", w.Number, plainLine(w.Reason, 500)))
		}
	}
	return all
}

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
