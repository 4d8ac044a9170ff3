//go:build e2e && e2efull

package e2e_test

import (
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

const settings = "/etc/homelab/patch-orchestrate.yaml"

// A host may be lost within the budget, or be excused.
func TestBudget(t *testing.T) {
	lab := up(t, e2e.Options{Extra: 1})
	ev := e2e.Record(t, lab, "budget", "Hosts that may be lost")
	lab.Fault("kill", "node01")
	write(lab, controller, settings, "budget: 1\n")

	out := run(t, lab, "run")
	ev.Call("budget 1, node01 has no power", out.Output, out.Took, said(out))
	out.want(t, 4, []string{"node01 unreachable", "saltierpoop patched", "prox patched", "infra-services patched"},
		"1 host did not come through, within the budget of 1 a wave: node01 (unreachable)")
	failed := map[string]float64{"last_exit_code": 4, "last_success_unixtime": 0, `wave_hosts{wave="0",outcome="unreachable"}`: 1}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", failed)

	out = run(t, lab, "run", "--limit", "saltierpoop")
	ev.Call("`run --limit saltierpoop` after that", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"saltierpoop unchanged"})
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", failed)

	lab.Exec(controller, "rm", settings)
	write(lab, controller, "/etc/ansible/host_vars/node01.yml", "patching_optional: true\n")
	began := time.Now()
	out = run(t, lab, "run")
	ev.Call("budget 0, node01 is optional", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"node01 unreachable", "saltierpoop unchanged", "prox unchanged", "infra-services unchanged"})
	if !out.host(t, "node01").Excused {
		t.Error("node01 is not excused")
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, `wave_hosts{wave="0",outcome="unreachable"}`: 1})
	wantRecent(t, lab, controller, "patch_orchestrate.prom", "homelab_patch_orchestrate_last_success_unixtime", began)
}
