package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"homelab-patch-orchestrate/internal/doctor"
	"homelab-patch-orchestrate/internal/tui"
)

// doctorJSON is what `doctor --json` prints.
type doctorJSON struct {
	Version  int            `json:"version"` // of this format
	Time     time.Time      `json:"time"`
	Errors   int            `json:"errors"`
	Warnings int            `json:"warnings"`
	NextRun  time.Time      `json:"next_run,omitzero"` // by the timer; not there if it is not known
	Findings []doctor.Check `json:"findings"`
	OK       []doctor.Check `json:"ok"`
	Skipped  []doctor.Skip  `json:"skipped"` // what was not looked at; then there is an error
}

func (d *diagnosis) result() doctorJSON {
	r := doctorJSON{
		Version: 1, Time: time.Now().UTC(), Errors: d.sheet.Count(doctor.Error), Warnings: d.sheet.Count(doctor.Warning),
		NextRun: d.machine.Next, Findings: []doctor.Check{}, OK: []doctor.Check{}, Skipped: append([]doctor.Skip{}, d.sheet.Skipped...),
	}
	for _, c := range d.sheet.Checks {
		if c.Severity == doctor.OK {
			r.OK = append(r.OK, c)
		} else {
			r.Findings = append(r.Findings, c)
		}
	}
	return r
}

// longest is how much of what others wrote is shown of one finding.
const longest = 600

// diagnosis prints the findings by area, each with its fix, and one line for all that is well.
func (p *printer) diagnosis(d *diagnosis) {
	paint := func(s doctor.Severity) string {
		word := fmt.Sprintf("%-7s", s)
		code := map[doctor.Severity]string{doctor.OK: "32", doctor.Warning: "33", doctor.Error: "31"}[s]
		if !color(p.out) {
			return word
		}
		return "\x1b[" + code + "m" + word + "\x1b[0m"
	}
	for _, area := range doctor.Areas() {
		head := false
		for _, row := range rows(d.sheet.Checks, area) {
			if row.Severity == doctor.OK && !d.all {
				continue
			}
			if !head {
				head = true
				fmt.Fprintln(p.out, area)
			}
			text := row.Text
			if row.Host != "" {
				text = row.Host + ": " + text
			}
			fmt.Fprintf(p.out, "  %s  %s\n", paint(row.Severity), tui.Line(text, longest))
			if row.Fix != "" {
				fmt.Fprintf(p.out, "           fix: %s\n", tui.Line(row.Fix, longest))
			}
		}
	}
	for i, s := range d.sheet.Skipped {
		if i > 0 && d.sheet.Skipped[i-1].Reason == s.Reason {
			continue
		}
		var areas []string
		for _, o := range d.sheet.Skipped {
			if o.Reason == s.Reason {
				areas = append(areas, o.Area)
			}
		}
		fmt.Fprintf(p.out, "not looked at, %s: %s\n", s.Reason, strings.Join(areas, ", "))
	}
	if len(d.sheet.Checks) > d.sheet.Count(doctor.OK) || d.all {
		fmt.Fprintln(p.out)
	}
	hint := "; --verbose shows them"
	if d.all {
		hint = ""
	}
	fmt.Fprintf(p.out, "%d checks are well%s\n", d.sheet.Count(doctor.OK), hint)
	fmt.Fprintln(p.out, d.verdict())
}

// rows are the checks of an area, the worst first. What is the same of several hosts is one, with all their names.
func rows(checks []doctor.Check, area string) (all []doctor.Check) {
	for _, severity := range []doctor.Severity{doctor.Error, doctor.Warning, doctor.OK} {
		for _, c := range checks {
			if c.Area != area || c.Severity != severity {
				continue
			}
			same := slices.IndexFunc(all, func(o doctor.Check) bool {
				return c.Host != "" && o.Host != "" && o.Text == c.Text && o.Fix == c.Fix && o.Severity == c.Severity
			})
			if same < 0 {
				all = append(all, c)
				continue
			}
			all[same].Host += ", " + c.Host
		}
	}
	return all
}

// verdict is the last line.
func (d *diagnosis) verdict() string {
	count := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	errors, warnings := d.sheet.Count(doctor.Error), d.sheet.Count(doctor.Warning)
	said := "nothing is wrong"
	switch {
	case errors > 0:
		said = count(errors, "error") + " and " + count(warnings, "warning") + ": the next run would not go well"
	case warnings > 0:
		said = count(warnings, "warning") + ", no error"
	}
	if !d.machine.Next.IsZero() {
		said += "; it comes " + d.machine.Next.In(cmp.Or(d.Schedule.Location, time.Local)).Format("Mon 2006-01-02 15:04 MST")
	}
	return said
}

// progress returns a function that shows on a terminal what is being looked at; "" takes it away.
func (p *printer) progress() func(string) {
	if !term.IsTerminal(int(p.err.Fd())) {
		return func(string) {}
	}
	return func(what string) {
		if what != "" {
			what = "looking at " + what
		}
		fmt.Fprintf(p.err, "\r\x1b[K%s", what)
	}
}
