package orchestrator

import (
	"context"
	"strings"
	"testing"

	"homelab-patch-orchestrate/runner"
)

// Somebody said stop, so the controller was not told to reboot; then the process died while its gates were asked. Who
// resumes the run ends it, and does not come back to the reboot.
func TestResumeAfterRebootDeclined(t *testing.T) {
	w := newWorld(t, inMemory(t), killed)
	stop := make(chan struct{})
	dies := true
	o := w.orchestrator()
	o.Stop = stop
	o.Gates = []Gate{{Name: "health", Check: func(_ context.Context, q Question) error {
		if dies && q.When == "after wave 2" {
			panic(crashed{})
		}
		return nil
	}}}
	o.Engine = engineFunc(func(ctx context.Context, wave Wave, emit func(runner.Event)) (runner.Result, error) {
		if wave.Number == 2 {
			close(stop)
		}
		return w.engine(ctx, wave, emit)
	})
	lock, err := w.store().Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	run, err := lock.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if !w.life(func() { o.Run(t.Context(), run, w.plan()) }) {
		t.Fatal("it did not die")
	}
	dies, o.Stop = false, nil
	report, err := o.Resume(t.Context(), run, w.plan())
	if err != nil || report.State != Passed || w.requests[run.ID] > 0 {
		t.Errorf("it ended %s, %v, and asked for %d reboots", report.State, err, w.requests[run.ID])
	}
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "controller has to reboot and was not told to: the run was stopped") {
		t.Errorf("notes %q", report.Notes)
	}
}
