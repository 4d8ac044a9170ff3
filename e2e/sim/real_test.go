//go:build e2e

package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/runner"
)

// TestReal has the real Ansible run on fifty hosts what the stand-in plays, and compares what the two say: every event of
// every host, in its order, with all that it holds.
func TestReal(t *testing.T) {
	for _, program := range []string{"ansible-playbook", "ssh"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("E2E_REQUIRED") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	s := Script{Hosts: 50, Waves: 2, Tasks: 5, Bytes: 4000, Packages: 12, Faults: map[string]Fault{
		"node00003": {Kind: Failed, Task: 2}, "node00017": {Kind: Failed, Task: 3}, "node00029": {Kind: Flood, Task: 2, Bytes: 200_000},
		"node00031": {Kind: Unreachable, Task: 1}, "node00049": {Kind: Unreachable, Task: 1},
	}}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "part-0.txt"), Text(s.Bytes, 0))
	write(t, filepath.Join(dir, "part-1.txt"), Text(s.Bytes, 1))
	write(t, filepath.Join(dir, "part-2.txt"), Text(s.Bytes, 2))
	write(t, filepath.Join(dir, "flood.txt"), Text(200_000, 2))
	write(t, filepath.Join(dir, "patch.yml"), s.playbook(t))
	write(t, filepath.Join(dir, "hosts.json"), s.inventory(t))
	script := filepath.Join(dir, "script.json")
	if err := s.Save(script); err != nil {
		t.Fatal(err)
	}
	play := func(bin string) (map[string][]string, runner.Result) {
		var events []runner.Event
		res, err := runner.Playbook{
			Dir: dir, Bin: bin, Playbook: "patch.yml", Inventory: []string{"hosts.json"}, Hosts: s.Names(), Forks: 10,
			Labels: []string{"run:1"}, Env: []string{ScriptVar + "=" + script},
		}.Run(t.Context(), func(e runner.Event) { events = append(events, e) })
		if err != nil {
			t.Fatal(err)
		}
		return told(t, events), res
	}
	real, was := play("")
	ours, is := play(standin(t))
	for h, r := range is.Hosts {
		want := was.Hosts[h]
		if r.Outcome == runner.Unreachable { // of its words, see told
			want.Msg = r.Msg
		}
		if r != want {
			t.Errorf("host %s: the stand-in says\n%+v\nthe real one\n%+v", h, r, want)
		}
	}
	if is.ExitCode != was.ExitCode {
		t.Errorf("the stand-in exits %d, the real one %d", is.ExitCode, was.ExitCode)
	}
	if len(real) != 51 || len(ours) != len(real) {
		t.Errorf("the stand-in speaks of %d hosts, the real one of %d", len(ours), len(real))
	}
	differing := 0
	for h, want := range real {
		if got := ours[h]; !slices.Equal(got, want) && differing < 3 {
			differing++
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Errorf("host %q, event %d of %d: the stand-in says\n%.1500s\nthe real one\n%.1500s", h, i, len(want), at(got, i), at(want, i))
					break
				}
			}
		}
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "nothing"
}

// told is what events say, by host; under "" what is of none. What differs from one run of Ansible to the next is left out:
// the version, times, ids, where a task stands in its file, and where the run has its files.
func told(t *testing.T, events []runner.Event) map[string][]string {
	t.Helper()
	all, tasks := map[string][]string{}, map[string]string{}
	for _, e := range events {
		if e.Kind == runner.KindTask || e.Kind == runner.KindPlay {
			tasks[e.TaskID] = fmt.Sprint("id", len(tasks))
		}
		var data any
		if e.Data != nil {
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
		}
		if m, ok := data.(map[string]any); ok && e.Status == runner.StatusUnreachable {
			m["msg"], e.Msg = "NO SSH", "NO SSH" // whether it is ssh or the pipe to it that is heard of first is a race
		}
		text, _ := json.Marshal(data)
		known := fmt.Sprintf("%s %v play=%s task=%s id=%s path=%s action=%s status=%s ignored=%t handler=%t item=%q attempts=%d tags=%q msg=%q began=%t stats=%v data=%s",
			e.Kind, e.Labels, e.Play, e.Task, tasks[e.TaskID], e.Path, e.Action, e.Status, e.Ignored, e.Handler, e.Item, e.Attempts, e.Tags,
			e.Msg, !e.Started.IsZero(), e.Stats, text)
		for _, v := range volatile {
			known = v.what.ReplaceAllString(known, v.with)
		}
		all[e.Host] = append(all[e.Host], known)
	}
	return all
}

var volatile = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}`), "THEN"},
	{regexp.MustCompile(`\d:\d\d:\d\d\.\d{6}`), "SO LONG"},
	{regexp.MustCompile(`ansible-run-\d+`), "ansible-run"},
}

// playbook is the play as Ansible's.
func (s Script) playbook(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("- name: Patch\n  hosts: all\n  gather_facts: false\n  tasks:\n")
	for n := 1; n <= s.Tasks-2; n++ {
		name, changed := fmt.Sprintf("Upgrade, part %d", n-1), "true"
		if n == 1 {
			name, changed = "Look", "false"
		}
		fmt.Fprintf(&b, "    - name: %s\n      ansible.builtin.command: {argv: [cat, \"{{ part%d | default('part-%d.txt') }}\"], chdir: \"{{ playbook_dir }}\"}\n"+
			"      changed_when: %s\n", name, n, n-1, changed)
	}
	b.WriteString("    - name: Reboot\n      ansible.builtin.command: {argv: [\"false\"]}\n      when: false\n")
	fmt.Fprintf(&b, "    - name: Publish\n      ansible.builtin.set_fact: {homelab_patch: %s}\n", mustJSON(s.patch(false)))
	return b.String()
}

// inventory is the fleet as Ansible's, without a network: who is unreachable has a port where nobody listens.
func (s Script) inventory(t *testing.T) string {
	t.Helper()
	hosts := map[string]map[string]any{}
	for _, h := range s.Names() {
		vars := map[string]any{"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
		switch f := s.Faults[h]; f.Kind {
		case Failed:
			vars[fmt.Sprintf("part%d", f.Task)] = "missing.txt"
		case Flood:
			vars[fmt.Sprintf("part%d", f.Task)] = "flood.txt"
		case Unreachable:
			vars["ansible_connection"], vars["ansible_host"], vars["ansible_port"] = "ssh", "127.0.0.1", 1
		}
		hosts[h] = vars
	}
	return string(mustJSON(map[string]any{"all": map[string]any{"hosts": hosts}}))
}
