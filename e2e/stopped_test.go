//go:build e2e && e2efull

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// What a run was at when it was stopped, and what it left.

// moment is what the journal and the events of a run say while it goes on.
type moment struct {
	report report
	open   map[string]string // by host: the task that was begun and has not ended
	begun  map[string]bool   // hosts on which a task was begun
	recaps int               // waves that Ansible has ended
}

// readMoment reads a journal and, after a line "==", the lines of events.jsonl.
func readMoment(text string) (m moment, ok bool) {
	m.open, m.begun = map[string]string{}, map[string]bool{}
	journal, events, _ := strings.Cut(text, "\n==\n")
	if json.Unmarshal([]byte(journal), &m.report) != nil {
		return m, false
	}
	for line := range strings.Lines(events) {
		var e struct{ Kind, Host, Task string }
		if json.Unmarshal([]byte(line), &e) != nil {
			continue // being written
		}
		switch e.Kind {
		case "begin":
			m.open[e.Host], m.begun[e.Host] = e.Task, true
		case "result":
			delete(m.open, e.Host)
		case "stats":
			m.recaps++
		}
	}
	return m, true
}

// phase is what the run is at, in words: a part of the run, and after a colon what exactly.
func (m moment) phase() string {
	if m.report.State != "running" && m.report.State != "soaking" {
		return "after the end"
	}
	for _, w := range m.report.Waves {
		if w.State != "running" {
			continue
		}
		name := fmt.Sprintf("wave %d: ", w.Number)
		for _, h := range w.Hosts {
			switch {
			case m.open[h.Name] != "":
				return name + m.open[h.Name]
			case m.begun[h.Name]:
				return name + "between two tasks"
			}
		}
		return name + "Ansible starts"
	}
	return "between two waves"
}

// stop sends signals to the program, the second when it has heard the first. It says what the run was at, and when that
// was. The look and the first signal are one script, so that nothing comes between them.
func (c *call) stop(t *testing.T, ended <-chan struct{}, signals []string) (phase string, at time.Time) {
	t.Helper()
	const script = `cd "$0"/runs 2>/dev/null && id=$(ls | tail -n 1) && [ -n "$id" ] && case " $3 " in *" $id "*) ;; *)
		cat "$id"/journal.json; echo; echo ==; cat "$id"/events.jsonl ;; esac 2>/dev/null
		pkill -"$1" -x "$2"`
	over := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	e2e.Eventually(t, time.Minute, "there is a program to stop", func() error {
		at = time.Now()
		if over() {
			phase = "after the end"
			return nil
		}
		out := c.lab.Run(t.Context(), controller, "sh", "-c", script, stateDir, signals[0], program[:15], strings.Join(c.before, " "))
		if out.Code != 0 {
			return fmt.Errorf("pkill: exit code %d", out.Code)
		}
		phase = "before wave 0"
		if m, ok := readMoment(out.Stdout); ok {
			phase = m.phase()
		}
		return nil
	})
	for _, s := range signals[1:] {
		e2e.Eventually(t, time.Minute, "the program has heard the signal", func() error { // two at once are one to the kernel
			if !over() && !strings.Contains(c.stderr.String(), "no other wave begins") {
				return errors.New(c.stderr.String())
			}
			return nil
		})
		if !over() {
			c.lab.Run(t.Context(), controller, "pkill", "-"+s, "-x", program[:15]) // it may end in this very moment
		}
	}
	return phase, at
}

// wantStopped checks what a run that was stopped says of itself: exit code, journal and metrics. code is that of the
// signal, before are the metrics before the run.
func wantStopped(t *testing.T, lab *e2e.Lab, out outcome, phase string, code int, before map[string]float64) {
	t.Helper()
	if out.Report == nil { // the signal came before anything else
		if phase != "before wave 0" || out.Code != code {
			t.Errorf("%s: exit code %d and no journal\n%s", phase, out.Code, out.words())
		}
		wantSame(t, before, metrics(t, lab, controller, "patch_orchestrate.prom"))
		return
	}
	want := "interrupted"
	if !slices.ContainsFunc(out.outcomes(), func(s string) bool { return !strings.HasSuffix(s, "patched") && !strings.HasSuffix(s, "unchanged") }) &&
		len(out.outcomes()) == len(hosts) && out.Report.State == "passed" {
		want, code = "passed", 0 // it was faster
	}
	if r := out.Report; r.State != want || out.Code != code || r.ExitCode == nil || *r.ExitCode != code {
		t.Errorf("%s: exit code %d, want %d; the journal says %s (%s), want %s\n%s", phase, out.Code, code, r.State, r.Reason, want, out.words())
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": float64(code), "running": 0})

	dir := stateDir + "/runs/" + out.Report.ID
	m, ok := readMoment(lab.Shell(controller, "cat "+dir+"/journal.json; echo; echo ==; cat "+dir+"/events.jsonl 2>/dev/null || true"))
	if !ok {
		t.Fatal("the journal cannot be read")
	}
	for i, w := range m.report.Waves {
		for _, h := range w.Hosts {
			want := []string{"not-attempted"}
			switch {
			case i < m.recaps:
				want = []string{"patched", "unchanged"}
			case m.begun[h.Name]:
				want = []string{"interrupted"}
			}
			if !slices.Contains(want, h.Outcome) {
				t.Errorf("%s: %s is %s, by the events %s", phase, h.Name, h.Outcome, want[0])
			}
		}
		if began := i < m.recaps || w.Hosts[0].Outcome == "interrupted"; began && w.State == "pending" || !w.Began.IsZero() && w.State != "passed" && w.State != "interrupted" {
			t.Errorf("%s: wave %d is %s", phase, w.Number, w.State)
		}
	}
}

// wantNoZombies checks that no process of the controller waits for somebody to reap it.
func wantNoZombies(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	e2e.Eventually(t, 10*time.Second, "no zombie is left on the controller", func() error {
		for line := range strings.Lines(lab.Exec(controller, "ps", "-eo", "stat=,pid=,ppid=,comm=")) {
			if strings.HasPrefix(line, "Z") {
				return errors.New(line)
			}
		}
		return nil
	})
}
