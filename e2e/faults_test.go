//go:build e2e && e2efull

package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// A fault is one row of the matrix: what is broken where, and what a person then gets to see.
type fault struct {
	name, where string
	host        string        // whose outcome and words count; "" where there is no host to speak of
	outcome     string        // of that host
	code        int           // exit code of the run that has this fault alone
	words       string        // of the host's note, or of the run
	within      time.Duration // from the start of the run, or of the wave, to the end of this host's part of it
	bound       string        // what sets that time
	todo        string        // for the operator
	cause       string        // what explain says was the cause; "" of a host that came through
	explain     string        // words of explain; "" are those of the run, or that the host is well
}

// matrix collects what rows showed, for docs/faults.md.
type matrix struct {
	stamp string
	rows  []string
	well  int
}

// saw compares a row with what the run showed of it, with what explain said then, and what the run after it showed.
func (m *matrix) saw(t *testing.T, f fault, out outcome, why explained, took time.Duration, next string) {
	t.Helper()
	why.want(t, f)
	outcome, words := "", cmp.Or(said(out), last(out.Stdout))
	if f.host != "" {
		h := out.host(t, f.host)
		outcome = h.Outcome
		if h.Message != "" {
			words = h.Message
		} else if h.Outcome == "patched" || h.Outcome == "unchanged" {
			words = last(out.Stdout)
		}
	}
	ok := outcome == f.outcome && out.Code == f.code && strings.Contains(words, f.words) && took <= f.within
	if !ok {
		t.Errorf("%s, %s: %q, exit code %d, %q after %v; want %q, %d, %q, within %v\n%s",
			f.name, f.where, outcome, out.Code, words, took.Round(time.Second), f.outcome, f.code, f.words, f.within, said(out))
	}
	within := fmt.Sprintf("%.0f s (%.0f s)", f.within.Seconds(), took.Seconds())
	if f.bound != "" {
		within += "; " + f.bound
	}
	see := fmt.Sprintf("exit code %d", out.Code)
	if outcome != "" {
		see = fmt.Sprintf("`%s`, %s", outcome, see)
	}
	m.row(ok, f.name, f.where, see, words, why.cell(), within, next, f.todo)
}

// row adds a line to the page.
func (m *matrix) row(ok bool, name, where, see, words, why, within, next, todo string) {
	if ok {
		m.well++
	} else {
		see = "**NOT AS EXPECTED:** " + see
	}
	m.rows = append(m.rows, fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |", name, where, see, e2e.Cell(words), why, within, next, todo))
}

// page writes docs/faults.md.
func (m *matrix) page(t *testing.T) {
	if os.Getenv("E2E_FULL") != "1" {
		return
	}
	result := "all as expected"
	if t.Failed() {
		result = "**FAILED**"
	}
	e2e.WritePage(t, "faults.md", fmt.Sprintf(`# Faults

What breaks, what you see of it, and what you do. Written by `+"`make e2e-full`"+`, not by hand: each row was broken for real on
booted hosts, and the words are what the program said. Test: %s; %d of %d rows, %s.

%s

- The exit code is that of a run with a budget of 0. A host that is lost within the budget makes it 4, and later waves go on.
- *explain*: what `+"`explain HOST`"+` on the controller said before anything was mended: the cause, and the first thing to do.
- *Within*: how long this may take, in brackets how long it took, and what sets that time. The tests have shorter deadlines
  than the defaults.
- *The next run* is simply `+"`run`"+` again, when the cause was mended. After every row: each package was installed once by dpkg.log,
  the lock was free, every journal was final, the metrics were true, and healthy hosts of the same and of other waves had
  come out as they should.

| fault | where | outcome, exit code | in its words | explain | within | the next run | what to do |
|---|---|---|---|---|---|---|---|
%s
`, t.Name(), m.well, len(m.rows), result, m.stamp, strings.Join(m.rows, "\n")))
}

// act is a part of the matrix, on a lab of its own.
type act struct {
	name string
	show func(*testing.T, *matrix, e2e.Options)
	on   e2e.Options
	m    matrix
}

// TestFaults breaks one thing after the other, on targets and on the controller, and has a real run meet it. Two labs are
// at it at a time: most of it is waiting.
func TestFaults(t *testing.T) {
	acts := []*act{
		{name: "hosts that come through", show: faultsOvercome, on: e2e.Options{Name: "a", Extra: 4}},
		{name: "hosts that are lost", show: faultsLost, on: e2e.Options{Name: "b", Extra: len(lost()) + 1}},
		{name: "one host", show: faultsOfOne, on: e2e.Options{Name: "c"}},
		{name: "the controller", show: faultsOfController, on: e2e.Options{Name: "d"}},
		{name: "the state directory", show: faultsOfState, on: e2e.Options{Name: "e"}},
		{name: "the run", show: faultsOfRun, on: e2e.Options{Name: "f"}},
		// Not on the page: the same, in nearly the same words.
		{name: "hosts that are lost, from a trixie controller", show: faultsLost, on: e2e.Options{Name: "g", Extra: len(lost()) + 1, Hosts: "hosts-trixie.conf"}},
	}
	ran := 0
	t.Run("act", func(t *testing.T) {
		for _, a := range acts {
			t.Run(a.name, func(t *testing.T) {
				ran++
				t.Parallel()
				a.show(t, &a.m, a.on)
			})
		}
	})
	if ran < len(acts) {
		return // a part of the page is no page
	}
	whole := &matrix{stamp: acts[1].m.stamp}
	for _, a := range acts {
		if a.on.Hosts == "" {
			whole.rows, whole.well = append(whole.rows, a.m.rows...), whole.well+a.m.well
		}
	}
	whole.page(t)
}

// spans tells of each host how long its part of its wave took, by the events.
func spans(lab *e2e.Lab, id string) map[string]time.Duration {
	first, last := 0.0, map[string]time.Duration{}
	for line := range strings.Lines(lab.Exec(controller, "sed", `s/,"data":.*$/}/`, stateDir+"/runs/"+id+"/events.jsonl")) {
		var e struct {
			Time       float64
			Host, Kind string
		}
		if json.Unmarshal([]byte(line), &e) == nil && e.Kind == "start" { // another ansible-playbook
			first = 0
		}
		if e.Host == "" {
			continue
		}
		if first == 0 {
			first = e.Time
		}
		last[e.Host] = time.Duration((e.Time - first) * float64(time.Second))
	}
	return last
}

// wantMended checks what must hold when the run after a fault has ended well.
func wantMended(t *testing.T, lab *e2e.Lab, out outcome, names ...string) {
	t.Helper()
	if out.Code != 0 || out.Report == nil || out.Report.State != "passed" {
		t.Errorf("the next run: exit code %d\n%s", out.Code, out.words())
	}
	for _, name := range names {
		wantEachOnce(t, lab, name)
	}
	for _, id := range runs(lab) {
		data := lab.Exec(controller, "cat", stateDir+"/runs/"+id+"/journal.json")
		var r report
		if err := json.Unmarshal([]byte(data), &r); err != nil {
			continue // a damaged one stays as it is
		}
		if r.ExitCode == nil || !slices.Contains([]string{"passed", "failed", "halted", "interrupted"}, r.State) {
			t.Errorf("run %s is %s", id, r.State)
		}
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, "running": 0})
	wantEnded(t, lab)
}

// wantEachOnce checks that all updates were made on a host, each in one go, and that dpkg is in order.
func wantEachOnce(t *testing.T, lab *e2e.Lab, name string) {
	t.Helper()
	wantNothingTwice(t, lab, name)
	log := changes(lab, name)
	for _, p := range updates {
		if !slices.ContainsFunc(log, func(line string) bool { return strings.Contains(line, " "+p+":") }) {
			t.Errorf("%s: %s was not upgraded: %q", name, p, log)
		}
	}
	if audit := lab.Exec(name, "dpkg", "--audit"); audit != "" {
		t.Errorf("%s: dpkg --audit: %s", name, audit)
	}
}
