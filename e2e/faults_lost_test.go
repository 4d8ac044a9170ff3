//go:build e2e && e2efull

package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// faultVars are deadlines that a test can wait for.
const faultVars = "patching_lock_timeout: 20\npatching_reconnect_timeout: 30\npatching_timeout: 240\npatching_reboot_timeout: 60\n"

// lost are hosts that do not come through, all in one wave.
func lost() []fault {
	const down = "the link was lost and the host did not come back within 30 s: its upgrade may still be running there"
	return []fault{
		{name: "frozen: every process stands still", host: "node01", outcome: "unreachable", cause: "silent", words: "the host hangs or is overloaded", within: 90 * time.Second,
			bound: "ssh's connect timeout", todo: "look at its console; restart it"},
		{name: "link cut in mid-upgrade, for good", host: "node02", outcome: "failed", cause: "link", words: down, within: 2 * time.Minute,
			bound: "`patching_reconnect_timeout`", todo: "mend the network; the upgrade goes on without it"},
		{name: "dpkg lock held for ever", host: "node03", outcome: "failed", cause: "lock", words: "lock-frontend is still held by process", within: time.Minute,
			bound: "`patching_lock_timeout`", todo: "let that process finish, or stop it"},
		{name: "full disk", host: "node04", outcome: "failed", cause: "disk", words: "no space is left on the host: make room there", within: time.Minute,
			todo: "make room"},
		{name: "broken postinst", host: "node05", outcome: "failed", cause: "postinst", words: "package lab-broken failed: installed lab-broken package post-installation script subprocess returned error exit status 1", within: time.Minute,
			todo: "`journalctl -u homelab-patch` there; repair the package. Until then each run says that dpkg is not in order"},
		{name: "tarpit: connections are taken, no word is said", host: "node06", outcome: "unreachable", cause: "silent", words: "the host hangs or is overloaded", within: 90 * time.Second,
			bound: "ssh's connect timeout", todo: "look at what listens there on port 22"},
		{name: "never back from its reboot", host: "node07", outcome: "failed", cause: "reboot", words: "the host was told to restart and did not come back within 60 s: look at its console", within: 3 * time.Minute,
			bound: "`patching_reboot_timeout`", todo: "switch it on"},
		{name: "failed unit after the reboot", host: "node08", outcome: "failed", cause: "health", words: "failed after the reboot: lab-fail.service", within: 2 * time.Minute,
			bound: "`patching_settle_timeout`", todo: "`systemctl status` of that unit there"},
		{name: "power cut in mid-dpkg, stays off", host: "node09", outcome: "failed", cause: "link", words: down, within: 2 * time.Minute,
			bound: "`patching_reconnect_timeout`", todo: "switch it on"},
		{name: "power cut in mid-dpkg, back at once", host: "node10", outcome: "failed", cause: "power", words: "the upgrade ended without a result: the host was switched off or restarted; the next run repairs and goes on", within: 2 * time.Minute,
			todo: "run again"},
		{name: "out of memory: the kernel kills the upgrade", host: "node11", outcome: "failed", cause: "killed", words: "the upgrade ended without a result: it was killed; the next run repairs and goes on", within: 2 * time.Minute,
			todo: "`journalctl -k` there says who ate the memory; run again"},
		{name: "out of memory: the kernel kills what watches the upgrade", host: "node12", outcome: "failed", cause: "memory", words: "what Ansible runs on the host was killed there, as when memory runs out: look at `journalctl -k` there; an upgrade that was under way goes on", within: 2 * time.Minute,
			todo: "as it says; run again"},
	}
}

// faultsLost breaks twelve hosts of one wave, each in its own way, beside two that are well.
func faultsLost(t *testing.T, m *matrix, on e2e.Options) {
	const deadline = 6 * time.Minute
	lab := up(t, on)
	m.stamp = e2e.Stamp(lab)
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", faultVars)
	write(lab, controller, settings, fmt.Sprintf("forks: 20\nhost_deadline: 150s\nwave_deadline: %s\n", deadline))
	lab.Fault("hang", "node01")
	lab.Fault("lock", "node03", "3600")
	lab.Fault("fill", "node04")
	lab.Fault("broken", "node05")
	lab.Fault("tarpit", "node06")
	lab.Fault("noreturn", "node07")
	lab.Fault("failunit", "node08")
	slow := []string{"node02", "node09", "node10", "node11", "node12"}
	for _, name := range slow {
		lab.Fault("slow", name, "60")
	}
	favourite(lab, "node11", "homelab-patch")
	same := untouched(lab, "prox", controller)

	c := start(t, lab, "run")
	for _, name := range slow {
		busy(t, lab, name)
		switch name {
		case "node02":
			lab.Fault("link-down", name)
		case "node11":
			favour(t, lab, name, -1000)
			starve(lab, name, 3)
		case "node12":
			favour(t, lab, name, 900)
			starve(lab, name, 3) // the program that answers is no larger
		default:
			lab.Fault("kill", name)
		}
	}
	off(t, lab, "node10", time.Minute)
	lab.Start("node10")
	out := c.wait(t)
	same(t)
	wantQuiet(t, lab)
	outcomes := map[string]string{}
	for _, o := range out.outcomes() {
		name, is, _ := strings.Cut(o, " ")
		outcomes[name] = is
	}
	for name, want := range map[string]string{"node13": "patched", "saltierpoop": "patched", "prox": "not-attempted", controller: "not-attempted"} {
		if outcomes[name] != want {
			t.Errorf("%s, which nothing ails, is %s, want %s", name, outcomes[name], want)
		}
	}
	if took := out.Report.Waves[0].Ended.Sub(out.Report.Waves[0].Began); took >= deadline {
		t.Errorf("the wave took %v, its deadline was %v", took, deadline)
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 3, "running": 0, "last_success_unixtime": 0})

	why := map[string]explained{}
	for _, f := range lost() {
		why[f.host] = explain(t, lab, f.host)
	}
	for _, name := range []string{"prox", controller} {
		explain(t, lab, name).want(t, fault{name: "not attempted", where: name, cause: "budget", explain: "was halted by wave 0, before its wave"})
	}
	explain(t, lab, "node13").want(t, fault{name: "none", where: "node13"})
	wantNextRun(t, lab, "node01")
	spans := spans(lab, out.Report.ID)
	mendLost(t, lab)
	next := run(t, lab, "run")
	all := []string{"saltierpoop", "prox", controller}
	for _, f := range append(lost(), fault{host: "node13"}) {
		all = append(all, f.host)
		if f.name == "" {
			continue
		}
		f.where, f.code = "target", 3
		m.saw(t, f, out, why[f.host], spans[f.host], told(t, next, f.host))
	}
	wantMended(t, lab, next, all...)
}

// mendLost does what an operator would.
func mendLost(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	lab.Fault("unhang", "node01")
	lab.Fault("link-up", "node02")
	lab.Fault("unlock", "node03")
	lab.Fault("unfill", "node04")
	lab.Exec("node05", "rm", "/var/lib/dpkg/info/lab-broken.postinst")
	lab.Fault("sshd", "node06")
	lab.Fault("return", "node07")
	lab.Shell("node08", "systemctl disable -q lab-fail; systemctl reset-failed lab-fail")
	lab.Fault("memory", "node11", "2048")
	lab.Fault("memory", "node12", "2048")
	off(t, lab, "node07", time.Minute)
	off(t, lab, "node09", time.Minute)
	lab.Start("node07")
	lab.Start("node09")
	for _, name := range []string{"node07", "node09", "node10"} {
		lab.Wait(name, time.Minute)
	}
	for _, name := range []string{"node09", "node10", "node11"} {
		lab.Exec(name, "sh", "-c", "echo 1 >/var/lib/lab/slow")
	}
	e2e.Eventually(t, 2*time.Minute, "the upgrade of node02 ends without its link", func() error {
		if got := lab.Version("node02", "lab-slow"); got != "2.0-1" {
			return fmt.Errorf("lab-slow: %q", got)
		}
		return nil
	})
}

// told is how a host came out of the next run, and what that said of it.
func told(t *testing.T, next outcome, name string) string {
	t.Helper()
	h := next.host(t, name)
	s := fmt.Sprintf("`%s`, exit code %d", h.Outcome, next.Code)
	if h.Message != "" {
		s += ": " + h.Message
	}
	if h.Patch != nil && len(h.Patch.Warnings) > 0 {
		s += "; " + strings.Join(h.Patch.Warnings, "; ")
	}
	return e2e.Cell(s)
}

// favourite has the kernel choose a unit's processes first when memory runs out.
func favourite(lab *e2e.Lab, host, unit string) {
	write(lab, host, "/etc/systemd/system/"+unit+".service.d/oom.conf", "[Service]\nOOMScoreAdjust=900\n")
	lab.Exec(host, "systemctl", "daemon-reload")
}

// favour says how much the kernel likes to kill what Ansible runs on a host just now, and will for half of a question's time more.
func favour(t *testing.T, lab *e2e.Lab, host string, score int) {
	t.Helper()
	e2e.Eventually(t, time.Minute, "something watches the upgrade of "+host, func() error {
		said := lab.Shell(host, fmt.Sprintf(`set -- $(pgrep -f '[h]omelab_patch.* call$'); age=$(ps -o etimes= -p ${1:-0}) || exit 0
			[ "$age" -lt 10 ] || exit 0
			for p; do echo %d >/proc/$p/oom_score_adj || true; done; echo favoured`, score))
		if strings.TrimSpace(said) != "favoured" {
			return errors.New("not now")
		}
		return nil
	})
}

// starve leaves a host 4 MiB, and has something take more: the kernel kills what favourite named, until it fits.
func starve(lab *e2e.Lab, host string, mib int) {
	lab.Fault("memory", host, "+4")
	lab.Exec(host, "python3", "-c", `
import sys
open('/proc/self/oom_score_adj', 'w').write('-1000')
eaten = bytearray(int(sys.argv[1]) << 20)
for i in range(0, len(eaten), 4096): eaten[i] = 1`, strconv.Itoa(mib))
}

// off waits until a host is off.
func off(t *testing.T, lab *e2e.Lab, host string, timeout time.Duration) {
	t.Helper()
	e2e.Eventually(t, timeout, host+" is off", func() error {
		if lab.BootID(host) != "" {
			return errors.New("it is on")
		}
		return nil
	})
}
