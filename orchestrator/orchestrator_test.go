package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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

func TestSoak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			time.Sleep(time.Minute)
			return allWell(w), nil
		})
		f.Policy.Soak = time.Hour
		begin := time.Now()
		report, err := f.do(t.Context())
		f.ok(err)
		f.want(report, Passed, ExitDone, 0, 1, 2)
		if took := time.Since(begin); took != 2*time.Hour+3*time.Minute {
			t.Errorf("three waves and two soaks took %v", took)
		}
		if w := report.Waves[0]; w.Ended.Sub(w.Started) != time.Minute {
			t.Errorf("wave 0 took %v without its soak", w.Ended.Sub(w.Started))
		}
		if took := report.Ended.Sub(report.Started); took != 2*time.Hour+3*time.Minute {
			t.Errorf("the run says it took %v", took)
		}
	})
}

func TestStop(t *testing.T) {
	term := &SignalError{Signal: syscall.SIGTERM}
	for name, test := range map[string]struct {
		cause error         // cancels the context; nil closes Stop
		at    time.Duration // after the start; a wave takes 1 minute, a soak 1 hour
		state State
		code  int
		waves []int
		wave  State // of the last wave run
		words string
	}{
		"stop before":            {nil, 0, Interrupted, 130, nil, Pending, "stopped before the first wave"},
		"stop in a wave":         {nil, 30 * time.Second, Interrupted, 130, []int{0}, Passed, "stopped after wave 0"},
		"stop in a soak":         {nil, 30 * time.Minute, Interrupted, 130, []int{0}, Passed, "stopped after wave 0"},
		"stop in the last wave":  {nil, 2*time.Hour + 150*time.Second, Passed, 0, []int{0, 1, 2}, Passed, "nothing to do"},
		"cancel before":          {term, 0, Interrupted, 143, nil, Pending, "interrupted before the first wave: SIGTERM"},
		"cancel in a wave":       {term, 30 * time.Second, Interrupted, 143, []int{0}, Interrupted, "interrupted in wave 0: SIGTERM; interrupted: canary"},
		"cancel in a soak":       {term, 30 * time.Minute, Interrupted, 143, []int{0}, Interrupted, "interrupted after wave 0: SIGTERM"},
		"cancel by SIGINT":       {&SignalError{Signal: syscall.SIGINT}, 30 * time.Second, Interrupted, 130, []int{0}, Interrupted, "SIGINT"},
		"cancel without a cause": {context.Canceled, 30 * time.Second, Interrupted, 130, []int{0}, Interrupted, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, func(ctx context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
					select {
					case <-time.After(time.Minute):
						return allWell(w), nil
					case <-ctx.Done():
						return result(w, map[string]runner.Outcome{"canary": runner.Interrupted}), context.Cause(ctx)
					}
				})
				f.Policy.Soak = time.Hour
				ctx, cancel := context.WithCancelCause(t.Context())
				stop := make(chan struct{})
				f.Orchestrator.Stop = stop
				say := func() {
					if test.cause != nil {
						cancel(test.cause)
					} else {
						close(stop)
					}
				}
				if test.at == 0 {
					say()
				} else {
					time.AfterFunc(test.at, say)
				}
				report, err := f.do(ctx)
				f.want(report, test.state, test.code, test.waves...)
				if !strings.Contains(report.Reason, test.words) {
					t.Errorf("reason %q lacks %q", report.Reason, test.words)
				}
				if n := max(len(test.waves), 1); report.Waves[n-1].State != test.wave {
					t.Errorf("wave %d is %s, want %s", n-1, report.Waves[n-1].State, test.wave)
				}
				if test.state == Interrupted {
					asError[*InterruptError](t, err)
					if got := errors.Is(err, context.Canceled); got != (test.cause != nil) {
						t.Errorf("errors.Is(err, context.Canceled) is %t: %v", got, err)
					}
				}
			})
		})
	}
}

// The context ended when the last host had just come through: nothing was interrupted but what would have followed.
func TestCancelledTooLate(t *testing.T) {
	f := newFixture(t, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	f.Engine = engineFunc(func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
		f.waves = append(f.waves, w.Number)
		if w.Number == 1 {
			cancel(&SignalError{Signal: syscall.SIGTERM})
		}
		return allWell(w), nil
	})
	report, _ := f.do(ctx)
	f.want(report, Interrupted, 143, 0, 1)
	if report.Waves[1].State != Passed || report.Reason != "interrupted after wave 1: SIGTERM" {
		t.Errorf("wave 1 is %s, reason %q", report.Waves[1].State, report.Reason)
	}
}

func TestWaveDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(ctx context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			if w.Number == 0 {
				return allWell(w), nil
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return result(w, map[string]runner.Outcome{"db": runner.Interrupted}), context.Cause(ctx)
		})
		f.Policy.WaveDeadline = 2 * time.Hour
		f.Policy.Budget = 5 // no budget covers it: who knows what db is doing
		report, err := f.do(t.Context())
		f.want(report, Halted, ExitHalted, 0, 1)
		if want := "wave 1: the deadline of 2h0m0s has passed; interrupted: db"; report.Reason != want {
			t.Errorf("reason %q, want %q", report.Reason, want)
		}
		if !errors.Is(err, context.DeadlineExceeded) || asError[*HaltError](t, err).Wave != 1 {
			t.Errorf("error %v", err)
		}
		if w := report.Waves[1]; w.State != Halted || w.Hosts[0].Outcome != HostInterrupted || w.Hosts[1].Outcome != Unchanged {
			t.Errorf("wave 1: %s", encode(t, w))
		}
	})
}

// A gate is asked after the soak, with the wave's outcomes, and stopping does not skip it.
func TestGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, fine)
		f.Policy.Soak = time.Hour
		begin := time.Now()
		var asked []string
		gate := func(name string, fail int) Gate {
			return gateFunc(func(_ context.Context, w WaveReport) error {
				asked = append(asked, fmt.Sprintf("%s %d at %v", name, w.Number, time.Since(begin)))
				onDisk, err := f.store.Load(f.run.ID)
				f.ok(err)
				if i := w.Number; onDisk.State != Soaking || onDisk.Waves[i].State != Soaking || onDisk.Waves[i].Count(Unchanged) != len(w.Hosts) {
					t.Errorf("asked after wave %d, on disk: %s", i, encode(t, onDisk))
				}
				if w.Number == fail {
					return errSick
				}
				return nil
			})
		}
		f.Orchestrator.Gates = []Gate{gate("a", -1), gate("b", 1), gate("c", -1)}
		report, err := f.do(t.Context())
		f.want(report, Halted, ExitHalted, 0, 1)
		if want := []string{"a 0 at 1h0m0s", "b 0 at 1h0m0s", "c 0 at 1h0m0s", "a 1 at 2h0m0s", "b 1 at 2h0m0s"}; !slices.Equal(asked, want) {
			t.Errorf("asked %q", asked)
		}
		if !errors.Is(err, errSick) || report.Reason != "halted after wave 1: prometheus does not answer" || report.Waves[1].State != Halted {
			t.Errorf("error %v, wave 1 %s", err, report.Waves[1].State)
		}
	})
}

var errSick = errors.New("prometheus does not answer")

type gateFunc func(ctx context.Context, w WaveReport) error

func (g gateFunc) Check(ctx context.Context, w WaveReport) error { return g(ctx, w) }

// The last wave has no soak, and its gates still decide.
func TestGateAfterTheLastWave(t *testing.T) {
	f := newFixture(t, fine)
	f.Orchestrator.Gates = []Gate{gateFunc(func(_ context.Context, w WaveReport) error {
		if w.Number == 2 {
			return errSick
		}
		return nil
	})}
	report, _ := f.do(t.Context())
	f.want(report, Halted, ExitHalted, 0, 1, 2)
}

// A gate whose context ended says nothing about health.
func TestGateInterrupted(t *testing.T) {
	f := newFixture(t, fine)
	ctx, cancel := context.WithCancelCause(t.Context())
	f.Orchestrator.Gates = []Gate{gateFunc(func(ctx context.Context, w WaveReport) error {
		cancel(&SignalError{Signal: syscall.SIGTERM})
		return ctx.Err()
	})}
	report, _ := f.do(ctx)
	f.want(report, Interrupted, 143, 0)
}

func TestHold(t *testing.T) {
	t.Run("at the start", func(t *testing.T) {
		f := newFixture(t, fine)
		f.Orchestrator.Hold = func() (bool, string, error) { return true, "disk swap", nil }
		report, err := f.Orchestrator.Run(t.Context(), f.run, f.plan)
		if !errors.Is(err, ErrHeld) || err.Error() != "held: disk swap" || ExitCode(report, err) != ExitHeld {
			t.Errorf("error %v, exit code %d", err, ExitCode(report, err))
		}
		if ids, _ := f.store.IDs(); len(ids) > 0 || f.waves != nil || f.changes != nil {
			t.Errorf("something was touched: runs %v, waves %v, changes %v", ids, f.waves, f.changes)
		}
	})
	for name, test := range map[string]struct {
		hold  func() (bool, string, error)
		words string
	}{
		"between waves":  {func() (bool, string, error) { return true, "disk swap", nil }, "halted before wave 1: held: disk swap"},
		"cannot be told": {func() (bool, string, error) { return false, "", syscall.EACCES }, "halted before wave 1: permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, fine)
			f.Orchestrator.Hold = func() (bool, string, error) {
				if f.waves == nil {
					return false, "", nil
				}
				return test.hold()
			}
			report, _ := f.do(t.Context())
			f.want(report, Halted, ExitHalted, 0)
			if report.Reason != test.words {
				t.Errorf("reason %q, want %q", report.Reason, test.words)
			}
		})
	}
	t.Run("cannot be told at the start", func(t *testing.T) {
		f := newFixture(t, fine)
		f.Orchestrator.Hold = func() (bool, string, error) { return false, "", syscall.EACCES }
		report, err := f.do(t.Context())
		f.want(report, Failed, ExitFailed)
		if !errors.Is(err, syscall.EACCES) {
			t.Errorf("error %v", err)
		}
	})
}

func TestProjectChanges(t *testing.T) {
	for name, test := range map[string]struct {
		second Project
		err    error
		words  string
	}{
		"changed":    {Project{Hash: "2", files: map[string]string{"a.yml": "2", "same": "0", "new": "1"}}, nil, "halted before wave 1: the project changed during the run: a.yml, gone, new; run again"},
		"unreadable": {Project{}, syscall.EIO, "halted before wave 1: input/output error"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, fine)
			f.Orchestrator.Fingerprint = func() (Project, error) {
				if f.waves == nil {
					return Project{Hash: "1", files: map[string]string{"a.yml": "1", "same": "0", "gone": "1"}}, nil
				}
				return test.second, test.err
			}
			report, _ := f.do(t.Context())
			f.want(report, Halted, ExitHalted, 0)
			if !strings.HasPrefix(report.Reason, test.words) {
				t.Errorf("reason %q, want %q", report.Reason, test.words)
			}
		})
	}
	t.Run("unreadable at the start", func(t *testing.T) {
		f := newFixture(t, fine)
		f.Orchestrator.Fingerprint = func() (Project, error) { return Project{}, syscall.EIO }
		report, _ := f.do(t.Context())
		f.want(report, Failed, ExitFailed)
	})
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
