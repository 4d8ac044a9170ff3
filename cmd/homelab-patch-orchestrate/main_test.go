package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/metrics"
	"homelab-patch-orchestrate/orchestrator"
)

// The tests run the real main in a child process, with the real Ansible on
// local connections. beMain makes the test binary that child.
const beMain = "TEST_BE_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// bench is a project of an operator who has never heard of us.
type bench struct {
	t   *testing.T
	dir string
}

const fleet = `all:
  vars: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
  children:
    patch_controller: {hosts: {ctl: {}}}
    patching_targets: {hosts: {one: {}, two: {}, ctl: {}}}
    patching_wave0: {hosts: {one: {}}}
    patching_wave1: {hosts: {two: {}}}
    patching_wave2: {hosts: {ctl: {}}}
    strangers: {hosts: {nas: {}}}
`

// play appends to a file, so that it is known who was touched and when.
const play = `- hosts: patching_targets
  gather_facts: false
  vars: {bench: "{{ playbook_dir | dirname }}"}
  tasks:
    - name: Touch
      ansible.builtin.shell: echo {{ inventory_hostname }} >>{{ bench }}/touched
    - name: Break
      ansible.builtin.fail: {msg: broken on purpose}
      when: (bench ~ '/break-' ~ inventory_hostname) is exists
    - name: Wait
      ansible.builtin.command: cat {{ bench }}/fifo
      when: (bench ~ '/fifo') is exists
`

func newBench(t *testing.T) *bench {
	t.Helper()
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		if os.Getenv("E2E_REQUIRED") != "" {
			t.Fatal("ansible-core is not installed")
		}
		t.Skip("ansible-core is not installed")
	}
	b := &bench{t, t.TempDir()}
	b.write("project/patch.yml", play)
	b.write("hosts.yml", fleet)
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// command is `run` on the bench, with more arguments.
func (b *bench) command(args ...string) *exec.Cmd {
	return b.bare(append([]string{"run", "--project", b.path("project"), "--inventory", b.path("hosts.yml"),
		"--state", b.path("state"), "--textfile", b.path("run.prom"), "--config", b.path("settings.yaml")}, args...)...)
}

func (b *bench) bare(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Dir = b.dir
	c.Env = append(os.Environ(), beMain+"=1")
	return c
}

type result struct {
	code           int
	stdout, stderr string
}

func (b *bench) do(c *exec.Cmd) result {
	b.t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// run runs with an empty settings file and wants an exit code.
func (b *bench) run(code int, args ...string) result {
	b.t.Helper()
	if !exists(b.path("settings.yaml")) {
		b.write("settings.yaml", "{}\n")
	}
	r := b.do(b.command(args...))
	if r.code != code {
		b.t.Fatalf("exit code %d, want %d\n%s\n%s", r.code, code, r.stdout, r.stderr)
	}
	return r
}

func (b *bench) touched() string {
	data, _ := os.ReadFile(b.path("touched"))
	return strings.Join(strings.Fields(string(data)), " ")
}

func (b *bench) metrics() metrics.Run {
	b.t.Helper()
	m, err := metrics.Read(b.path("run.prom"))
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func wants(t *testing.T, what, got string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, got)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.run(0)
	wants(t, "stdout", r.stdout, "one", "two", "ctl", "patched", "passed in", "3 patched")
	wants(t, "stderr", r.stderr, "wave=0", "wave=2", "run passed")
	if got := b.touched(); got != "one two ctl" {
		t.Errorf("touched %q", got)
	}
	first := b.metrics()
	if first.ExitCode != 0 || first.LastSuccess.IsZero() || first.Running || len(first.Waves) != 3 || first.Waves[0].Hosts["patched"] != 1 {
		t.Errorf("metrics: %+v", first)
	}

	r = b.run(0, "--json", "--limit", "one")
	var report orchestrator.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("--json: %v\n%s", err, r.stdout)
	}
	if report.Kind != orchestrator.Narrowed || len(report.Waves) != 1 || report.State != orchestrator.Passed {
		t.Errorf("report: %+v", report)
	}
	if m := b.metrics(); !m.LastSuccess.Equal(first.LastSuccess) || !m.LastRun.Equal(first.LastRun) {
		t.Errorf("a narrowed run spoke for the fleet: %+v", m)
	}
}

// A failure stops later waves; only a full run clears it.
func TestFailureStopsLaterWaves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("break-one", "")
	r := b.run(3)
	wants(t, "stdout", r.stdout, "failed", "not-attempted", "halted", "Break", "broken on purpose")
	if got := b.touched(); got != "one" {
		t.Errorf("touched %q", got)
	}
	if m := b.metrics(); m.ExitCode != 3 || !m.LastSuccess.IsZero() || m.Waves[1].Hosts["not-attempted"] != 1 {
		t.Errorf("metrics: %+v", m)
	}
	b.run(0, "--limit", "two")
	if m := b.metrics(); m.ExitCode != 3 {
		t.Errorf("a narrowed run cleared a failure: %+v", m)
	}
	before, _ := os.ReadFile(b.path("run.prom"))
	b.run(3, "--check")
	if after, _ := os.ReadFile(b.path("run.prom")); !bytes.Equal(before, after) {
		t.Errorf("a dry run wrote metrics")
	}
	os.Remove(b.path("break-one"))
	b.run(0)
	if m := b.metrics(); m.ExitCode != 0 || m.LastSuccess.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
}

// A project that changes under a run is not the one that was looked at.
func TestProjectChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("project/patch.yml", strings.ReplaceAll(play, "{{ bench }}/touched", "{{ bench }}/touched; echo '# more' >>{{ playbook_dir }}/patch.yml"))
	wants(t, "stdout", b.run(3).stdout, "project changed", "patch.yml")
	if got := b.touched(); got != "one" {
		t.Errorf("touched %q", got)
	}
}

// What is refused touches nobody, and says what and where.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "budgt: 1\n")
	r := b.do(b.command())
	if r.code != 2 {
		t.Errorf("bad settings: exit code %d", r.code)
	}
	wants(t, "bad settings", r.stderr, "settings.yaml:1", "budgt", "budget")
	// Nobody may see the message of a timer, so the metric of the settings tells;
	// a run that is under way keeps what it wrote.
	if err := metrics.Write(b.path("named.prom"), metrics.Run{Running: true}); err != nil {
		t.Fatal(err)
	}
	b.write("settings.yaml", "project: gone\ntextfile: named.prom\n")
	r = b.do(b.bare("run", "--config", b.path("settings.yaml")))
	if m, err := metrics.Read(b.path("named.prom")); r.code != 2 || err != nil || m.ExitCode != 2 || !m.Running {
		t.Errorf("a project of the settings that is gone must show: exit code %d, %+v, %v", r.code, m, err)
	}
	b.write("settings.yaml", "{}\n")
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--limit", "nobody"}, []string{"limit", "no host"}},
		{[]string{"--limit", "nas"}, []string{"nas"}},
		{[]string{"--limit", ""}, []string{"--limit is empty"}},
		{[]string{"--project", ""}, []string{"--project is empty"}},
		{[]string{"--inventory", ""}, []string{"--inventory is empty"}},
		// Ansible takes each of these for no limit at all.
		{[]string{"--limit", ","}, []string{"limit", "no host"}},
		{[]string{"--limit", "@" + os.DevNull}, []string{"limit", "no host"}},
		{[]string{"--wave", "7"}, []string{"no wave 7", "0, 1, 2"}},
		{[]string{"--wave", "-1"}, []string{"numbered from 0"}},
		{[]string{"--forks", "0"}, []string{"--forks"}},
		{[]string{"--inventory", "missing.yml"}, []string{"missing.yml does not exist"}},
		{[]string{"--playbook", "missing.yml"}, []string{"missing.yml does not exist"}},
		{[]string{"--project", "missing"}, []string{"missing is not a folder"}},
		{[]string{"--limt", "one"}, []string{"--limt", "run --help"}},
		{[]string{"stray"}, []string{"stray"}},
	} {
		r := b.run(2, c.args...)
		wants(t, strings.Join(c.args, " "), r.stderr, append(c.words, name+": ")...)
		if r.stdout != "" {
			t.Errorf("%v: stdout: %s", c.args, r.stdout)
		}
	}
	if exists(b.path("run.prom")) {
		t.Error("a run refused for its flags wrote metrics")
	}
	b.write("hosts.yml", strings.Replace(fleet, "patching_wave1: {hosts: {two: {}}}", "patching_wave1: {hosts: {two: {}, one: {}}}", 1))
	r = b.run(2)
	wants(t, "host in two waves", r.stderr, "one", "patching_wave0", "patching_wave1")
	if m := b.metrics(); m.ExitCode != 2 {
		t.Errorf("a fleet that cannot be planned must show: %+v", m)
	}
	if got := b.touched(); got != "" {
		t.Errorf("touched %q", got)
	}
}

// What others may write is not run as root.
func TestUntrusted(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root is refused")
	}
	b := newBench(t)
	if err := os.Chmod(b.path("project/patch.yml"), 0o666); err != nil {
		t.Fatal(err)
	}
	wants(t, "stderr", b.run(2).stderr, "patch.yml", "chmod")
	os.Chmod(b.path("project/patch.yml"), 0o644)
	b.write("project/ansible.cfg", "[defaults]\ncallback_plugins = ../plugins\n")
	b.write("plugins/mine.py", "")
	os.Chmod(b.path("plugins"), 0o777)
	wants(t, "stderr", b.run(2).stderr, "plugins", "chmod")
	b.write("project/ansible.cfg", "[defaults]\nroles_path = ../plugins\n")
	wants(t, "a role path", b.run(2).stderr, "plugins", "chmod")
	os.Remove(b.path("project/ansible.cfg"))
	// A playbook outside its project, and what lies beside one without a project.
	b.write("other/mine.yml", play)
	os.Chmod(b.path("other/mine.yml"), 0o666)
	wants(t, "a playbook elsewhere", b.run(2, "--playbook", b.path("other/mine.yml")).stderr, "mine.yml", "chmod")
	os.Chmod(b.path("other/mine.yml"), 0o644)
	b.write("other/action_plugins/x.py", "")
	os.Chmod(b.path("other/action_plugins"), 0o777)
	r := b.do(b.bare("run", "--playbook", b.path("other/mine.yml"), "--inventory", b.path("hosts.yml"), "--check",
		"--state", b.path("state"), "--config", b.path("settings.yaml")))
	if r.code != 2 {
		t.Errorf("plugins beside a playbook: exit code %d", r.code)
	}
	wants(t, "plugins beside a playbook", r.stderr, "action_plugins", "chmod")
}

func TestEngineTrouble(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("project/patch.yml", "- hosts: [\n")
	r := b.run(1)
	wants(t, "broken playbook", r.stdout+r.stderr, "failed")
	if strings.Contains(r.stdout, "unreachable") {
		t.Errorf("a playbook that does not parse is no unreachable host:\n%s", r.stdout)
	}
	if m := b.metrics(); m.ExitCode != 1 {
		t.Errorf("metrics: %+v", m)
	}
	c := b.command()
	c.Env = append(c.Env, "PATH=/nowhere")
	r = b.do(c)
	if r.code != 1 {
		t.Errorf("no Ansible: exit code %d", r.code)
	}
	wants(t, "no Ansible", r.stderr, "install ansible-core")
	if m := b.metrics(); m.ExitCode != 1 || m.Running {
		t.Errorf("metrics: %+v", m)
	}
	if j := b.journal(); j.State != orchestrator.Failed || !strings.Contains(j.Reason, "install ansible-core") {
		t.Errorf("journal: %+v", j)
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "hold: MAINTENANCE\n")
	b.write("MAINTENANCE", "moving racks\n")
	wants(t, "stderr", b.run(6).stderr, "moving racks", "MAINTENANCE")
	if m := b.metrics(); !m.Held || !m.LastRun.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
	if got := b.touched(); got != "" {
		t.Errorf("touched %q", got)
	}
}

// A hold that comes while the plan is made is a hold all the same.
func TestHoldWhilePlanning(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "hold: MAINTENANCE\n")
	b.write("hosts.sh", "#!/bin/sh\ntouch "+b.path("MAINTENANCE")+"\necho '"+`{"_meta": {"hostvars": {"ctl": {"ansible_connection": "local"}}},`+
		` "patch_controller": {"hosts": ["ctl"]}, "patching_targets": {"hosts": ["ctl"]}, "patching_wave0": {"hosts": ["ctl"]}}'`+"\n")
	os.Chmod(b.path("hosts.sh"), 0o755)
	r := b.do(b.bare("run", "--project", b.path("project"), "--inventory", b.path("hosts.sh"), "--state", b.path("state"),
		"--textfile", b.path("run.prom"), "--config", b.path("settings.yaml")))
	if r.code != 6 || r.stdout != "" {
		t.Errorf("exit code %d, stdout %s", r.code, r.stdout)
	}
	if m := b.metrics(); !m.Held || m.Running || !m.LastRun.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
	if got := b.touched(); got != "" {
		t.Errorf("touched %q", got)
	}
}

// Whoever reads the output may go away: the run does not.
func TestReaderGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "{}\n")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := b.command()
	c.Stdout, c.Stderr = w, w
	r.Close()
	err = c.Run()
	w.Close()
	if err != nil || b.touched() != "one two ctl" || b.journal().State != orchestrator.Passed {
		t.Errorf("%v; touched %q; %+v", err, b.touched(), b.journal())
	}
}

// What a host says may not command the terminal of who reads it.
func TestHostileWords(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("project/patch.yml", `- hosts: patching_targets
  gather_facts: false
  tasks:
    - name: Lie
      ansible.builtin.set_fact:
        homelab_patch: {version: 1, packages: [{name: "evil\e]0;pwned\a", from: "1\e[2J", to: "2\n3"}], reboot_forecast: "\e[31mno",
          warnings: ["\e[1mbold"], failure: {phase: x, reason: "broken\e[2J\nPASSED", detail: ""}}
`)
	r := b.run(3)
	if strings.ContainsAny(r.stdout+r.stderr, "\x1b\a") {
		t.Errorf("control characters of a host came through:\n%q\n%q", r.stdout, r.stderr)
	}
	wants(t, "stdout", r.stdout, "evil", "broken", "halted")
}

// waiting starts a run that waits in wave 0 until the fifo is written.
func (b *bench) waiting() (c *exec.Cmd, out *bytes.Buffer) {
	b.t.Helper()
	b.write("settings.yaml", "{}\n")
	if err := syscall.Mkfifo(b.path("fifo"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	c, out = b.command(), &bytes.Buffer{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	for deadline := time.Now().Add(60 * time.Second); b.touched() != "one"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatal("wave 0 was never touched")
		}
	}
	return c, out
}

// release lets the waiting task, and all after it, end.
func (b *bench) release() {
	b.t.Helper()
	f, err := os.OpenFile(b.path("fifo"), os.O_WRONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	os.Remove(b.path("fifo"))
	f.Close() // the reader, which has been waiting for a writer, sees the end
}

func TestSecondRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, _ := b.waiting()
	r := b.do(b.command())
	if r.code != 5 {
		t.Errorf("exit code %d, want 5", r.code)
	}
	wants(t, "stderr", r.stderr, "another run", fmt.Sprint(c.Process.Pid))
	b.release()
	c.Wait()
	if got := b.touched(); got != "one two ctl" {
		t.Errorf("touched %q", got)
	}
}

// One Ctrl-C finishes the wave, and begins no other.
func TestInterruptOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, out := b.waiting()
	c.Process.Signal(os.Interrupt)
	for deadline := time.Now().Add(30 * time.Second); b.journal().State != orchestrator.Running; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no journal")
		}
	}
	b.release()
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if got := b.touched(); got != "one" {
		t.Errorf("touched %q", got)
	}
	if r := b.journal(); r.State != orchestrator.Interrupted || r.Waves[0].State != orchestrator.Passed {
		t.Errorf("journal: %+v", r)
	}
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, out := b.waiting()
	c.Process.Signal(syscall.SIGTERM)
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 143 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	r := b.journal()
	if r.State != orchestrator.Interrupted || r.Waves[0].Hosts[0].Outcome != orchestrator.HostInterrupted {
		t.Errorf("journal: %+v", r)
	}
	left, _ := exec.Command("pgrep", "-f", b.path("project")).Output()
	if len(left) > 0 {
		t.Errorf("processes left: %s", left)
	}
	if m := b.metrics(); m.ExitCode != 143 || m.Running {
		t.Errorf("metrics: %+v", m)
	}
}

func (b *bench) journal() orchestrator.Report {
	b.t.Helper()
	store, err := orchestrator.Open(b.path("state"))
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := store.Latest()
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

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
