package orchestrator

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
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

func (h *history) weekly(lock *Lock) { h.count("weekly runs"); h.run(lock, h.policy, nil, nil) }

func (h *history) dry(lock *Lock) {
	h.count("dry runs")
	h.policy.Check = true
	h.run(lock, h.policy, nil, nil)
}

func (h *history) narrowed(lock *Lock) {
	h.count("narrowed runs")
	if wave := 2 * h.rand.IntN(3); h.chance(50) {
		h.policy.Wave = &wave
	} else {
		h.policy.Limit = []string{h.names[h.rand.IntN(len(h.names))]}
	}
	h.run(lock, h.policy, nil, nil)
}

// retry is of the latest run, or of any.
func (h *history) retry(lock *Lock) {
	ids, err := h.st.IDs()
	h.ok(err)
	if len(ids) == 0 {
		return
	}
	id := ids[len(ids)-1]
	if h.chance(25) {
		id = ids[h.rand.IntN(len(ids))]
	}
	old, err := h.st.Load(id)
	if err != nil || old.Kind == Check || !old.State.Final() {
		return // refused, as the command does
	}
	h.run(lock, h.policy, &old, Lost())
}

// run is a run of its own; of what an earlier one left, if old is given.
func (h *history) run(lock *Lock, policy Policy, old *Report, outcomes []Outcome) {
	plan, err := NewPlan(h.inventory(), policy)
	if err == nil && old != nil {
		policy.Of = old.ID
		plan, err = plan.Left(*old, outcomes...)
	}
	if err != nil {
		if ExitCode(Report{}, err) != ExitUsage {
			h.t.Errorf("plan: %v", err)
		}
		h.count("exit 2")
		return
	}
	if old != nil {
		h.count("retries, and resumes by hand of an ended run")
		h.leftover(plan, *old, outcomes)
	}
	run, err := lock.Begin()
	h.ok(err)
	h.begun(run.ID, policy)
	o := h.orchestrator(run.ID, policy)
	if !h.calm && h.chance(2) {
		h.noes["engine"] = true
		report, err := o.Fail(h.ctx, run, errSick)
		h.judge(run, report, err, false)
		return
	}
	report, err := o.Run(h.ctx, run, plan)
	h.judge(run, report, err, false)
}

// resume is what the command does.
func (h *history) resume(lock *Lock, atBoot bool) {
	report, err := h.st.Latest()
	switch {
	case os.IsNotExist(err) || err != nil && strings.Contains(err.Error(), "there is no run"):
		return
	case err != nil:
		h.t.Fatal(err)
	case report.State == Passed, atBoot && report.State.Final():
		return
	case report.State.Final():
		if report.Kind != Check {
			h.run(lock, h.policy, &report, Unfinished())
		}
		return
	}
	run, err := lock.Reopen(report.ID)
	h.ok(err)
	boot := fmt.Sprint("boot ", h.boot)
	may, why := report.MayContinue(time.Now(), h.sign, boot)
	if want := report.State == AwaitingReboot || report.Kind != Check && report.Boot != boot && time.Since(h.sign) <= 2*time.Hour; may != want {
		h.t.Errorf("a %s run, %s, cut short %s ago, may continue: %t (%s)", report.Kind, report.State, time.Since(h.sign), may, why)
	}
	if !atBoot && report.Kind != Check {
		may = true // somebody wants it
	}
	if !may {
		h.close(run, why)
		return
	}
	h.count("resumed")
	h.count("resumed when " + string(report.State))
	policy := h.policy
	policy.Budget = report.Budget
	policy.Check, policy.Limit, policy.Wave = false, nil, nil
	plan, err := NewPlan(h.inventory(), policy)
	h.ok(err)
	h.lacking = h.missing(report)
	got, err := h.orchestrator(run.ID, policy).Resume(h.ctx, run, plan)
	h.judge(run, got, err, true)
}

// finalize is what the command does when a unit's process has ended. It reports whether it starts the unit that resumes.
func (h *history) finalize(lock *Lock, died bool) (again bool) {
	report, err := h.st.Latest()
	if err != nil || report.State.Final() {
		return false
	}
	if report.State == AwaitingReboot {
		return died && report.Reboot.Boot == fmt.Sprint("boot ", h.boot)
	}
	run, err := lock.Reopen(report.ID)
	h.ok(err)
	h.close(run, "its process was ended")
	return false
}

func (h *history) close(run *Run, why string) {
	h.count("closed")
	o := &Orchestrator{Observe: h.observe}
	report, err := o.Close(h.ctx, run, why)
	h.ok(err)
	if report.State != Interrupted || ExitCode(report, err) != ExitInterrupted {
		h.t.Errorf("closed as %s with exit code %d", report.State, ExitCode(report, err))
	}
	h.same(run, report)
}
