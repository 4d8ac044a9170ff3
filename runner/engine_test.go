package runner

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// outcomes is what testdata/outcomes says by the names of its hosts.
var outcomes = map[string]Outcome{
	"ok": Changed, "changed": Changed, "skipped": OK, "failed": Failed, "rescued": OK, "ignored": OK,
	"unreachable": Unreachable, "ignore_unreachable": OK, "loop": Changed, "loopfailed": Failed,
	"retried": OK, "retryfailed": Failed, "async": OK, "delegated": OK, "included": OK, "handled": Changed,
	"secret": Failed, "once1": OK, "once2": NotAttempted, "ended": NotAttempted, "unseen": NotAttempted, "typed": OK,
	"long": OK, "binary": OK,
}

func hostNames() (names []string) {
	for h := range outcomes {
		names = append(names, h)
	}
	slices.Sort(names)
	return names
}

func checkOutcomes(t *testing.T, res Result) {
	t.Helper()
	for h, want := range outcomes {
		if got := res.Hosts[h]; got.Outcome != want {
			t.Errorf("%s: %+v, want %s", h, got, want)
		}
	}
	for h, want := range map[string]HostResult{
		"failed":      {Failed, Stats{Failed: 1}, "Fail", "site.yml:28", "non-zero return code: err", true, false},
		"loopfailed":  {Failed, Stats{Failed: 1}, "Each", "site.yml:74", "item bad: non-zero return code", true, false},
		"retryfailed": {Failed, Stats{Failed: 1}, "Try", "site.yml:84", "attempt", false, false},
		"rescued":     {OK, Stats{OK: 1, Rescued: 1}, "", "", "", false, false},
		"ignored":     {OK, Stats{OK: 1, Ignored: 1}, "", "", "", false, false},
	} {
		got := res.Hosts[h]
		got.Path = filepath.Base(got.Path)
		if want.Path == "" {
			want.Path = "."
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", h, got, want)
		}
	}
	if got := res.Hosts["unreachable"]; !strings.Contains(got.Msg, "127.0.0.1 port 1: Connection refused") {
		t.Errorf("unreachable: %q", got.Msg)
	}
	if got := res.Hosts["secret"]; !strings.Contains(got.Msg, "no_log") {
		t.Errorf("secret: %q does not say why it says nothing", got.Msg)
	}
}

// TestEngineErrors are all ways in which ansible-playbook does no work. None
// may look like an unreachable host, though most of them exit like one.
func TestEngineErrors(t *testing.T) {
	t.Parallel()
	ping := playOf("- ansible.builtin.ping:")
	for name, c := range map[string]struct {
		files map[string]string
		with  func(*run)
		want  string // in the error
	}{
		"a playbook that does not parse": {files: map[string]string{"site.yml": "- hosts: all\n  tasks: [\n"}, want: "site.yml"},
		"a task nobody knows":            {files: map[string]string{"site.yml": playOf("- no_such_module:\n")}, want: "no_such_module"},
		"a missing playbook":             {with: func(r *run) { r.Playbook.Playbook = "gone.yml" }, want: "gone.yml"},
		"a missing role":                 {files: map[string]string{"site.yml": "- hosts: all\n  roles: [gone]\n"}, want: "gone"},
		"a missing inventory":            {with: func(r *run) { r.Inventory = []string{"gone"} }, want: "gone"},
		"a broken inventory":             {files: map[string]string{"hosts": "all: [\n"}, want: "hosts"},
		"no host of this inventory":      {with: func(r *run) { r.Hosts = []string{"stranger"} }, want: "stranger"},
		"a missing project":              {with: func(r *run) { r.Dir = "/no/such/project" }, want: "/no/such/project"},
		"a missing program":              {with: func(r *run) { r.Bin = "/no/such/ansible-playbook" }, want: "install ansible-core"},
		"an exit without a word":         {with: script("exit 4"), want: "could not begin"},
		"an exit as if all were well":    {with: script("exit 0"), want: "without a single event"},
		"a crash at the start":           {with: script("kill -9 $$"), want: "was killed"},
		"a crash in the middle": {with: script(`echo '{"kind":"start","version":"2.14.1"}' >&3; echo '{"kind":"begin","host":"h1","id":"1"}' >&3
			echo '{"kind":"resu' >&3; kill -9 $$`), want: "was killed"},
		"no recap": {with: script(`echo '{"kind":"start","version":"2.14.1"}' >&3; echo oh dear >&2; exit 250`), want: "oh dear"},
		"a failure of nobody's": {with: script(`echo '{"kind":"start","version":"2.14.1"}' >&3
			echo '{"kind":"stats","data":{"h1":{"ok":1},"h2":{"ok":1}}}' >&3; exit 2`), want: "no host did"},
		"an include that does not parse": {files: map[string]string{
			"site.yml": playOf("- ansible.builtin.include_tasks: gone.yml\n- ansible.builtin.ping:"), "gone.yml": "- ["}, want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := localRun(t, ping, c.files)
			if c.with != nil {
				c.with(r)
			}
			r.do(t.Context(), t)
			for h, got := range r.res.Hosts {
				if got.Outcome == Unreachable || (got.Outcome == OK || got.Outcome == Changed) && name != "a failure of nobody's" {
					t.Errorf("%s is %s", h, got.Outcome)
				}
			}
			if name == "an include that does not parse" { // a failed host or a failed engine, by version
				return
			}
			var engine *EngineError
			if !errors.As(r.err, &engine) || !strings.Contains(r.err.Error(), c.want) {
				t.Errorf("%v, want an EngineError with %q", r.err, c.want)
			}
			if name == "a missing program" && !errors.Is(r.err, os.ErrNotExist) {
				t.Errorf("%v is not ErrNotExist", r.err)
			}
			r.nobodyLeft(t)
		})
	}
}

// script has a shell script stand for an engine.
func script(text string) func(*run) {
	return func(r *run) {
		r.Bin = filepath.Join(r.Dir, "engine")
		if err := os.WriteFile(r.Bin, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			panic(err)
		}
	}
}

func TestMissingAnsible(t *testing.T) {
	need(t, "ansible-playbook")
	r := localRun(t, playOf("- ansible.builtin.ping:"), nil)
	t.Setenv("PATH", t.TempDir())
	r.do(t.Context(), t)
	if !errors.Is(r.err, exec.ErrNotFound) || !strings.Contains(r.err.Error(), "apt-get install ansible-core") {
		t.Errorf("%v does not say what to install", r.err)
	}
	if _, err := Inventory(t.Context(), r.Dir, "hosts"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("Inventory: %v", err)
	}
}

// An older ansible-core is simulated by its own start-up hook: the real one
// runs, and only says another version.
func TestTooOldAnsible(t *testing.T) {
	t.Parallel()
	r := localRun(t, playOf("- ansible.builtin.file: {path: '{{ playbook_dir }}/touched', state: touch}"),
		map[string]string{"old/sitecustomize.py": "import ansible.release\nansible.release.__version__ = '2.13.9'\n"})
	r.Env = append(r.Env, "PYTHONPATH="+filepath.Join(r.Dir, "old"))
	r.do(t.Context(), t)
	var engine *EngineError
	if !errors.As(r.err, &engine) || !strings.Contains(r.err.Error(), "2.13.9") || !strings.Contains(r.err.Error(), "install 2.14") {
		t.Errorf("%v does not say what to install", r.err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "touched")); err == nil {
		t.Error("a task ran")
	}
	if got := r.res.Hosts["h1"].Outcome; got != NotAttempted {
		t.Errorf("h1 is %s", got)
	}
}

// TestRefusals are runs that would not mean what was asked for.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Playbook{
		"no hosts":         {Playbook: "site.yml", Inventory: []string{"hosts"}},
		"a pattern":        {Playbook: "site.yml", Inventory: []string{"hosts"}, Hosts: []string{"all:!h1"}},
		"an empty name":    {Playbook: "site.yml", Inventory: []string{"hosts"}, Hosts: []string{""}},
		"an option":        {Playbook: "--version", Inventory: []string{"hosts"}, Hosts: []string{"h1"}},
		"no playbook":      {Inventory: []string{"hosts"}, Hosts: []string{"h1"}},
		"unwritable extra": {Playbook: "site.yml", Hosts: []string{"h1"}, Vars: map[string]any{"f": func() {}}},
	} {
		if _, err := p.Run(context.Background(), nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
