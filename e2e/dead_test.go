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
	onEach(t, e2e.Options{Extra: 7}, "dead-hosts", "Dead hosts in a wave with healthy ones", deadHosts)
}

func deadHosts(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	const deadline = 6 * time.Minute
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", deadVars)
	write(lab, controller, settings, fmt.Sprintf("host_deadline: 100s\nwave_deadline: %s\n", deadline))
	lab.Fault("hang", "node01")
	lab.Fault("slow", "node02", "60")
	lab.Fault("lock", "node03", "3600")
	lab.Fault("fill", "node04")
	lab.Fault("tarpit", "node06")
	lab.Fault("noreturn", "node07")
	same := untouched(lab, "prox", controller)

	c := start(t, lab, "run")
	busy(t, lab, "node02")
	lab.Fault("link-down", "node02")
	out := c.wait(t)
	lab.Fault("unhang", "node01")
	ev.Call("node01 frozen, node02 cut off in mid-upgrade for good, node03 locked for ever, node04 full, node06 a tarpit, node07 never back from its reboot",
		out.Output, out.Took, said(out))
	out.want(t, 3, []string{"node01 unreachable", "node02 failed", "node03 failed", "node04 failed", "node05 patched", "node06 unreachable",
		"node07 failed", "saltierpoop patched", "prox not-attempted", "infra-services not-attempted"},
		"wave 0: 6 hosts did not come through, the budget is 0: "+
			"node01 (unreachable), node02 (failed), node03 (failed), node04 (failed), node06 (unreachable), node07 (failed)")
	for name, words := range map[string]string{
		"node01": "the host hangs or is overloaded",
		"node02": "the link was lost and the host did not come back within 30 s: its upgrade may still be running there",
		"node03": "lock-frontend is still held by process",
		"node04": "no space is left on the host: make room there",
		"node06": "the host hangs or is overloaded",
		"node07": "the host was told to restart and did not come back within 60 s: look at its console",
	} {
		if got := out.host(t, name).Message; !strings.Contains(got, words) {
			t.Errorf("%s: %q, want %q", name, got, words)
		}
	}
	took := out.Report.Waves[0].Ended.Sub(out.Report.Waves[0].Began)
	ev.Lines("the wave and its deadline", fmt.Sprintf("took %.0f s of %.0f s", took.Seconds(), deadline.Seconds()))
	if took >= deadline {
		t.Errorf("the wave took %v, its deadline was %v", took, deadline)
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

// A playbook that knows nothing of ours, in testdata/stuck, has a task that may never end and no keepalives. The
// deadline of a host ends its connection, that of a wave whatever is left, and the healthy hosts finish.
func TestForeignDeadlines(t *testing.T) {
	onEach(t, e2e.Options{Extra: 2}, "foreign-deadlines", "Hosts that hang in an operator's own playbook", foreignDeadlines)
}

func foreignDeadlines(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	write(lab, controller, settings, "project: /srv/patching\nbudget: 2\nhost_deadline: 30s\n")
	lab.Push(controller, "testdata/stuck", "/srv/patching")
	for _, name := range []string{"node01", "node02"} {
		write(lab, name, "/srv/backup", "")
	}
	c := start(t, lab, "run")
	e2e.Eventually(t, 5*time.Minute, "node01 is in mid-task", func() error {
		if lab.Run(t.Context(), "node01", "test", "-e", "/run/waits").Code != 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	lab.Fault("hang", "node01")
	out := c.wait(t)
	lab.Fault("unhang", "node01")
	ev.Call("host deadline 30 s: node01 frozen in mid-task, node02 in a task without end", out.Output, out.Took, said(out))
	var lost []string
	for _, name := range []string{"node01", "node02"} {
		h := out.host(t, name)
		lost = append(lost, name+" "+h.Outcome)
		if h.Outcome != "failed" && h.Outcome != "unreachable" || h.Task != "Wait for the backup" ||
			!strings.Contains(h.Message, `no progress for 30s in task "Wait for the backup", so its ssh connection was ended`) {
			t.Errorf("%s is %s in task %q: %q", name, h.Outcome, h.Task, h.Message)
		}
	}
	out.want(t, 4, append(lost, "saltierpoop patched", "prox patched", "infra-services patched"), "within the budget of 2")
	for _, name := range []string{"saltierpoop", "prox", controller} {
		lab.Exec(name, "test", "-e", "/run/last-task")
	}
	wantQuiet(t, lab)

	// A local connection cannot be ended, and this task ignores signals.
	write(lab, controller, settings, "project: /srv/patching\nhost_deadline: 20s\nwave_deadline: 45s\n")
	write(lab, controller, "/srv/backup", "")
	out = run(t, lab, "run", "--limit", controller)
	ev.Call("wave deadline 45 s: infra-services in a task without end, over a local connection and deaf to signals", out.Output, out.Took, said(out))
	out.want(t, 3, []string{"infra-services interrupted"}, "wave 2: the deadline of 45s has passed; interrupted: infra-services")
	if h := out.host(t, controller); h.Task != "Wait for the backup" {
		t.Errorf("it was interrupted in task %q", h.Task)
	}
	w := out.Report.Waves[0]
	if took := w.Ended.Sub(w.Began); w.State != "halted" || took < 45*time.Second || took > 2*time.Minute {
		t.Errorf("wave %d is %s after %v", w.Number, w.State, took)
	}
	if left := lab.Run(t.Context(), controller, "pgrep", "-af", "sleep 8639"); left.Code == 0 {
		t.Errorf("left on the controller: %s", left.Stdout)
	}
	wantQuiet(t, lab)
}
