package runner

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(starterVar) != "" {
		os.Exit(starter())
	}
	flag.Parse()
	if _, err := exec.LookPath("ansible-playbook"); err != nil && os.Getenv("E2E_REQUIRED") != "1" {
		flag.Set("test.skip", "^ExamplePlaybook") // an example cannot skip itself
	}
	os.Exit(m.Run())
}

// need skips a test that needs a program which is not installed, and fails it
// where E2E_REQUIRED=1 says that all of them are.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("E2E_REQUIRED") == "1" {
				t.Fatalf("%s is missing", p)
			}
			t.Skipf("%s is missing", p)
		}
	}
}

// Two hosts without a network. The interpreter is named: looking for one costs
// a second a host.
const localHosts = `
h1
h2
[all:vars]
ansible_connection=local
ansible_python_interpreter="{{ ansible_playbook_python }}"
`

// oneHost is for what is the same on any number of them.
var oneHost = strings.Replace(localHosts, "h2\n", "", 1)

// playOf returns a playbook of one play over all hosts.
func playOf(tasks string) string {
	return "- name: Test\n  hosts: all\n  gather_facts: false\n  tasks:\n    " +
		strings.ReplaceAll(strings.TrimSpace(tasks), "\n", "\n    ") + "\n"
}

// project writes files into a folder of their own and returns its path.
func project(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run is a run under test, with all that can be seen of it from outside.
type run struct {
	Playbook
	id     string // TEST_RUN in the environment of each of its processes
	log    buffer // what a person would have seen
	raw    buffer // the event lines
	events []Event
	res    Result
	err    error
}

// localRun is a run of site over h1 and h2.
func localRun(t testing.TB, site string, files map[string]string) *run {
	t.Helper()
	all := map[string]string{"hosts": localHosts, "site.yml": site}
	for k, v := range files {
		all[k] = v
	}
	return newRun(t, project(t, all), "h1", "h2")
}

func newRun(t testing.TB, dir string, hosts ...string) *run {
	t.Helper()
	need(t, "ansible-playbook")
	r := &run{id: rand.Text()}
	r.Playbook = Playbook{
		Dir: dir, Playbook: "site.yml", Inventory: []string{"hosts"}, Hosts: hosts,
		Env: []string{"TEST_RUN=" + r.id}, Log: &r.log, Events: &r.raw,
	}
	return r
}

// do runs it and hands each event to each of emit.
func (r *run) do(ctx context.Context, t testing.TB, emit ...func(Event)) *run {
	t.Helper()
	r.res, r.err = r.Run(ctx, func(e Event) {
		r.events = append(r.events, e)
		for _, f := range emit {
			f(e)
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("error: %v\nresult: %+v\n%s", r.err, r.res, r.log.String())
		}
	})
	return r
}

// find returns the first event of a kind on a host in a task.
func (r *run) find(kind Kind, host, task string) (Event, bool) {
	i := slices.IndexFunc(r.events, func(e Event) bool {
		return e.Kind == kind && e.Host == host && e.Task == task
	})
	if i < 0 {
		return Event{}, false
	}
	return r.events[i], true
}

// alive lists the living processes of the run: by a variable of their
// environment that this package knows nothing of.
func (r *run) alive() []string { return processesOf(r.id) }

func processesOf(id string) (out []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		env, _ := os.ReadFile(d + "/environ")
		if !bytes.Contains(env, []byte("TEST_RUN="+id)) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(d))
		if p, ok := readProcess(pid); ok {
			out = append(out, fmt.Sprintf("%d %q", pid, p.args))
		}
	}
	return out
}

// nobodyLeft fails if a process of the run lives.
func (r *run) nobodyLeft(t testing.TB) {
	t.Helper()
	if left := r.alive(); len(left) > 0 {
		t.Errorf("still alive: %s", strings.Join(left, "\n"))
	}
}

// endAll kills the processes that have TEST_RUN=id.
func endAll(id string) {
	for _, p := range processesOf(id) {
		var pid int
		fmt.Sscan(p, &pid)
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// folder returns the run's folder while it runs, as its command line names it.
func (r *run) folder() string {
	for _, p := range r.alive() {
		if _, rest, ok := strings.Cut(p, `=@`); ok {
			if path, _, ok := strings.Cut(rest, "/vars.json"); ok {
				return path
			}
		}
	}
	return ""
}

// eventually waits until what is true holds, and fails after 20 seconds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// buffer is a bytes.Buffer for more than one goroutine.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// sshd is a real server on a port of its own.
type sshd struct {
	port string
	key  string // of a client it lets in
}

func newSSHD(t testing.TB) *sshd {
	t.Helper()
	const server = "/usr/sbin/sshd" // it insists on its full path
	need(t, server, "ssh", "ssh-keygen")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" { // where sshd shuts itself in
		os.MkdirAll("/run/sshd", 0o755)
	}
	dir := t.TempDir()
	s := &sshd{key: filepath.Join(dir, "client")}
	for _, name := range []string{"host", "client"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	conf := filepath.Join(dir, "sshd_config")
	text := fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nListenAddress 127.0.0.2\nHostKey %s/host\nAuthorizedKeysFile %s/client.pub\n"+
		"StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication yes\nMaxStartups 100\n"+
		"Subsystem sftp internal-sftp\nSetEnv TEST_RUN=sshd%s HOME=%s\n", // no profile of a person's
		s.port, dir, dir, s.port, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log buffer
	cmd := exec.Command(server, "-D", "-e", "-f", conf)
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		endAll("sshd" + s.port) // what still runs on its side holds its stderr
		cmd.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", log.String())
		}
	})
	eventually(t, "sshd answers", func() bool {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+s.port, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return s
}

// hosts is an inventory of two hosts of it, h1 and h2.
func (s *sshd) hosts() string {
	return fmt.Sprintf(`
h1 ansible_host=127.0.0.1
h2 ansible_host=127.0.0.2
[all:vars]
ansible_port=%s
ansible_python_interpreter=/usr/bin/python3
ansible_ssh_common_args="-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o IdentitiesOnly=yes -F /dev/null"
`, s.port)
}
