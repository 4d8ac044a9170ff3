package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"homelab-patch-orchestrate/metrics"
)

// Root would leave files in the state directory that its owner cannot read.
func TestStateOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	b := newBench(t)
	state := b.path("state")
	if err := errors.Join(os.MkdirAll(state, 0o700), os.Chown(state, 998, 998)); err != nil {
		t.Fatal(err)
	}
	r := b.run(2)
	wants(t, "another user's state", r.stderr, state+" belongs to ", "sudo -H -u ")
	if left, err := os.ReadDir(state); err != nil || len(left) > 0 || exists(b.path("run.prom")) {
		t.Errorf("something was left: %v, %v", left, err)
	}
}

// What is refused touches nobody, and says what and where.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "budgt: 1\n")
	r := b.do(b.command())
	if r.code != 2 {
		t.Errorf("bad settings: exit code %d", r.code)
	}
	wants(t, "bad settings", r.stderr, "settings.yaml:1", "budgt", "budget")
	// Nobody may see the message of a timer, so the metric of the settings tells;
	// a run that is under way keeps what it wrote.
	if err := metrics.Write(b.path("named.prom"), metrics.Run{Running: true}); err != nil {
		t.Fatal(err)
	}
	b.write("settings.yaml", "project: gone\ntextfile: named.prom\n")
	r = b.do(b.bare("run", "--config", b.path("settings.yaml")))
	if m, err := metrics.Read(b.path("named.prom")); r.code != 2 || err != nil || m.ExitCode != 2 || !m.Running {
		t.Errorf("a project of the settings that is gone must show: exit code %d, %+v, %v", r.code, m, err)
	}
	b.write("settings.yaml", "{}\n")
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--limit", "nobody"}, []string{"limit", "no host"}},
		{[]string{"--limit", "nas"}, []string{"nas"}},
		{[]string{"--limit", ""}, []string{"--limit is empty"}},
		{[]string{"--project", ""}, []string{"--project is empty"}},
		{[]string{"--inventory", ""}, []string{"--inventory is empty"}},
		// Ansible takes each of these for no limit at all.
		{[]string{"--limit", ","}, []string{"limit", "no host"}},
		{[]string{"--limit", "@" + os.DevNull}, []string{"limit", "no host"}},
		{[]string{"--wave", "7"}, []string{"no wave 7", "0, 1, 2"}},
		{[]string{"--wave", "-1"}, []string{"numbered from 0"}},
		{[]string{"--forks", "0"}, []string{"--forks"}},
		{[]string{"--inventory", "missing.yml"}, []string{"missing.yml does not exist"}},
		{[]string{"--playbook", "missing.yml"}, []string{"missing.yml does not exist"}},
		{[]string{"--project", "missing"}, []string{"missing is not a folder"}},
		{[]string{"--limt", "one"}, []string{"--limt", "run --help"}},
		{[]string{"stray"}, []string{"stray"}},
	} {
		r := b.run(2, c.args...)
		wants(t, strings.Join(c.args, " "), r.stderr, append(c.words, name+": ")...)
		if r.stdout != "" {
			t.Errorf("%v: stdout: %s", c.args, r.stdout)
		}
	}
	if exists(b.path("run.prom")) {
		t.Error("a run refused for its flags wrote metrics")
	}
	b.write("hosts.yml", strings.Replace(fleet, "patching_wave1: {hosts: {two: {}}}", "patching_wave1: {hosts: {two: {}, one: {}}}", 1))
	r = b.run(2)
	wants(t, "host in two waves", r.stderr, "one", "patching_wave0", "patching_wave1")
	if m := b.metrics(); m.ExitCode != 2 {
		t.Errorf("a fleet that cannot be planned must show: %+v", m)
	}
	if got := b.touched(); got != "" {
		t.Errorf("touched %q", got)
	}
}

// What others may write is not run as root.
func TestUntrusted(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root is refused")
	}
	b := newBench(t)
	if err := os.Chmod(b.path("project/patch.yml"), 0o666); err != nil {
		t.Fatal(err)
	}
	wants(t, "stderr", b.run(2).stderr, "patch.yml", "chmod")
	os.Chmod(b.path("project/patch.yml"), 0o644)
	b.write("project/ansible.cfg", "[defaults]\ncallback_plugins = ../plugins\n")
	b.write("plugins/mine.py", "")
	os.Chmod(b.path("plugins"), 0o777)
	wants(t, "stderr", b.run(2).stderr, "plugins", "chmod")
	b.write("project/ansible.cfg", "[defaults]\nroles_path = ../plugins\n")
	wants(t, "a role path", b.run(2).stderr, "plugins", "chmod")
	os.Remove(b.path("project/ansible.cfg"))
	b.write("hooks/snapshot.yml", "[]\n") // beside the inventory
	os.Chmod(b.path("hooks/snapshot.yml"), 0o666)
	wants(t, "a hook", b.run(2).stderr, "snapshot.yml", "chmod")
	os.Chmod(b.path("hooks/snapshot.yml"), 0o644)
	// A playbook outside its project, and what lies beside one without a project.
	b.write("other/mine.yml", play)
	os.Chmod(b.path("other/mine.yml"), 0o666)
	wants(t, "a playbook elsewhere", b.run(2, "--playbook", b.path("other/mine.yml")).stderr, "mine.yml", "chmod")
	os.Chmod(b.path("other/mine.yml"), 0o644)
	b.write("other/action_plugins/x.py", "")
	os.Chmod(b.path("other/action_plugins"), 0o777)
	r := b.do(b.bare("run", "--playbook", b.path("other/mine.yml"), "--inventory", b.path("hosts.yml"), "--check",
		"--state", b.path("state"), "--config", b.path("settings.yaml")))
	if r.code != 2 {
		t.Errorf("plugins beside a playbook: exit code %d", r.code)
	}
	wants(t, "plugins beside a playbook", r.stderr, "action_plugins", "chmod")
}

func TestHold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "hold: MAINTENANCE\n")
	b.write("MAINTENANCE", "moving racks\n")
	wants(t, "stderr", b.run(6).stderr, "moving racks", "MAINTENANCE")
	if m := b.metrics(); !m.Held || !m.LastRun.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
	if got := b.touched(); got != "" {
		t.Errorf("touched %q", got)
	}
}

// A hold that comes while the plan is made is a hold all the same.
func TestHoldWhilePlanning(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "hold: MAINTENANCE\n")
	b.write("hosts.sh", "#!/bin/sh\ntouch "+b.path("MAINTENANCE")+"\necho '"+`{"_meta": {"hostvars": {"ctl": {"ansible_connection": "local"}}},`+
		` "patch_controller": {"hosts": ["ctl"]}, "patching_targets": {"hosts": ["ctl"]}, "patching_wave0": {"hosts": ["ctl"]}}'`+"\n")
	os.Chmod(b.path("hosts.sh"), 0o755)
	r := b.do(b.bare("run", "--project", b.path("project"), "--inventory", b.path("hosts.sh"), "--state", b.path("state"),
		"--textfile", b.path("run.prom"), "--config", b.path("settings.yaml")))
	if r.code != 6 || r.stdout != "" {
		t.Errorf("exit code %d, stdout %s", r.code, r.stdout)
	}
	if m := b.metrics(); !m.Held || m.Running || !m.LastRun.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
	if got := b.touched(); got != "" {
		t.Errorf("touched %q", got)
	}
}
