//go:build e2e

package runner

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "record the golden streams of the ansible-core that is installed")

// TestRecorded runs testdata/outcomes as it was recorded, and compares: what
// the engine says today is what is kept of its version. With -update it is
// kept anew; `go test -tags e2e -run '^TestEngines$' ./e2e -update` does so
// for both generations.
func TestRecorded(t *testing.T) {
	need(t, "ssh")
	r := newRun(t, "testdata/outcomes", hostNames()...)
	r.Inventory, r.Document = []string{"hosts.yml"}, tempFile(t)
	r.Forks = 1 // the same order each time, also of Python's sets
	r.Env = append(r.Env, "PYTHONHASHSEED=0")
	r.do(t.Context(), t)
	if r.err != nil || !r.res.Complete {
		t.Fatalf("complete %t, error %v", r.res.Complete, r.err)
	}
	printed, err := os.ReadFile(r.Document.Name())
	if err != nil {
		t.Fatal(err)
	}
	stream, document := stable(r.raw.String()), stable(string(printed))
	events, res := refold(t, Decode(strings.NewReader(stream)))
	results := golden{Complete: goldenHosts(res), Killed: goldenHosts(killed(t, stream))}
	if got := goldenHosts(r.res); !reflect.DeepEqual(got, results.Complete) {
		t.Errorf("the run says\n%v\nits stream\n%v", got, results.Complete)
	}
	minor := strings.Join(strings.Split(r.res.Version, ".")[:2], ".")
	if *update {
		text, err := json.MarshalIndent(results, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{minor + ".jsonl": stream, minor + ".json": document, "results.json": string(text) + "\n"} {
			if err := os.WriteFile("testdata/outcomes-"+name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Contains(generations, minor) {
		t.Fatalf("nothing is recorded of ansible-core %s", minor)
	}
	kept, _ := refold(t, Decode(strings.NewReader(recorded(t, minor+".jsonl"))))
	if got, want := told(events), told(kept); !slices.Equal(got, want) {
		t.Errorf("it tells\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	was, _ := refold(t, DecodeJSONCallback(strings.NewReader(recorded(t, minor+".json"))))
	is, _ := refold(t, DecodeJSONCallback(strings.NewReader(document)))
	if got, want := told(is), told(was); !slices.Equal(got, want) {
		t.Errorf("its document tells\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestOutcomes runs every way a task can end.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	need(t, "ssh")
	r := newRun(t, "testdata/outcomes", hostNames()...)
	r.Inventory = []string{"hosts.yml"}
	r.Forks = 4
	r.do(t.Context(), t)
	if r.err != nil || !r.res.Complete || r.res.ExitCode == 0 {
		t.Fatalf("complete %t, exit code %d, error %v", r.res.Complete, r.res.ExitCode, r.err)
	}
	checkOutcomes(t, r.res)

	// What was stored says the same as what was emitted.
	var again []Event
	for e, err := range Decode(strings.NewReader(r.raw.String())) {
		if err != nil {
			t.Error(err)
		}
		e.Size = 0 // of the stream, which an event that was emitted is not in
		again = append(again, e)
	}
	if a, b := fmt.Sprintf("%+v", again), fmt.Sprintf("%+v", r.events); a != b {
		t.Errorf("the stored lines decode to\n%s\nnot to\n%s", a, b)
	}
	begin, _ := r.find(KindBegin, "async", "Long")
	end, _ := r.find(KindResult, "async", "Long")
	if end.Started.Before(begin.Time.Add(-1e6)) || end.Time.Sub(end.Started).Seconds() < 2 {
		t.Errorf("a task of two seconds began at %s and lasted from %s to %s", begin.Time, end.Started, end.Time)
	}
	if strings.Contains(r.raw.String()+r.log.String(), "hunter2") {
		t.Error("what no_log hides is in the events or in the log")
	}
}

// volatile is what differs from one run to the next.
var volatile = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`"(time|started)":\d+\.\d+`), `"$1":1`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d\.\d{6}`), "2026-01-01${1}00:00:00.000000"},
	{regexp.MustCompile(`"delta":( ?)"[^"]*"`), `"delta":$1"0:00:00.000000"`},
	{regexp.MustCompile(`j?\d{9,}\.\d+`), "j1.1"}, // a job's number and pid
	{regexp.MustCompile(`/run/ansible-run-\d+`), "/run/ansible-run-1"},
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// stable replaces what is volatile, and the paths of this machine. Ids are
// numbered as they come.
func stable(text string) string {
	wd, _ := os.Getwd()
	home, _ := os.UserHomeDir()
	text = strings.NewReplacer(wd+"/testdata/outcomes/", "", wd+"/testdata/outcomes", ".", home+"/", "/home/").Replace(text)
	for _, v := range volatile {
		text = v.what.ReplaceAllString(text, v.with)
	}
	ids := map[string]string{}
	return uuid.ReplaceAllStringFunc(text, func(id string) string {
		if ids[id] == "" {
			ids[id] = fmt.Sprint("id", len(ids))
		}
		return ids[id]
	})
}
