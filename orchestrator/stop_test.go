package orchestrator

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"homelab-patch-orchestrate/runner"
)

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
		took  time.Duration
		words string
	}{
		"stop before":            {nil, 0, Interrupted, 130, nil, Pending, 0, "stopped before the first wave"},
		"stop in a wave":         {nil, 30 * time.Second, Interrupted, 130, []int{0}, Passed, time.Minute, "stopped after wave 0"},
		"stop in a soak":         {nil, 30 * time.Minute, Interrupted, 130, []int{0}, Passed, 30 * time.Minute, "stopped after wave 0"},
		"stop in the last wave":  {nil, 2*time.Hour + 150*time.Second, Passed, 0, []int{0, 1, 2}, Passed, 2*time.Hour + 3*time.Minute, "nothing to do"},
		"cancel before":          {term, 0, Interrupted, 143, nil, Pending, 0, "interrupted before the first wave: SIGTERM"},
		"cancel in a wave":       {term, 30 * time.Second, Interrupted, 143, []int{0}, Interrupted, 30 * time.Second, "interrupted in wave 0: SIGTERM; interrupted: canary"},
		"cancel in a soak":       {term, 30 * time.Minute, Interrupted, 143, []int{0}, Interrupted, 30 * time.Minute, "interrupted after wave 0: SIGTERM"},
		"cancel by SIGINT":       {&SignalError{Signal: syscall.SIGINT}, 30 * time.Second, Interrupted, 130, []int{0}, Interrupted, 30 * time.Second, "SIGINT"},
		"cancel without a cause": {context.Canceled, 30 * time.Second, Interrupted, 130, []int{0}, Interrupted, 30 * time.Second, "context canceled"},
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
				if took := report.Ended.Sub(report.Started); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
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

// An engine that was cancelled interrupts the run, whether it says so by its error or by its hosts.
func TestCancelledEngine(t *testing.T) {
	for name, engine := range map[string]engineFunc{
		"by its error": func(ctx context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			return allWell(w), context.Cause(ctx)
		},
		"by its hosts": func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			return result(w, map[string]runner.Outcome{"canary": runner.NotAttempted}), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			f := newFixture(t, func(ctx context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
				cancel(&SignalError{Signal: syscall.SIGTERM})
				return engine(ctx, w, emit)
			})
			report, _ := f.do(ctx)
			f.want(report, Interrupted, 143, 0)
			if report.Waves[0].State != Interrupted {
				t.Errorf("wave 0 is %s", report.Waves[0].State)
			}
		})
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
