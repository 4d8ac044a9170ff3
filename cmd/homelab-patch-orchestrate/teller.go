package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// teller is a view whose run also is the line of `systemctl status`.
type teller struct {
	view
	run  *tui.Run
	last string
}

func (t *teller) Event(e runner.Event) { t.view.Event(e); t.tell() }

func (t *teller) Change(c orchestrator.Change) { t.view.Change(c); t.tell() }

func (t *teller) Say(words string) { t.view.Say(words); t.tell() }

// tell shows the line if it is another. The engine and the orchestrator never call at the same time.
func (t *teller) tell() {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	if line := t.run.Status(); line != t.last {
		t.last = line
		status(line)
	}
}

// tellAround has the view say what a run does besides patching: it soaks, gates are asked, the upgrade of the controller is
// looked at.
func tellAround(o *orchestrator.Orchestrator, v view, plan *orchestrator.Plan) {
	for i, g := range o.Gates {
		o.Gates[i].Check = func(ctx context.Context, q orchestrator.Question) error {
			v.Say(fmt.Sprintf("gate %s is asked, %s", g.Name, q.When))
			return g.Check(ctx, q)
		}
	}
	if o.Preflight != nil {
		o.Preflight = ahead{o.Preflight, v}
	}
	observe, last := o.Observe, -1 // the last wave does not soak
	for _, w := range plan.Waves {
		last = w.Number
	}
	o.Observe = func(ctx context.Context, c orchestrator.Change) {
		observe(ctx, c)
		if soak := o.Policy.Soak; soak > 0 && c.Wave != nil && *c.Wave != last && c.To == string(orchestrator.Soaking) {
			v.Say(fmt.Sprintf("wave %d is soaking until %s", *c.Wave, c.Time.Add(soak).Local().Format(time.TimeOnly)))
		}
	}
}

// ahead is what looks at the upgrade of the controller before it is made.
type ahead struct {
	orchestrator.Engine
	v view
}

func (a ahead) Run(ctx context.Context, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	a.v.Say(fmt.Sprintf("what the upgrade of the controller would change is looked at, before wave %d", w.Number))
	defer a.v.Say("")
	return a.Engine.Run(ctx, w, emit)
}
