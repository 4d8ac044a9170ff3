package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

// What a person may have mistyped or forgotten is refused before a host is asked, and so is what a host may have made up.
func TestRollbackRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "{}\n")
	n := 0
	save := func(change func(*orchestrator.Report, *orchestrator.Patch)) string {
		n++
		code := 0
		p := &orchestrator.Patch{Version: 1, Packages: []orchestrator.Package{{Name: "nginx", From: "1:1.0~rc1-1+deb12u1", To: "2.0"}, {Name: "libc6:i386", To: "1"}}}
		r := orchestrator.Report{Version: 1, ID: "20261122T04000" + string(rune('0'+n)) + "Z-1a2b3c", Kind: orchestrator.Full, State: orchestrator.Passed,
			ExitCode: &code, Waves: []orchestrator.WaveReport{{State: orchestrator.Passed, Hosts: []orchestrator.HostReport{
				{Name: "one", Outcome: orchestrator.Patched, Patch: p}, {Name: "two", Outcome: orchestrator.HostUnreachable}}}}}
		change(&r, p)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		b.write("state/runs/"+r.ID+"/journal.json", string(text))
		return r.ID
	}
	refused := func(words string, args ...string) {
		t.Helper()
		r := b.verb(2, append([]string{"rollback"}, args...)...)
		wants(t, strings.Join(args, " "), r.stderr, words)
		if r.stdout != "" || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%v: %q %q", args, r.stdout, r.stderr)
		}
	}
	refused("there is no run", "latest", "one")
	plain := save(func(*orchestrator.Report, *orchestrator.Patch) {})
	refused("host onee is not in run "+plain+" (did you mean one?)", "latest", "onee")
	refused("(unreachable) is not known: its role did not say", plain, "two")
	refused("has not changed ngin on one (did you mean nginx?)", plain, "one", "--package", "ngin")
	refused("was a dry run", save(func(r *orchestrator.Report, _ *orchestrator.Patch) { r.Kind = orchestrator.Check }), "one")
	refused("was a rollback itself", save(func(r *orchestrator.Report, _ *orchestrator.Patch) { r.Kind = orchestrator.Rollback }), "one")
	refused("has not ended, it is running", save(func(r *orchestrator.Report, _ *orchestrator.Patch) { r.State = orchestrator.Running }), "one")
	refused("has changed no package on one", save(func(_ *orchestrator.Report, p *orchestrator.Patch) { p.Packages = nil }), "one")
	// Ansible would carry these out on this machine.
	for _, evil := range []func(*orchestrator.Patch){
		func(p *orchestrator.Patch) {
			p.Packages[0].Name = "{{ lookup('pipe','touch " + b.path("evil") + "') }}"
		},
		func(p *orchestrator.Patch) { p.Packages[0].From = "{{ 1 }}" },
		func(p *orchestrator.Patch) { p.FailedUnits.Before = []string{"{% if 1 %}.service"} },
	} {
		refused("the report of one cannot be used", save(func(_ *orchestrator.Report, p *orchestrator.Patch) { evil(p) }), "one")
	}
	if _, err := os.Stat(b.path("run.prom")); err == nil {
		t.Error("a refusal is in the metrics")
	}
}
