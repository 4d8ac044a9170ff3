package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/runner"
)

// history is a world with random luck, and an account of what happens in it.
type history struct {
	*world
	rand    *rand.Rand
	covered map[string]int
	trace   bool // say what happens
	calm    bool // nothing happens any more but what the processes do

	// the world as it is now
	waves      [][]string // names by wave; the last has the controller
	names      []string
	optional   map[string]bool
	gone       map[string]bool // not in the inventory
	inv        *inventory.Inventory
	held       bool
	hostHeld   map[string]bool
	sick       []bool // by gate: it would say no
	hash       int    // of the project
	closedDays []time.Time
	luck       int  // the more, the less goes wrong
	window     bool // every day until eight in the evening
	rebootDue  bool
	breaks     bool              // the upgrade of the controller would take its engine away
	fate       map[string]string // by host and run: how its transaction ended
	full       bool              // the journal cannot be written
	blocked    string            // by this folder
	sign       time.Time         // when a process last did something

	// what the operator wants
	policy Policy
	now    bool
	took   Durations

	// the process under way
	st      *Store
	ctx     context.Context
	cancel  context.CancelCauseFunc
	stop    chan struct{}
	once    *sync.Once
	calls   []string // since an engine was last called
	noes    map[string]bool
	worked  map[string]bool // hosts that the engine was called for
	asked   map[string]ask
	tick    int // counts changes of what gates look at
	lacking bool

	account map[string]*account
	order   []string // runs as they began
}

func newHistory(t *testing.T, dir string, r *rand.Rand, covered map[string]int) *history {
	how := killed
	if r.IntN(100) < 12 {
		how = lostAll
	}
	h := &history{world: newWorld(t, dir, how), rand: r, covered: covered, optional: map[string]bool{}, gone: map[string]bool{},
		hostHeld: map[string]bool{}, sick: make([]bool, r.IntN(3)), account: map[string]*account{}, fate: map[string]string{}}
	h.window, h.luck = h.chance(20), 50+h.rand.IntN(400)
	for w := range h.rand.IntN(3) {
		h.waves = append(h.waves, nil)
		for n := range 1 + h.rand.IntN(3) {
			name := fmt.Sprintf("host%d-%d", w, n)
			h.waves[w], h.names = append(h.waves[w], name), append(h.names, name)
			h.optional[name] = h.chance(20)
		}
	}
	h.waves, h.names = append(h.waves, []string{"controller"}), append(h.names, "controller")
	return h
}

func (h *history) chance(percent int) bool { return h.rand.IntN(100) < percent }

func (h *history) count(what string) {
	h.covered[what]++
	h.log("%s", what)
}

func (h *history) log(format string, args ...any) {
	if h.trace {
		h.t.Logf(time.Now().UTC().Format("0102 15:04:05 ")+format, args...)
	}
}
func (h *history) sleep(d time.Duration) { time.Sleep(d) } // in a bubble: it is the clock that is set

func (h *history) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// inventory is what it says now.
func (h *history) inventory() *inventory.Inventory {
	if h.inv != nil {
		return h.inv
	}
	groups := map[string]any{"patch_controller": map[string]any{"hosts": []string{"controller"}}}
	vars := map[string]any{}
	var children []string
	for w, names := range h.waves {
		var hosts []string
		for _, name := range names {
			if !h.gone[name] {
				hosts = append(hosts, name)
				vars[name] = map[string]any{"patching_optional": h.optional[name]}
			}
		}
		if len(hosts) > 0 {
			group := fmt.Sprintf("patching_wave%d", 2*w)
			groups[group], children = map[string]any{"hosts": hosts}, append(children, group)
		}
	}
	groups["patching_targets"] = map[string]any{"children": children}
	groups["_meta"] = map[string]any{"hostvars": vars}
	data, err := json.Marshal(groups)
	h.ok(err)
	h.inv = parse(h.t, string(data))
	return h.inv
}

// process is one process with the lock. It reports whether it died, and has the account audited.
func (h *history) process(do func(*Lock)) (died bool) {
	h.count("processes")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	h.ctx, h.cancel, h.stop, h.once = ctx, cancel, make(chan struct{}), &sync.Once{}
	h.calls, h.noes, h.worked, h.asked, h.lacking = nil, map[string]bool{}, map[string]bool{}, map[string]ask{}, false
	h.dieAt = 0
	if !h.calm && h.chance(40) {
		h.dieAt = h.steps + 1 + h.rand.IntN(60)
	}
	if h.death != lostAll {
		h.death = []death{killed, powerCut}[h.rand.IntN(2)]
	}
	if !h.calm && h.chance(10) { // in a soak, or while a reboot is waited for
		what := h.rand.IntN(4)
		timer := time.AfterFunc(time.Duration(h.rand.IntN(4*3600))*time.Second+time.Millisecond, func() { h.say(what) })
		defer timer.Stop()
	}
	died = h.life(func() {
		defer func() {
			if down := (*ShutdownError)(nil); errors.As(context.Cause(ctx), &down) {
				h.rebooted = true
			}
		}()
		h.st = h.store()
		after := h.st.disk.after
		h.st.disk.after = func(step, path string) {
			h.sign = time.Now()
			after(step, path)
		}
		lock, err := h.st.Lock()
		h.ok(err)
		defer lock.Close()
		do(lock)
	})
	h.dieAt = 0
	if h.full { // there is room again
		h.full = false
		rel, err := filepath.Rel(h.dir, h.blocked)
		h.ok(errors.Join(err, os.RemoveAll(h.blocked), os.RemoveAll(filepath.Join(h.disk, rel))))
	}
	if died {
		h.count("deaths: " + string(h.death))
	}
	h.audit()
	return died
}

// say is somebody who wants the run to end.
func (h *history) say(what int) {
	switch what {
	case 0:
		h.once.Do(func() { close(h.stop) })
	case 1:
		h.cancel(&SignalError{Signal: syscall.SIGTERM})
	case 2:
		h.cancel(&SignalError{Signal: syscall.SIGINT})
	case 3:
		h.cancel(&ShutdownError{})
	}
}

// stir is the world while something takes time. What gates look at stays as it is while they look.
func (h *history) stir(gates bool) {
	if h.calm {
		return
	}
	n := h.rand.IntN(160)
	h.log("stir %d", n)
	switch n {
	case 0, 1:
		h.held = true
	case 2:
		h.held = false
	case 3, 4:
		h.hash++
	case 5, 6:
		h.say(h.rand.IntN(4))
	case 7, 8:
		name := h.names[h.rand.IntN(len(h.names))]
		h.hostHeld[name] = !h.hostHeld[name]
	case 9, 10, 11:
		if gates && len(h.sick) > 0 {
			i := h.rand.IntN(len(h.sick))
			h.sick[i] = !h.sick[i]
			h.tick++
		}
	case 12:
		// As with a full disk, nothing can be written any more.
		h.blocked = h.st.runDir(h.order[len(h.order)-1]) + "/" + journalFile + ".tmp"
		h.full = os.Mkdir(h.blocked, 0o700) == nil
	case 13:
		h.sleep(5 * time.Hour)
	}
}

// unknown reports whether something that is asked for cannot be told.
func (h *history) unknown() bool {
	if h.calm || h.rand.IntN(300) > 0 {
		return false
	}
	h.noes["unknown"] = true
	return true
}

// wait lets time pass, and reports whether the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() != nil
}

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
			a.broken = !h.policy.EngineUpgrade
		}
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
		switch {
		case cut:
			h.noes["engine"] = true
			return r, &runner.EngineError{Problem: "broken"}
		case ctx.Err() != nil:
			h.noes["deadline"] = h.noes["deadline"] || h.ctx.Err() == nil
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
