// Package enginetest says as a test what every [orchestrator.Engine] has to do, wherever its waves run: see docs/engines.md.
//
//	func TestEngine(t *testing.T) { enginetest.Test(t, newWorld) }
package enginetest

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// World is an engine, and hosts that it works on, as far as a test must reach them. On each host the work is a few tasks,
// one of which can be held up. Every field but Break and Outlives is needed.
type World struct {
	// Wave has the hosts that follow, and no other.
	Wave orchestrator.Wave
	// Well and Held come through; the work on Held can wait. Failing fails, and Unreachable is.
	Well, Held, Failing, Unreachable string

	// Engine is the engine of a run, as a process has it that begins the run, or goes on with it after another died.
	Engine func(run string, again bool) orchestrator.Engine
	// Hold has the work on Held wait in the middle of a task, until release is called.
	Hold func() (release func())
	// Begun and Done are how often work in a run was begun on a host, and came to its end there. The hosts say it, not
	// the engine.
	Begun, Done func(run, host string) int
	// Busy reports whether anything is at work on any host.
	Busy func() bool

	// Controller is a process, not started yet, that hands the engine of a run to [Control], as a controller that can be killed.
	Controller func(run string) *exec.Cmd
	// Outlives says that a wave goes on when its controller dies. Else it ends with it.
	Outlives bool

	// Break cuts the way that events take, once, while both ends live; nil if there is nothing between them to cut.
	Break func()
	// Kill ends whatever carries out the wave, without a word. Freeze has it stand still, and answer nobody.
	Kill, Freeze func()
	// Deadline is when an engine that has vanished must have been given up.
	Deadline time.Duration
}

// The runs of a test, and how long it waits for what should have come at once.
const (
	aRun     = "20261122T040000Z-aaaaaa"
	otherRun = "20261129T040000Z-bbbbbb"
	patience = 30 * time.Second
)

// Test has an engine do all that an engine must, each time in a world of its own.
func Test(t *testing.T, newWorld func(t *testing.T) World) {
	for _, c := range []struct {
		name string
		test func(*testing.T, World)
	}{
		{"events are in order, and the result is theirs", inOrder},
		{"a broken stream goes on where it was", breaks},
		{"cancelled, nothing goes on", cancelled},
		{"what has ended is never done again", once},
		{"what is under way is never begun again", underWay},
		{"what was cut short can be gone on with", goesOn},
		{"its controller killed, another goes on", orphaned},
		{"killed, hosts are interrupted", killed},
		{"frozen, hosts are interrupted", frozen},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, newWorld(t))
		})
	}
}

func inOrder(t *testing.T, w World) {
	c := start(t, t.Context(), w.Engine(aRun, false), w.Wave).wait(t, patience)
	c.complete(t, w)
	c.ordered(t)
	if c.events[0].Kind != runner.KindStart || c.events[len(c.events)-1].Kind != runner.KindStats {
		t.Errorf("it begins with %q and ends with %q", c.events[0].Kind, c.events[len(c.events)-1].Kind)
	}
	c.asTold(t, w)
	for _, h := range []string{w.Well, w.Held, w.Failing} {
		if n := w.Begun(aRun, h); n != 1 {
			t.Errorf("work on %s was begun %d times", h, n)
		}
	}
}

func breaks(t *testing.T, w World) {
	if w.Break == nil {
		t.Skip("nothing is between the two ends: what can break is the controller, see the test of that")
	}
	release := w.Hold()
	c := start(t, t.Context(), w.Engine(aRun, false), w.Wave)
	c.until(t, "the work is held", w.held)
	w.Break()
	release()
	c.wait(t, patience)
	c.complete(t, w)
	c.ordered(t)
	c.asTold(t, w)
	unbroken := start(t, t.Context(), w.Engine(otherRun, false), w.Wave).wait(t, patience)
	if got, want := c.told(), unbroken.told(); !sameSet(got, want) {
		t.Errorf("with a break:\n%q\nwithout:\n%q", got, want)
	}
	w.worked(t, aRun, 1)
}

func cancelled(t *testing.T, w World) {
	release := w.Hold()
	cause := errors.New("somebody said stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := start(t, ctx, w.Engine(aRun, false), w.Wave)
	c.until(t, "the work is held", w.held)
	cancel(cause)
	c.wait(t, patience)
	if !errors.Is(c.err, context.Canceled) || !errors.Is(c.err, cause) {
		t.Errorf("the error is %v: it holds neither the context's nor its cause", c.err)
	}
	c.interrupted(t, w)
	release()
	eventually(t, "nothing is at work", func() bool { return !w.Busy() })
	if n := w.Done(aRun, w.Held); n != 0 {
		t.Errorf("%s was worked on after the end: %d times", w.Held, n)
	}
}

func once(t *testing.T, w World) {
	first := start(t, t.Context(), w.Engine(aRun, false), w.Wave).wait(t, patience)
	first.complete(t, w)
	again := start(t, t.Context(), w.Engine(aRun, true), w.Wave).wait(t, patience)
	again.complete(t, w)
	if got, want := again.told(), first.told(); !sameSet(got, want) {
		t.Errorf("asked again it tells\n%q\nand told\n%q", got, want)
	}
	w.worked(t, aRun, 1)
	other := start(t, t.Context(), w.Engine(otherRun, false), w.Wave).wait(t, patience)
	other.complete(t, w)
	w.worked(t, otherRun, 1)
	next := w.Wave
	next.Number++
	start(t, t.Context(), w.Engine(aRun, true), next).wait(t, patience).complete(t, w)
	w.worked(t, aRun, 2)
}

func underWay(t *testing.T, w World) {
	release := w.Hold()
	first := start(t, t.Context(), w.Engine(aRun, false), w.Wave)
	first.until(t, "the work is held", w.held)
	second := start(t, t.Context(), w.Engine(aRun, true), w.Wave)
	eventually(t, "the second one is refused, or listens", func() bool { return second.over() || second.heard() })
	release()
	first.wait(t, patience)
	second.wait(t, patience)
	first.complete(t, w)
	if second.err == nil {
		second.complete(t, w)
	} else if h := second.res.Hosts[w.Well]; h.Outcome == runner.OK || h.Outcome == runner.Changed {
		t.Errorf("it was refused (%v), and says that %s is %s", second.err, w.Well, h.Outcome)
	}
	w.worked(t, aRun, 1)
}

func goesOn(t *testing.T, w World) {
	release := w.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	c := start(t, ctx, w.Engine(aRun, false), w.Wave)
	c.until(t, "the work is held", w.held)
	cancel()
	c.wait(t, patience)
	release()
	again := start(t, t.Context(), w.Engine(aRun, true), w.Wave).wait(t, patience)
	again.complete(t, w)
	again.ordered(t)
	if n := w.Done(aRun, w.Held); n != 1 {
		t.Errorf("the work on %s has come to its end %d times", w.Held, n)
	}
}

// orphaned also has a process die in the middle, instead of being told to stop: the events that it has not heard are not lost.
func orphaned(t *testing.T, w World) {
	release := w.Hold()
	w.orphan(t)
	if !w.Outlives {
		eventually(t, "nothing goes on unwatched", func() bool { return !w.Busy() })
		release()
	}
	again := start(t, t.Context(), w.Engine(aRun, true), w.Wave)
	if w.Outlives {
		again.until(t, "the work is still held", w.held)
		release()
	}
	again.wait(t, patience).complete(t, w)
	again.ordered(t)
	again.asTold(t, w)
	if n := w.Done(aRun, w.Held); n != 1 {
		t.Errorf("the work on %s has come to its end %d times", w.Held, n)
	}
	if w.Outlives {
		w.worked(t, aRun, 1)
	}
}

// killed also has the orchestrator judge it. Nobody said stop: the run could not be carried out.
func killed(t *testing.T, w World) {
	defer w.Hold()()
	c, report := w.vanish(t, w.Kill)
	var engine *runner.EngineError
	if !errors.As(c.err, &engine) {
		t.Errorf("the error is %v, want an *EngineError", c.err)
	}
	c.interrupted(t, w)
	if report.State != orchestrator.Failed || *report.ExitCode != orchestrator.ExitFailed {
		t.Errorf("the run is %s with exit code %d", report.State, *report.ExitCode)
	}
}

// frozen is ended by the engine's own deadline, as if it had been killed, or by that of the wave, which is a halt.
func frozen(t *testing.T, w World) {
	defer w.Hold()()
	c, report := w.vanish(t, w.Freeze)
	c.interrupted(t, w)
	state, code := orchestrator.Halted, orchestrator.ExitHalted
	if engine := (*runner.EngineError)(nil); errors.As(c.err, &engine) {
		state, code = orchestrator.Failed, orchestrator.ExitFailed
	}
	if report.State != state || *report.ExitCode != code {
		t.Errorf("the run is %s with exit code %d, want %s, %d: %v", report.State, *report.ExitCode, state, code, c.err)
	}
}
