package runner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// aDocument is one of plays in the JSON text.
func aDocument(plays, stats string) string {
	return fmt.Sprintf(`{"custom_stats": {}, "global_custom_stats": {}, "plays": [%s], "stats": %s}`, plays, stats)
}

// aPlay has one task with these results.
func aPlay(results string) string {
	return `{"play": {"duration": {"end": "2026-11-01T04:00:09.5Z", "start": "2026-11-01T04:00:00.5Z"}, "id": "p1", "name": "Patch "},
		"tasks": [{"hosts": {` + results + `}, "task": {"duration": {"end": "2026-11-01T04:00:02.5Z", "start": "2026-11-01T04:00:01.5Z"},
		"id": "t1", "name": "Upgrade", "path": "/srv/patch.yml:7"}}]}`
}

func readDocument(r io.Reader) (events []Event, err error) {
	for e, err := range DecodeJSONCallback(r) {
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

// one decodes a document with this one result of host h.
func one(t *testing.T, result string) Event {
	t.Helper()
	events, err := readDocument(strings.NewReader(aDocument(aPlay(`"h": `+result), "{}")))
	if err != nil || len(events) != 4 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	return events[2]
}

func TestDocument(t *testing.T) {
	text := "Using /etc/ansible/ansible.cfg as config file\n{ not yet\n" +
		aDocument(aPlay(`"a": {"action": "command", "changed": true, "rc": 0}, "b": {"action": "command", "skipped": true}`),
			`{"a": {"ok": 1, "changed": 1, "failures": 0}}`) + "\nbye\n"
	var got []string
	events, err := readDocument(iotest.OneByteReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s|%s|%s|%s %s %s", e.Kind, e.Time.Format("05.0"), e.Play, e.Task, e.Path, e.Host, e.Status, e.Data)))
	}
	want := []string{
		"play 00.5 Patch|||",
		"task 01.5 Patch|Upgrade|/srv/patch.yml:7|",
		`result 02.5 Patch|Upgrade|/srv/patch.yml:7|a changed {"action":"command","changed":true,"rc":0}`,
		`result 02.5 Patch|Upgrade|/srv/patch.yml:7|b skipped {"action":"command","skipped":true}`,
		"stats 00.0 |||",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := events[4].Stats["a"]; s != (Stats{OK: 1, Changed: 1}) {
		t.Errorf("recap: %+v", s)
	}
}

func TestDocumentResult(t *testing.T) {
	long := strings.Repeat("x", 2*MaxData)
	for name, c := range map[string]struct {
		result string
		want   Event // Status, Msg, Attempts, Delegated; Cut 1 stands for any
	}{
		"ok":                 {`{"changed": false}`, Event{Status: StatusOK}},
		"unreachable":        {`{"unreachable": true, "changed": false, "msg": "no route\r\n"}`, Event{Status: StatusUnreachable, Msg: "no route"}},
		"failed":             {`{"failed": true, "msg": "rc 1", "stderr": "why", "stdout": "more"}`, Event{Status: StatusFailed, Msg: "rc 1: why"}},
		"words of 2.19":      {`{"failed": true, "msg": "Task failed: bad", "exception": "(traceback unavailable)"}`, Event{Status: StatusFailed, Msg: "bad"}},
		"list of words":      {`{"failed": true, "msg": ["one", "two"]}`, Event{Status: StatusFailed, Msg: "one; two"}},
		"escapes":            {`{"failed": true, "msg": "\"}{\\", "stderr": "ü\udcff"}`, Event{Status: StatusFailed, Msg: "\"}{\\: ü\uFFFD"}},
		"attempts":           {`{"failed": true, "attempts": 3, "msg": "m"}`, Event{Status: StatusFailed, Attempts: 3, Msg: "m"}},
		"delegated":          {`{"_ansible_delegated_vars": {"ansible_host": "d"}}`, Event{Status: StatusOK, Delegated: "d"}},
		"delegated, unknown": {`{"_ansible_delegated_vars": {}}`, Event{Status: StatusOK, Delegated: "unknown"}},
		"hidden":             {`{"failed": true, "censored": "hidden", "exception": "S3CRET"}`, Event{Status: StatusFailed, Msg: "hidden"}},
		"arguments":          {`{"changed": true, "invocation": {"module_args": {"password": "S3CRET"}}}`, Event{Status: StatusChanged}},
		"arguments of items": {`{"results": [{"invocation": "S3CRET"}, {"censored": "hidden", "exception": "S3CRET"}]}`, Event{Status: StatusOK}},
		"item": {`{"failed": true, "msg": "One or more items failed", "results": [{"item": 1}, {"failed": true, "item": {"n": 2}, "msg": "bad"}]}`,
			Event{Status: StatusFailed, Msg: `item {"n":2}: bad`}},
		"hidden item": {`{"failed": true, "results": [{"failed": true, "item": "s", "censored": "hidden"}]}`, Event{Status: StatusFailed, Msg: "hidden"}},
		"loop variable": {`{"failed": true, "results": [{"failed": true, "ansible_loop_var": "v", "v": "x", "msg": "bad"}]}`,
			Event{Status: StatusFailed, Msg: "item x: bad"}},
		"long":        {`{"failed": true, "stderr": "` + long + `", "unreachable": true}`, Event{Status: StatusUnreachable, Msg: strings.Repeat("x", 1999) + "…", Cut: 1}},
		"no JSON":     {`{"a": NaN, "b": -Infinity, "changed": true}`, Event{Status: StatusChanged, Cut: 1}},
		"odd types":   {`{"failed": 1, "action": 7, "attempts": "x", "results": 3}`, Event{Status: StatusFailed}},
		"empty":       {`{}`, Event{Status: StatusOK}},
		"many levels": {`{"a": ` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, Event{Status: StatusOK, Cut: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			e := one(t, c.result)
			if (e.Cut > 0) != (c.want.Cut > 0) || (e.Data == nil) != (e.Cut > 0) {
				t.Errorf("cut %d, %d bytes of data", e.Cut, len(e.Data))
			}
			if strings.Contains(string(e.Data), "S3CRET") {
				t.Errorf("%s", e.Data)
			}
			e = Event{Status: e.Status, Msg: e.Msg, Attempts: e.Attempts, Delegated: e.Delegated, Cut: c.want.Cut}
			if !reflect.DeepEqual(e, c.want) {
				t.Errorf("got %+.200v, want %+.200v", e, c.want)
			}
		})
	}
}

// The results of a task wait for its name, however many they are, and leave no file.
func TestDocumentManyHosts(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var results []string
	for i := range 500 {
		results = append(results, fmt.Sprintf(`"h%03d": {"stdout": "%s"}`, i, strings.Repeat("y", 8000)))
	}
	n := 0
	for e, err := range DecodeJSONCallback(strings.NewReader(aDocument(aPlay(strings.Join(results, ",\n")), "{}"))) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == KindResult {
			if want := fmt.Sprintf("h%03d", n); e.Host != want || e.Task != "Upgrade" || len(e.Data) < 8000 {
				t.Fatalf("host %s, task %q, %d bytes of data; want %s", e.Host, e.Task, len(e.Data), want)
			}
			n++
		}
	}
	if left, _ := os.ReadDir(os.TempDir()); n != 500 || len(left) > 0 {
		t.Errorf("%d results; left in the folder for temporary files: %v", n, left)
	}
}

func TestNoDocument(t *testing.T) {
	whole := aDocument(aPlay(`"h": {"changed": true}`), `{"h": {"ok": 1}}`)
	for name, text := range map[string]string{
		"nothing":      "",
		"only noise":   "PLAY [all] ***\n{\"other\": 1}\n",
		"no recap":     `{"custom_stats": {}, "plays": []}`,
		"strange play": aDocument(`{"play": 3, "tasks": []}`, "{}"),
		"no array":     strings.Replace(whole, "[", "3", 1),
		"odd recap":    aDocument("", `{"h": 3}`),
	} {
		if _, err := readDocument(strings.NewReader(text)); !errors.Is(err, ErrStream) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range len(whole) - 1 { // cut anywhere
		if _, err := readDocument(strings.NewReader(whole[:n])); !errors.Is(err, ErrStream) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	broken := errors.New("broken")
	for n := range len(whole) - 1 {
		if _, err := readDocument(io.MultiReader(strings.NewReader(whole[:n]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Fatalf("broken after %d bytes: %v", n, err)
		}
	}
}

// A reader that has seen enough is not called again.
func TestDocumentStopped(t *testing.T) {
	for range DecodeJSONCallback(strings.NewReader(aDocument(aPlay(`"h": {}`), "{}"))) {
		break
	}
}
