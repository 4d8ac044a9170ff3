package orchestrator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"homelab-patch-orchestrate/runner"
)

func (h *history) orchestrator(id string, policy Policy) *Orchestrator {
	a := h.account[id]
	o := &Orchestrator{
		Engine: h.engine(id, policy), Policy: policy, Took: h.took, Now: h.now, Stop: h.stop, Observe: h.observe,
		Boot: fmt.Sprint("boot ", h.boot), Reboot: h.reboot, Returned: h.returned(id), Preflight: h.preflight(a),
		Hold: func() (bool, string, error) {
			h.calls = append(h.calls, "hold")
			if h.unknown() {
				return false, "", errSick
			}
			h.noes["hold"] = h.noes["hold"] || h.held
			return h.held, "a hold", nil
		},
		HostHold: func(host string) (bool, string, error) {
			h.calls = append(h.calls, "host hold")
			if h.unknown() {
				return false, "", errSick
			}
			if h.hostHeld[host] {
				a.answer[host] = Held
			}
			return h.hostHeld[host], "its hold", nil
		},
		Fingerprint: func() (Project, error) {
			h.calls = append(h.calls, "fingerprint")
			if h.unknown() {
				return Project{}, errSick
			}
			if a.hash == 0 {
				a.hash = h.hash + 1
			}
			h.noes["project"] = h.noes["project"] || a.hash != h.hash+1
			return Project{Hash: fmt.Sprint(h.hash)}, nil
		},
	}
	o.Schedule.Location = time.UTC
	for _, day := range h.closedDays {
		b, err := ParseBlackout(day.Format(time.DateOnly))
		h.ok(err)
		o.Schedule.Blackouts = append(o.Schedule.Blackouts, b)
	}
	if h.window {
		w, err := ParseWindow("daily 00:00-20:00")
		h.ok(err)
		o.Schedule.Windows = []Window{w}
	}
	for i := range h.sick {
		o.Gates = append(o.Gates, h.gate(i))
	}
	return o
}

func (h *history) gate(i int) Gate {
	name := fmt.Sprint("gate ", i)
	return Gate{Name: name, Check: func(ctx context.Context, q Question) error {
		h.step()
		h.calls = append(h.calls, name)
		h.stir(false)
		if wait(ctx, time.Duration(h.rand.IntN(61))*time.Second+time.Second/2) { // a minute is too long
			if h.ctx.Err() == nil {
				h.noes["gate"] = true
			}
			return ctx.Err()
		}
		h.asked[name] = ask{q.When, q.Wave.Number, h.tick, !h.sick[i]}
		if h.sick[i] {
			h.noes["gate"] = true
			return errSick
		}
		return nil
	}}
}

// preflight is the controller in check mode.
func (h *history) preflight(a *account) engineFunc {
	return func(ctx context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		h.step()
		h.calls = append(h.calls, "preflight")
		h.stir(true)
		if wait(ctx, time.Minute) || h.chance(2) {
			h.noes["preflight"] = true
			return runner.Result{}, &runner.EngineError{Problem: "no check mode"}
		}
		a.preflight = true
		to := "3.11.3"
		if h.breaks {
			to = "3.12.1"
			h.noes["preflight"] = h.noes["preflight"] || !h.policy.EngineUpgrade
		}
		a.broken = h.breaks && !h.policy.EngineUpgrade
		h.role(emit, w.Hosts[0].Name, fmt.Sprintf(`"packages":[{"name":"python3","from":"3.11.2","to":%q}]`, to))
		return allWell(w), nil
	}
}

// role publishes the word of a host.
func (h *history) role(emit func(runner.Event), host string, words ...string) {
	words = append(words, `"version":1`)
	emit(runner.Event{Kind: runner.KindResult, Host: host, Action: "set_fact",
		Data: []byte(`{"ansible_facts":{"homelab_patch":{` + strings.Join(words, ",") + `}}}`)})
}

// engine is the playbook with the role, whose transactions end whatever becomes of us, and who does none twice under
// the same id. The role keeps the result of its latest run alone.
func (h *history) engine(id string, policy Policy) engineFunc {
	return func(ctx context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		h.mayAct(id, w, policy)
		h.calls = nil
		a := h.account[id]
		r := runner.Result{Hosts: map[string]runner.HostResult{}, Complete: true}
		cut := h.chance(2)
		for n, host := range w.Hosts {
			a.answer[host.Name] = HostNotAttempted
			if cut && n > 0 || ctx.Err() != nil {
				continue
			}
			h.step()
			h.stir(true)
			o, answer, reached := h.patch(id, host, policy, emit)
			h.step()
			if wait(ctx, time.Duration(1+h.rand.IntN(20))*time.Minute) && h.chance(80) {
				o, answer = runner.Interrupted, HostInterrupted
			}
			a.answer[host.Name], a.excused[host.Name] = answer, answer == HostUnreachable && host.Optional && !reached
			if o != "" {
				r.Hosts[host.Name] = runner.HostResult{Outcome: o, Reached: reached}
			}
		}
		h.step()
		if ctx.Err() != nil && h.ctx.Err() == nil {
			h.noes["deadline"] = true
		}
		switch {
		case cut:
			h.noes["engine"] = true
			return r, &runner.EngineError{Problem: "broken"}
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case h.chance(1):
			r.Complete = false
			h.noes["engine"] = true
		}
		return r, nil
	}
}

// patch is the luck of one host.
func (h *history) patch(id string, host Host, policy Policy, emit func(runner.Event)) (o runner.Outcome, answer Outcome, reached bool) {
	luck := h.rand.IntN(h.luck)
	switch {
	case luck < 4:
		return runner.Unreachable, HostUnreachable, false
	case luck < 5:
		return runner.Unreachable, HostUnreachable, true
	case luck < 6:
		return "", HostNotAttempted, false
	case luck < 7:
		h.role(emit, host.Name, `"hold":{"reason":"its own file"}`)
		return runner.OK, Held, true
	}
	if policy.Check {
		h.role(emit, host.Name, `"check":true`, `"packages":[{"name":"curl"}]`)
		return runner.OK, Unchanged, true
	}
	key := host.Name + " " + id
	if h.results[host.Name] != id { // else it is looked at again
		h.results[host.Name] = id
		h.upgrades[key]++
		h.fate[key] = []string{"patched", "unchanged"}[h.rand.IntN(2)]
		if luck < 14 {
			h.fate[key] = []string{"failed", "reported"}[h.rand.IntN(2)]
		}
	}
	if n := h.upgrades[key]; n > 1 {
		h.t.Errorf("%s had %d transactions", key, n)
	}
	switch h.fate[key] {
	case "failed":
		return runner.Failed, HostFailed, true
	case "reported":
		h.role(emit, host.Name, `"failure":{"reason":"a broken package"}`)
		return runner.OK, HostFailed, true
	case "unchanged":
		h.role(emit, host.Name, due(host.Controller && h.rebootDue))
		return runner.OK, Unchanged, true
	}
	h.role(emit, host.Name, `"packages":[{"name":"curl"}]`, due(host.Controller && h.rebootDue))
	return runner.Changed, Patched, true
}

func due(reboot bool) string { return fmt.Sprintf(`"reboot_due":%t`, reboot) }

// reboot is the controller that is told to reboot. Not every one does.
func (h *history) reboot(_ context.Context, r Report) error {
	h.step()
	h.mayReboot(r)
	h.requests[r.ID]++
	h.count("reboots asked for")
	if h.chance(4) {
		h.noes["reboot"] = true
		return errSick
	}
	if h.rebooted = h.chance(85); !h.rebooted {
		h.count("reboots that did not happen")
	}
	h.rebootDue = false
	h.step()
	return nil
}

// returned is the look at the controller after its boot.
func (h *history) returned(id string) engineFunc {
	return func(ctx context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		h.mayReturn(id, w)
		h.step()
		a := h.account[id]
		a.answer["controller"] = HostNotAttempted
		if h.chance(3) {
			h.noes["engine"] = true
			return runner.Result{}, &runner.EngineError{Problem: "broken"}
		}
		if wait(ctx, time.Minute) {
			a.answer["controller"] = HostInterrupted
			return result(w, map[string]runner.Outcome{"controller": runner.Interrupted}), context.Cause(ctx)
		}
		if h.chance(10) {
			a.answer["controller"] = HostFailed
			h.noes["reboot"] = true
			return result(w, map[string]runner.Outcome{"controller": runner.Failed}), nil
		}
		a.answer["controller"] = Patched
		h.role(emit, "controller", `"rebooted":true`)
		h.step()
		return allWell(w), nil
	}
}
