package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Each secret begins with this, and ends with where it was planted.
const secret = "hush-"

// vaulted is "vaulted: hush-vaulted", encrypted with the password hush-vaultpass.
const vaulted = `$ANSIBLE_VAULT;1.1;AES256
61636636353162313435653561323631383239313663353434646332386265643064383035353165
3864646565346561336539663537646264336232623936620a306131613039306531303832363439
64623766396166643734313939663839323932326364356364663636643133363361623032623631
3132643530326639620a366338656230613766316134393466633861313262376263393066346461
34323536383030313135656335396236383862653437376362663037353030396635
`

// quiet uses every secret in tasks with no_log: such that work, loop, wait,
// retry and change files, and such that fail in each way in which a task can.
// The command lines of a task are the operator's: here no secret is on one, nor
// in a task's environment, which Ansible puts on a command line.
const quiet = `- hosts: patching_targets
  gather_facts: false
  vars_files: [vars.yml, vaulted.yml]
  vars:
    environ: "{{ lookup('env', 'PLANTED') }}"
    all: "{{ [environ, extra, vaulted, ansible_password, ansible_become_password] }}"
  tasks:
    - name: All are there
      ansible.builtin.assert:
        that: all | select('match', 'hush-') | length == 5
        quiet: true
    - name: Quiet block
      no_log: true
      ignore_errors: true
      block:
        - {name: Work, ansible.builtin.set_fact: {kept: "{{ all }}"}}
        - {name: Show, ansible.builtin.debug: {var: all}}
        - {name: Include, ansible.builtin.include_vars: vaulted.yml}
        - {name: Loop, ansible.builtin.stat: {path: "/{{ item }}"}, loop: "{{ all[:2] }}"}
        - {name: Long, ansible.builtin.command: {cmd: cat, stdin: "{{ all }}"}, async: 30, poll: 1}
        - {name: File, ansible.builtin.copy: {content: "{{ all }}", dest: "{{ planted }}", mode: "600"}}
        - {name: Retry, ansible.builtin.command: "/gone/{{ extra }}", retries: 1, delay: 0, register: r, until: r is success}
        - {name: Loop that fails, ansible.builtin.command: "/gone/{{ item }}", loop: "{{ all[3:] }}"}
        - {name: Bad template, ansible.builtin.debug: {msg: "{{ {}[extra] }}"}}
        - {name: Bad condition, ansible.builtin.debug: {msg: x}, when: "{}[extra]"}
        - {name: Bad loop, ansible.builtin.debug: {msg: x}, loop: "{{ {}[extra] }}"}
        - {name: Bad argument, ansible.builtin.file: {path: /gone, state: "{{ extra }}"}}
    - name: Last
      ansible.builtin.command: "/gone/{{ extra }}"
      no_log: true
`

// plants puts a secret wherever one may be given. What is in them is not
// searched.
func (b *bench) plant() {
	b.t.Helper()
	for name, text := range map[string]string{
		"project/patch.yml":   quiet,
		"project/vars.yml":    "extra: " + secret + "extra\nplanted: " + b.path("planted") + "\n",
		"project/vaulted.yml": vaulted,
		"project/ansible.cfg": "[defaults]\nvault_password_file = pass\n",
		"project/pass":        secret + "vaultpass\n",
		"key":                 "-----BEGIN OPENSSH PRIVATE KEY-----\n" + secret + "key\n-----END OPENSSH PRIVATE KEY-----\n",
		"hosts.yml": strings.Replace(fleet, "vars: {", "vars: {ansible_password: "+secret+"password, "+
			"ansible_become_password: "+secret+"become, ", 1),
		"settings.yaml": "private_key: key\n",
	} {
		b.write(name, text)
	}
	os.Chmod(b.path("key"), 0o600)
	os.Mkdir(b.path("home"), 0o700)
}

var plantedFiles = regexp.MustCompile(`/(project|key|hosts\.(yml|ini)|settings\.yaml|planted)$`)

// hushed runs c, looks at the command line of every process that begins in the
// meantime, and then at all that was left: what c printed, its state, and what
// Ansible keeps at home. The file loud may tell.
func (b *bench) hushed(c *exec.Cmd, loud string) result {
	b.t.Helper()
	c.Env = append(c.Env, "PLANTED="+secret+"environ", "HOME="+b.path("home"), "TMPDIR="+b.path("home"))
	before := map[string]bool{}
	for _, d := range processes() {
		before[d] = true
	}
	ended, engines := make(chan struct{}), make(chan int)
	go func() { // ends with the run
		seen := 0
		tick := time.NewTicker(50 * time.Millisecond) // no process of Ansible's is that short
		defer tick.Stop()
		for {
			for _, d := range processes() {
				if before[d] {
					continue
				}
				line, _ := os.ReadFile(d + "/cmdline")
				if strings.Contains(string(line), secret) {
					b.t.Errorf("a command line tells: %q", line)
				}
				if strings.Contains(string(line), "ansible") {
					seen++
				}
			}
			select {
			case <-ended:
				engines <- seen
				return
			case <-tick.C:
			}
		}
	}()
	r := b.do(c)
	close(ended)
	if seen := <-engines; seen == 0 && r.code == 3 {
		b.t.Error("no command line of Ansible was seen: nothing is tested")
	}
	b.search("stdout", r.stdout)
	b.search("stderr", r.stderr)
	filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			b.t.Error(err)
		case d.IsDir() && (plantedFiles.MatchString(path) || d.Name() == ".ansible_async"): // that is a host's
			return fs.SkipDir
		case d.Type().IsRegular() && !plantedFiles.MatchString(path) && d.Name() != loud:
			text, err := os.ReadFile(path)
			if err != nil {
				b.t.Error(err)
			}
			b.search(path, string(text))
		}
		return nil
	})
	return r
}

// processes lists the folders of all processes.
func processes() []string {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	return dirs
}

// search fails for each line of text that tells a secret, or what go-ansible
// has to say.
func (b *bench) search(what, text string) {
	b.t.Helper()
	for line := range strings.Lines(text) {
		for _, not := range []string{secret, "Command executed", "during command execution", "DefaultExecute"} {
			if strings.Contains(line, not) {
				b.t.Errorf("%s tells: %.2000s", what, line)
			}
		}
	}
}

// TestSecrets: a secret that is kept as Ansible has them kept appears in
// nothing this program writes or starts.
func TestSecrets(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.plant()
	r := b.hushed(b.command("-vvv", "--diff"), "")
	if j := b.journal(); r.code != 3 || j.Waves[0].Hosts[0].Task != "Last" {
		t.Errorf("the tasks did not come to their end: exit code %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	events, _ := os.ReadFile(b.run0("events.jsonl"))
	log, _ := os.ReadFile(b.run0("ansible.log"))
	wants(t, "events", string(events), "Bad argument", "no_log")
	wants(t, "log", string(log), "Bad argument", "no_log")
	if !exists(b.path("planted")) {
		t.Error("the file was not written: nothing is tested")
	}
}

// run0 is a file of the only run.
func (b *bench) run0(name string) string {
	b.t.Helper()
	found, _ := filepath.Glob(b.path("state/runs/*/" + name))
	if len(found) != 1 {
		b.t.Fatalf("%d files %s", len(found), name)
	}
	return found[0]
}

// TestTrouble: what is wrong is said, in the journal and the metrics as well,
// and in words that tell no secret.
func TestTrouble(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, text string
		code             int
		env, loud        string
		words            []string
	}{
		{name: "settings", file: "settings.yaml", code: 2, words: []string{"webhook", "budget", "soak", "project"},
			text: "webhook: hush-unknown\nbudget: hush-number\nsoak: hush-time\nproject: [hush-path]\nforks: &a hush-forks\n"},
		{name: "settings that are no YAML", file: "settings.yaml", code: 2, words: []string{"settings.yaml"}, text: "webhook: *hush-alias\n"},
		{name: "no Ansible", code: 1, env: "PATH=/nowhere", words: []string{"install ansible-core"}},
		{name: "playbook", file: "project/patch.yml", code: 1, words: []string{"patch.yml", "(not shown)"},
			loud: "ansible.log", // there Ansible quotes the file
			text: "- hosts: all\n  vars: {password: hush-play}\n  tasks: ]\n"},
		{name: "inventory", file: "hosts.yml", code: 2, words: []string{"hosts.yml", "(not shown)"},
			text: "all:\n  hosts:\n    one: {ansible_password: hush-host}\n    two: ]\n"},
		{name: "interpreter", file: "hosts.yml", code: 3, words: []string{"/no/python"},
			text: strings.Replace(fleet, "/usr/bin/python3", "/no/python, ansible_password: hush-host", 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.plant()
			if c.file == "hosts.yml" {
				b.write("project/patch.yml", play)
			}
			if c.file != "" {
				b.write(c.file, c.text)
			}
			cmd := b.command()
			if c.env != "" {
				cmd.Env = append(cmd.Env, c.env)
			}
			r := b.hushed(cmd, c.loud)
			if r.code != c.code {
				t.Errorf("exit code %d, want %d", r.code, c.code)
			}
			wants(t, "output", r.stdout+r.stderr, c.words...)
			if strings.Contains(r.stdout, "unreachable") {
				t.Errorf("it is no unreachable host:\n%s", r.stdout)
			}
			if c.code != orchestrator.ExitFailed {
				return
			}
			if m := b.metrics(); m.ExitCode != c.code || m.Running {
				t.Errorf("metrics: %+v", m)
			}
			if j := b.journal(); j.State != orchestrator.Failed || !strings.Contains(j.Reason, c.words[0]) {
				t.Errorf("journal: %+v", j)
			}
		})
	}
}
