//go:build e2e

package main

import (
	"os"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e/discord"
)

// TestHoldIsToldOnce is a maintenance of some weeks: each time something about
// it is news, and no more often, people hear of it.
func TestHoldIsToldOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := newWorld(t, b, holdSettings)
	// heard wants one message with all the words, or none.
	heard := func(words ...string) {
		t.Helper()
		var texts []string
		for _, m := range w.Messages() {
			texts = append(texts, m.Embeds[0].Title+": "+m.Embeds[0].Description)
		}
		w.heard()
		if len(texts) != min(len(words), 1) {
			t.Fatalf("Discord heard %q, want %q", texts, words)
		}
		for _, word := range words {
			wants(t, "message", texts[0], word)
		}
	}
	check := func() { t.Helper(); wants(t, "check", b.hold(1, "check").stderr, "held: ") }

	if r := b.hold(0, "check"); r.stdout+r.stderr != "" || exists(b.path("run.prom")) {
		t.Errorf("a check that found nothing said or wrote something: %+v", r)
	}
	b.hold(0, "set", "--reason", "moving racks", "--until", "2d")
	if m := b.metrics(); !m.Held || time.Until(m.HoldUntil).Round(time.Hour) != 48*time.Hour || !m.LastRun.IsZero() {
		t.Errorf("after hold set: %+v", m)
	}
	os.Remove(b.path("run.prom"))
	check()
	heard("Not patched: held", "moving racks", ", until ")
	if m := b.metrics(); !m.Held || !m.LastRun.IsZero() {
		t.Errorf("after the check: %+v", m)
	}
	check()
	b.run(6)
	heard()
	b.hold(0, "set", "--reason", "moving racks, and the switch", "--until", "2d")
	b.run(6)
	heard("and the switch")
	b.hold(0, "set", "--reason", "moving racks, and the switch", "--until", "3d")
	check()
	heard("and the switch")
	b.write("etc/MAINTENANCE", "moving racks\nuntil: 2026-01-02 03:04\n")
	check()
	heard("moving racks", "expired on Fri 2026-01-02 03:04", "still holds")
	check()
	heard()
	if m := b.metrics(); m.HoldUntil.Local().Format(time.DateTime) != "2026-01-02 03:04:00" {
		t.Errorf("an end that has passed: %+v", m)
	}
	// A message that cannot be delivered was told all the same: it waits.
	w.front.Set(discord.Fault{Kind: "refuse"})
	b.write("etc/MAINTENANCE", "")
	check()
	w.front.Set(discord.Fault{})
	check()
	heard("MAINTENANCE exists")
	os.Remove(b.path("etc/MAINTENANCE"))
	b.run(0)
	w.heard()
	if m := b.metrics(); m.Held || !m.HoldUntil.IsZero() {
		t.Errorf("after the hold: %+v", m)
	}
	b.write("etc/MAINTENANCE", "")
	old := time.Now().Add(-time.Hour)
	os.Chtimes(b.path("etc/MAINTENANCE"), old, old)
	b.run(6, "--limit", "ctl") // somebody who sees it
	heard()
	b.run(6)
	heard("MAINTENANCE exists")
	b.hold(0, "clear")
	b.write("etc/MAINTENANCE", "") // another one
	os.Chtimes(b.path("etc/MAINTENANCE"), old, old)
	check()
	heard("MAINTENANCE exists")

	// Nobody can tell: systemd skips the run without a word, so these are ours.
	os.RemoveAll(b.path("etc"))
	b.write("etc", "")
	wants(t, "check", b.hold(1, "check").stderr, "look for a hold")
	heard("Patching did not begin", "look for a hold")
	if m := b.metrics(); m.ExitCode != 1 || m.LastRun.IsZero() {
		t.Errorf("a check that failed: %+v", m)
	}
	b.write("settings.yaml", "budgett: 1\n")
	wants(t, "check", b.hold(1, "check").stderr, "budgett")
	if m := b.metrics(); m.ExitCode != 2 {
		t.Errorf("settings that cannot be used: %+v", m)
	}
}
