package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/runner"
)

// TestRandomHistories runs random fleets with random luck, and checks what must hold whatever happens.
func TestRandomHistories(t *testing.T) {
	seed := rand.Uint64()
	runs, most := 120, 2000 // until each end was seen; the rarest is one in some thirty
	store, err := Open(inMemory(t) + "/state")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ends := map[int]int{}
	all := []int{ExitDone, ExitFailed, ExitHalted, ExitLosses, ExitInterrupted, 143}
	for i := 0; i < runs || i < most && slices.ContainsFunc(all, func(code int) bool { return ends[code] == 0 }); i++ {
		h := &history{t: t, rand: rand.New(rand.NewPCG(seed, uint64(i))), store: store, state: map[string]State{}, decided: map[string]bool{}, lostIn: map[int]int{}, lastWave: -1}
		ends[h.play(lock)]++
		if t.Failed() {
			t.Fatalf("seed %d, history %d", seed, i)
		}
	}
	for _, code := range all {
		if ends[code] == 0 {
			t.Errorf("no history of %d ended with %d: %v (seed %d)", most, code, ends, seed)
		}
	}
	t.Logf("%v", ends)
}

// inMemory returns a folder where an fsync costs nothing, if there is one.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "orchestrator")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// history is one random run, and what was seen of it.
type history struct {
	t        *testing.T
	rand     *rand.Rand
	store    *Store
	run      *Run
	budget   int
	state    map[string]State // by "" for the run and the number of a wave
	decided  map[string]bool  // hosts with an outcome
	lostIn   map[int]int      // by wave: hosts that count against the budget
	stopped  bool             // someone said stop, or a gate said no
	lastWave int
	gated    bool   // there is a gate
	asked    int    // how often it was asked since the latest wave began
	when     string // it was last asked
	cancel   context.CancelCauseFunc
	stop     chan struct{}
}

func (h *history) chance(percent int) bool { return h.rand.IntN(100) < percent }

// play runs the history and returns its exit code.
func (h *history) play(lock *Lock) int {
	h.budget = h.rand.IntN(3)
	plan, err := NewPlan(h.fleet(), Policy{Budget: h.budget})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.run, err = lock.Begin(); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(h.t.Context())
	defer cancel(nil)
	h.cancel, h.stop = cancel, make(chan struct{})
	o := Orchestrator{
		Engine: h, Policy: Policy{Budget: h.budget}, Stop: h.stop, Observe: h.observe,
		Hold: func() (bool, string, error) {
			if h.lastWave >= 0 && h.chance(3) {
				h.stopped = true
				return true, "a hold", nil
			}
			return false, "", nil
		},
	}
	if h.chance(50) {
		h.gated = true
		o.Gates = []Gate{{Name: "health", Check: func(_ context.Context, q Question) error {
			h.asked++
			if q.Wave.Number != h.lastWave {
				h.t.Errorf("asked about wave %d when wave %d was the last", q.Wave.Number, h.lastWave)
			}
			h.when = q.When
			if h.chance(3) {
				h.stopped = true
				return errSick
			}
			return nil
		}}}
	}
	report, err := o.Run(ctx, h.run, plan)
	h.judge(report, err)
	return ExitCode(report, err)
}

// fleet is up to five waves of up to four hosts, and the controller.
func (h *history) fleet() *inventory.Inventory {
	groups := map[string]any{"patch_controller": map[string]any{"hosts": []string{"controller"}}}
	vars := map[string]any{}
	var children []string
	waves := h.rand.IntN(5)
	for w := range waves + 1 {
		group := fmt.Sprintf("patching_wave%d", 2*w)
		children = append(children, group)
		hosts := []string{"controller"}
		if w < waves {
			hosts = nil
			for n := range 1 + h.rand.IntN(4) {
				name := fmt.Sprintf("host%d-%d", w, n)
				hosts = append(hosts, name)
				vars[name] = map[string]any{"patching_optional": h.chance(30)}
			}
		}
		groups[group] = map[string]any{"hosts": hosts}
	}
	groups["patching_targets"] = map[string]any{"children": children}
	groups["_meta"] = map[string]any{"hostvars": vars}
	data, err := json.Marshal(groups)
	if err != nil {
		h.t.Fatal(err)
	}
	return parse(h.t, string(data))
}

// Run is the engine. It keeps its own account of what the orchestrator may do.
func (h *history) Run(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
	if h.stopped {
		h.t.Errorf("wave %d began after a stop", w.Number)
	}
	if w.Number <= h.lastWave {
		h.t.Errorf("wave %d began after wave %d", w.Number, h.lastWave)
	}
	if lost := h.lostIn[h.lastWave]; lost > h.budget {
		h.t.Errorf("wave %d began after wave %d had lost %d with a budget of %d", w.Number, h.lastWave, lost, h.budget)
	}
	if onDisk, err := h.store.Load(h.run.ID); err != nil || onDisk.State != Running {
		h.t.Errorf("wave %d began with %s on disk, %v", w.Number, onDisk.State, err)
	}
	if h.gated && h.lastWave >= 0 && (h.asked != 2 || h.when != fmt.Sprintf("before wave %d", w.Number)) {
		h.t.Errorf("wave %d began when the gates had been asked %d times since wave %d, last %s", w.Number, h.asked, h.lastWave, h.when)
	}
	h.lastWave, h.asked = w.Number, 0
	r := runner.Result{Hosts: map[string]runner.HostResult{}, Complete: true}
	for _, host := range w.Hosts {
		if h.decided[host.Name] {
			h.t.Errorf("host %s was run again", host.Name)
		}
		h.decided[host.Name] = true
		o := runner.OK
		if h.chance(20) {
			o = []runner.Outcome{runner.Changed, runner.Failed, runner.Unreachable, runner.Interrupted, runner.NotAttempted, ""}[h.rand.IntN(6)]
		}
		reached := h.chance(2)
		off := o == runner.Unreachable && !reached && host.Optional
		if o != runner.OK && o != runner.Changed && !off {
			h.lostIn[w.Number]++
		}
		if o != "" {
			r.Hosts[host.Name] = runner.HostResult{Outcome: o, Reached: reached}
		}
	}
	switch {
	case h.chance(4):
		h.stopped = true
		return r, &runner.EngineError{Problem: "broken"}
	case h.chance(4):
		h.stopped = true
		h.cancel(&SignalError{Signal: syscall.SIGTERM})
	case h.chance(4):
		h.stopped = true
		close(h.stop)
	}
	return r, nil
}

// observe follows every transition.
func (h *history) observe(_ context.Context, c Change) {
	if c.Run != h.run.ID {
		h.t.Errorf("a change of run %s", c.Run)
	}
	if c.Host != "" {
		return
	}
	what, key := theRun, ""
	if c.Wave != nil {
		what, key = theWave, fmt.Sprint(*c.Wave)
	}
	before, ok := h.state[key]
	if !ok {
		before = Pending
	}
	if State(c.From) != before || transit(what, before, State(c.To)) != nil {
		h.t.Errorf("%s %s went from %s to %s, and was %s", what, key, c.From, c.To, before)
	}
	h.state[key] = State(c.To)
}

// judge compares the report with the account.
func (h *history) judge(report Report, err error) {
	onDisk, loadErr := h.store.Load(h.run.ID)
	if loadErr != nil || encode(h.t, onDisk) != encode(h.t, report) {
		h.t.Errorf("the journal is not the report: %v", loadErr)
	}
	if !report.State.Final() || report.State != h.state[""] {
		h.t.Errorf("ended %s, observed %s", report.State, h.state[""])
	}
	lost, over := 0, false
	for _, n := range h.lostIn {
		lost += n
		over = over || n > h.budget
	}
	clean := report.State == Passed
	if clean != (err == nil) || clean && (over || len(h.decided) != report.Total()) {
		h.t.Errorf("ended %s with error %v; lost %v, budget %d, %d of %d hosts run", report.State, err, h.lostIn, h.budget, len(h.decided), report.Total())
	}
	if code := *report.ExitCode; (code == ExitDone) != (clean && lost == 0) || (code == ExitLosses) != (clean && lost > 0) {
		h.t.Errorf("exit code %d of a run that ended %s and lost %d", code, report.State, lost)
	}
	if over && !slices.Contains([]State{Halted, Failed, Interrupted}, report.State) {
		h.t.Errorf("over budget and %s", report.State)
	}
	for _, w := range report.Waves {
		for _, host := range w.Hosts {
			if !h.decided[host.Name] && host.Outcome != HostNotAttempted || host.Outcome == Undecided {
				h.t.Errorf("host %s was run: %t, and is %q", host.Name, h.decided[host.Name], host.Outcome)
			}
		}
		if seen, ok := h.state[fmt.Sprint(w.Number)]; ok && seen != w.State || !ok && w.State != Pending {
			h.t.Errorf("wave %d is %s, observed %q", w.Number, w.State, seen)
		}
	}
	said, no := 0, 0
	for _, w := range report.Waves {
		said += len(w.Gates)
		for _, a := range w.Gates {
			if !a.OK {
				no++
			}
		}
	}
	if no > 1 || no == 1 && report.State != Halted || h.gated && clean && said != 2*len(report.Waves)-1 {
		h.t.Errorf("ended %s with %d answers of gates, %d of them no, in %d waves", report.State, said, no, len(report.Waves))
	}
	if strings.TrimSpace(report.Reason) == "" {
		h.t.Error("no reason")
	}
}
