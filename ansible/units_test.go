package ansible

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unitFiles has the units of all roles, by their names.
func unitFiles(t *testing.T, pattern string) map[string]string {
	t.Helper()
	found, err := filepath.Glob("roles/*/files/" + pattern)
	must(t, err)
	files := map[string]string{}
	for _, path := range found {
		files[filepath.Base(path)] = path
	}
	return files
}

// unit is a unit file: the values of each key, in their order. Sections are left out: no key of ours is in two.
type unit map[string][]string

func readUnit(t *testing.T, name string) unit {
	t.Helper()
	text, err := os.ReadFile(unitFiles(t, name)[name])
	must(t, err)
	u := unit{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.ContainsAny(line[:1], "#;[") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%s: not a setting: %s", name, line)
		}
		u[key] = append(u[key], value)
	}
	return u
}

// words are the values of a key as systemd reads a list.
func (u unit) words(key string) []string { return strings.Fields(strings.Join(u[key], " ")) }

func units(t *testing.T, pattern string) (names []string) {
	t.Helper()
	names = slices.Sorted(maps.Keys(unitFiles(t, pattern)))
	if len(names) == 0 {
		t.Fatalf("no units %s", pattern)
	}
	return names
}

// systemd finds nothing to say about the units, on a system that has nothing but them and what they start.
func TestUnitsAreVerified(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	verify := func(t *testing.T, change func(string) string) string {
		root := t.TempDir()
		for _, dir := range []string{"etc/systemd/system", "usr/bin", "usr/local/lib/homelab-patch"} {
			must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
		}
		for _, name := range []string{"bin/homelab-patch-orchestrate", "bin/mkdir", "local/lib/homelab-patch/homelab-ansible-pull"} {
			must(t, os.WriteFile(filepath.Join(root, "usr", name), []byte("#!/bin/sh\n"), 0o755))
		}
		args := []string{"verify", "--root=" + root}
		for _, name := range units(t, "*.*") {
			text, err := os.ReadFile(unitFiles(t, name)[name])
			must(t, err)
			must(t, os.WriteFile(filepath.Join(root, "etc/systemd/system", name), []byte(change(string(text))), 0o644))
			args = append(args, name)
		}
		for _, name := range []string{"sysinit.target", "basic.target", "shutdown.target", "network-online.target", "timers.target", "time-sync.target"} {
			must(t, os.WriteFile(filepath.Join(root, "etc/systemd/system", name), []byte("[Unit]\nDescription=x\n"), 0o644))
		}
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		if err != nil {
			return string(out) + err.Error()
		}
		return string(out)
	}
	if said := verify(t, func(text string) string { return text }); said != "" {
		t.Errorf("systemd-analyze verify:\n%s", said)
	}
	broken := func(text string) string { return strings.Replace(text, "ProtectSystem=", "ProtectSystems=", 1) }
	if said := verify(t, broken); !strings.Contains(said, "ProtectSystems") {
		t.Errorf("a key that does not exist was not found: %s", said)
	}
}

// A code in SuccessExitStatus means "go on" when ExecCondition ends with it, and 1 is how `hold check` says held.
func TestUnitsThatAreHeldDoNotGoOn(t *testing.T) {
	conditions := 0
	for _, name := range units(t, "*.service") {
		u := readUnit(t, name)
		if len(u["ExecCondition"]) == 0 {
			continue
		}
		conditions++
		for _, code := range u.words("SuccessExitStatus") {
			if code == "1" || !regexp.MustCompile(`^[0-9]+$`).MatchString(code) {
				t.Errorf("%s: SuccessExitStatus has %s", name, code)
			}
		}
	}
	if conditions == 0 {
		t.Error("no unit asks whether there is a hold")
	}
	for _, name := range []string{"homelab-patch-orchestrate.service", "homelab-patch-orchestrate-resume.service"} {
		// Of docs/contracts.md: all others are failures of the unit, too.
		if got := readUnit(t, name).words("SuccessExitStatus"); !slices.Equal(got, []string{"4", "6"}) {
			t.Errorf("%s: SuccessExitStatus=%v", name, got)
		}
	}
}

// What goes on after a restart is the same run: what one may do, so may the other.
func TestResumeHasTheSandboxOfARun(t *testing.T) {
	run, resume := readUnit(t, "homelab-patch-orchestrate.service"), readUnit(t, "homelab-patch-orchestrate-resume.service")
	differ := []string{"Description", "After", "Type", "RemainAfterExit", "ExecCondition", "ExecStart", "TimeoutStartSec", "WantedBy"}
	for _, pair := range [][2]unit{{run, resume}, {resume, run}} {
		for key, values := range pair[0] {
			if !slices.Contains(differ, key) && !slices.Equal(values, pair[1][key]) {
				t.Errorf("%s=%q and %q", key, values, pair[1][key])
			}
		}
	}
}

// A unit is the same file on every host, and in the package: it names the folders of docs/contracts.md and those that
// each Debian has. Everything else is the business of a drop-in.
func TestUnitsNameNoPlaceOfAHost(t *testing.T) {
	known := []string{
		"/var/lib/homelab-patch-orchestrate/outbox/*/*", "/var/lib/homelab-patch-orchestrate/runs/*/ara.pending.json", "/var/lib/prometheus/node-exporter", "/usr/local/lib/homelab-patch",
		"/etc/systemd/system", "/run", "/tmp", "/var/tmp", "%h/.ansible", "%h", "/etc/homelab/ansible-pull.env",
		"/usr/local/lib/homelab-patch/homelab-ansible-pull",
	}
	path := regexp.MustCompile(`[-+:@!]*((?:%h|/)[^\s]*)`)
	for _, name := range units(t, "*.*") {
		for key, values := range readUnit(t, name) {
			if key == "OnCalendar" || key == "Description" {
				continue
			}
			for _, word := range strings.Fields(strings.Join(values, " ")) {
				if m := path.FindStringSubmatch(word); m != nil && !slices.Contains(known, m[1]) {
					t.Errorf("%s: %s=%s", name, key, word)
				}
			}
		}
	}
}

// NoNewPrivileges forbids sudo, and for another user than root each of these brings it back; see systemd.exec(5). The drop-in
// for such a user lifts those that the unit has, and nothing else.
func TestAnotherUserLiftsWhatForbidsSudo(t *testing.T) {
	forbid := []string{
		"NoNewPrivileges", "SystemCallFilter", "SystemCallArchitectures", "RestrictAddressFamilies", "RestrictNamespaces", "PrivateDevices",
		"ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock", "ProtectHostname", "MemoryDenyWriteExecute",
		"RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "DynamicUser",
	}
	text, err := os.ReadFile("roles/patch-controller/templates/drop_ins.yml.j2")
	must(t, err)
	_, list, _ := strings.Cut(string(text), "{% set sudo = ")
	list, _, _ = strings.Cut(list, "%}")
	var lifted, want []string
	for _, m := range regexp.MustCompile(`'([A-Za-z]+)=`).FindAllStringSubmatch(list, -1) {
		if m[1] != "CapabilityBoundingSet" { // is given more
			lifted = append(lifted, m[1])
		}
	}
	for key := range readUnit(t, "homelab-patch-orchestrate.service") {
		if slices.Contains(forbid, key) {
			want = append(want, key)
		}
	}
	slices.Sort(lifted)
	slices.Sort(want)
	if !slices.Equal(lifted, want) {
		t.Errorf("lifted are %v, want %v", lifted, want)
	}
}
