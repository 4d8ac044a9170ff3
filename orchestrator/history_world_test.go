package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/inventory"
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
	stop    chan struct{}
	say     func(what int) // somebody wants the run to end, in one of four ways
	calls   []string       // since an engine was last called
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
	h.ctx, h.stop = ctx, make(chan struct{})
	say := speaker(cancel, h.stop)
	h.say = say
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
		timer := time.AfterFunc(time.Duration(h.rand.IntN(4*3600))*time.Second+time.Millisecond, func() { say(what) })
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

// speaker is somebody who wants the run of one process to end. It knows nothing of the next process: a timer that calls it
// may still be on its way.
func speaker(cancel context.CancelCauseFunc, stop chan struct{}) func(what int) {
	var once sync.Once
	return func(what int) {
		switch what {
		case 0:
			once.Do(func() { close(stop) })
		case 1:
			cancel(&SignalError{Signal: syscall.SIGTERM})
		case 2:
			cancel(&SignalError{Signal: syscall.SIGINT})
		case 3:
			cancel(&ShutdownError{})
		}
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
		h.full = os.Mkdir(h.blocked, 0o700) == nil || h.full
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
