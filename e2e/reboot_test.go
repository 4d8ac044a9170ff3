//go:build e2e && e2efull

package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// What can go wrong with a reboot: each host has its own trouble, all in one wave.
func TestReboots(t *testing.T) {
	lab := up(t, e2e.Options{Extra: 3})
	ev := e2e.Record(t, lab, "reboots", "Reboots that go wrong, and one that takes its time")
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", "patching_reboot_timeout: 90\n")
	lab.Fault("noreturn", "node01")
	lab.Fault("failunit", "node02")
	lab.Fault("bootdelay", "node03", "40")

	out := run(t, lab, "run")
	ev.Call("node01 never returns, node02 has a failed unit, node03 boots slowly", out.Output, out.Took, said(out))
	out.want(t, 3, []string{"node01 failed", "node02 failed", "node03 patched", "saltierpoop patched", "prox not-attempted", "infra-services not-attempted"})
	for name, words := range map[string]string{
		"node01": "the host was told to restart and did not come back within 90 s",
		"node02": "failed after the reboot: lab-fail.service",
	} {
		if got := out.host(t, name).Message; !strings.Contains(got, words) {
			t.Errorf("%s: %q, want %q", name, got, words)
		}
	}
	if p := out.host(t, "node02").Patch; p == nil || !p.Rebooted || !slices.Contains(p.FailedUnits.After, "lab-fail.service") || !slices.Equal(p.names(), updates) {
		t.Errorf("node02: %+v", p)
	}
	if p := out.host(t, "node03").Patch; !p.Rebooted || lab.Boots("node03") != 2 {
		t.Errorf("node03: rebooted %v, %d boots", p.Rebooted, lab.Boots("node03"))
	}

	t.Run("repository is down", func(t *testing.T) {
		lab := lab.For(t)
		same := untouched(lab, "prox")
		lab.Fault("repo-down", "")
		out := run(t, lab, "run", "--limit", "prox")
		ev.Call("repository is down", out.Output, out.Took, said(out))
		out.want(t, 3, []string{"prox failed"}, "cannot be refreshed")
		same(t)
		lab.Fault("repo-up", "")
		out = run(t, lab, "run", "--limit", "prox")
		out.want(t, 0, []string{"prox patched"})
	})
}

// Debian's own updates, python3 among them, on which Ansible itself runs.
func TestRealUpdates(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "real", "Debian's own updates")
	lab.RepoState("real")
	want := map[string][]string{}
	for _, name := range hosts {
		want[name] = lab.Pending(name)
		python := slices.IndexFunc(want[name], func(p string) bool { return strings.HasPrefix(p, "python3.") })
		if python < 0 {
			t.Fatalf("%s: Debian has no update of python3 just now: nothing is tested: %v", name, want[name])
		}
	}
	out := run(t, lab, "run")
	ev.Call("state `real`", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	for _, name := range hosts {
		if left := lab.Pending(name); len(left) > 0 {
			t.Errorf("%s: still to come: %v", name, left)
		}
		if got := out.host(t, name).Patch.names(); !slices.Equal(got, want[name]) {
			t.Errorf("%s: the report has %v, apt would have made %v", name, got, want[name])
		}
		ev.Lines("dpkg.log of "+name, changes(lab, name)...)
	}
	wantQuiet(t, lab)
}
