package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
	flag.Parse()
	if !slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.parallel") }) {
		flag.Set("test.parallel", "8") // most of a test is waiting: for Ansible, for a channel that hangs
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

// bare is the program with args and nothing else.
func (b *bench) bare(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Dir = b.dir
	// The race detector has every process that ends wait a second for races
	// that are still to come. What runs here ends when its work is done.
	c.Env = append(os.Environ(), beMain+"=1", "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
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

// eventually waits until what is true holds, and fails after a minute.
func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never happened: %s", what)
		}
	}
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

func wants(t *testing.T, what, got string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, got)
		}
	}
}
