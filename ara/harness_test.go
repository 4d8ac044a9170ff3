package ara_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/ara"
)

// manage is the command of Debian's python3-ara. Its server is the one that the tests talk to: nothing stands in for it.
const manage = "ara-manage"

// server is a real ARA server on a port of its own.
type server struct {
	t    testing.TB
	dir  string
	port string
	env  []string
	cmd  *exec.Cmd
}

// folder is one for a database: in memory where there is room, because SQLite waits for the disk with each record.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ara")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// database is made once: every server of the tests begins with a copy of it.
var database = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ara")
	if err != nil {
		return "", err
	}
	cmd := exec.Command(manage, "migrate")
	cmd.Env = append(os.Environ(), "ARA_BASE_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%s migrate: %w\n%s", manage, err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := database(); dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// newServer starts a server. Settings are NAME=VALUE as ARA reads them from its environment.
func newServer(t testing.TB, settings ...string) *server {
	t.Helper()
	if _, err := exec.LookPath(manage); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal("python3-ara is missing")
		}
		t.Skip("python3-ara is missing")
	}
	made, err := database()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: folder(t), port: free(t)}
	s.env = append(append(os.Environ(), "ARA_BASE_DIR="+s.dir, "ARA_LOG_LEVEL=ERROR"), settings...)
	data, err := os.ReadFile(filepath.Join(made, "ansible.sqlite"))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, "ansible.sqlite"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(manage, "runserver", "--noreload", "127.0.0.1:"+s.port)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(s.url() + "/api/")
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			s.t.Fatalf("the server does not come up: %v\n%s", err, text)
		}
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *server) url() string { return "http://127.0.0.1:" + s.port }

func (s *server) client() *ara.Client { return &ara.Client{Server: s.url()} }

// get reads what the server has.
func (s *server) get(path string, to any) {
	s.t.Helper()
	resp, err := http.Get(s.url() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("%s: %s: %v\n%s", path, resp.Status, err, text)
	}
	if err := json.Unmarshal(text, to); err != nil {
		s.t.Fatal(err)
	}
}

// send makes a request past the client under test.
func (s *server) send(method, path string, body any) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest(method, s.url()+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		s.t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

// thing is a record, as JSON has it.
type thing = map[string]any

// all lists every record of a kind.
func (s *server) all(kind string) []thing {
	s.t.Helper()
	var list struct{ Results []thing }
	s.get("/api/v1/"+kind+"?limit=100000&order=id", &list)
	return list.Results
}

// counts is how many records there are of each kind.
func (s *server) counts() map[string]int {
	s.t.Helper()
	n := map[string]int{}
	for _, kind := range []string{"playbooks", "plays", "tasks", "hosts", "results", "files", "records"} {
		var list struct{ Count int }
		s.get("/api/v1/"+kind+"?limit=1", &list)
		n[kind] = list.Count
	}
	return n
}
