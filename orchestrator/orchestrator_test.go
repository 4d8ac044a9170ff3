package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/runner"
)

// fine is an engine under which every host is as it should be.
func fine(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
	return allWell(w), nil
}

func TestRunPasses(t *testing.T) {
	f := newFixture(t, fine)
	f.Orchestrator.Fingerprint = func() (Project, error) { return Project{Path: "/srv/ansible", Hash: "abc"}, nil }
	report, err := f.do(t.Context())
	f.ok(err)
	f.want(report, Passed, ExitDone, 0, 1, 2)
	if report.Kind != Full || report.Engine != "2.14.18" || report.Controller != "controller" || report.Project.Hash != "abc" {
		t.Errorf("report %s", encode(t, report))
	}
	if report.Reason != "nothing to do on 4 hosts" {
		t.Errorf("reason %q", report.Reason)
	}
	var got []string
	for _, c := range f.changes {
		what := "run"
		if c.Wave != nil {
			what = fmt.Sprint(*c.Wave, " ", c.Host)
		}
		got = append(got, fmt.Sprintf("%s: %s>%s", strings.TrimSpace(what), c.From, c.To))
		if c.Run != f.run.ID || c.Time.IsZero() {
			t.Errorf("change %+v", c)
		}
	}
	want := []string{
		"run: pending>running",
		"0: pending>running", "0 canary: >unchanged", "0: running>passed",
		"1: pending>running", "1 db: >unchanged", "1 web: >unchanged", "1: running>passed",
		"2: pending>running", "2 controller: >unchanged", "2: running>passed",
		"run: running>passed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestBudget is the table of the gate that every wave has.
func TestBudget(t *testing.T) {
	for name, test := range map[string]struct {
		hosts  map[string]runner.Outcome
		budget int
		state  State
		code   int
		waves  []int
		words  string
	}{
		"changed":               {map[string]runner.Outcome{"db": runner.Changed}, 0, Passed, 0, []int{0, 1, 2}, "1 patched, 3 unchanged"},
		"failed":                {map[string]runner.Outcome{"canary": runner.Failed}, 0, Halted, 3, []int{0}, "wave 0: 1 host did not come through, the budget is 0: canary (failed)"},
		"unreachable":           {map[string]runner.Outcome{"canary": runner.Unreachable}, 0, Halted, 3, []int{0}, "canary (unreachable)"},
		"interrupted":           {map[string]runner.Outcome{"db": runner.Interrupted}, 0, Halted, 3, []int{0, 1}, "db (interrupted)"},
		"not attempted":         {map[string]runner.Outcome{"db": runner.NotAttempted}, 0, Halted, 3, []int{0, 1}, "db (not-attempted)"},
		"nonsense":              {map[string]runner.Outcome{"db": "splendid"}, 0, Halted, 3, []int{0, 1}, "db (interrupted)"},
		"within":                {map[string]runner.Outcome{"db": runner.Failed}, 1, Passed, 4, []int{0, 1, 2}, "1 host did not come through, within the budget of 1 a wave: db (failed)"},
		"one a wave":            {map[string]runner.Outcome{"canary": runner.Failed, "db": runner.Failed}, 1, Passed, 4, []int{0, 1, 2}, "2 hosts did not"},
		"over":                  {map[string]runner.Outcome{"db": runner.Failed, "web": runner.Interrupted}, 1, Halted, 3, []int{0, 1}, "2 hosts did not come through, the budget is 1: db (failed), web (interrupted)"},
		"last wave":             {map[string]runner.Outcome{"controller": runner.Failed}, 0, Halted, 3, []int{0, 1, 2}, "controller (failed)"},
		"optional failed":       {map[string]runner.Outcome{"web": runner.Failed}, 0, Halted, 3, []int{0, 1}, "web (failed)"},
		"optional lost later":   {map[string]runner.Outcome{"web": runner.Unreachable}, 0, Halted, 3, []int{0, 1}, "web (unreachable)"},
		"stranger failed":       {map[string]runner.Outcome{"stranger": runner.Failed}, 0, Halted, 3, []int{0}, "stranger (failed)"},
		"stranger was well":     {map[string]runner.Outcome{"stranger": runner.Changed}, 0, Passed, 0, []int{0, 1, 2}, "nothing to do"},
		"stranger not reached":  {map[string]runner.Outcome{"stranger": runner.NotAttempted}, 0, Passed, 0, []int{0, 1, 2}, "nothing to do"},
		"stranger within":       {map[string]runner.Outcome{"stranger": runner.Failed}, 1, Passed, 4, []int{0, 1, 2}, "stranger (failed)"},
		"stranger adds to many": {map[string]runner.Outcome{"stranger": runner.Failed, "canary": runner.Failed}, 1, Halted, 3, []int{0}, "2 hosts did not"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
				r := result(w, test.hosts)
				if o, ok := test.hosts["stranger"]; ok {
					r.Hosts["stranger"] = runner.HostResult{Outcome: o}
				}
				return r, nil
			})
			f.Policy.Budget = test.budget
			report, err := f.do(t.Context())
			f.want(report, test.state, test.code, test.waves...)
			if !strings.Contains(report.Reason, test.words) {
				t.Errorf("reason %q lacks %q", report.Reason, test.words)
			}
			if test.code == ExitHalted {
				halt := asError[*HaltError](t, err)
				if last := test.waves[len(test.waves)-1]; halt.Wave != last {
					t.Errorf("halted at wave %d, want %d", halt.Wave, last)
				}
			} else if err != nil {
				t.Errorf("error %v", err)
			}
			for _, w := range report.Waves[len(test.waves):] {
				if w.State != Pending || w.Count(HostNotAttempted) != len(w.Hosts) || !w.Started.IsZero() {
					t.Errorf("wave %d after the halt: %s", w.Number, encode(t, w))
				}
			}
		})
	}
}

// An optional host that was off all along is no loss; the run is a success.
func TestOptionalHostOff(t *testing.T) {
	f := newFixture(t, func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
		r := allWell(w)
		for name := range r.Hosts {
			if name == "web" {
				r.Hosts[name] = runner.HostResult{Outcome: runner.Unreachable, Stats: runner.Stats{Unreachable: 1}, Msg: "no route"}
			}
		}
		return r, nil
	})
	report, err := f.do(t.Context())
	f.ok(err)
	f.want(report, Passed, ExitDone, 0, 1, 2)
	if web := report.Waves[1].Hosts[1]; !web.Excused || web.Lost() || web.Outcome != HostUnreachable || web.Message != "no route" {
		t.Errorf("web: %s", encode(t, web))
	}
	if report.Reason != "3 unchanged, 1 unreachable" {
		t.Errorf("reason %q", report.Reason)
	}
}

// The engine broke: no judgement about hosts, and no further wave.
func TestEngineErrors(t *testing.T) {
	broken := &runner.EngineError{Problem: "the playbook does not parse", Detail: "line 3"}
	for name, test := range map[string]struct {
		engine engineFunc
		words  string
	}{
		"parse error": {func(context.Context, Wave, func(runner.Event)) (runner.Result, error) { return runner.Result{}, broken }, "the playbook does not parse"},
		"all well and an error": {func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			return allWell(w), broken
		}, "does not parse"},
		"no recap": {func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			r := allWell(w)
			r.Complete = false
			return r, nil
		}, "without a recap"},
		"cancelled by nobody": {func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			return allWell(w), context.Canceled
		}, "wave 0: context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, test.engine)
			f.Policy.Budget = 100 // no budget covers it
			report, err := f.do(t.Context())
			f.want(report, Failed, ExitFailed, 0)
			if err == nil || !strings.Contains(err.Error(), test.words) || report.Reason != err.Error() {
				t.Errorf("error %v, reason %q", err, report.Reason)
			}
			if report.Waves[0].State != Failed {
				t.Errorf("wave 0 is %s", report.Waves[0].State)
			}
		})
	}
}

// Every host is silent, the engine is content: that is not a success.
func TestSilenceIsNoSuccess(t *testing.T) {
	f := newFixture(t, func(context.Context, Wave, func(runner.Event)) (runner.Result, error) {
		return runner.Result{Complete: true}, nil
	})
	report, _ := f.do(t.Context())
	f.want(report, Halted, ExitHalted, 0)
	if report.Waves[0].Hosts[0].Outcome != HostNotAttempted {
		t.Errorf("report %s", encode(t, report))
	}
}

func TestEmptyPlan(t *testing.T) {
	f := newFixture(t, fine)
	report, err := f.Orchestrator.Run(t.Context(), f.run, &Plan{})
	asError[*PlanError](t, err)
	if ids, _ := f.store.IDs(); len(ids) > 0 || ExitCode(report, err) != ExitUsage {
		t.Errorf("runs %v, exit code %d", ids, ExitCode(report, err))
	}
}

func TestFail(t *testing.T) {
	f := newFixture(t, nil)
	f.Policy.Limit = []string{"db"}
	cause := &runner.EngineError{Problem: "ansible-inventory is missing"}
	report, err := f.Fail(t.Context(), f.run, cause)
	if !errors.Is(err, cause) || ExitCode(report, err) != ExitFailed || report.Kind != Narrowed {
		t.Errorf("error %v, report %s", err, encode(t, report))
	}
	onDisk, err := f.store.Latest()
	f.ok(err)
	if onDisk.State != Failed || onDisk.ID != f.run.ID || onDisk.Reason != cause.Error() {
		t.Errorf("on disk: %s", encode(t, onDisk))
	}
	if len(f.changes) != 1 || f.changes[0].To != string(Failed) {
		t.Errorf("changes %v", f.changes)
	}
}

// A run without an end is never a success, whatever the error.
func TestExitCodeFailsClosed(t *testing.T) {
	if code := ExitCode(Report{}, nil); code != ExitFailed {
		t.Errorf("exit code %d", code)
	}
	if code := ExitCode(Report{}, errors.New("disk on fire")); code != ExitFailed {
		t.Errorf("exit code %d", code)
	}
	// What a halt holds as its cause does not decide.
	if code := ExitCode(Report{}, &HaltError{Err: ErrHeld}); code != ExitHalted {
		t.Errorf("exit code %d", code)
	}
}
