//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

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
