//go:build e2e

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

// Why a run did not begin is known afterwards, though it left no run; and explain asks nobody.
func TestExplain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	flags := []string{"--project", b.path("project"), "--inventory", b.path("hosts.yml"), "--state", b.path("state"), "--config", b.path("settings.yaml")}
	explain := func(code int, host string) result {
		return b.back(code, append([]string{"explain", host}, flags...)...)
	}
	b.write("settings.yaml", "hold: "+b.path("HOLD")+"\nhost_holds: "+b.path("holds")+"\n")
	wants(t, "before the first run", explain(0, "one").stdout, "one was not patched yet: no run has had it.", "run --limit one")
	wants(t, "a stranger", explain(2, "onne").stderr, "the inventory has no host onne (did you mean one?)")
	wants(t, "no target", explain(0, "nas").stdout, "nas is patched by no run: it is not in patching_targets")
	if exists(b.path("state")) {
		t.Error("explain made a state directory")
	}

	b.write("break-one", "")
	b.run(3)
	wants(t, "failed", explain(0, "one").stdout, "one was not patched: it failed in wave 0", "broken on purpose", `in the task "Break"`, "patch.yml:", "retry 2")
	wants(t, "not attempted", explain(0, "ctl").stdout, "ctl was not touched: ", "was halted by wave 0, before its wave 2", "one (failed)")
	os.Remove(b.path("break-one"))
	b.run(0)
	if r := explain(0, "one"); !strings.HasPrefix(r.stdout, "one is patched: run ") || strings.Contains(r.stdout, "\ndo ") {
		t.Errorf("%s", r.stdout)
	}

	b.write("HOLD", "racks\n")
	b.run(6)
	wants(t, "held", explain(0, "one").stdout, "that run never began (exit code 6)", "held: racks", "the fleet is held", "hold clear")
	wants(t, "history", b.back(0, "history", "--config", b.path("settings.yaml"), "--state", b.path("state")).stdout, "did not, exit code 6: held: racks")
	os.Remove(b.path("state/refused.json")) // the timer does not even begin: its unit asks before
	b.back(1, "hold", "check", "--config", b.path("settings.yaml"), "--state", b.path("state"), "--textfile", b.path("run.prom"))
	wants(t, "held, by the timer", explain(0, "one").stdout, "that run never began (exit code 6)", "held: racks")
	os.Remove(b.path("HOLD"))
	b.write("holds/two", "guests\n")
	wants(t, "held by itself", explain(0, "two").stdout, "it is held by itself: guests", "hold clear --host two")
	b.write("settings.yaml", "blackout: 2000-01-01..2199-12-31\n")
	b.run(6)
	wants(t, "closed", explain(0, "one").stdout, "exit code 6", "in the blackout 2000-01-01..2199-12-31", "run --now")
	b.write("settings.yaml", "project: gone\nstate: "+b.path("state")+"\ntextfile: "+b.path("run.prom")+"\n")
	b.back(2, "run", "--config", b.path("settings.yaml"))
	wants(t, "settings", b.back(0, "explain", "one", "--config", b.path("settings.yaml")).stdout,
		"never began (exit code 2)", "gone is not a folder", "as things are no run can begin")
	b.write("settings.yaml", "budgt: 1\n")
	wants(t, "settings that were named", explain(2, "one").stderr, "budgt")
	b.write("settings.yaml", "{}\n")
	b.write("hosts.yml", strings.Replace(fleet, "patching_wave1: {hosts: {two: {}}}", "patching_wave1: {hosts: {}}", 1))
	wants(t, "plan", explain(0, "two").stdout, "as things are no run can begin", "host two, group patching_targets: the host is in no wave")
	b.write("hosts.yml", fleet)

	store, err := orchestrator.Open(b.path("state"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	b.run(5)
	wants(t, "busy", explain(0, "one").stdout, "a run is under way now")
	lock.Close()
	r := explain(0, "one")
	wants(t, "locked", r.stdout, "never began (exit code 5)", "another run is under way", "run --wait 4h")
	ids, _ := store.IDs()
	os.WriteFile(filepath.Join(runDir(store, slices.Max(ids)), "journal.json"), []byte("{"), 0o600)
	os.Remove(b.path("state/refused.json"))
	wants(t, "damaged", explain(0, "one").stdout, "its journal cannot be read", "is damaged")
	b.run(0, "--limit", "two")
	var a struct{ Host, Outcome, Cause string }
	r = b.back(0, append([]string{"explain", "one", "--json"}, flags...)...)
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil || a.Outcome != "unknown" || a.Cause != "journal" {
		t.Errorf("%v, %s", err, r.stdout)
	}
}
