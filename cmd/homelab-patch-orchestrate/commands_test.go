package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
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
	for line, want := range map[string]string{
		"rn":              `"rn" is not a command of homelab-patch-orchestrate (did you mean run?)`,
		"zzz":             `they are ara, `,
		"hold st":         `did you mean set?`,
		"run --chekc":     `unknown flag: --chekc (did you mean --check?); see homelab-patch-orchestrate run --help`,
		"run --zzz":       `unknown flag: --zzz; see`,
		"run one":         `"one" is one argument too many: homelab-patch-orchestrate run`,
		"retry":           `RUN is missing: homelab-patch-orchestrate retry RUN`,
		"retry one two":   `"two" is one argument too many`,
		"ara forward a b": `"b" is one argument too many`,
	} {
		r := b.do(b.bare(strings.Fields(line)...))
		if r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d\n%s%s", line, r.code, r.stdout, r.stderr)
		}
	}
}

// Each command has examples, and the program would take each of them.
func TestExamples(t *testing.T) {
	t.Parallel()
	given := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		switch path := strings.TrimPrefix(c.CommandPath(), name+" "); {
		case c.Hidden:
		case c.Example == "" && (!c.HasSubCommands() || c == c.Root()):
			t.Errorf("%s has no example", path)
		default:
			given[path] = true
		}
	}
	walk(commands(&printer{}, new(int), false))
	for path, text := range examples {
		if !given[path] {
			t.Errorf("examples of %q, which is no command", path)
		}
		for line := range strings.Lines(strings.TrimSpace(text)) {
			words := shellwords(t, line)
			if len(words) == 0 || words[0] != name {
				t.Fatalf("%s: %q is not a line of this program", path, line)
			}
			c, rest, err := commands(&printer{}, new(int), false).Find(words[1:])
			if err == nil {
				err = c.ParseFlags(rest)
			}
			if err == nil {
				err = c.ValidateArgs(c.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: %v", strings.TrimSpace(line), err)
			} else if path != name && strings.TrimPrefix(c.CommandPath(), name+" ") != path {
				t.Errorf("%s: is an example of %s", strings.TrimSpace(line), path)
			}
		}
	}
}

// shellwords is a line as a shell reads it.
func shellwords(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `printf '%s\n' `+line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}
