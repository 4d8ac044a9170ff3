//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// The orchestrator is killed in mid-upgrade: Ansible goes with it, apt does not, and the next run finds what was done.
func TestOrchestratorKilled(t *testing.T) {
	onEach(t, e2e.Options{}, "killed", "The orchestrator is killed in mid-upgrade", orchestratorKilled)
}

func orchestratorKilled(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	lab.Fault("slow", "saltierpoop", "40")

	c := start(t, lab, "run")
	id := c.running(t)
	busy(t, lab, "saltierpoop")
	if len(leftovers(lab)) < 2 {
		t.Fatalf("no Ansible at work: %v", leftovers(lab))
	}
	c.signal(t, "KILL")
	killed := time.Now()
	e2e.Eventually(t, 10*time.Second, "no process of the run is left on the controller", func() error {
		if left := leftovers(lab); len(left) > 0 {
			return fmt.Errorf("%s", strings.Join(left, "\n"))
		}
		return nil
	})
	gone := time.Since(killed)
	dead := c.wait(t)
	ev.Call(fmt.Sprintf("SIGKILL in mid-upgrade; its processes were gone after %.1f s", gone.Seconds()), dead.Output, dead.Took, "")
	wantEnded(t, lab)
	if secret := lab.Shell(controller, "find /run/ansible-run-* -name vars.json -o -name limit"); secret != "" {
		t.Errorf("left by the killed run: %s", secret)
	}
	if state := lab.Run(t.Context(), "saltierpoop", "systemctl", "is-active", "homelab-patch.service").Stdout; state != "active\n" {
		t.Errorf("the unit of saltierpoop is %q", state)
	}
	if got := lab.Version("saltierpoop", "lab-slow"); got != "" {
		t.Errorf("the upgrade is not in its middle any more: lab-slow %q", got)
	}
	if state := journal(t, lab, id).State; state != "running" {
		t.Errorf("the journal of the killed run says %q", state)
	}

	out := run(t, lab, "run")
	ev.Call("the next run", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"}, "run "+id+" had died")
	if p := out.host(t, "saltierpoop").Patch; !p.Reattached || !slices.Equal(p.names(), withSlow()) {
		t.Errorf("saltierpoop: reattached %v, packages %v, want %v", p.Reattached, p.names(), withSlow())
	}
	if old := journal(t, lab, id); old.State != "interrupted" || old.ExitCode == nil || *old.ExitCode != 130 || old.Waves[0].Hosts[0].Outcome != "interrupted" {
		t.Errorf("the journal of the killed run: %+v", old)
	}
	wantOnce(t, lab, "saltierpoop", ev)
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, "running": 0})
	wantEnded(t, lab)
}
