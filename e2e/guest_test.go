//go:build e2e && e2efull

package e2e_test

import (
	"errors"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// TestGuest has the controller be a guest of prox: when wave 1 reboots prox, the controller is shut down with it, and is
// switched on when prox is back. prox is judged then, not upgraded or rebooted again, and the run goes on with the last
// wave.
func TestGuest(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "guest", "The controller goes down with a host that it reboots")
	service(t, lab)
	tellUnits(t, lab)
	before := lab.BootID("prox")
	began := time.Now()
	fire(lab)
	e2e.Eventually(t, 3*time.Minute, "prox goes down", func() error {
		if id := lab.BootID("prox"); id == before {
			return errors.New("it has not")
		}
		return nil
	})
	lab.Run(t.Context(), controller, "systemctl", "poweroff")
	off(t, lab, controller, 2*time.Minute)
	lab.Wait("prox", time.Minute)
	lab.Start(controller)
	lab.Wait(controller, time.Minute)
	r := ended(t, lab, 1, 5*time.Minute)
	out := r.outcome()
	ev.Call("the timer", e2e.Output{Code: out.Code}, time.Since(began), r.State+": "+r.Reason)
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	for name, boots := range map[string]int{"saltierpoop": 2, "prox": 2, controller: 3} {
		if n := lab.Boots(name); n != boots {
			t.Errorf("%s: %d boots, want %d", name, n, boots)
		}
		if n := transactions(lab, name); n != 1 {
			t.Errorf("%s: %d transactions of apt", name, n)
		}
	}
	if p := out.host(t, "prox").Patch; p == nil || !p.Rebooted || p.RebootRequired {
		t.Errorf("prox: %+v", p)
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, "running": 0})
	wantEnded(t, lab)
}
