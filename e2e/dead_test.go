//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// deadVars are deadlines that a test can wait for.
const deadVars = "patching_lock_timeout: 20\npatching_reconnect_timeout: 30\npatching_timeout: 240\npatching_reboot_timeout: 60\n"

// Dead hosts hold up nobody: the healthy ones of their wave finish, and each culprit is named with its reason.
func TestDeadHosts(t *testing.T) {
	lab := up(t, e2e.Options{Extra: 5})
	ev := e2e.Record(t, lab, "dead-hosts", "Dead hosts in a wave with healthy ones")
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", deadVars)
	write(lab, controller, settings, "host_deadline: 100s\nwave_deadline: 8m\n")
	lab.Fault("hang", "node01")
	lab.Fault("slow", "node02", "60")
	lab.Fault("lock", "node03", "3600")
	lab.Fault("fill", "node04")
	same := untouched(lab, "prox", controller)

	c := start(t, lab, "run")
	busy(t, lab, "node02")
	lab.Fault("link-down", "node02")
	out := c.wait(t)
	lab.Fault("unhang", "node01")
	ev.Call("node01 frozen, node02 cut off in mid-upgrade, node03 locked, node04 full", out.Output, out.Took, said(out))
	out.want(t, 3, []string{"node01 unreachable", "node02 failed", "node03 failed", "node04 failed", "node05 patched", "saltierpoop patched",
		"prox not-attempted", "infra-services not-attempted"},
		"wave 0: 4 hosts did not come through, the budget is 0: node01 (unreachable), node02 (failed), node03 (failed), node04 (failed)")
	for name, words := range map[string]string{
		"node02": "the link was lost and the host did not come back within 30 s",
		"node03": "lock-frontend is still held by process",
		"node04": "make room",
	} {
		if got := out.host(t, name).Message; !strings.Contains(got, words) {
			t.Errorf("%s: %q, want %q", name, got, words)
		}
	}
	if limit := 5 * time.Minute; out.Took > limit {
		t.Errorf("it took %v, more than %v", out.Took, limit)
	}
	for _, name := range []string{"node05", "saltierpoop"} {
		if lab.Version(name, "lab-app") != "2.0-1" || lab.Boots(name) != 2 {
			t.Errorf("%s: lab-app %s, %d boots", name, lab.Version(name, "lab-app"), lab.Boots(name))
		}
	}
	e2e.Eventually(t, 2*time.Minute, "the upgrade of node02 ends without its link", func() error {
		if got := lab.Version("node02", "lab-slow"); got != "2.0-1" {
			return fmt.Errorf("lab-slow: %q", got)
		}
		return nil
	})
	same(t)
	wantQuiet(t, lab)
}
