package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// A playbook of one's own cannot have the same versions in every wave, and is told so only where that was asked for.
func TestPinnedNeedsTheCarriedPlaybook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "versions: pinned\n")
	r := b.run(2)
	wants(t, "pinned", r.stderr, "settings.yaml", "versions is pinned", "versions: latest")
	b.write("settings.yaml", "versions: newest\n")
	wants(t, "newest", b.run(2).stderr, `"versions" is none of pinned, latest`)
	if b.touched() != "" {
		t.Errorf("touched %q", b.touched())
	}
	b.write("settings.yaml", "{}\n")
	b.run(0)
	if r := b.journal(); r.Versions != nil || b.touched() != "one two ctl" {
		t.Errorf("by default: %+v, touched %q", r.Versions, b.touched())
	}
}

// What cannot be carried out is refused before anything is read of the fleet.
func TestPlanFileRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "{}\n")
	v := &orchestrator.Versions{ID: "20261122T040000Z-1a2b3c", Made: time.Now(), Hosts: []orchestrator.HostVersions{{Name: "one"}}}
	good, err := v.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b.write("damaged", string(good[:40]))
	b.write("newer", strings.Replace(string(good), `"version":1`, `"version":7`, 1))
	b.write("open", string(good))
	os.Chmod(b.path("open"), 0o666)
	b.write("good", string(good))
	v.Made = v.Made.AddDate(0, 0, -30)
	old, _ := v.Encode()
	b.write("old", string(old))
	for name, words := range map[string]string{
		"missing": "plan --out makes it", "damaged": "damaged", "newer": "version 7", "open": "others may write", ".": "no file of plan --out",
		// The last two are read; what is wrong with them is seen when the fleet is known.
		"old": "30 days old", "good": "not for two, ctl",
	} {
		r := b.do(b.bare("run", "--inventory", b.path("hosts.yml"), "--state", b.path("state"), "--textfile", b.path("run.prom"),
			"--config", b.path("settings.yaml"), "--plan", b.path(name)))
		if r.code != 2 || !strings.Contains(r.stderr, words) {
			t.Errorf("%s: exit code %d, %s", name, r.code, r.stderr)
		}
	}
	wants(t, "a playbook of one's own", b.run(2, "--plan", b.path("good")).stderr, "playbook of your own")
	wants(t, "with --check", b.run(2, "--plan", b.path("good"), "--check").stderr, "--plan with --check")
	if exists(b.path("run.prom")) {
		t.Error("a refused plan wrote metrics")
	}
}
