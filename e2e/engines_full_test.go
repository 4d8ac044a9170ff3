//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// The runner is stopped at random moments of a run, local and over ssh, where each generation of Ansible is at home.
func TestMoments(t *testing.T) {
	onEach(t, e2e.Options{}, "moments", "The runner stopped at random moments", func(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
		start := time.Now()
		out := engine(t, lab, "^TestMoments$", fmt.Sprintf("MOMENTS=%d", number(t, "MOMENTS", 60)))
		ev.Call("`runner.test -test.run ^TestMoments$`", e2e.Output{}, time.Since(start), "")
		ev.Lines("each moment", logged(out)...)
	})
}

// A thousand runs of the runner leave nothing behind.
func TestThousandRuns(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "thousand", "A thousand runs leave nothing behind")
	start := time.Now()
	out := engine(t, lab, "^TestThousandRuns$")
	ev.Call("`runner.test -test.run ^TestThousandRuns$`", e2e.Output{}, time.Since(start), "")
	ev.Lines("what the process has after so many runs", logged(out)...)
}

// logged returns what tests logged.
func logged(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if found := logLine.FindStringSubmatch(line); found != nil {
			lines = append(lines, found[1])
		}
	}
	return lines
}

var logLine = regexp.MustCompile(`^ +[a-z_]+_test\.go:[0-9]+: (.*)\n`)
