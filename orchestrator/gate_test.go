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
