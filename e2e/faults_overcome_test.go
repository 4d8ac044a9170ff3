//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// overcome are hosts that come through all the same.
func overcome() []fault {
	return []fault{
		{name: "link cut for 60 s in mid-upgrade", where: "target", host: "node01", within: 3 * time.Minute, bound: "`patching_reconnect_timeout`"},
		{name: "dpkg lock held for 30 s", where: "target", host: "node02", within: 2 * time.Minute, bound: "`patching_lock_timeout`"},
		{name: "slow boot: 40 s", where: "target", host: "node03", within: 3 * time.Minute, bound: "`patching_reboot_timeout`"},
		{name: "frozen for 30 s in mid-upgrade", where: "target", host: "node04", within: 3 * time.Minute, bound: "`patching_reconnect_timeout`"},
		{name: "dpkg lock held for 30 s", where: "controller", host: controller, within: 8 * time.Minute, bound: "`patching_lock_timeout`"},
		{name: "slow boot: 40 s", where: "controller", host: controller, within: 8 * time.Minute},
	}
}

// faultsOvercome is the weekly run, by its timer, of a fleet in which five hosts have a trouble that passes; the
// controller, which reboots itself at the end, has two.
func faultsOvercome(t *testing.T, m *matrix, on e2e.Options) {
	lab := up(t, on)
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", "patching_reboot_timeout: 120\npatching_lock_timeout: 120\n")
	service(t, lab)
	tellUnits(t, lab)
	lab.Fault("slow", "node01", "30")
	lab.Fault("slow", "node04", "20")
	lab.Fault("lock", "node02", "3600")
	lab.Fault("lock", controller, "3600")
	lab.Fault("bootdelay", "node03", "40")
	lab.Fault("bootdelay", controller, "40")
	began := time.Now()
	fire(lab)

	busy(t, lab, "node04")
	lab.Fault("hang", "node04")
	busy(t, lab, "node01")
	lab.Fault("link-down", "node01")
	cut := time.Now()
	for _, mend := range []struct {
		after time.Duration
		how   func()
	}{
		{30 * time.Second, func() { lab.Fault("unlock", "node02"); lab.Fault("unhang", "node04") }},
		{60 * time.Second, func() { lab.Fault("link-up", "node01") }},
	} {
		<-time.After(mend.after - time.Since(cut)) // the faults themselves, not a wait for something
		mend.how()
	}
	e2e.Eventually(t, 4*time.Minute, "the controller waits for its lock", func() error {
		if out := lab.Run(t.Context(), controller, "systemctl", "is-active", "homelab-patch"); out.Code != 0 {
			return fmt.Errorf("its upgrade is %s", out.Stdout)
		}
		return nil
	})
	<-time.After(30 * time.Second) // the fault itself
	lab.Fault("unlock", controller)

	r := ended(t, lab, 1, 5*time.Minute)
	out := r.outcome()
	out.Took, out.Stdout = time.Since(began), r.State+": "+r.Reason
	out.want(t, 0, []string{"node01 patched", "node02 patched", "node03 patched", "node04 patched", "saltierpoop patched", "prox patched", "infra-services patched"})
	for name, boots := range map[string]int{"node01": 2, "node02": 2, "node03": 2, "node04": 2, controller: 2} {
		if n := lab.Boots(name); n != boots {
			t.Errorf("%s: %d boots", name, n)
		}
	}
	lab.Wait(controller, time.Minute)
	why := map[string]explained{}
	for _, f := range overcome() {
		why[f.host] = explain(t, lab, f.host)
	}
	next := run(t, lab, "run")
	spans := spans(lab, r.ID)
	all := []string{"saltierpoop", "prox"}
	for _, f := range overcome() {
		took := spans[f.host]
		if f.host == controller {
			took = out.Took
		}
		all = append(all, f.host)
		f.outcome, f.words, f.todo = "patched", "passed: 7 patched", "nothing"
		m.saw(t, f, out, why[f.host], took, told(t, next, f.host))
	}
	wantMended(t, lab, next, all...)
}
