package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestWaves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "{}\n")
	args := []string{"waves", "--inventory", "hosts.yml", "--config", "settings.yaml", "--state", b.path("state")}
	r := b.do(b.bare(args...))
	wants(t, "waves", r.stdout, "one", "two", "controller, last", "nas", "not in patching_targets")
	if exists(b.path("state")) {
		t.Error("waves made a state directory")
	}
	r = b.do(b.bare(append(args, "--json")...))
	var w wavesJSON
	if err := json.Unmarshal([]byte(r.stdout), &w); err != nil || len(w.Waves) != 3 || w.Controller != "ctl" {
		t.Errorf("waves --json: %v %+v", err, w)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	r := b.do(b.bare())
	if r.code != 2 || r.stdout != "" {
		t.Errorf("without arguments: exit code %d, stdout %q", r.code, r.stdout)
	}
	wants(t, "help", r.stderr, "Usage:", "run", "waves")
	if r = b.do(b.bare("version")); r.code != 0 || !strings.HasPrefix(r.stdout, name+" ") {
		t.Errorf("version: %+v", r)
	}
	if r = b.do(b.bare("completion", "bash")); r.code != 0 || !strings.Contains(r.stdout, name) {
		t.Errorf("completion: exit code %d", r.code)
	}
	// As the shell script was called: this is run --check, not help.
	r = b.do(b.bare("--check", "--project", "missing"))
	if r.code != 2 || !strings.Contains(r.stderr, "missing is not a folder") {
		t.Errorf("--check alone: %+v", r)
	}
	// Here --check is the value of --textfile, so this would be a real run.
	r = b.do(b.bare("--limit", "one", "--textfile", "--check"))
	if r.code != 2 || !strings.Contains(r.stderr, "nothing was done") {
		t.Errorf("--check as a value: %+v", r)
	}
	if r = b.do(b.bare("rn")); r.code != 2 {
		t.Errorf("a mistyped command: exit code %d", r.code)
	}
}
