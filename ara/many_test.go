package ara

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// entry is a record of table, as far as it is asked for.
type entry struct {
	ID, Playbook, Play, Task, Host int64
	Name, Path, UUID, Key, Status  string
	Started                        string `json:",omitempty"`
	OK                             *int
}

// table answers as ARA's API does, as fast as can be: it keeps what tells one record from another.
type table struct {
	mu       sync.Mutex
	rows     map[string][]*entry // by kind
	at       map[string][]*entry // by kind and when they began
	hosts    map[string]*entry   // by playbook and name
	byID     map[string]*entry   // by kind and id
	results  map[int64]int       // by playbook
	requests int
	last     int64
	// die is asked before a result is made, and again after; if it says so there is no answer.
	die func(made bool, results int) bool
}

func newTable() *table {
	return &table{rows: map[string][]*entry{}, at: map[string][]*entry{}, hosts: map[string]*entry{}, byID: map[string]*entry{},
		results: map[int64]int{}, die: func(bool, int) bool { return false }}
}

func (a *table) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests++
	kind, id, one := strings.Cut(strings.TrimPrefix(r.URL.Path, v1), "/")
	var body entry
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	switch {
	case r.URL.Path == "/api/":
		fmt.Fprint(w, `{"kind":"ara","version":"1.5.8","api":["http://localhost/api/v1/"]}`)
	case r.Method == http.MethodPost:
		if kind == "results" && a.die(false, len(a.rows[kind])) {
			cut()
		}
		id := a.make(kind, &body)
		if kind == "results" && a.die(true, len(a.rows[kind])) {
			cut()
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id":%d}`, id)
	case r.Method == http.MethodPatch:
		row := a.byID[kind+" "+id]
		if body.Status != "" {
			row.Status = body.Status
		}
		row.OK = body.OK
		fmt.Fprint(w, "{}")
	case one:
		n, _ := strconv.ParseInt(id, 10, 64)
		fmt.Fprintf(w, `{"items":{"plays":1,"tasks":%d,"results":%d}}`, len(a.find("tasks", r, n)), a.results[n])
	default:
		found := a.find(kind, r, 0)
		rows := []entry{}
		for _, f := range found {
			rows = append(rows, *f)
		}
		json.NewEncoder(w).Encode(map[string]any{"count": len(rows), "results": rows})
	}
}

func (a *table) make(kind string, body *entry) int64 {
	key := fmt.Sprint(body.Playbook, body.Name)
	if kind == "hosts" && a.hosts[key] != nil {
		return a.hosts[key].ID
	}
	a.last++
	body.ID = a.last
	a.rows[kind] = append(a.rows[kind], body)
	a.at[kind+body.Started] = append(a.at[kind+body.Started], body)
	a.byID[fmt.Sprint(kind, " ", body.ID)] = body
	switch kind {
	case "hosts":
		a.hosts[key] = body
	case "results":
		a.results[body.Playbook]++
	}
	return body.ID
}

// find returns the records that a query asks for, or those of a playbook.
func (a *table) find(kind string, r *http.Request, playbook int64) (found []*entry) {
	q := r.URL.Query()
	rows := a.rows[kind]
	if at := q.Get("started_after"); at != "" {
		rows = a.at[kind+at]
	}
	is := func(name string, has any) bool { return q.Get(name) == "" || q.Get(name) == fmt.Sprint(has) }
	for _, row := range rows {
		if (playbook == 0 || playbook == row.Playbook) && is("playbook", row.Playbook) && is("play", row.Play) && is("task", row.Task) &&
			is("host", row.Host) && is("path", row.Path) && is("uuid", row.UUID) && is("key", row.Key) {
			found = append(found, row)
		}
	}
	return found
}

// fleet tells of a run over so many hosts: they are prepared together, and patched in ten waves. It returns how many results it has.
func (s *story) fleet(hosts int) (results int) {
	play := func(label string, from, to, tasks int) {
		s.add("start", `"version":"2.14.18","labels":[%q,%q]`, s.label, label)
		s.add("playbook", `"path":%q,"data":{}`, s.file)
		s.add("play", `"play":"p","id":%q,"path":"%s:1"`, uuidOf(100), s.file)
		var stats strings.Builder
		for n := range tasks {
			s.task(n, fmt.Sprintf("Task %d", n))
			for h := from; h < to; h++ {
				s.result(n, fmt.Sprintf("node%05d", h), "changed", "", `{"changed":true,"stdout":"x"}`)
				results++
			}
		}
		for h := from; h < to; h++ {
			fmt.Fprintf(&stats, `,"node%05d":{"ok":%d,"changed":%d}`, h, tasks, tasks)
		}
		s.add("stats", `"data":{%s}`, stats.String()[1:])
	}
	play("prepare", 0, hosts, 1)
	for w := range 10 {
		play(fmt.Sprintf("wave:%d", w), w*hosts/10, (w+1)*hosts/10, 2)
	}
	return results
}

// A run of 3,000 hosts comes to its end, though what puts it on record is killed three times on the way. Each time it goes on where
// it was: nothing is there twice, and only what it had not written down yet is asked for. What it remembers of so many hosts is
// small.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	const hosts = 3000
	s := tell(t)
	results := s.fleet(hosts)
	s.write()
	server := newTable()
	front := httptest.NewServer(server)
	defer front.Close()
	var die context.CancelFunc
	var onDisk []byte
	var before Status
	kills := 0
	server.die = func(made bool, n int) bool {
		// In the middle of those that are prepared, of the third wave and of the last, before the server gets it, or the answer is sent.
		if at := []int{hosts / 2, hosts + hosts/2, results - 9}; kills == len(at) || n < at[kills] || made != (kills%2 == 1) {
			return false
		}
		kills++
		onDisk, _ = os.ReadFile(filepath.Join(s.dir, Pending))
		now, err := ReadStatus(s.dir)
		if err != nil || now.State != "waiting" || now.Size == 0 || kills > 1 && now.Offset <= before.Offset {
			t.Errorf("when it is killed: %+v after %+v, %v", now, before, err)
		}
		before = now
		die()
		return true
	}
	for tries := 0; ; tries++ {
		ctx, cancel := context.WithCancel(t.Context())
		die = cancel
		f := s.open(&Client{Server: front.URL})
		err := f.Send(ctx)
		cancel()
		if err == nil {
			if err := f.Finish(t.Context(), told()); err != nil {
				t.Fatal(err)
			}
			break
		}
		if tries == kills {
			t.Fatal(err)
		}
		if n := len(text(f.p)); n > 64<<10 {
			t.Errorf("it remembers %d bytes", n)
		}
		f.lock.Close() // by the kernel, and nothing was written
		if err := os.WriteFile(filepath.Join(s.dir, Pending), onDisk, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Each result is a request, each host of a playbook two, and what was not on disk yet is asked for once more.
	seen := map[string]bool{}
	for _, r := range server.rows["results"] {
		seen[fmt.Sprint(r.Playbook, r.Task, r.Host, r.Started)] = true
	}
	counted := 0
	for _, h := range server.rows["hosts"] {
		if h.OK != nil && *h.OK > 0 {
			counted++
		}
	}
	if kills != 3 || len(seen) != results || len(server.rows["results"]) != results || counted != 2*hosts || len(server.rows["playbooks"]) != 11 || len(server.rows["tasks"]) != 21 {
		t.Errorf("killed %d times; %d results, of which %d differ, want %d; %d hosts, %d playbooks, %d tasks", kills, len(server.rows["results"]), len(seen),
			results, counted, len(server.rows["playbooks"]), len(server.rows["tasks"]))
	}
	for _, b := range server.rows["playbooks"] {
		if b.Status != "completed" {
			t.Errorf("playbook %d is %s", b.ID, b.Status)
		}
	}
	least := results + 4*hosts
	if server.requests > least+least/2 {
		t.Errorf("%d requests, of which %d are needed", server.requests, least)
	}
	if st, err := ReadStatus(s.dir); err != nil || st.State != "done" || st.Removed != 0 || st.Offset != st.Size {
		t.Errorf("%+v, %v", st, err)
	}
	t.Logf("%d requests, %d results", server.requests, results)
}
