package orchestrator

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestRandomHistories plays random weeks of random fleets: processes that patch and die, what systemd and an operator
// start next, and a world that changes whenever anything takes time. An account that trusts no journal says what may
// happen; see account_test.go. A history that fails is played again alone with ORCHESTRATOR_HISTORY=SEED:NUMBER.
func TestRandomHistories(t *testing.T) {
	seed, first, least, most, budget := rand.Uint64(), 0, 200, 20_000, 2*time.Second
	if os.Getenv("E2E_FULL") == "1" {
		least, most = 100_000, 100_000
	}
	if again := os.Getenv("ORCHESTRATOR_HISTORY"); again != "" {
		if _, err := fmt.Sscanf(again, "%d:%d", &seed, &first); err != nil {
			t.Fatalf("ORCHESTRATOR_HISTORY=%s: want SEED:NUMBER", again)
		}
		least, most = 1, 1
	}
	base, covered := inMemory(t), map[string]int{}
	must := []string{"exit 0", "exit 1", "exit 3", "exit 4", "exit 6", "exit 130", "exit 143", "resumed", "closed", "whole fleet well after a retry"}
	lacks := func(key string) bool { return covered[key] == 0 }
	begin, n := time.Now(), 0
	for ; n < least || n < most && (time.Since(begin) < budget || slices.ContainsFunc(must, lacks)); n++ {
		dir := fmt.Sprintf("%s/%d", base, n)
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("ORCHESTRATOR_HISTORY=%d:%d plays it again", seed, first+n)
				}
			}()
			h := newHistory(t, dir, rand.New(rand.NewPCG(seed, uint64(first+n))), covered)
			h.trace = most == 1
			h.play()
		})
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range must {
		if lacks(key) && most > 1 {
			t.Errorf("%d histories and never: %s (seed %d)", n, key, seed)
		}
	}
	t.Logf("%d histories in %s, seed %d", n, time.Since(begin).Round(time.Millisecond), seed)
	if most != 20_000 || testing.Verbose() {
		for _, key := range slices.Sorted(maps.Keys(covered)) {
			t.Logf("%8d %s", covered[key], key)
		}
	}
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

// play is some weeks of the controller, at whose end every run must have come to its own.
func (h *history) play() {
	for range 1 + h.rand.IntN(3) {
		h.between()
		boot, unit := h.boot, h.chance(70)
		var do func(*Lock)
		switch n := h.rand.IntN(100); {
		case n < 50:
			do = h.weekly
		case n < 58:
			do, unit = h.narrowed, false
		case n < 66:
			do, unit = h.dry, false
		case n < 83:
			do, unit = func(lock *Lock) { h.resume(lock, false) }, false
		default:
			do, unit = h.retry, false
		}
		h.systemd(boot, h.process(do), unit)
		if h.t.Failed() {
			return
		}
	}
	h.calm = true
	h.between()
	boot := h.boot
	switch h.rand.IntN(4) {
	case 0:
		h.held, h.closedDays = false, nil
		h.window = false
		h.systemd(boot, h.process(h.weekly), true)
	case 1:
		h.systemd(boot, h.process(func(lock *Lock) { h.resume(lock, false) }), true)
	case 2:
		h.systemd(boot, true, true)
	case 3:
		h.boot++
		h.systemd(boot, false, true)
	}
	// A reboot that did not happen, and after which nobody looked, is waited for by whoever resumes.
	if r, err := h.st.Latest(); err == nil && r.State == AwaitingReboot {
		h.process(func(lock *Lock) { h.resume(lock, false) })
	}
	h.over()
}

// systemd starts what it starts after a process: at a boot the unit that resumes, after a death finalize. Finalize that
// dies is not started again.
func (h *history) systemd(boot int, died, unit bool) {
	for range 6 { // a machine that dies again and again has to stop dying for the test to end
		switch {
		case h.boot != boot:
			boot, unit = h.boot, true
			h.count("boots")
			h.sleep(5 * time.Minute)
			if h.chance(10) {
				h.sleep(3 * time.Hour)
			}
			died = h.process(func(lock *Lock) { h.resume(lock, true) })
		case unit && (died || h.open()):
			again, was := false, died
			died = h.process(func(lock *Lock) { again = h.finalize(lock, was) })
			if unit = false; again {
				unit = true
				died = h.process(func(lock *Lock) { h.resume(lock, true) })
			}
		default:
			return
		}
	}
}

// open reports whether a run has no end yet.
func (h *history) open() bool {
	r, err := h.st.Latest()
	return err == nil && !r.State.Final()
}

// between is the time between two processes: people come and go.
func (h *history) between() {
	h.sleep(time.Duration(1+h.rand.IntN(600)) * time.Minute)
	if h.chance(30) {
		h.sleep(time.Duration(h.rand.IntN(7*24)) * time.Hour)
	}
	h.held = h.held && h.chance(30) || h.chance(6)
	for i := range h.sick {
		h.sick[i] = h.sick[i] && h.chance(20) || h.chance(2)
	}
	if h.chance(15) {
		h.hash++
	}
	h.rebootDue = h.rebootDue || h.chance(40)
	h.breaks = h.chance(8)
	h.closedDays = nil
	if h.chance(15) {
		h.closedDays = []time.Time{time.Now().Truncate(24*time.Hour).AddDate(0, 0, h.rand.IntN(2))}
	}
	for _, name := range h.names {
		if h.chance(3) {
			h.hostHeld[name] = !h.hostHeld[name]
		}
	}
	if h.chance(5) && len(h.names) > 1 {
		h.gone[h.names[h.rand.IntN(len(h.names)-1)]] = true // the controller is the last
		h.inv = nil
	} else if h.chance(20) {
		clear(h.gone)
		h.inv = nil
	}
	h.now = h.chance(15)
	h.policy = Policy{Budget: h.rand.IntN(3), EngineUpgrade: h.chance(20)}
	if h.chance(60) {
		h.policy.Soak = time.Duration(1+h.rand.IntN(90)) * time.Minute
	}
	if h.chance(30) {
		h.policy.WaveDeadline = 25*time.Minute + 30*time.Second
	}
	h.took = Durations{}
	if h.chance(30) {
		h.took["patching_wave2"] = 2 * time.Hour
	}
}
