//go:build e2e

package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"homelab-patch-orchestrate/internal/doctor"
)

// doctor is `doctor --json` on the bench; the folder for textfiles and all else of the machine is not there.
func (b *bench) doctor(code int, args ...string) doctorJSON {
	b.t.Helper()
	r := b.do(b.bare(append([]string{"doctor", "--json", "--config", b.path("settings.yaml"), "--state", b.path("state")}, args...)...))
	var got doctorJSON
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != code {
		b.t.Fatalf("doctor %v: exit code %d, want %d, %v\n%s\n%s", args, r.code, code, err, r.stdout, r.stderr)
	}
	if got.Errors+got.Warnings != len(got.Findings) || (len(got.Skipped) > 0) && got.Errors == 0 {
		b.t.Errorf("%d errors and %d warnings of %d findings; skipped: %v", got.Errors, got.Warnings, len(got.Findings), got.Skipped)
	}
	return got
}

// found returns the findings of an area as "host: text fix: fix".
func (d doctorJSON) found(area string) (all []string) {
	for _, c := range d.Findings {
		if c.Area == area {
			all = append(all, c.Host+": "+c.Text+" fix: "+c.Fix)
		}
	}
	return all
}

// The hosts are this machine, asked by the real Ansible; whatever they are like, doctor has an answer of each, by the
// operator's own project and the variables beside its playbook.
func TestDoctor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "forks: many\ntextfile: "+b.path("none/run.prom")+"\nhold: MAINTENANCE\nhost_holds: holds\nnotify_env: env\nprivate_key: id\n")
	b.write("project/host_vars/one.yml", "patching_min_free_mib: {/: 99999999}\npatching_reboot: never\n")
	b.write("MAINTENANCE", "racks\n")
	got := b.doctor(1, "--project", b.path("project"), "--inventory", b.path("hosts.yml"), "--limit", "one")
	wants(t, "settings", strings.Join(got.found(doctor.Settings), "\n"), `"forks" is not a whole number fix: write one such as`)
	wants(t, "schedule", strings.Join(got.found(doctor.Clock), "\n"), "the fleet is held", "racks")
	wants(t, "channels", strings.Join(got.found(doctor.Messages), "\n"), b.path("env")+" names no channel")
	wants(t, "metrics", strings.Join(got.found(doctor.Metrics), "\n"), "the folder "+b.path("none")+" does not exist")
	wants(t, "hosts", strings.Join(got.found(doctor.HostsArea), "\n"), "one: only ", " MiB are free in /, 99999999 are needed")
	for _, c := range append(got.Findings, got.OK...) {
		if c.Area == doctor.HostsArea && c.Host != "one" {
			t.Errorf("the limit was one: %+v", c)
		}
	}
	for _, name := range []string{"state", "none", "holds", "id", "touched"} {
		if exists(b.path(name)) {
			t.Errorf("doctor made %s", name)
		}
	}
	if left, _ := os.ReadDir(b.path("project")); len(left) != 2 {
		t.Errorf("doctor left something in the project: %v", left)
	}
}

// What cannot be told is said, and not taken for well.
func TestDoctorSkips(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "inventry: x\n")
	got := b.doctor(1)
	wants(t, "settings", strings.Join(got.found(doctor.Settings), "\n"), `"inventry" is not a setting`, `did you mean "inventory"?`)
	if len(got.Skipped) != 8 {
		t.Errorf("skipped: %v", got.Skipped)
	}
	b.write("settings.yaml", "inventory: gone.yml\n")
	got = b.doctor(1)
	wants(t, "inventory", strings.Join(got.found(doctor.Fleet), "\n"), "gone.yml does not exist")
	if len(got.Skipped) != 1 || got.Skipped[0].Area != doctor.HostsArea {
		t.Errorf("skipped: %v", got.Skipped)
	}
	r := b.do(b.bare("doctor", "--config", b.path("settings.yaml"), "--state", b.path("state")))
	wants(t, "for people", r.stdout, "inventory\n  error    inventory "+b.path("gone.yml"), "\n           fix: ", "not looked at, until there is a plan: hosts\n", "--verbose shows them", "the next run would not go well")
	if strings.Contains(r.stdout, "\x1b") || r.stderr != "" {
		t.Errorf("piped: %q %q", r.stdout, r.stderr)
	}
	for _, args := range [][]string{{"--limit", ""}, {"--nonsense"}, {"prox"}, {"--wave", "-1"}, {"--inventory", "gone.yml"}, {"--config", "gone.yaml"}} {
		if r := b.do(b.bare(append([]string{"doctor"}, args...)...)); r.code != 2 || r.stdout != "" {
			t.Errorf("doctor %q: exit code %d\n%s", args, r.code, r.stdout)
		}
	}
}
