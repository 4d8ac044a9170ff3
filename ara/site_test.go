//go:build e2efull

package ara

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/runner"
)

// forAll lets everybody write, which is how ARA comes. With a password its server hashes that with each request, which takes
// it some 100 ms of CPU, and a password is not what is measured.
const forAll = "ARA_WRITE_LOGIN_REQUIRED=false"

// newServer starts a server of the test's own.
func newServer(t testing.TB, env ...string) *server {
	t.Helper()
	dir, err := os.MkdirTemp(memory(), "ara")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	made.Lock()
	s := startServer(t, dir, env...)
	made.Unlock()
	t.Cleanup(s.kill)
	return s
}

// site is a small fleet on local connections, and the program that patches it.
type site struct {
	t       testing.TB
	dir     string
	program string
}

var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("E2E_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "program") // ends with the machine's next boot
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "homelab-patch-orchestrate")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/homelab-patch-orchestrate").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

const twoWaves = `all:
  vars: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
  children:
    patch_controller: {hosts: {ctl: {}}}
    patching_targets: {hosts: {one: {}, ctl: {}}}
    patching_wave0: {hosts: {one: {}}}
    patching_wave1: {hosts: {ctl: {}}}
`

const patch = `- name: Patch
  hosts: patching_targets
  gather_facts: false
  tasks:
    - name: Look
      ansible.builtin.command: echo {{ inventory_hostname }}
    - name: Hide
      ansible.builtin.command: echo {{ lookup('env', 'HUSH') }}
      no_log: true
    - name: Loop
      ansible.builtin.debug: {msg: "{{ item }}"}
      loop: [1, 2]
      notify: Handle
      changed_when: true
  handlers:
    - name: Handle
      ansible.builtin.debug: {msg: handled}
`

func newSite(t testing.TB, server string) *site {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t, t.TempDir(), path}
	s.write("project/patch.yml", patch, 0o644)
	s.write("hosts.yml", twoWaves, 0o644)
	s.settings("forward: true")
	s.write("env", fmt.Sprintf("ARA_API_SERVER=%s\nARA_API_USERNAME=%s\nARA_API_PASSWORD=%s\n", server, user, password), 0o600)
	return s
}

func (s *site) settings(ara string) {
	s.write("settings.yaml", "notify_env: env\nfailed_units: false\nara: {"+ara+"}\n", 0o644)
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// said is what a command said and how it ended.
type said struct {
	code           int
	stdout, stderr string
	ended          time.Time
}

func (s *site) command(args ...string) *exec.Cmd {
	c := exec.Command(s.program, append(args, "--config", s.path("settings.yaml"), "--state", s.path("state"))...)
	c.Dir = s.dir
	return c
}

func (s *site) do(c *exec.Cmd) said {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	out := said{c.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Now()}
	if strings.Contains(out.stdout+out.stderr, password) {
		s.t.Errorf("the password is in what %v says:\n%s%s", c.Args[1:], out.stdout, out.stderr)
	}
	return out
}

func (s *site) run(env ...string) *exec.Cmd {
	c := s.command("run", "--project", s.path("project"), "--inventory", s.path("hosts.yml"), "--textfile", s.path("run.prom"))
	c.Env = append(append(os.Environ(), "HUSH=hush-no-log"), env...)
	return c
}

// last is the id of the latest run, and its folder.
func (s *site) last() (id, dir string) {
	s.t.Helper()
	journals, _ := filepath.Glob(s.path("state/runs/*/journal.json"))
	if len(journals) == 0 {
		s.t.Fatal("there is no run")
	}
	dir = filepath.Dir(journals[len(journals)-1])
	return filepath.Base(dir), dir
}

// carriedOn does what the timer does, where the server was too slow for the moment that a run gives it.
func (s *site) carriedOn(dir string) {
	s.t.Helper()
	if st, _ := ReadStatus(dir); st.State == "done" {
		return
	}
	if out := s.do(s.command("ara", "forward")); out.code != 0 {
		s.t.Fatalf("%+v", out)
	}
}

// exact fails unless the server has each record of a run that its events speak of, once. It says how many.
func (s *site) exact(server *server, dir string) string {
	s.t.Helper()
	file, err := os.Open(filepath.Join(dir, events))
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	type want struct{ plays, tasks, results, hosts, files map[string]bool }
	var wants []want
	for e, err := range runner.Decode(file) {
		if err != nil {
			s.t.Fatal(err)
		}
		if e.Kind == runner.KindStart {
			wants = append(wants, want{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}})
			continue
		}
		w := wants[len(wants)-1]
		path, _, _ := place(e.Path)
		switch e.Kind {
		case runner.KindPlaybook:
			w.files[e.Path] = true
		case runner.KindPlay:
			w.plays[stamp(e.Time)] = true
			w.files[path] = true
		case runner.KindTask:
			w.tasks[e.TaskID] = true
			w.files[path] = true
		case runner.KindResult:
			w.results[e.TaskID+e.Host] = true
			w.hosts[e.Host] = true
		}
	}
	books := server.labelled("run:" + filepath.Base(dir))
	if len(books) != len(wants) {
		s.t.Errorf("%d playbooks, want %d", len(books), len(wants))
		return ""
	}
	sum := 0
	for i, w := range wants {
		b := books[i]
		if b["status"] != "completed" || b["ended"] == nil {
			s.t.Errorf("playbook %v is %v", b["id"], b["status"])
		}
		for kind, n := range map[string]int{"plays": len(w.plays), "tasks": len(w.tasks), "results": len(w.results), "hosts": len(w.hosts), "files": len(w.files), "records": 3} {
			rows := server.of(kind, int64(b["id"].(float64)))
			seen := map[string]bool{}
			for _, r := range rows {
				seen[text([]any{r["uuid"], r["name"], r["path"], r["task"], r["host"], r["started"], r["key"]})] = true
				if kind != "hosts" && kind != "files" && kind != "records" && (r["ended"] == nil || r["status"] == "running") {
					s.t.Errorf("%s %v has not ended", kind, r["id"])
				}
			}
			if len(rows) != n || len(seen) != n {
				s.t.Errorf("playbook %v has %d %s, %d of them different, want %d", b["id"], len(rows), kind, len(seen), n)
			}
			sum += n
		}
	}
	if st, err := ReadStatus(dir); err != nil || st.State != "done" || st.Offset != st.Size {
		s.t.Errorf("status %+v, %v", st, err)
	}
	return fmt.Sprintf("%d playbooks with %d records, each once", len(books), sum)
}

// at calls a fault at the n-th POST and from then on.
func at(n int, fault func(http.ResponseWriter, *http.Request, func())) func(http.ResponseWriter, *http.Request, func()) {
	var mu sync.Mutex
	seen := 0
	return func(w http.ResponseWriter, r *http.Request, pass func()) {
		mu.Lock()
		if r.Method == http.MethodPost {
			seen++
		}
		now := seen >= n
		mu.Unlock()
		if now {
			fault(w, r, pass)
			return
		}
		pass()
	}
}
