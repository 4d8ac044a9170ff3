package enginetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// slack is what an engine may take besides its deadline, to end what it drives on a busy machine.
const slack = 10 * time.Second

// Control carries out a wave and tells out of each event, for a process of [World].Controller.
func Control(out io.Writer, e orchestrator.Engine, w orchestrator.Wave) error {
	_, err := e.Run(context.Background(), w, func(e runner.Event) { fmt.Fprintln(out, e.Kind, e.Host) })
	return err
}

// Begin begins a run in a state directory of its own, which is the test's until that ends.
func Begin(t *testing.T) *orchestrator.Run {
	t.Helper()
	store, err := orchestrator.Open(t.TempDir() + "/state")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	run, err := lock.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// orphan has another process carry out the wave, and kills it when the work is held.
func (w World) orphan(t *testing.T) {
	t.Helper()
	c := w.Controller(aRun)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	is, held := w.held(), false
	for lines := bufio.NewScanner(out); !held && lines.Scan(); {
		var e runner.Event
		fmt.Sscan(lines.Text(), &e.Kind, &e.Host)
		held = is(e)
	}
	c.Process.Kill()
	if err := c.Wait(); !held {
		t.Fatalf("the controller was to be killed, and ended before: %v", err)
	}
}

// vanish has the orchestrator carry out the wave, and do something to the engine when the work is held. What the orchestrator
// says of it is checked as far as it is the same whatever happened.
func (w World) vanish(t *testing.T, do func()) (*call, orchestrator.Report) {
	t.Helper()
	run := Begin(t)
	c := &call{done: make(chan struct{})}
	is, gone := w.held(), time.Time{}
	o := orchestrator.Orchestrator{
		Engine: listener{w.Engine(run.ID, false), c}, Policy: orchestrator.Policy{Budget: len(w.Wave.Hosts), WaveDeadline: w.Deadline},
		Progress: func(e runner.Event) {
			if is(e) {
				gone = time.Now()
				do()
			}
		},
	}
	report, err := o.Run(t.Context(), run, &orchestrator.Plan{Waves: []orchestrator.Wave{w.Wave}})
	if took := time.Since(gone); gone.IsZero() || took > w.Deadline+slack || err == nil {
		t.Errorf("gone at %s, after %s: %v", gone, took, err)
	}
	for _, what := range c.wrong {
		t.Error(what)
	}
	t.Logf("the run is %s: %s", report.State, report.Reason)
	if wave := report.Waves[0]; wave.State != report.State {
		t.Errorf("the wave is %s, the run %s", wave.State, report.State)
	}
	for _, h := range report.Waves[0].Hosts {
		if want := c.res.Hosts[h.Name].Outcome; string(h.Outcome) != string(want) && want != "" {
			t.Errorf("%s came out %s, the engine says %s", h.Name, h.Outcome, want)
		}
		if (h.Name == w.Held || h.Name == w.Well) && h.Outcome != orchestrator.HostInterrupted {
			t.Errorf("%s came out %s", h.Name, h.Outcome)
		}
	}
	return c, report
}

// listener is an engine whose only call is looked at.
type listener struct {
	orchestrator.Engine
	*call
}

func (l listener) Run(ctx context.Context, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	defer close(l.done)
	res, err := l.Engine.Run(ctx, w, func(e runner.Event) { l.take(e); emit(e) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.res, l.err, l.ended = res, err, true
	return res, err
}
