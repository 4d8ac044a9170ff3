package ara

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/runner"
)

// story is a run as events: written as the callback of the runner writes them.
type story struct {
	t     testing.TB
	dir   string
	label string
	lines []string
	at    time.Time
	file  string // with the tasks
}

// tell begins a story, at a moment of its own.
func tell(t testing.TB) *story {
	t.Helper()
	dir := t.TempDir()
	s := &story{t: t, dir: dir, label: "run:" + rand.Text(), file: filepath.Join(dir, "site.yml"),
		at: time.Now().UTC().Truncate(time.Microsecond)}
	if err := os.WriteFile(s.file, []byte("- hosts: all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// add adds an event; fields are JSON without braces.
func (s *story) add(kind, fields string, args ...any) {
	s.at = s.at.Add(1234 * time.Microsecond)
	s.lines = append(s.lines, fmt.Sprintf(`{"kind":%q,"time":%d.%06d,%s}`, kind, s.at.Unix(), s.at.Nanosecond()/1000, fmt.Sprintf(fields, args...)))
}

func uuidOf(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }

func (s *story) task(n int, name string) {
	s.add("task", `"play":"p","task":%q,"id":%q,"path":"%s:%d","action":"ansible.builtin.command","tags":["a","b"]`, name, uuidOf(n), s.file, n)
}

func (s *story) result(n int, host, status, more, data string) {
	s.add("result", `"play":"p","task":"x","id":%q,"action":"ansible.builtin.command","host":%q,"status":%q,"started":%d.%06d%s,"data":%s`,
		uuidOf(n), host, status, s.at.Unix(), s.at.Nanosecond()/1000, more, data)
}

// wave is one ansible-playbook of two hosts and a few tasks; it has 2 plays, 3 tasks, 6 results, 3 hosts, 1 file.
func (s *story) wave(number int) {
	s.add("start", `"version":"2.14.18","labels":[%q,"wave:%d"]`, s.label, number)
	s.add("playbook", `"path":%q,"data":{"check":false,"extra_vars":["@hush-vars"],"forks":5}`, s.file)
	s.add("play", `"play":"first","id":%q,"path":"%s:1"`, uuidOf(100), s.file)
	s.task(1, "Do")
	s.add("begin", `"task":"Do","id":%q,"host":"one"`, uuidOf(1))
	s.result(1, "one", "changed", "", `{"changed":true,"stdout":"x","_ansible_no_log":false}`)
	s.result(1, "two", "failed", `,"ignored":true`, `{"changed":true,"rc":1,"results":[{"_ansible_item_label":1,"item":1}]}`)
	s.task(2, "Hidden")
	s.result(2, "one", "ok", "", `{"censored":"no_log","changed":false}`)
	s.add("item", `"task":"x","id":%q,"host":"two","status":"ok","item":"1","delegated":"three"`, uuidOf(2))
	s.result(2, "two", "ok", `,"delegated":"{{ item }}"`, `{"changed":false}`)
	s.add("play", `"play":"second","id":%q,"path":"%s:1"`, uuidOf(101), s.file)
	s.task(3, "Again")
	s.result(3, "one", "skipped", "", `{"changed":false}`)
	s.result(3, "two", "ok", "", `{"changed":false}`)
	s.add("stats", `"data":{"one":{"ok":2,"changed":1,"failures":0,"unreachable":0,"skipped":1,"rescued":0,"ignored":0},`+
		`"two":{"ok":3,"changed":0,"failures":0,"unreachable":0,"skipped":0,"rescued":0,"ignored":1}}`)
}

var waveHas = map[string]int{"plays": 2, "tasks": 3, "results": 6, "hosts": 3, "files": 1, "records": 1}

// write puts the events so far into a folder of a run.
func (s *story) write() {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, events), []byte(strings.Join(s.lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// open begins to forward it.
func (s *story) open(c *Client) *Forwarder {
	s.t.Helper()
	f := &Forwarder{Client: c, Dir: s.dir}
	if err := f.Open(); err != nil {
		s.t.Fatal(err)
	}
	return f
}

func told() []Record { return []Record{{"k", "text", "v"}} }

// whole forwards all there is.
func (s *story) whole(c *Client) error {
	s.t.Helper()
	f := s.open(c)
	defer f.Close()
	err := f.Send(s.t.Context())
	if err == nil {
		err = f.Finish(s.t.Context(), told())
	}
	return err
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// What is on record of a run is what its events say, and forwarding it again changes nothing.
func TestForward(t *testing.T) {
	t.Parallel()
	server := shared(t)
	s := tell(t)
	s.wave(0)
	s.lines = append(s.lines, `{"kind":"task","ti`) // the engine was killed, and another one began
	s.add("start", `"version":"2.14.18","labels":[%q,"wave:2"]`, s.label+"cut")
	s.add("playbook", `"path":%q,"data":{}`, s.file)
	s.add("play", `"play":"first","id":%q`, uuidOf(100))
	s.task(1, strings.Repeat("n", 3000))
	s.write()
	if err := s.whole(server.client()); err != nil {
		t.Fatal(err)
	}
	s.label, s.lines = s.label+"cut", nil
	cut := server.labelled(s.label)
	if len(cut) != 1 || cut[0]["status"] != "expired" || cut[0]["ended"] == nil {
		t.Errorf("what was cut short is %v", cut)
	}
	s.label = strings.TrimSuffix(s.label, "cut")

	b := server.labelled(s.label)[0]
	id := int64(b["id"].(float64))
	if a := b["arguments"].(thing); a["extra_vars"] != notSaved || a["forks"] != 5.0 || b["path"] != s.file || b["ansible_version"] != "2.14.18" {
		t.Errorf("playbook %v", b)
	}
	if p := server.of("plays", id); p[0]["name"] != "first" || p[0]["status"] != "completed" || p[0]["ended"] == nil || p[1]["name"] != "second" {
		t.Errorf("plays %v", p)
	}
	tasks := server.of("tasks", id)
	if a := tasks[1]; a["name"] != "Hidden" || a["lineno"] != 2.0 || a["path"] != s.file || text(a["tags"]) != `["a","b"]` || a["status"] != "completed" || a["ended"] == nil {
		t.Errorf("task %v", a)
	}
	for i, want := range []string{"changed", "ignored", "ok", "ok", "skipped", "ok"} {
		r := server.of("results", id)[i]
		if r["status"] != want || r["started"] == nil || r["ended"] == nil {
			t.Errorf("result %d is %v, want %s", i, r, want)
		}
		var d thing
		server.get(fmt.Sprintf("/api/v1/results/%.0f", r["id"]), &d)
		switch got := text(d["content"]); {
		case i == 1 && got != `{"changed":true,"rc":1,"results":[{"item":1}]}`:
			t.Errorf("content %s", got)
		case i == 2 && got != `{"censored":"no_log","changed":false}`:
			t.Errorf("content of no_log %s", got)
		}
		if to := d["delegated_to"].([]any); (i == 3) != (len(to) == 1) || i == 3 && to[0].(thing)["name"] != "three" {
			t.Errorf("result %d is delegated to %v", i, to)
		}
	}
	hosts := server.of("hosts", id)
	if h := hosts[0]; h["name"] != "one" || h["ok"] != 2.0 || h["changed"] != 1.0 || h["skipped"] != 1.0 {
		t.Errorf("host %v", h)
	}
	if got := Page(server.url(), s.dir, s.label, "wave:0"); got != PlaybookPage(server.url(), id) {
		t.Errorf("the page of a wave is %s", got)
	}
	if got := Page(server.url(), s.dir, s.label, ""); got != LabelPage(server.url(), s.label) {
		t.Errorf("the page of all is %s", got)
	}

	// As if nobody had kept what is on record.
	if err := os.Remove(filepath.Join(s.dir, done)); err != nil {
		t.Fatal(err)
	}
	f := s.open(server.client())
	defer f.Close()
	if err := f.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(server.labelled(s.label)); got != 1 {
		t.Errorf("%d playbooks after the second time", got)
	}
	for kind, want := range waveHas {
		if rows := server.of(kind, id); len(rows) != want {
			t.Errorf("%d %s after the second time, want %d", len(rows), kind, want)
		}
	}
}

// A server that dies after it has made a playbook, and before it has its labels, leaves one that is found all the same.
func TestHalfMade(t *testing.T) {
	t.Parallel()
	server := shared(t)
	s := tell(t)
	s.wave(0)
	s.write()
	var first runner.Event
	for e := range runner.Decode(strings.NewReader(s.lines[0])) {
		first = e
	}
	server.send(http.MethodPost, v1+"playbooks", thing{"ansible_version": "2.14.18", "path": s.file, "status": "running", "started": stamp(first.Time)})
	s.lines = s.lines[:3]
	s.write()
	f := s.open(server.client())
	defer f.Close()
	if err := f.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if books := server.labelled(s.label); len(books) != 1 || len(books[0]["labels"].([]any)) != 2 || len(server.of("plays", int64(books[0]["id"].(float64)))) != 1 {
		t.Errorf("playbooks %v", books)
	}
}
