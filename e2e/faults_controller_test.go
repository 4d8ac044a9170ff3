//go:build e2e && e2efull

package e2e_test

import (
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// powerCut cuts the power of the controller, and switches it on again.
func powerCut(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	lab.Fault("kill", controller)
	off(t, lab, controller, time.Minute)
	lab.Start(controller)
	lab.Wait(controller, time.Minute)
}

// healthy checks that the target, which nothing ails, was patched.
func healthy(t *testing.T, out outcome) outcome {
	t.Helper()
	if h := out.host(t, "saltierpoop"); h.Outcome != "patched" && h.Outcome != "unchanged" {
		t.Errorf("saltierpoop, which nothing ails, is %s: %s", h.Outcome, h.Message)
	}
	return out
}

// faultsOfController breaks what the last wave stands on, and what the whole run does.
func faultsOfController(t *testing.T, m *matrix, on e2e.Options) {
	weekly := func(t *testing.T, lab *e2e.Lab) outcome { return healthy(t, week(t, lab, nil)) }
	// amid is amidUpgrade, which leaves the target well.
	amid := func(host, seconds string, what func(*testing.T, *e2e.Lab)) func(*testing.T, *e2e.Lab) outcome {
		meet := amidUpgrade(host, seconds, what)
		return func(t *testing.T, lab *e2e.Lab) outcome { return healthy(t, meet(t, lab)) }
	}
	show(t, m, on, []one{
		{fault: fault{name: "dpkg lock held for ever", host: controller, outcome: "failed", code: 3, cause: "lock", words: "lock-frontend is still held by process",
			within: 90 * time.Second, bound: "`patching_lock_timeout`", todo: "let that process finish, or stop it"},
			meet: func(t *testing.T, lab *e2e.Lab) outcome { lab.Fault("lock", controller, "3600"); return weekly(t, lab) },
			mend: func(lab *e2e.Lab) { lab.Fault("unlock", controller) }},
		{fault: fault{name: "broken postinst", host: controller, outcome: "failed", code: 3, cause: "postinst", words: "package lab-broken failed",
			within: 90 * time.Second, todo: "`journalctl -u homelab-patch`; repair the package"},
			meet: func(t *testing.T, lab *e2e.Lab) outcome { lab.Fault("broken", controller); return weekly(t, lab) },
			mend: func(lab *e2e.Lab) {
				lab.Exec(controller, "rm", "/var/lib/dpkg/info/lab-broken.postinst")
			}},
		{fault: fault{name: "power cut in mid-dpkg", host: controller, outcome: "failed", code: 3,
			cause:  "power",
			words:  "the upgrade ended without a result: the host was switched off or restarted; the next run repairs and goes on",
			within: 3 * time.Minute, todo: "run again"},
			meet: amid(controller, "60", powerCut),
			mend: func(lab *e2e.Lab) {
				lab.Exec(controller, "sh", "-c", "echo 1 >/var/lib/lab/slow")
			}},
		{fault: fault{name: "power cut while a target is in mid-upgrade", host: "saltierpoop", outcome: "patched", code: 0, words: "2 patched",
			within: 3 * time.Minute, todo: "nothing: it goes on after its boot"},
			meet: amid("saltierpoop", "30", powerCut)},
		{fault: fault{name: "never back from its reboot", host: controller, outcome: "patched", code: 0, words: "2 patched",
			within: 3 * time.Minute, bound: "whoever switches it on", todo: "switch it on: the run then ends by itself. Until then PatchRunStuck and the heartbeat tell"},
			reboot: "auto_if_required",
			meet: func(t *testing.T, lab *e2e.Lab) outcome {
				lab.Fault("noreturn", controller)
				return healthy(t, week(t, lab, func() {
					off(t, lab, controller, 2*time.Minute)
					lab.Fault("return", controller)
					lab.Start(controller)
				}))
			}},
		{fault: fault{name: "failed unit after the reboot", host: controller, outcome: "failed", code: 1,
			cause: "health", words: "failed after the reboot: lab-fail.service", within: 3 * time.Minute, bound: "`patching_settle_timeout`", todo: "`systemctl status` of that unit"},
			reboot: "auto_if_required",
			meet:   func(t *testing.T, lab *e2e.Lab) outcome { lab.Fault("failunit", controller); return weekly(t, lab) },
			mend: func(lab *e2e.Lab) {
				lab.Exec(controller, "systemctl", "disable", "lab-fail")
				lab.Exec(controller, "systemctl", "reset-failed", "lab-fail")
			}},
		{fault: fault{name: "frozen for 45 s while a target is in mid-upgrade", host: "saltierpoop", outcome: "patched", code: 0, words: "2 patched",
			within: 3 * time.Minute, todo: "nothing"},
			meet: amid("saltierpoop", "30", func(t *testing.T, lab *e2e.Lab) {
				lab.Fault("hang", controller)
				<-time.After(45 * time.Second) // the fault itself
				lab.Fault("unhang", controller)
			})},
		{fault: fault{name: "link cut for 60 s while a target is in mid-upgrade", host: "saltierpoop", outcome: "patched", code: 0, words: "2 patched",
			within: 3 * time.Minute, bound: "`patching_reconnect_timeout`", todo: "nothing"},
			meet: amid("saltierpoop", "30", func(t *testing.T, lab *e2e.Lab) {
				lab.Fault("link-down", controller)
				<-time.After(time.Minute) // the fault itself
				lab.Fault("link-up", controller)
			})},
		{fault: fault{name: "out of memory: the kernel kills ansible-playbook", host: "saltierpoop", outcome: "interrupted", code: 1, cause: "engine", words: "wave 0: ansible-playbook was killed",
			within: 3 * time.Minute, todo: "`journalctl -k`; run again"},
			meet: func(t *testing.T, lab *e2e.Lab) outcome {
				favourite(lab, controller, "homelab-patch-orchestrate")
				return amidUpgrade("saltierpoop", "40", func(_ *testing.T, lab *e2e.Lab) { starve(lab, controller, 30) })(t, lab)
			},
			mend: func(lab *e2e.Lab) { lab.Fault("memory", controller, "4096") }},
	})
}
