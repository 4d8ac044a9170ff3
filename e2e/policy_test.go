//go:build e2e && e2efull

package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// Each host has a policy of its own, and the same updates on offer.
func TestPolicies(t *testing.T) {
	lab := up(t, e2e.Options{Extra: 5})
	ev := e2e.Record(t, lab, "policies", "Policies of hosts")
	for name, vars := range map[string]string{
		"node01": "patching_upgrade_type: security_only\n",
		"node02": "patching_upgrade_type: dist\n",
		"node03": "patching_exclude: [lab-app, 'lab-c*']\n",
		"node04": "patching_autoremove: all\npatching_reboot: never\n",
		"node05": "patching_reboot: always\n",
		"prox":   "patching_remove_unattended_upgrades: false\n",
	} {
		write(lab, controller, "/etc/ansible/host_vars/"+name+".yml", vars)
	}
	lab.Fault("kept-back", "node02")
	lab.Fault("kept-back", "saltierpoop")
	lab.Exec("node03", "apt-mark", "hold", "lab-sec")
	lab.Exec("node04", "apt-mark", "auto", "lab-orphan")
	lab.Shell("node04", "echo mine >/etc/lab-conf.conf")
	for _, name := range []string{"node05", "prox"} {
		lab.Shell(name, "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install unattended-upgrades")
	}

	out := run(t, lab, "run")
	ev.Call("one run, eight policies", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"node01 patched", "node02 patched", "node03 patched", "node04 patched", "node05 patched", "saltierpoop patched",
		"prox patched", "infra-services patched"})
	versions := func(name string, want map[string]string) {
		t.Helper()
		for p, version := range want {
			if got := lab.Version(name, p); got != version {
				t.Errorf("%s: %s is %q, want %q", name, p, got, version)
			}
		}
	}
	for _, h := range []string{"node01", "node02", "node03", "node04", "node05", "saltierpoop"} {
		ev.Lines("packages of "+h, out.host(t, h).Patch.names()...)
	}

	// security_only: the kernel comes from the security archive as well
	versions("node01", map[string]string{"lab-sec": "1.0-1+deb12u1", "linux-image-lab-amd64": "1.1", "lab-app": "1.0-1", "lab-conf": "1.0-1"})
	// dist removes what stands in the way, and the default does not
	versions("node02", map[string]string{"lab-kept": "2.0-1", "lab-relic": "", "lab-app": "2.0-1"})
	versions("saltierpoop", map[string]string{"lab-kept": "1.0-1", "lab-relic": "1.0-1", "lab-app": "2.0-1"})
	if kept := out.host(t, "saltierpoop").Patch.KeptBack; len(kept) != 1 || kept[0].Name != "lab-kept" || kept[0].Reason == "" {
		t.Errorf("saltierpoop: kept back %+v", kept)
	}
	wantMetrics(t, lab, "saltierpoop", "patch.prom", map[string]float64{`packages_pending{kind="kept_back"}`: 1})
	// excluded and held packages stay, are named, and no hold is left behind
	versions("node03", map[string]string{"lab-app": "1.0-1", "lab-conf": "1.0-1", "lab-sec": "1.0-1", "linux-image-lab-amd64": "1.1"})
	p := out.host(t, "node03").Patch
	if len(p.HeldPackages) != 1 || p.HeldPackages[0].Name != "lab-sec" || len(p.Excluded) != 2 {
		t.Errorf("node03: held %+v, excluded %+v", p.HeldPackages, p.Excluded)
	}
	if holds := lab.Exec("node03", "apt-mark", "showhold"); holds != "lab-sec\n" {
		t.Errorf("node03: holds %q", holds)
	}
	wantMetrics(t, lab, "node03", "patch.prom", map[string]float64{`packages_pending{kind="held"}`: 1})
	// the operator's conffile stays, the orphan goes, and the reboot is only reported
	versions("node04", map[string]string{"lab-conf": "2.0-1", "lab-orphan": ""})
	p = out.host(t, "node04").Patch
	if got := lab.Exec("node04", "cat", "/etc/lab-conf.conf"); got != "mine\n" || !slices.Equal(p.Conffiles, []string{"/etc/lab-conf.conf.dpkg-dist"}) {
		t.Errorf("node04: lab-conf.conf is %q, reported %v", got, p.Conffiles)
	}
	if p.Rebooted || !p.RebootRequired || lab.Boots("node04") != 1 {
		t.Errorf("node04: rebooted %v, required %v, %d boots", p.Rebooted, p.RebootRequired, lab.Boots("node04"))
	}
	wantMetrics(t, lab, "node04", "patch.prom", map[string]float64{"reboot_required": 1})
	// unattended-upgrades goes, unless the policy says otherwise
	versions("node05", map[string]string{"unattended-upgrades": ""})
	if lab.Version("prox", "unattended-upgrades") == "" {
		t.Error("prox: unattended-upgrades was removed")
	}

	out = run(t, lab, "run", "--wave", "0")
	ev.Call("again, wave 0", out.Output, out.Took, last(out.Stdout))
	for _, h := range out.Report.Waves[0].Hosts {
		want := "unchanged"
		if h.Name == "node05" {
			want = "patched" // patching_reboot: always
		}
		if h.Outcome != want {
			t.Errorf("again: %s is %s, want %s: %s", h.Name, h.Outcome, want, strings.TrimSpace(h.Message))
		}
	}
}
