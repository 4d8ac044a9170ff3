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
)

// Gates are asked after the soak and again right before the next wave, with the wave's outcomes; stopping does not skip
// them. All are asked, also when one has said no, and every answer is in the journal.
func TestGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, fine)
		f.Policy.Soak = time.Hour
		begin := time.Now()
		var asked []string
		gate := func(name string, sick string) Gate {
			return Gate{Name: name, Check: func(_ context.Context, q Question) error {
				asked = append(asked, fmt.Sprintf("%s %s at %v", name, q.When, time.Since(begin)))
				onDisk, err := f.store.Load(f.run.ID)
				f.ok(err)
				i, state := q.Wave.Number, Soaking
				if strings.HasPrefix(q.When, "before") {
					state = Passed
				}
				if onDisk.State != Soaking || onDisk.Waves[i].State != state || onDisk.Waves[i].Count(Unchanged) != len(q.Wave.Hosts) {
					t.Errorf("asked %s about wave %d, on disk: %s", q.When, i, encode(t, onDisk))
				}
				if q.Report.ID != f.run.ID || q.Report.Started.IsZero() || len(q.Report.Waves) != 3 {
					t.Errorf("asked with the report %s", encode(t, q.Report))
				}
				if q.When == sick {
					return errSick
				}
				return nil
			}}
		}
		f.Orchestrator.Gates = []Gate{gate("a", ""), gate("b", "after wave 1"), gate("c", "after wave 1")}
		report, err := f.do(t.Context())
		f.want(report, Halted, ExitHalted, 0, 1)
		var want []string
		for _, when := range []string{"after wave 0 at 1h0m0s", "before wave 1 at 1h0m0s", "after wave 1 at 2h0m0s"} {
			for _, name := range []string{"a ", "b ", "c "} {
				want = append(want, name+when)
			}
		}
		if !slices.Equal(asked, want) {
			t.Errorf("asked %q", asked)
		}
		words := "halted after wave 1: gate b: prometheus does not answer; it last said yes at 01:00:00 UTC, before wave 1; no was also said by: c"
		if !errors.Is(err, errSick) || report.Reason != words || report.Waves[1].State != Halted {
			t.Errorf("error %v, wave 1 %s", err, report.Waves[1].State)
		}
		var answers []string
		for _, w := range report.Waves {
			for _, a := range w.Gates {
				answers = append(answers, fmt.Sprintf("%d: %s %s at %v: %t %s", w.Number, a.Gate, a.When, a.Time.Sub(begin), a.OK, a.Reason))
			}
		}
		if got := strings.Join(answers, "\n"); got != `0: a after wave 0 at 1h0m0s: true 
0: b after wave 0 at 1h0m0s: true 
0: c after wave 0 at 1h0m0s: true 
0: a before wave 1 at 1h0m0s: true 
0: b before wave 1 at 1h0m0s: true 
0: c before wave 1 at 1h0m0s: true 
1: a after wave 1 at 2h0m0s: true 
1: b after wave 1 at 2h0m0s: false prometheus does not answer
1: c after wave 1 at 2h0m0s: false prometheus does not answer` {
			t.Errorf("answers in the report:\n%s", got)
		}
	})
}

var errSick = errors.New("prometheus does not answer")

// sick is a gate that says no at one time.
func sick(when string) Gate {
	return Gate{Name: "health", Check: func(_ context.Context, q Question) error {
		if q.When == when {
			return errSick
		}
		return nil
	}}
}

// What a gate has said last counts.
func TestRefused(t *testing.T) {
	r := Report{Waves: []WaveReport{
		{Gates: []GateAnswer{{Gate: "a", When: "1"}, {Gate: "b", When: "1"}, {Gate: "c", When: "1", OK: true}, {Gate: "a", When: "2", OK: true}}},
		{Gates: []GateAnswer{{Gate: "c", When: "3"}, {Gate: "b", When: "3"}}},
	}}
	var got []string
	for _, a := range r.Refused() {
		got = append(got, a.Gate+a.When)
	}
	if !slices.Equal(got, []string{"c3", "b3"}) {
		t.Errorf("refused %q", got)
	}
}

// A no right before a wave leaves the wave before it passed, and the next one untouched.
func TestGateBeforeAWave(t *testing.T) {
	f := newFixture(t, fine)
	f.Orchestrator.Gates = []Gate{sick("before wave 2")}
	report, err := f.do(t.Context())
	f.want(report, Halted, ExitHalted, 0, 1)
	if !strings.HasPrefix(report.Reason, "halted before wave 2: gate health: prometheus does not answer; it last said yes at ") || !errors.Is(err, errSick) {
		t.Errorf("reason %q, error %v", report.Reason, err)
	}
	if one, two := report.Waves[1].State, report.Waves[2].State; one != Passed || two != Pending {
		t.Errorf("wave 1 is %s, wave 2 is %s", one, two)
	}
}

// The last wave has no soak, and its gates still decide.
func TestGateAfterTheLastWave(t *testing.T) {
	f := newFixture(t, fine)
	f.Orchestrator.Gates = []Gate{sick("after wave 2")}
	report, _ := f.do(t.Context())
	f.want(report, Halted, ExitHalted, 0, 1, 2)
}

// A gate that does not answer in time has said no, also if it says yes in the end.
func TestGateTooLate(t *testing.T) {
	for name, test := range map[string]struct {
		timeout time.Duration
		late    error
		took    time.Duration
		words   string
	}{
		"a minute":      {0, nil, time.Minute, "no answer within 1m0s"},
		"its own":       {5 * time.Minute, context.DeadlineExceeded, 5 * time.Minute, "no answer within 5m0s"},
		"with a reason": {time.Second, errSick, time.Second, "no answer within 1s: prometheus does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, fine)
				begin := time.Now()
				f.Orchestrator.Gates = []Gate{{Name: "slow", Timeout: test.timeout, Check: func(ctx context.Context, _ Question) error {
					<-ctx.Done()
					return test.late
				}}}
				report, _ := f.do(t.Context())
				f.want(report, Halted, ExitHalted, 0)
				if want := "halted after wave 0: gate slow: " + test.words; report.Reason != want || time.Since(begin) != test.took {
					t.Errorf("after %v: %q, want %q", time.Since(begin), report.Reason, want)
				}
			})
		})
	}
}

// A gate whose context ended says nothing about health, and is in no report. One that had said no before has.
func TestGateInterrupted(t *testing.T) {
	for _, when := range []string{"after wave 0", "before wave 1"} {
		f := newFixture(t, fine)
		ctx, cancel := context.WithCancelCause(t.Context())
		f.Orchestrator.Gates = []Gate{{Name: "a", Check: func(ctx context.Context, q Question) error {
			if q.When == when {
				cancel(&SignalError{Signal: syscall.SIGTERM})
			}
			return ctx.Err()
		}}, {Name: "b", Check: func(_ context.Context, q Question) error {
			if q.When == when {
				t.Error("asked after the end")
			}
			return nil
		}}}
		report, _ := f.do(ctx)
		f.want(report, Interrupted, 143, 0)
		if report.Reason != "interrupted "+when+": SIGTERM" {
			t.Errorf("reason %q", report.Reason)
		}
		for _, a := range report.Waves[0].Gates {
			if a.When == when {
				t.Errorf("answer %+v", a)
			}
		}
		f = newFixture(t, fine)
		ctx, cancel = context.WithCancelCause(t.Context())
		f.Orchestrator.Gates = []Gate{sick(when), {Name: "a", Check: func(ctx context.Context, q Question) error {
			if q.When == when {
				cancel(&SignalError{Signal: syscall.SIGTERM})
			}
			return ctx.Err()
		}}}
		report, _ = f.do(ctx)
		f.want(report, Halted, ExitHalted, 0)
	}
}

// Someone says stop while the gates are asked before a wave: it does not begin.
func TestStopWhileAsked(t *testing.T) {
	f := newFixture(t, fine)
	stop := make(chan struct{})
	f.Orchestrator.Stop = stop
	f.Orchestrator.Gates = []Gate{{Name: "a", Check: func(_ context.Context, q Question) error {
		if q.When == "before wave 1" {
			close(stop)
		}
		return nil
	}}}
	report, _ := f.do(t.Context())
	f.want(report, Interrupted, ExitInterrupted, 0)
	if a := report.Waves[0].Gates; len(a) != 2 || report.Reason != "stopped before wave 1" {
		t.Errorf("reason %q, answers %v", report.Reason, a)
	}
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
