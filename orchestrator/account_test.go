package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// account is what is known of a run without its journal: what the world did and was asked, and what an observer heard.
type account struct {
	id        string
	kind      Kind
	of        string
	budget    int
	hash      int                // of the project when it began, plus one; 0: it did not
	state     map[string]State   // by "" for the run and the number of a wave: known to be durable
	answer    map[string]Outcome // by host: how it came out, when it was last asked for
	excused   map[string]bool
	heard     map[string]Outcome // by host: what was said to be durable
	touched   map[string]bool    // hosts that an engine was ever called for
	preflight bool               // the controller was asked what its upgrade would change
	broken    bool               // and that was too much
	ends      int                // times that its end was told
	onDisk    bool
	done      bool // its journal was read when it was final
	read      int  // when its journal was last compared with this, in steps of the world
}

// ask is the latest answer of a gate in this process.
type ask struct {
	when string
	wave int
	tick int
	yes  bool
}

// begun begins the account of a run.
func (h *history) begun(id string, policy Policy) {
	h.order = append(h.order, id)
	h.account[id] = &account{id: id, kind: policy.Kind(), of: policy.Of, budget: policy.Budget, state: map[string]State{}, answer: map[string]Outcome{},
		excused: map[string]bool{}, heard: map[string]Outcome{}, touched: map[string]bool{}}
}

// closed is what the schedule says, thought out anew.
func (h *history) closed(group string) bool {
	begin := time.Now()
	end := begin.Add(h.took[group])
	for _, day := range h.closedDays {
		if (end.After(day) || begin.Equal(day)) && begin.Before(day.AddDate(0, 0, 1)) { // a wave may take no time at all
			return true
		}
	}
	evening := begin.Truncate(24 * time.Hour).Add(20 * time.Hour)
	return h.window && (!begin.Before(evening) || end.After(evening))
}

// mayAct checks that nothing forbids the engine to be called now.
func (h *history) mayAct(id string, w Wave, policy Policy) {
	a := h.account[id]
	bad := func(format string, args ...any) {
		h.t.Errorf("run %s: the engine was called for wave %d %s", id, w.Number, fmt.Sprintf(format, args...))
	}
	disk, err := h.st.Load(id)
	h.ok(err)
	at := slices.IndexFunc(disk.Waves, func(r WaveReport) bool { return r.Number == w.Number })
	if disk.State != Running || disk.Waves[at].State != Running {
		bad("while the journal said run %s, wave %s", disk.State, disk.Waves[at].State)
	}
	if len(w.Hosts) == 0 {
		bad("without a host")
	}
	for _, host := range w.Hosts {
		if o := disk.Waves[at].byName()[host.Name].Outcome; o != Undecided || a.heard[host.Name] != Undecided {
			bad("with %s, which the journal has as %q, and which was heard of as %q", host.Name, o, a.heard[host.Name])
		}
		if h.worked[host.Name] {
			bad("with %s a second time", host.Name)
		}
		if h.hostHeld[host.Name] {
			bad("with %s, which is held", host.Name)
		}
		if h.gone[host.Name] {
			bad("with %s, which is not in the inventory", host.Name)
		}
		h.worked[host.Name], a.touched[host.Name] = true, true
	}
	select {
	case <-h.stop:
		bad("after a stop")
	default:
	}
	if _, err := h.st.Lock(); !errors.Is(err, ErrLocked) {
		bad("without the lock")
	}
	switch {
	case h.full:
		bad("when the journal could not be written")
	case h.ctx.Err() != nil:
		bad("after %v", context.Cause(h.ctx))
	case h.held:
		bad("in spite of a hold")
	case !h.now && !policy.Check && h.closed(w.Group):
		bad("when the schedule was closed")
	case a.hash != h.hash+1:
		bad("with another project")
	case w.Hosts[len(w.Hosts)-1].Controller && !policy.Check && (!a.preflight || a.broken):
		bad("with the controller; preflight: %t, it would break: %t", a.preflight, a.broken)
	}
	for i, before := range disk.Waves[:at] {
		if before.State != Passed {
			bad("when wave %d was %s", before.Number, before.State)
		}
		lost := 0
		for _, host := range before.Hosts {
			if !a.heard[host.Name].Well() && !a.excused[host.Name] {
				lost++
			}
		}
		if lost > a.budget {
			bad("when wave %d had lost %d, with a budget of %d", before.Number, lost, a.budget)
		}
		if i < at-1 {
			continue
		}
		for g := range h.sick {
			name := fmt.Sprint("gate ", g)
			last := h.asked[name]
			if !last.yes || last.tick != h.tick || last.wave != before.Number || last.when != fmt.Sprintf("before wave %d", w.Number) {
				bad("and %s had last said %+v, the world is at %d", name, last, h.tick)
			}
		}
	}
	// Right before means: nothing that takes time has come between.
	after := h.calls
	for i, call := range slices.Backward(h.calls) {
		if strings.HasPrefix(call, "gate") || call == "preflight" {
			after = h.calls[i+1:]
			break
		}
	}
	if !slices.Contains(after, "hold") || !slices.Contains(after, "fingerprint") {
		bad("and whether it is held was not asked right before: %v", h.calls)
	}
	for i, call := range h.calls {
		if call == "preflight" && at > 0 && len(h.sick) > 0 && !slices.Contains(h.calls[i:], "gate 0") {
			bad("and no gate was asked after the preflight: %v", h.calls)
		}
	}
}

// mayReboot checks what the controller's reboot asks for.
func (h *history) mayReboot(r Report) {
	disk, err := h.st.Load(r.ID)
	h.ok(err)
	last := disk.Waves[len(disk.Waves)-1]
	if disk.State != AwaitingReboot || last.State != AwaitingReboot || disk.Reboot == nil || h.requests[r.ID] > 0 {
		h.t.Errorf("run %s: a reboot, the run %s, its last wave %s, the request %v, asked for %d times before", r.ID, disk.State, last.State, disk.Reboot, h.requests[r.ID])
	}
	for _, w := range disk.Waves {
		if n := w.Count(Undecided); n > 0 || w.Number != last.Number && w.State != Passed {
			h.t.Errorf("run %s: a reboot, wave %d is %s with %d hosts undecided", r.ID, w.Number, w.State, n)
		}
	}
	if disk.Kind == Check {
		h.t.Errorf("run %s: a dry run reboots", r.ID)
	}
	select {
	case <-h.stop:
		h.t.Errorf("run %s: a reboot after a stop", r.ID)
	default:
	}
}

// mayReturn checks when the controller is judged after its reboot.
func (h *history) mayReturn(id string, w Wave) {
	disk, err := h.st.Load(id)
	h.ok(err)
	if disk.State != AwaitingReboot || disk.Reboot.Boot == fmt.Sprint("boot ", h.boot) || len(w.Hosts) != 1 || w.Hosts[0].Name != "controller" {
		h.t.Errorf("run %s, %s in boot %d after %v: the controller's return is judged with %v", id, disk.State, h.boot, disk.Reboot, w.Names())
	}
}
