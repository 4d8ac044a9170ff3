//go:build e2e

package e2e_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// looking are the commands that change no host, in the order in which they are tried: what a plan or a hold leaves comes last.
var looking = []string{"history", "show", "explain", "diff", "report", "status", "waves", "doctor", "plan", "hold"}

var runOfPage = regexp.MustCompile(`\b2026[0-9]{4}\w*\b`)

// wantPages carries out on the controller what the pages have on looking, planning and holding, line by line, with earlier for
// the run that they name.
func wantPages(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence, earlier string) {
	t.Helper()
	var lines []string
	for _, name := range []string{"../README.md", "operate.md", "report.md", "plan.md", "configure.md"} {
		for _, line := range e2e.OpenPage(t, name).Commands(program) {
			line, _, _ = strings.Cut(line, "  #")
			if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	tried := 0
	for _, verb := range looking {
		for _, line := range lines {
			if strings.Fields(line)[1] != verb {
				continue
			}
			began := time.Now()
			out := lab.Run(t.Context(), controller, "sh", "-euc", "cd; "+runOfPage.ReplaceAllString(line, earlier))
			tried++
			ev.Call("`"+line+"`", out, time.Since(began), "")
			// The lab has no timer, and doctor says so.
			if out.Code != 0 && !(verb == "doctor" && out.Code == 1 && strings.Contains(out.Stdout, program+".timer")) || out.Stdout == "" && !strings.Contains(line, "--html") {
				t.Errorf("%s: exit code %d\n%s%s", line, out.Code, out.Stdout, out.Stderr)
			}
			t.Logf("%s\n%s", line, out.Stdout)
		}
	}
	if tried < 20 {
		t.Errorf("only %d lines of the pages were tried", tried)
	}
}
