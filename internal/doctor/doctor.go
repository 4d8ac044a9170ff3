// Package doctor looks for what the next run would stumble over, days before it: each function looks at one area and
// returns a [Check] for each thing that it looked at, well or not.
//
//	var sheet doctor.Sheet
//	sheet.Add(doctor.Engine(runner.Version(ctx, dir))...)
//	sheet.Add(doctor.Textfile(ctx, cfg.Textfile, doctor.Local())...)
//	fmt.Println(sheet.Count(doctor.Error), "errors")
//
// # What it guarantees
//
// Nothing is changed anywhere. What cannot be told is a finding and never well. Each finding has its fix: a command, a line
// of a file, or where to look. No text has a secret in it; texts of hosts are as they came, and whoever prints them makes
// them harmless.
//
// # What it does not do
//
// It does not say what an upgrade would change, asks no gate, and sends no message.
package doctor

import (
	"fmt"
	"strings"
)

// Severity says how bad a finding is.
type Severity string

// Severities.
const (
	OK      Severity = "ok"
	Warning Severity = "warning" // a run would go worse, or nobody can tell
	Error   Severity = "error"   // a run would fail, or lose the host, or not come at all
)

// What is looked at.
const (
	Program   = "engine"
	Settings  = "settings"
	Fleet     = "inventory"
	Clock     = "schedule"
	Units     = "units"
	Store     = "state"
	Messages  = "channels"
	Record    = "ara"
	Metrics   = "metrics"
	Key       = "ssh"
	HostsArea = "hosts"
)

// Areas returns the areas in the order in which they are shown.
func Areas() []string {
	return []string{Program, Settings, Units, Clock, Store, Messages, Record, Metrics, Fleet, Key, HostsArea}
}

// Check is one thing that was looked at.
type Check struct {
	Area     string   `json:"area"`
	Host     string   `json:"host,omitempty"` // empty for the controller and the fleet
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`          // what is well, or what is wrong
	Fix      string   `json:"fix,omitempty"` // of a finding: what mends it
}

// Skip is an area that was not looked at. There is an error that is the reason.
type Skip struct {
	Area   string `json:"area"`
	Reason string `json:"reason"`
}

// Sheet is all that was looked at. The zero value is empty.
type Sheet struct {
	Checks  []Check
	Skipped []Skip
}

// Add adds checks.
func (s *Sheet) Add(checks ...Check) { s.Checks = append(s.Checks, checks...) }

// Skip notes that an area was not looked at, and until what.
func (s *Sheet) Skip(area, reason string) { s.Skipped = append(s.Skipped, Skip{area, reason}) }

// Count returns how many checks came out so.
func (s *Sheet) Count(severity Severity) (n int) {
	for _, c := range s.Checks {
		if c.Severity == severity {
			n++
		}
	}
	return n
}

func well(area, format string, args ...any) Check {
	return Check{Area: area, Severity: OK, Text: fmt.Sprintf(format, args...)}
}

func warning(area, fix, format string, args ...any) Check {
	return Check{Area: area, Severity: Warning, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func failure(area, fix, format string, args ...any) Check {
	return Check{Area: area, Severity: Error, Text: fmt.Sprintf(format, args...), Fix: fix}
}

// on says of which host checks are.
func on(host string, checks ...Check) []Check {
	for i := range checks {
		checks[i].Host = host
	}
	return checks
}

// word returns s as one word for a shell.
func word(s string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:"
	if s != "" && strings.Trim(s, safe) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
