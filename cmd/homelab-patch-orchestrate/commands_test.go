package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

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
			switch c, err := taken(line); {
			case err != nil:
				t.Errorf("%s: %v", strings.TrimSpace(line), err)
			case path != name && strings.TrimPrefix(c.CommandPath(), name+" ") != path:
				t.Errorf("%s: is an example of %s", strings.TrimSpace(line), path)
			}
		}
	}
}

// taken is the command that a line of a shell calls, if the program takes all of it.
func taken(line string) (*cobra.Command, error) {
	words := shellwords(line)
	if len(words) == 0 || words[0] != name {
		return nil, fmt.Errorf("%q is not a line of this program", line)
	}
	args, script := asScript(words[1:])
	root := commands(&printer{}, new(int), script)
	root.InitDefaultCompletionCmd()
	c, rest, err := root.Find(args)
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil && c.HasSubCommands() && c != root {
		err = fmt.Errorf("%s has commands below it: none is named", c.CommandPath())
	}
	if err == nil {
		err = c.ValidateArgs(c.Flags().Args())
	}
	return c, err
}

// shellwords are the words of the first command of a line, as a shell reads it.
func shellwords(line string) (words []string) {
	word, quote, inside := "", rune(0), false
	end := func() {
		if inside {
			words = append(words, word)
		}
		word, inside = "", false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '\'' || r == '"':
			quote, inside = r, true
		case unicode.IsSpace(r):
			end()
		case strings.ContainsRune("|&;<>)", r), r == '#' && !inside:
			end()
			return words
		default:
			word, inside = word+string(r), true
		}
	}
	end()
	return words
}
