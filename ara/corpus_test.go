//go:build e2efull

package ara

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
	"homelab-patch-orchestrate/runner"
)

// plugins is where Debian keeps the callback of ARA.
func plugins(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("/usr/bin/python3", "-m", "ara.setup.callback_plugins").Output()
	if err != nil {
		t.Fatalf("python3-ara is missing: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// TestCorpus runs each playbook of the runner's corpus once, with the callback of ARA beside ours and the same server for
// both, and compares what the two have on record.
func TestCorpus(t *testing.T) {
	s := newServer(t, forAll)
	ev := e2e.Record(t, nil, "ara-corpus", "What is on record in ARA: ours and that of its own callback, of the same runs")
	dir, err := filepath.Abs("../runner/testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	sites, _ := filepath.Glob(filepath.Join(dir, "*.yml"))
	sites = slices.DeleteFunc(sites, func(p string) bool { return filepath.Base(p) == "hosts.yml" })
	if len(sites) < 25 {
		t.Fatalf("%d playbooks", len(sites))
	}
	callback := plugins(t)
	verdicts, reasons := map[string]string{}, map[string]int{}
	t.Run("playbooks", func(t *testing.T) {
		for _, site := range sites {
			name := strings.TrimSuffix(filepath.Base(site), ".yml")
			t.Run(name, func(t *testing.T) { // one after the other: their callback drops what a busy SQLite refuses
				theirs, ours := both(t, s, dir, name, callback)
				found := differences(theirs, ours)
				for _, d := range found {
					if d.why == "" {
						t.Errorf("%s", d.what)
					}
				}
				n := theirs.playbook["items"].(thing)
				verdict := "equal"
				if t.Failed() {
					verdict = "DIFFERS"
				}
				verdicts[name] = fmt.Sprintf("%-22s %-8s %-9s plays %v, tasks %v, results %v, hosts %v, files %v", name, verdict,
					theirs.playbook["status"], n["plays"], n["tasks"], n["results"], n["hosts"], n["files"])
				for _, d := range found {
					reasons[d.why]++
				}
			})
		}
	})
	var lines, why []string
	equal := 0
	for _, name := range slices.Sorted(maps.Keys(verdicts)) {
		lines = append(lines, verdicts[name])
		if strings.Contains(verdicts[name], " equal ") {
			equal++
		}
	}
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		if r != "" {
			why = append(why, fmt.Sprintf("%4d  %s", reasons[r], r))
		}
	}
	ev.Lines("Playbooks", append(lines, fmt.Sprintf("all: %d of %d equal in meaning", equal, len(sites)))...)
	ev.Lines("Compared are: status, path, version, arguments and labels of the playbook; plays; tasks with file, line, action, tags, handler and play; "+
		"every result with status, changed, ignore_errors, delegation and content; counts and facts of hosts; paths and contents of files.\n"+
		"What differs on purpose, and how often", why...)
}

// record is all that the server has of a playbook.
type record struct {
	playbook              thing
	plays, tasks, results []thing
	hosts, files          map[string]thing // by name, by path
}

func (s *server) record(id float64) record {
	s.t.Helper()
	r := record{hosts: map[string]thing{}, files: map[string]thing{}}
	s.get(fmt.Sprintf("/api/v1/playbooks/%.0f", id), &r.playbook)
	list := func(kind string) (all []thing) {
		var l struct{ Results []thing }
		s.get(fmt.Sprintf("/api/v1/%s?playbook=%.0f&limit=10000&order=id", kind, id), &l)
		return l.Results
	}
	detail := func(kind string, row thing) (d thing) {
		s.get(fmt.Sprintf("/api/v1/%s/%.0f", kind, row["id"]), &d)
		return d
	}
	r.plays = list("plays")
	r.tasks = list("tasks")
	for _, h := range list("hosts") {
		r.hosts[h["name"].(string)] = detail("hosts", h)
	}
	for _, f := range list("files") {
		r.files[f["path"].(string)] = f
	}
	for _, row := range list("results") {
		r.results = append(r.results, detail("results", row))
	}
	return r
}

// both runs a playbook with both callbacks, forwards our events, and returns what the server has of each.
func both(t *testing.T, s *server, dir, name, callback string) (theirs, ours record) {
	t.Helper()
	run := t.TempDir()
	file, err := os.Create(filepath.Join(run, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	label := "corpus:" + name
	var log strings.Builder
	p := runner.Playbook{
		Dir: dir, Playbook: name + ".yml", Inventory: []string{"hosts.yml"}, Hosts: []string{"a", "b", "c", "dead"}, Labels: []string{label},
		Env: []string{"ANSIBLE_CALLBACK_PLUGINS=" + callback, "ARA_API_CLIENT=http", "ARA_API_SERVER=" + s.url(), "ARA_API_TIMEOUT=120",
			"ARA_LOCALHOST_AS_HOSTNAME_FORMAT=hostname"},
		Events: file, Log: &log,
	}
	res, err := p.Run(t.Context(), nil)
	if err != nil || !res.Complete {
		t.Fatalf("complete %t, %v\n%s", res.Complete, err, log.String())
	}
	f := &Forwarder{Client: &Client{Server: s.url()}, Dir: run}
	if err := f.Open(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Minute); ; { // a busy SQLite answers 500
		err := f.Send(t.Context())
		if err == nil {
			err = f.Finish(t.Context(), nil)
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	st, err := ReadStatus(run)
	if err != nil || len(st.Playbooks) != 1 || st.State != "done" || st.Refused+st.Removed > 0 {
		t.Fatalf("%+v %v", st, err)
	}
	var list struct{ Results []thing }
	s.get("/api/v1/playbooks?label="+label, &list)
	if len(list.Results) != 2 {
		t.Fatalf("%d playbooks have the label %s", len(list.Results), label)
	}
	for _, b := range list.Results {
		if id := b["id"].(float64); int64(id) == st.Playbooks[0] {
			ours = s.record(id)
		} else {
			theirs = s.record(id)
		}
	}
	return theirs, ours
}

// difference is one that was found, and why it is meant to be; empty if it is not.
type difference struct{ what, why string }

// What is meant to differ.
const (
	whySubset     = "label subset:@FILE: the file is gone after the run, and each run would have a label of its own. check:False says nothing"
	whyVars       = "argument extra_vars: both leave it out, each in its words"
	whyFiles      = "a file in which no task that ran, and no play, is: variables, which may hold secrets, and roles' other files"
	whyInvocation = "result's invocation: the module's arguments; not all modules know the secret ones"
	whyDelegated  = "delegated_to of a loop: their callback adds up the hosts of all hosts' items"
	whyTimes      = "result's exception or traceback text"
)

func differences(theirs, ours record) (found []difference) {
	diff := func(why, format string, args ...any) {
		found = append(found, difference{fmt.Sprintf(format, args...), why})
	}
	same := func(what string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			diff("", "%s: theirs %s, ours %s", what, text(a), text(b))
		}
	}
	for _, k := range []string{"status", "path", "ansible_version", "controller", "name"} {
		same("playbook's "+k, theirs.playbook[k], ours.playbook[k])
	}
	a, b := theirs.playbook["arguments"].(thing), ours.playbook["arguments"].(thing)
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if k == "extra_vars" {
			diff(whyVars, "extra_vars")
			continue
		}
		same("argument "+k, a[k], b[k])
	}
	same("number of arguments", len(a), len(b))
	labels := func(r record) (names []string) {
		for _, l := range r.playbook["labels"].([]any) {
			names = append(names, l.(thing)["name"].(string))
		}
		return names
	}
	for _, l := range labels(theirs) {
		if !slices.Contains(labels(ours), l) {
			why := ""
			if strings.HasPrefix(l, "subset:") || l == "check:False" || l == "tags:all" {
				why = whySubset
			}
			diff(why, "theirs has label %s", l)
		}
	}
	for _, l := range labels(ours) {
		if !slices.Contains(labels(theirs), l) {
			diff("", "ours has label %s", l)
		}
	}
	// Plays, tasks and results in the order in which they began.
	playOf := func(r record, id any) int {
		return slices.IndexFunc(r.plays, func(p thing) bool { return p["id"] == id })
	}
	same("plays", pick(theirs.plays, "name", "uuid", "status"), pick(ours.plays, "name", "uuid", "status"))
	tasks := func(r record) (all []thing) {
		for _, t := range r.tasks {
			one := pick([]thing{t}, "name", "action", "lineno", "path", "handler", "status")[0]
			tags := []string{}
			for _, tag := range t["tags"].([]any) {
				tags = append(tags, tag.(string))
			}
			slices.Sort(tags)
			one["tags"], one["play"] = tags, playOf(r, t["play"])
			all = append(all, one)
		}
		return all
	}
	same("tasks", tasks(theirs), tasks(ours))
	for name := range theirs.hosts {
		if ours.hosts[name] == nil {
			diff("", "theirs has host %s", name)
			continue
		}
		same("counts of "+name, pick([]thing{theirs.hosts[name]}, "ok", "changed", "failed", "skipped", "unreachable"),
			pick([]thing{ours.hosts[name]}, "ok", "changed", "failed", "skipped", "unreachable"))
		facts, mine := theirs.hosts[name]["facts"].(thing), ours.hosts[name]["facts"].(thing)
		same("facts of "+name, slices.Sorted(maps.Keys(facts)), slices.Sorted(maps.Keys(mine)))
	}
	same("number of hosts", len(theirs.hosts), len(ours.hosts))
	for path, f := range theirs.files {
		if mine := ours.files[path]; mine == nil {
			why := whyFiles
			if slices.ContainsFunc(theirs.tasks, func(t thing) bool { return t["path"] == path && t["items"].(thing)["results"] != 0.0 }) {
				why = ""
			}
			diff(why, "theirs has file %s", path)
		} else {
			same("content of "+path, f["sha1"], mine["sha1"])
		}
	}
	for path := range ours.files {
		if theirs.files[path] == nil {
			diff("", "ours has file %s", path)
		}
	}
	return append(found, results(theirs, ours, same, diff)...)
}

func pick(rows []thing, keys ...string) []thing {
	all := []thing{}
	for _, r := range rows {
		one := thing{}
		for _, k := range keys {
			one[k] = r[k]
		}
		all = append(all, one)
	}
	return all
}
