package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

// TestRun is a week of one fleet: a failure stops the waves after it, a
// narrowed run does not clear it, a full one does.
func TestRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("break-one", "")
	r := b.run(3)
	wants(t, "stdout", r.stdout, "failed", "not-attempted", "halted", "Break", "broken on purpose")
	if got := b.touched(); got != "one" {
		t.Errorf("touched %q", got)
	}
	if m := b.metrics(); m.ExitCode != 3 || !m.LastSuccess.IsZero() || m.Waves[1].Hosts["not-attempted"] != 1 {
		t.Errorf("metrics: %+v", m)
	}

	failed := b.metrics()
	r = b.run(0, "--json", "--limit", "two")
	var report orchestrator.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("--json: %v\n%s", err, r.stdout)
	}
	if report.Kind != orchestrator.Narrowed || len(report.Waves) != 1 || report.State != orchestrator.Passed {
		t.Errorf("report: %+v", report)
	}
	if m := b.metrics(); m.ExitCode != 3 || !m.LastSuccess.IsZero() || !m.LastRun.Equal(failed.LastRun) {
		t.Errorf("a narrowed run spoke for the fleet: %+v", m)
	}
	os.Remove(b.path("break-one"))
	os.Remove(b.path("touched"))
	r = b.run(0)
	wants(t, "stdout", r.stdout, "one", "two", "ctl", "patched", "passed in", "3 patched")
	wants(t, "stderr", r.stderr, "wave=0", "wave=2", "run passed")
	if got := b.touched(); got != "one two ctl" {
		t.Errorf("touched %q", got)
	}
	if m := b.metrics(); m.ExitCode != 0 || m.LastSuccess.IsZero() || m.Running || len(m.Waves) != 3 || m.Waves[0].Hosts["patched"] != 1 {
		t.Errorf("metrics: %+v", m)
	}
}

// A project that changes under a run is not the one that was looked at.
func TestProjectChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("project/patch.yml", strings.ReplaceAll(play, "{{ bench }}/touched", "{{ bench }}/touched; echo '# more' >>{{ playbook_dir }}/patch.yml"))
	wants(t, "stdout", b.run(3).stdout, "project changed", "patch.yml")
	if got := b.touched(); got != "one" {
		t.Errorf("touched %q", got)
	}
}

// Whoever reads the output may go away: the run does not.
func TestReaderGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "{}\n")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := b.command("--wave", "1")
	c.Stdout, c.Stderr = w, w
	r.Close()
	err = c.Run()
	w.Close()
	if err != nil || b.touched() != "two" || b.journal().State != orchestrator.Passed {
		t.Errorf("%v; touched %q; %+v", err, b.touched(), b.journal())
	}
}

// What a host says may not command the terminal of who reads it.
func TestHostileWords(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("project/patch.yml", `- hosts: patching_targets
  gather_facts: false
  tasks:
    - name: Lie
      ansible.builtin.set_fact:
        homelab_patch: {version: 1, packages: [{name: "evil\e]0;pwned\a", from: "1\e[2J", to: "2\n3"}], reboot_forecast: "\e[31mno",
          warnings: ["\e[1mbold"], failure: {phase: x, reason: "broken\e[2J\nPASSED", detail: ""}}
`)
	r := b.run(3)
	if strings.ContainsAny(r.stdout+r.stderr, "\x1b\a") {
		t.Errorf("control characters of a host came through:\n%q\n%q", r.stdout, r.stderr)
	}
	wants(t, "stdout", r.stdout, "evil", "broken", "halted")
}
