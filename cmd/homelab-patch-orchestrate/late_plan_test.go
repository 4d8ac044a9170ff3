//go:build e2e

package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

// A playbook that does not say what it would do: its hosts are named, and nothing is made up.
func TestPlanOfAnotherPlaybook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "{}\n")
	args := []string{"plan", "--project", b.path("project"), "--inventory", b.path("hosts.yml"), "--state", b.path("state"), "--config", b.path("settings.yaml")}
	r := b.do(b.bare(append(args, "--json")...))
	var p planJSON
	if err := json.Unmarshal([]byte(r.stdout), &p); err != nil || r.code != 0 || len(p.Waves) != 3 {
		t.Fatalf("exit code %d, %v: %s%s", r.code, err, r.stdout, r.stderr)
	}
	wants(t, "problem", p.Waves[0].Hosts[0].Problem, "does not say")
	if r := b.do(b.bare(append(args, "--out", b.path("no/where"))...)); r.code != 2 || !strings.Contains(r.stderr, "there is no folder") {
		t.Errorf("--out into nowhere: exit code %d, %s", r.code, r.stderr)
	}
	// A hold keeps nobody from looking.
	b.write("settings.yaml", "hold: hold\n")
	b.write("hold", "moving racks\n")
	b.run(6, "--check")
	if r := b.do(b.bare(args...)); r.code != 0 || !strings.Contains(r.stdout, "planned 0 of 3 hosts") {
		t.Errorf("on hold: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	wants(t, "both", b.do(b.bare(append(args, "--json", "--markdown")...)).stderr, "one of them")
	if b.touched() != "" {
		t.Errorf("touched %q", b.touched())
	}
}

// What hosts say is text in all three forms.
func TestPlanShows(t *testing.T) {
	t.Parallel()
	evil := "\x1b[31mred|<script>`x` @everyone http://evil"
	report := orchestrator.Report{ID: "x", Waves: []orchestrator.WaveReport{{Hosts: []orchestrator.HostReport{
		{Name: "one", Outcome: orchestrator.Unchanged, Patch: &orchestrator.Patch{Suite: "bookworm", RebootForecast: evil, Packages: []orchestrator.Package{
			{Name: evil, From: "1", To: "2", Size: 1500, Security: true, Source: "openssl", SourceVersion: "2"}, {Name: "new", To: "1", Size: -1}, {Name: "gone", From: "1"}},
			KeptBack: []orchestrator.KeptBack{{Name: "kept", Reason: "phased"}}, HeldPackages: []orchestrator.HeldPackage{{Name: "held", Installed: "1", Candidate: "2"}},
			ConffilePrompts:  []orchestrator.ConffilePrompt{{Package: "ssh", Path: "/etc/ssh/sshd_config", Expected: "unknown"}},
			ServicesForecast: []orchestrator.ServiceForecast{{Service: "ssh.service", Packages: []string{"libssl3"}, Restarted: true}, {Service: "dbus.service"}},
		}},
		{Name: "two", Outcome: orchestrator.HostUnreachable, Message: evil},
	}}}}
	file := t.TempDir() + "/tracker.json"
	for content, mends := range map[string]string{
		"": "unknown", `{"openssl":{"CVE-2026-1":{"releases":{"bookworm":{"status":"resolved","fixed_version":"2"}}}}}`: "CVE-2026-1",
	} {
		if content != "" {
			os.WriteFile(file, []byte(content), 0o600)
		}
		plan := planOf(report, file)
		for name, show := range map[string]func(*printer) error{
			"table": func(p *printer) error { return p.plan(plan) }, "Markdown": func(p *printer) error { return p.planMarkdown(plan) },
		} {
			out, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			if err := show(&printer{out: out, err: out}); err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(out.Name())
			text := string(data)
			wants(t, name, text, mends, "1.5 kB", "security", "unreachable", "kept back: phased", "apt-mark unhold held", "/etc/ssh/sshd", "only a reboot replaces it", "planned 1 of 2 hosts", "at least 1.5 kB")
			if strings.Contains(text, "\x1b") || name == "Markdown" && (strings.Contains(text, "<script") || strings.Contains(text, "red|") || strings.Contains(text, "@") || strings.Contains(text, "http://")) {
				t.Errorf("%s lets it through: %q", name, text)
			}
		}
	}
}
