package ara

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
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

// memory is where a database is kept: SQLite waits for the disk with each record.
func memory() string {
	if fi, err := os.Stat("/dev/shm"); err == nil && fi.IsDir() {
		return "/dev/shm"
	}
	return ""
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

// Who may write to the server of the tests. Reading is for everybody.
const user, password = "patcher", "hush-ara"

// made has the database that every server begins with a copy of, and the server that most tests share.
var made struct {
	sync.Mutex
	dir    string
	shared *server
}

// prepare makes tables and a user.
const prepare = `
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ara.server.settings")
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
User.objects.create_superuser("patcher", password="hush-ara")
`

func TestMain(m *testing.M) {
	code := m.Run()
	if made.shared != nil {
		made.shared.kill()
		os.RemoveAll(made.shared.dir)
	}
	os.RemoveAll(made.dir)
	os.Exit(code)
}

// shared is a server for tests that do it no harm.
func shared(t testing.TB) *server {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.shared == nil {
		dir, err := os.MkdirTemp(memory(), "ara")
		if err != nil {
			t.Fatal(err)
		}
		made.shared = startServer(t, dir)
	}
	s := *made.shared
	s.t = t
	return &s
}

// startServer wants made to be locked.
func startServer(t testing.TB, dir string, env ...string) *server {
	t.Helper()
	if _, err := exec.LookPath(manage); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal("python3-ara is missing")
		}
		t.Skip("python3-ara is missing")
	}
	if made.dir == "" {
		dir, err := os.MkdirTemp(memory(), "ara")
		if err != nil {
			t.Fatal(err)
		}
		made.dir = dir
		cmd := exec.Command("/usr/bin/python3", "-c", prepare)
		cmd.Env = append(os.Environ(), "ARA_BASE_DIR="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	data, err := os.ReadFile(filepath.Join(made.dir, "ansible.sqlite"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "ansible.sqlite"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, port: free(t), env: env}
	s.start()
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
	s.cmd.Env = append(append(os.Environ(), "ARA_BASE_DIR="+s.dir, "ARA_LOG_LEVEL=ERROR", "ARA_WRITE_LOGIN_REQUIRED=true"), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
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

func (s *server) client() *Client { return &Client{Server: s.url(), User: user, Password: password} }

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
	req.SetBasicAuth(user, password)
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

// of lists every record of a kind that a playbook has.
func (s *server) of(kind string, playbook int64) []thing {
	s.t.Helper()
	var list struct{ Results []thing }
	s.get(fmt.Sprintf("/api/v1/%s?playbook=%d&limit=100000&order=id", kind, playbook), &list)
	return list.Results
}

// labelled lists the playbooks that have a label.
func (s *server) labelled(label string) []thing {
	s.t.Helper()
	var list struct{ Results []thing }
	s.get("/api/v1/playbooks?limit=100000&order=id&label="+url.QueryEscape(label), &list)
	return list.Results
}
