package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"homelab-patch-orchestrate/internal/report"
	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
)

// What a person sees, all of it through this file:
//
//   - stdout is the result: the summary, or JSON. On a terminal also the live
//     view. Nothing else.
//   - stderr is everything besides: errors, warnings, and where there is no
//     terminal one log line a change.
//   - An error is one line with the program's name before it: what, where, how
//     to mend it. Lower case, no full stop.
//   - Colour only on a terminal, and not with NO_COLOR (https://no-color.org).
const name = "homelab-patch-orchestrate"

type printer struct {
	out, err *os.File

	mu   sync.Mutex
	live *tui.Live // nil unless one is drawn
}

// error prints an error. Several that were joined get a line each.
func (p *printer) error(err error) {
	for line := range strings.Lines(err.Error()) {
		p.line(name + ": " + strings.TrimRight(line, "\n"))
	}
}

func (p *printer) warn(format string, args ...any) { p.note("warning: "+format, args...) }

func (p *printer) note(format string, args ...any) {
	p.line(name + ": " + fmt.Sprintf(format, args...))
}

// json prints what a flag --json asks for.
func (p *printer) json(v any) error {
	enc := json.NewEncoder(p.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (p *printer) line(s string) {
	s = clean(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != nil {
		p.live.Print(s)
		return
	}
	fmt.Fprintln(p.err, s)
}

func color(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
}

// summary prints how the run went, for people.
// page is where in ARA it is to be seen; empty if it is not.
func (p *printer) summary(r orchestrator.Report, dir, page string) {
	w := p.out
	paint := func(word string) string { return tui.Paint(color(w), word) }
	fmt.Fprintln(w)
	t := table{}
	packages := "PACKAGES"
	if r.Kind == orchestrator.Check {
		packages = "WOULD CHANGE"
	}
	t.row("WAVE", "HOST", "OUTCOME", packages, "REBOOT", "NOTE")
	for _, wave := range r.Waves {
		for _, h := range wave.Hosts {
			// Colour would spoil the columns; the line below has it.
			t.row(wave.Number, h.Name, h.Outcome, count(h), reboot(h), tui.Line(report.Note(h, wave), 100))
		}
	}
	t.print(w, "", p.width())
	p.packages(w, r)
	for _, a := range r.Refused() {
		fmt.Fprintf(w, "gate %s said no %s, at %s UTC: %s\n", a.Gate, a.When, a.Time.UTC().Format(time.TimeOnly), clean(a.Reason))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", clean(n))
	}
	if r.Count(orchestrator.HostInterrupted) > 0 {
		fmt.Fprintln(w, "note: what runs on an interrupted host goes on there; the next run finds it")
	}
	if r.Ended.IsZero() { // a run that `show` is asked about
		fmt.Fprintf(w, "\n%s since %s\n", paint(string(r.State)), tui.Elapsed(time.Since(r.Started)))
	} else {
		fmt.Fprintf(w, "\n%s in %s: %s\n", paint(string(r.State)), tui.Elapsed(r.Ended.Sub(r.Started)), clean(r.Reason))
	}
	fmt.Fprintf(w, "report: %s\n", dir)
	if page != "" {
		fmt.Fprintf(w, "ARA: %s\n", page)
	}
}

// packages lists what changed, or would change, once for all hosts with the
// same change.
func (p *printer) packages(w io.Writer, r orchestrator.Report) {
	changes := r.Changes()
	if len(changes) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := table{}
	t.row("PACKAGE", "FROM", "TO", "", "HOSTS")
	for _, c := range changes {
		from, to, kind := c.From, c.To, ""
		if from == "" {
			from = "(new)"
		}
		if to == "" {
			to = "(removed)"
		}
		if c.Security {
			kind = "security"
		}
		t.row(c.Name, from, to, kind, tui.Line(strings.Join(c.Hosts, " "), 60))
	}
	t.print(w, "", p.width())
}

func count(h orchestrator.HostReport) string {
	if h.Patch == nil {
		return "-"
	}
	return fmt.Sprint(len(h.Patch.Packages))
}

func reboot(h orchestrator.HostReport) string { return cmp.Or(report.Reboot(h), "-") }

// clean makes one line of what may come from a host, without anything that a
// terminal would obey.
func clean(s string) string { return tui.Line(s, 1<<20) }
