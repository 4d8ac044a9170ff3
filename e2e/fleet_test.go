//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// rebootReason is why a host with the new kernel package has to reboot.
const rebootReason = "asked for by linux-image-6.1.0-41-lab-amd64"

// The main job: one command patches three waves of real hosts.
func TestPatchFleet(t *testing.T) {
	onFull(t, e2e.Options{}, "fleet", "One command patches three waves of hosts", patchFleet)
}

func patchFleet(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	boots := map[string]string{}
	for _, name := range hosts {
		if got := lab.Pending(name); !slices.Equal(got, updates) {
			t.Fatalf("%s: pending %v, want %v", name, got, updates)
		}
		boots[name] = lab.BootID(name)
	}

	ok := t.Run("a check changes nothing and says what would change", func(t *testing.T) {
		lab := lab.For(t)
		before := map[string][]string{}
		dirs := []string{"/var/lib/dpkg", "/etc", "/var/lib/apt", "/var/lib/prometheus", "/usr/local"}
		for _, name := range hosts {
			before[name] = lab.Files(name, dirs...)
		}
		out := run(t, lab, "run", "--check")
		ev.Call("`run --check`", out.Output, out.Took, last(out.Stdout))
		out.want(t, 0, []string{"saltierpoop unchanged", "prox unchanged", "infra-services unchanged"},
			"lab-app", "1.0-1+deb12u1", "WOULD CHANGE", "linux-image-6.1.0-41-lab-amd64 is a new kernel",
			"checked 3 hosts, changed nothing; packages that would change: 15 on 3 hosts")
		for _, name := range hosts {
			if after := lab.Files(name, dirs...); !slices.Equal(before[name], after) {
				t.Errorf("%s: files changed: %v", name, difference(before[name], after))
			}
			if metrics(t, lab, name, "patch.prom") != nil {
				t.Errorf("%s: a check wrote patch.prom", name)
			}
			if len(changes(lab, name)) > 0 {
				t.Errorf("%s: dpkg.log: %v", name, changes(lab, name))
			}
		}
		wantQuiet(t, lab)
	})
	if !ok {
		t.FailNow()
	}

	began := time.Now()
	patched := t.Run("a run patches all waves in order", func(t *testing.T) {
		lab := lab.For(t)
		out := run(t, lab, "run")
		ev.Call("`run`", out.Output, out.Took, last(out.Stdout))
		out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"}, "3 patched")
		for i, name := range hosts {
			for _, p := range []struct{ name, version string }{
				{"lab-app", "2.0-1"}, {"lab-sec", "1.0-1+deb12u1"}, {"linux-image-6.1.0-41-lab-amd64", "6.1.0-41-1"},
			} {
				if got := lab.Version(name, p.name); got != p.version {
					t.Errorf("%s: %s is %q, want %q", name, p.name, got, p.version)
				}
			}
			if got := out.host(t, name).Patch.names(); !slices.Equal(got, updates) {
				t.Errorf("%s: the report has the packages %v, want %v", name, got, updates)
			}
			if n := transactions(lab, name); n != 1 {
				t.Errorf("%s: %d transactions of apt", name, n)
			}
			first, end := span(t, lab, name)
			ev.Lines("dpkg.log of "+name, append([]string{first.Format(time.TimeOnly) + " to " + end.Format(time.TimeOnly)}, changes(lab, name)...)...)
			if i > 0 {
				if _, earlier := span(t, lab, hosts[i-1]); first.Before(earlier) {
					t.Errorf("wave %d began at %v, and wave %d ended at %v", i, first, i-1, earlier)
				}
			}
		}
	})
	if !patched {
		t.FailNow()
	}

	t.Run("hosts rebooted because of their kernel, the controller did not", func(t *testing.T) {
		lab := lab.For(t)
		r := outcome{Report: latest(t, lab)}
		for _, name := range hosts[:2] {
			if lab.BootID(name) == boots[name] || lab.Boots(name) != 2 {
				t.Errorf("%s: boot_id %s, before %s, %d boots", name, lab.BootID(name), boots[name], lab.Boots(name))
			}
			if p := r.host(t, name).Patch; !p.Rebooted || p.RebootRequired {
				t.Errorf("%s: rebooted %v, required %v", name, p.Rebooted, p.RebootRequired)
			}
			ev.Lines("boot_id of "+name, "before "+boots[name], "after  "+lab.BootID(name))
		}
		p := r.host(t, controller).Patch
		if lab.BootID(controller) != boots[controller] || p.Rebooted {
			t.Errorf("the controller rebooted itself")
		}
		if !p.RebootRequired || !slices.Equal(p.RebootReasons, []string{rebootReason}) {
			t.Errorf("the controller: reboot required %v because of %q", p.RebootRequired, p.RebootReasons)
		}
	})

	t.Run("metrics tell it", func(t *testing.T) {
		lab := lab.For(t)
		for _, name := range hosts {
			reboot := 0.0
			if name == controller {
				reboot = 1
			}
			wantMetrics(t, lab, name, "patch.prom", map[string]float64{
				"reboot_required": reboot, "packages_upgraded": 5, "held": 0,
				`packages_pending{kind="security"}`: 0, `packages_pending{kind="other"}`: 0,
				`packages_pending{kind="held"}`: 0, `packages_pending{kind="kept_back"}`: 0,
			})
			wantRecent(t, lab, name, "patch.prom", "homelab_patch_last_success_unixtime", began)
		}
		want := map[string]float64{"last_exit_code": 0, "running": 0, "held": 0}
		for w := range 3 {
			want[fmt.Sprintf(`wave_hosts{wave="%d",outcome="patched"}`, w)] = 1
			want[fmt.Sprintf(`wave_hosts{wave="%d",outcome="failed"}`, w)] = 0
		}
		wantMetrics(t, lab, controller, "patch_orchestrate.prom", want)
		for _, name := range []string{"last_run", "last_success"} {
			wantRecent(t, lab, controller, "patch_orchestrate.prom", "homelab_patch_orchestrate_"+name+"_unixtime", began)
		}
		modes := lab.Exec(controller, "stat", "-c", "%a %U", textfiles+"/patch_orchestrate.prom", textfiles+"/patch.prom")
		if modes != "644 root\n644 root\n" {
			t.Errorf("modes of the textfiles: %q", modes)
		}
	})

	t.Run("nothing is left but a private state directory", func(t *testing.T) {
		lab := lab.For(t)
		wantQuiet(t, lab)
		if open := lab.Exec(controller, "find", stateDir, "-perm", "/077"); open != "" {
			t.Errorf("others may read:\n%s", open)
		}
	})

	t.Run("a second run has nothing to do and says so", func(t *testing.T) {
		lab := lab.For(t)
		logs, ids := map[string]int{}, map[string]string{}
		for _, name := range hosts {
			logs[name], ids[name] = len(lab.DpkgLog(name)), lab.BootID(name)
		}
		again := time.Now()
		out := run(t, lab, "run", "--json")
		ev.Call("`run --json`, again", out.Output, out.Took, out.Report.Reason)
		out.want(t, 0, []string{"saltierpoop unchanged", "prox unchanged", "infra-services unchanged"}, "nothing to do on 3 hosts")
		var printed report
		if err := json.Unmarshal([]byte(out.Stdout), &printed); err != nil || printed.ID != out.Report.ID || len(printed.Waves) != 3 {
			t.Errorf("--json: %v, run %q with %d waves, the journal is of %s", err, printed.ID, len(printed.Waves), out.Report.ID)
		}
		for _, name := range hosts {
			if n := len(lab.DpkgLog(name)); n != logs[name] || lab.BootID(name) != ids[name] {
				t.Errorf("%s: %d lines of dpkg.log before, %d after; boot_id %s before, %s after", name, logs[name], n, ids[name], lab.BootID(name))
			}
			wantRecent(t, lab, name, "patch.prom", "homelab_patch_last_success_unixtime", again)
		}
		wantRecent(t, lab, controller, "patch_orchestrate.prom", "homelab_patch_orchestrate_last_success_unixtime", again)
		wantQuiet(t, lab)
	})

	t.Run("what the pages have on looking, planning and holding works", func(t *testing.T) {
		lab := lab.For(t)
		ids := runs(lab)
		wantPages(t, lab, ev, ids[len(ids)-2])
	})
}

// latest is the report of the latest run.
func latest(t *testing.T, lab *e2e.Lab) *report {
	t.Helper()
	ids := runs(lab)
	if len(ids) == 0 {
		t.Fatal("no run has a journal")
	}
	r := journal(t, lab, ids[len(ids)-1])
	return &r
}

// last is the last line that says how it went.
func last(stdout string) string {
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	for _, line := range slices.Backward(lines) {
		if line != "" && !strings.HasPrefix(line, "report: ") {
			return line
		}
	}
	return ""
}

// difference lists the lines that only one of two lists has.
func difference(a, b []string) []string {
	count := map[string]int{}
	for _, line := range a {
		count[line]--
	}
	for _, line := range b {
		count[line]++
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n == 0 })
	var lines []string
	for line, n := range count {
		sign := "+ "
		if n < 0 {
			sign = "- "
		}
		lines = append(lines, sign+line)
	}
	slices.Sort(lines)
	return lines
}
