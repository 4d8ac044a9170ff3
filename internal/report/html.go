package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
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
	return execute(w, pageText, page{frame: newFrame(), Report: r, Timeline: r.timeline(zone), zone: zone})
}

func execute(w io.Writer, text string, data any) error {
	t, err := template.New("page").Parse(text)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return err
	}
	_, err = io.WriteString(w, seal(b.String()))
	return err
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
