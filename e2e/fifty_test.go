//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// Fifty hosts in a wave, three of them dead in three ways: the others finish, the wave ends inside its deadline, and each
// culprit is named with its cause.
func TestFifty(t *testing.T) {
	const deadline = 20 * time.Minute
	lab := up(t, e2e.Options{Extra: 49})
	ev := e2e.Record(t, lab, "fifty", "Fifty hosts in one wave, three of them dead")
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", "patching_reboot: never\n")
	write(lab, controller, settings, fmt.Sprintf("forks: 15\nwave_deadline: %s\n", deadline))
	lab.Fault("hang", "node01")
	lab.Fault("link-down", "node02")
	lab.Fault("tarpit", "node03")
	same := untouched(lab, "prox", controller)

	out := run(t, lab, "run")
	ev.Call("node01 frozen, node02 without its link, node03 a tarpit; reboots: never, 15 forks", out.Output, out.Took, said(out))
	if out.Code != 3 || !strings.Contains(out.words(), "wave 0: 3 hosts did not come through, the budget is 0: node01 (unreachable), node02 (unreachable), node03 (unreachable)") {
		t.Errorf("exit code %d\n%s", out.Code, out.words())
	}
	patched := 0
	for _, h := range out.Report.Waves[0].Hosts {
		words := map[string]string{
			"node01": "it takes connections, and its sshd says nothing: the host hangs or is overloaded, look at its console",
			"node02": "it does not answer: it is off, ",
			"node03": "it takes connections, and its sshd says nothing: the host hangs or is overloaded, look at its console",
		}[h.Name]
		switch {
		case words != "":
			if h.Outcome != "unreachable" || !strings.Contains(h.Message, words) {
				t.Errorf("%s is %s: %q, want %q", h.Name, h.Outcome, h.Message, words)
			}
		case h.Outcome == "patched" && lab.Version(h.Name, "lab-app") == "2.0-1":
			patched++
		default:
			t.Errorf("%s is %s: %s", h.Name, h.Outcome, h.Message)
		}
	}
	if patched != 47 {
		t.Errorf("%d of 47 healthy hosts are patched", patched)
	}
	took := out.Report.Waves[0].Ended.Sub(out.Report.Waves[0].Began)
	ev.Lines("the wave", fmt.Sprintf("%d hosts, %d patched; took %.0f s of %.0f s", len(out.Report.Waves[0].Hosts), patched, took.Seconds(), deadline.Seconds()))
	if took >= deadline {
		t.Errorf("the wave took %v, its deadline was %v", took, deadline)
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 3, "running": 0,
		`wave_hosts{wave="0",outcome="patched"}`: 47, `wave_hosts{wave="0",outcome="unreachable"}`: 3})
	same(t)
	wantQuiet(t, lab)

	lab.Fault("unhang", "node01")
	lab.Fault("link-up", "node02")
	lab.Fault("sshd", "node03")
	for _, name := range []string{"node01", "node02", "node03"} {
		lab.Wait(name, time.Minute)
	}
	next := run(t, lab, "retry", "latest")
	ev.Call("the three are mended; `retry latest`", next.Output, next.Took, last(next.Stdout))
	next.want(t, 0, []string{"node01 patched", "node02 patched", "node03 patched", "prox patched", "infra-services patched"})
}
