//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

const (
	promService = "homelab-patch-prom.service"
	promTimer   = "homelab-patch-prom.timer"
)

// Between two runs the host itself keeps patch.prom true: a reboot by hand is seen without Ansible.
func TestPatchProm(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "patch-prom", "The host writes patch.prom by itself")
	write(lab, controller, "/etc/ansible/host_vars/prox.yml", "patching_reboot: never\n")
	out := run(t, lab, "run", "--limit", "prox")
	ev.Call("`run --limit prox`, with `patching_reboot: never`", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"prox patched"})
	after := metrics(t, lab, "prox", "patch.prom")
	wantMetrics(t, lab, "prox", "patch.prom", map[string]float64{"reboot_required": 1, "packages_upgraded": 5})

	t.Run("its units are there", func(t *testing.T) {
		lab := lab.For(t)
		if got := lab.Exec("prox", "systemctl", "is-enabled", promService, promTimer); got != "enabled\nenabled\n" {
			t.Errorf("is-enabled: %q", got)
		}
		if got := lab.Exec("prox", "systemctl", "is-active", promTimer); got != "active\n" {
			t.Errorf("the timer is %q", got)
		}
		files := lab.Exec("prox", "stat", "-c", "%a %U", "/etc/systemd/system/"+promService, "/etc/systemd/system/"+promTimer,
			"/usr/local/lib/homelab-patch/homelab-patch")
		if files != "644 root\n644 root\n755 root\n" {
			t.Errorf("modes of units and program: %q", files)
		}
		if said := lab.Run(t.Context(), "prox", "systemd-analyze", "verify", "--man=no", "/etc/systemd/system/"+promService); said.Code != 0 || said.Stderr != "" {
			t.Errorf("systemd-analyze verify: exit code %d\n%s", said.Code, said.Stderr)
		}
	})

	t.Run("a second run changes none of it", func(t *testing.T) {
		lab := lab.For(t)
		files, timer := lab.Files("prox", "/etc", "/usr/local"), property(lab, promTimer, "ActiveEnterTimestampMonotonic")
		out := run(t, lab, "run", "--limit", "prox")
		out.want(t, 0, []string{"prox unchanged"})
		if now := lab.Files("prox", "/etc", "/usr/local"); !slices.Equal(now, files) {
			t.Errorf("changed: %v", difference(files, now))
		}
		if now := property(lab, promTimer, "ActiveEnterTimestampMonotonic"); now != timer {
			t.Errorf("the timer was started again, at %s and %s", timer, now)
		}
		after = metrics(t, lab, "prox", "patch.prom")
	})

	t.Run("the service tells what is so now", func(t *testing.T) {
		lab := lab.For(t)
		lab.Shell("prox", "cd /run && mv reboot-required reboot-required.pkgs /root/")
		write(lab, "prox", "/etc/homelab/MAINTENANCE", "guests are being moved\n")
		began := time.Now()
		refresh(t, lab)
		want := maps.Clone(after)
		want["homelab_patch_reboot_required"], want["homelab_patch_held"] = 0, 1
		wantSame(t, want, metrics(t, lab, "prox", "patch.prom"))
		ev.Lines("the service, once", fmt.Sprintf("%.1f s, CPU %s ns", time.Since(began).Seconds(), property(lab, promService, "CPUUsageNSec")))
		lab.Shell("prox", "cd /root && mv reboot-required reboot-required.pkgs /run/ && rm /etc/homelab/MAINTENANCE")
		refresh(t, lab)
		wantSame(t, after, metrics(t, lab, "prox", "patch.prom"))
	})

	// needrestart has to see what other users' processes have loaded.
	t.Run("its sandbox hides no old code", func(t *testing.T) {
		lab := lab.For(t)
		lab.Shell("prox", `cp /bin/sleep /usr/local/bin/guest
			systemd-run --quiet --unit=docker.service --uid=nobody --property=PrivateTmp=yes /usr/local/bin/guest infinity
			cp /bin/sleep /usr/local/bin/guest.new && mv /usr/local/bin/guest.new /usr/local/bin/guest
			cd /run && mv reboot-required reboot-required.pkgs /root/`)
		refresh(t, lab)
		wantMetrics(t, lab, "prox", "patch.prom", map[string]float64{"reboot_required": 1})
		lab.Exec("prox", "systemctl", "stop", "docker.service")
		refresh(t, lab)
		wantMetrics(t, lab, "prox", "patch.prom", map[string]float64{"reboot_required": 0})
		lab.Shell("prox", "cd /root && mv reboot-required reboot-required.pkgs /run/")
		refresh(t, lab)
		wantSame(t, after, metrics(t, lab, "prox", "patch.prom"))
	})

	t.Run("twenty at once leave no half a file", func(t *testing.T) {
		lab := lab.For(t)
		said := lab.Exec("prox", "/usr/bin/python3", "-c", together)
		ev.Lines("twenty writers at once", strings.TrimSpace(said))
		wantSame(t, after, metrics(t, lab, "prox", "patch.prom"))
		if left := lab.Exec("prox", "ls", "-A", textfiles); left != "patch.prom\n" {
			t.Errorf("left beside it: %q", left)
		}
	})

	t.Run("it waits for nobody's lock, and a missing folder is a warning", func(t *testing.T) {
		lab := lab.For(t)
		lab.Exec("prox", "systemd-run", "--quiet", "--unit=lab-lock", "--property=Type=notify", "--property=NotifyAccess=all", "/usr/bin/python3", "-c", locks)
		lab.Exec("prox", "mv", textfiles, textfiles+".off")
		refresh(t, lab)
		if said := lab.Exec("prox", "journalctl", "--no-pager", "-q", "-o", "cat", "-u", promService, "-p", "warning"); said !=
			"homelab-patch: no metrics of this host: the folder "+textfiles+" does not exist\n" {
			t.Errorf("the journal has %q", said)
		}
		lab.Exec("prox", "mv", textfiles+".off", textfiles)
		lab.Exec("prox", "rm", textfiles+"/patch.prom")
		refresh(t, lab)
		wantSame(t, after, metrics(t, lab, "prox", "patch.prom"))
		lab.Exec("prox", "systemctl", "stop", "lab-lock")
		if said := lab.Exec("prox", "journalctl", "--no-pager", "-q", "-o", "cat", "-u", promService, "-b"); strings.Contains(said, "Started") {
			t.Errorf("the journal hears of each start:\n%s", said)
		}
	})

	t.Run("a reboot by hand clears it", func(t *testing.T) {
		lab := lab.For(t)
		lab.Exec("prox", "systemctl", "disable", promTimer) // it would, too, within the hour
		boot := lab.BootID("prox")
		lab.Run(t.Context(), "prox", "systemctl", "reboot")
		e2e.Eventually(t, time.Minute, "prox is in a new boot", func() error {
			if now := lab.BootID("prox"); now == "" || now == boot {
				return fmt.Errorf("boot_id %q", now)
			}
			return nil
		})
		began := time.Now()
		want := maps.Clone(after)
		want["homelab_patch_reboot_required"] = 0
		e2e.Eventually(t, time.Minute, "patch.prom says so", func() error {
			if metrics(t, lab, "prox", "patch.prom")["homelab_patch_reboot_required"] != 0 {
				return errors.New("reboot_required is still 1")
			}
			return nil
		})
		ev.Lines("after a reboot by hand", fmt.Sprintf("`reboot_required` was 0 %.1f s after the new boot was first seen", time.Since(began).Seconds()))
		wantSame(t, want, metrics(t, lab, "prox", "patch.prom"))
		if got := property(lab, promTimer, "ActiveState"); got != "inactive" {
			t.Errorf("the timer is %s: it may have been the timer", got)
		}
		if got := lab.Run(t.Context(), "prox", "systemctl", "is-system-running", "--wait"); got.Stdout != "running\n" {
			t.Errorf("the host is %q after its boot", got.Stdout)
		}
	})
}

// refresh starts the service that the timer starts, and waits for its end, which must be a good one.
func refresh(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	lab.Exec("prox", "systemctl", "reset-failed", promService) // its count of starts, too: systemd refuses the sixth within ten seconds
	lab.Exec("prox", "systemctl", "start", "--wait", promService)
	if got := property(lab, promService, "Result"); got != "success" {
		t.Errorf("%s: %s", promService, got)
	}
}

// property is what systemd on prox says of a unit.
func property(lab *e2e.Lab, unit, name string) string {
	return strings.TrimSpace(lab.Exec("prox", "systemctl", "show", "--value", "--property="+name, unit))
}

// together runs twenty writers while it reads what they write, and counts what it read.
const together = `
import subprocess, time
began, reads, states = time.monotonic(), 0, set()
calls = [subprocess.Popen(['/usr/local/lib/homelab-patch/homelab-patch', 'metrics']) for _ in range(20)]
while any(c.poll() is None for c in calls):
    with open('` + textfiles + `/patch.prom', encoding='ascii') as f:
        text = f.read()
    lines = text.splitlines()
    values = dict(line.rsplit(' ', 1) for line in lines if not line.startswith('#'))
    assert text.endswith('\n') and len(lines) == 18 and len(values) == 8, text
    assert all(float(v) >= 0 for v in values.values()), text
    reads += 1
    time.sleep(0.002)   # leave the writers a core
    states.add(text)
assert [c.returncode for c in calls] == [0] * 20, [c.returncode for c in calls]
assert reads > 100 and len(states) == 1, (reads, states)
print('%d reads in %.1f s, all of them whole' % (reads, time.monotonic() - began))
`

// locks holds the locks that apt and dpkg take, until it is stopped.
const locks = `
import fcntl, signal, subprocess
held = [open(p, 'w') for p in ('/var/lib/dpkg/lock-frontend', '/var/lib/dpkg/lock', '/var/lib/apt/lists/lock', '/var/cache/apt/archives/lock')]
for f in held:
    fcntl.lockf(f, fcntl.LOCK_EX)
subprocess.run(['systemd-notify', '--ready'], check=True)
signal.pause()
`
