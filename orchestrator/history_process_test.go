package orchestrator

import (
	"fmt"
	"os"
	"strings"
	"time"
)

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
