package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// generations are the versions of ansible-core that testdata/outcomes was
// recorded from: outcomes-VERSION.jsonl is the event stream of one run,
// outcomes-VERSION.json the document that the stock callback printed in the
// same run. TestRecorded tells how.
var generations = []string{"2.14", "2.19"}

// golden is testdata/outcomes-results.json: what all that was recorded says of
// the hosts.
type golden struct {
	Complete map[string]goldenHost
	Killed   map[string]goldenHost // the engine was killed in the middle of the long line
}

type goldenHost struct {
	Outcome Outcome `json:"outcome"`
	Stats
}

func goldenHosts(res Result) map[string]goldenHost {
	hosts := map[string]goldenHost{}
	for name, h := range res.Hosts {
		hosts[name] = goldenHost{h.Outcome, h.Stats}
	}
	return hosts
}

// situations are what each recording must hold, told by one event of the
// stream, and by one of the document where that has kept it.
var situations = map[string]struct{ stream, document func(Event) bool }{
	"ok":                  both(func(e Event) bool { return e.Kind == KindResult && e.Status == StatusOK }),
	"changed":             both(func(e Event) bool { return e.Kind == KindResult && e.Status == StatusChanged }),
	"skipped":             both(func(e Event) bool { return e.Kind == KindResult && e.Status == StatusSkipped }),
	"failed":              both(func(e Event) bool { return e.Kind == KindResult && e.Status == StatusFailed && !e.Ignored }),
	"unreachable":         both(func(e Event) bool { return e.Kind == KindResult && e.Status == StatusUnreachable && !e.Ignored }),
	"rescued":             both(func(e Event) bool { return e.Stats["rescued"].Rescued == 1 }),
	"ignored":             {func(e Event) bool { return e.Status == StatusFailed && e.Ignored }, func(e Event) bool { return e.Stats["ignored"].Ignored == 1 }},
	"ignored unreachable": {func(e Event) bool { return e.Status == StatusUnreachable && e.Ignored }, nil},
	"loop":                {func(e Event) bool { return e.Kind == KindItem && e.Status == StatusChanged }, has(`"results"`)},
	"failed item":         {func(e Event) bool { return e.Kind == KindItem && e.Status == StatusFailed }, has(`"item":`)},
	"retries":             {func(e Event) bool { return e.Kind == KindRetry }, func(e Event) bool { return e.Attempts == 2 }},
	"async":               both(has(`"ansible_job_id"`)),
	"delegated":           both(func(e Event) bool { return e.Kind == KindResult && e.Delegated == "ok" }),
	"include":             {func(e Event) bool { return e.Kind == KindResult && e.Action == "ansible.builtin.include_tasks" }, nil},
	"included":            both(func(e Event) bool { return e.Kind == KindResult && strings.HasPrefix(e.Path, "included.yml:") }),
	"handlers":            {func(e Event) bool { return e.Kind == KindResult && e.Handler }, func(e Event) bool { return e.Kind == KindResult && e.Task == "Handle" }},
	"no_log":              both(has(`"censored"`)),
	"400 kB line":         both(func(e Event) bool { return len(e.Data) > 400_000 }),
	"non-UTF-8":           both(has(`\udcff`)),
}

func both(f func(Event) bool) struct{ stream, document func(Event) bool } {
	return struct{ stream, document func(Event) bool }{f, f}
}

func has(text string) func(Event) bool {
	return func(e Event) bool { return e.Kind == KindResult && strings.Contains(string(e.Data), text) }
}

// TestGolden decodes and folds what was recorded of both generations, by both
// decoders, to the same results.
func TestGolden(t *testing.T) {
	t.Parallel()
	var want golden
	if err := json.Unmarshal([]byte(recorded(t, "results.json")), &want); err != nil {
		t.Fatal(err)
	}
	var first []string
	for _, version := range generations {
		stream, document := recorded(t, version+".jsonl"), recorded(t, version+".json")
		events, res := refold(t, Decode(strings.NewReader(stream)))
		if !strings.HasPrefix(res.Version, version) {
			t.Errorf("%s: version %s", version, res.Version)
		}
		checkOutcomes(t, res)
		if got := goldenHosts(res); !reflect.DeepEqual(got, want.Complete) {
			t.Errorf("%s: the stream says\n%v\nnot\n%v", version, got, want.Complete)
		}
		printed, res := refold(t, DecodeJSONCallback(strings.NewReader(document)))
		if got := goldenHosts(res); !reflect.DeepEqual(got, want.Complete) {
			t.Errorf("%s: the document says\n%v\nnot\n%v", version, got, want.Complete)
		}
		for name, s := range situations {
			if !slices.ContainsFunc(events, s.stream) {
				t.Errorf("%s: the stream does not show: %s", version, name)
			}
			if s.document != nil && !slices.ContainsFunc(printed, s.document) {
				t.Errorf("%s: the document does not show: %s", version, name)
			}
		}
		said := told(events)
		if first == nil {
			first = said
		} else if !slices.Equal(said, first) {
			t.Errorf("%s tells\n%s\nnot\n%s", version, strings.Join(said, "\n"), strings.Join(first, "\n"))
		}
		if got := goldenHosts(killed(t, stream)); !reflect.DeepEqual(got, want.Killed) {
			t.Errorf("%s: killed, the stream says\n%v\nnot\n%v", version, got, want.Killed)
		}
		if _, errs := collect(DecodeJSONCallback(strings.NewReader(midLine(t, document)))); len(errs) != 1 || !errors.Is(errs[0], ErrStream) {
			t.Errorf("%s: half a document: %v", version, errs)
		}
	}
}

// recorded is one of the files of testdata/outcomes-*.
func recorded(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/outcomes-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// refold is what a recording says, in events and in the end.
func refold(t *testing.T, seq iter.Seq2[Event, error]) ([]Event, Result) {
	t.Helper()
	events, errs := collect(seq)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	f := newFold(hostNames())
	for _, e := range events {
		f.add(e)
	}
	return events, f.result()
}

// midLine is what a reader has when the engine is killed while it writes the
// long line: a pipe holds 64 kB of it.
func midLine(t *testing.T, text string) string {
	t.Helper()
	i := strings.Index(text, strings.Repeat("x", 64<<10))
	if i < 0 {
		t.Fatal("no long line")
	}
	return text[:i+64<<10]
}

// killed folds what is left of a stream whose engine was killed.
func killed(t *testing.T, stream string) Result {
	t.Helper()
	events, errs := collect(Decode(strings.NewReader(midLine(t, stream))))
	if len(errs) != 1 || !errors.Is(errs[0], ErrStream) {
		t.Errorf("half a line: %v", errs)
	}
	f := newFold(hostNames())
	for _, e := range events {
		f.add(e)
	}
	return f.result()
}

// told is what events say but for their data, sorted, since hosts take turns:
// each version must say the same.
func told(events []Event) (lines []string) {
	for _, e := range events {
		if e.Kind == KindPoll { // as many as the machine is slow
			continue
		}
		e.Data, e.Version, e.TaskID, e.Size = nil, "", "", 0
		e.Tags = slices.Sorted(slices.Values(e.Tags)) // a set to Ansible
		if e.Status == StatusUnreachable {            // ssh fails before or after Ansible talks to it
			_, e.Msg, _ = strings.Cut(e.Msg, "ssh: ")
		}
		lines = append(lines, fmt.Sprintf("%+v", e))
	}
	slices.Sort(lines)
	return lines
}
