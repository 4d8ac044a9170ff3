//go:build e2e

package e2e_test

import (
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// A hold on a target leaves that host alone, and only that one.
func TestHoldOnOneHost(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "hold", "A hold on one host")
	write(lab, "prox", "/etc/homelab/MAINTENANCE", "guests are being moved\nsecond line\n")
	same, boot := untouched(lab, "prox"), lab.BootID("prox")

	out := run(t, lab, "run")
	ev.Call("prox is held", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"saltierpoop patched", "prox held", "infra-services patched"}, "guests are being moved", "2 patched, 1 held")
	same(t)
	if lab.BootID("prox") != boot {
		t.Error("prox was rebooted")
	}
	for _, name := range []string{"saltierpoop", controller} {
		if got := lab.Version(name, "lab-app"); got != "2.0-1" {
			t.Errorf("%s: lab-app is %q", name, got)
		}
		wantMetrics(t, lab, name, "patch.prom", map[string]float64{"held": 0, "packages_upgraded": 5})
	}
	wantMetrics(t, lab, "prox", "patch.prom", map[string]float64{"held": 1, "packages_upgraded": 0, "last_success_unixtime": 0})
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{
		"last_exit_code": 0, "held": 0, `wave_hosts{wave="1",outcome="held"}`: 1, `wave_hosts{wave="0",outcome="patched"}`: 1,
	})
}
