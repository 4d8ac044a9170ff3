package runner

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/iotest"
)

func collect(seq iter.Seq2[Event, error]) (events []Event, errs []error) {
	for e, err := range seq {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		events = append(events, e)
	}
	return events, errs
}

func TestDecode(t *testing.T) {
	huge := strings.Repeat("x", MaxData)
	for name, c := range map[string]struct {
		in     string
		events int
		bad    int
		check  func(Event) bool // of the first event
	}{
		"nothing":          {in: ""},
		"blank lines":      {in: "\n\n"},
		"no data":          {in: `{"kind":"begin","host":"h"}`, events: 1, check: func(e Event) bool { return e.Data == nil && e.Host == "h" }},
		"data":             {in: `{"kind":"result","data":{"a":1}}` + "\n", events: 1, check: func(e Event) bool { return string(e.Data) == `{"a":1}` }},
		"null data":        {in: `{"kind":"result","data":null}`, events: 1, check: func(e Event) bool { return e.Data == nil }},
		"quoted key":       {in: `{"kind":"result","msg":",\"data\":","data":{}}`, events: 1, check: func(e Event) bool { return e.Msg == `,"data":` && string(e.Data) == "{}" }},
		"time":             {in: `{"kind":"play","time":1.5}`, events: 1, check: func(e Event) bool { return e.Time.UnixNano() == 1_500_000_000 && e.Started.IsZero() }},
		"not UTF-8":        {in: "{\"kind\":\"begin\",\"host\":\"\xff\"}", events: 1, check: func(e Event) bool { return e.Host == "\ufffd" }},
		"half a head":      {in: `{"kind":"beg`, bad: 1},
		"half of the data": {in: `{"kind":"result","data":{"a":`, bad: 1},
		"noise":            {in: "hello\n{\"kind\":\"start\"}\n[1]\n{}\n", events: 1, bad: 3},
		"bad stats":        {in: `{"kind":"stats","data":[]}`, bad: 1},
		"too long":         {in: `{"kind":"result","host":"h","data":"` + huge + `"}` + "\n" + `{"kind":"start"}`, events: 2, check: func(e Event) bool { return e.Data == nil && e.Cut == MaxData+2 && e.Host == "h" }},
		"far too long":     {in: `{"kind":"result","data":"` + strings.Repeat(huge, 5) + `"}` + "\n", events: 1, check: func(e Event) bool { return e.Data == nil && e.Cut == 5*MaxData+2 }},
		"just short":       {in: `{"kind":"result","data":"` + huge[2:] + `"}`, events: 1, check: func(e Event) bool { return len(e.Data) == MaxData && e.Cut == 0 }},
		"stored cut":       {in: `{"kind":"result","cut":7,"data":null}`, events: 1, check: func(e Event) bool { return e.Cut == 7 && e.Data == nil }},
		"a long head":      {in: `{"kind":"begin","host":"` + strings.Repeat(huge, 2) + `"}` + "\n", bad: 1},
	} {
		events, errs := collect(Decode(strings.NewReader(c.in)))
		if len(events) != c.events || len(errs) != c.bad {
			t.Errorf("%s: %d events and %d errors, want %d and %d: %v", name, len(events), len(errs), c.events, c.bad, errs)
			continue
		}
		for _, err := range errs {
			if !errors.Is(err, ErrStream) {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if c.check != nil && !c.check(events[0]) {
			t.Errorf("%s: %+v", name, events[0])
		}
	}
	_, errs := collect(Decode(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(`{"kind":"start"}`)))))
	if len(errs) != 2 || !errors.Is(errs[1], iotest.ErrTimeout) {
		t.Errorf("a broken reader: %v", errs)
	}
}

// The recap of a large fleet is longer than what is kept of a task's result.
func TestLongRecap(t *testing.T) {
	const hosts = 20_000
	var b bytes.Buffer
	b.WriteString(`{"kind":"stats","time":1,"data":{`)
	for i := range hosts {
		fmt.Fprintf(&b, `"host-%d.example.org":{"ok":5,"failures":0,"unreachable":0,"changed":1,"skipped":0,"rescued":0,"ignored":0},`, i)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString("}}\n")
	events, errs := collect(Decode(&b))
	if len(errs) > 0 || len(events) != 1 || len(events[0].Stats) != hosts {
		t.Errorf("%d events, %v", len(events), errs)
	}
}

func FuzzDecode(f *testing.F) {
	for _, version := range generations {
		// A seed of 400 kB would only slow it down.
		f.Add([]byte(strings.ReplaceAll(recorded(f, version+".jsonl"), strings.Repeat("x", 400_000), "x")))
	}
	f.Add([]byte(`{"kind":"result","data":}`))
	f.Add([]byte(`{"kind":"stats","data":{"h":{"ok":1}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		fold := newFold([]string{"h"})
		for e, err := range Decode(bytes.NewReader(in)) {
			if (err == nil) != (e.Kind != "") {
				t.Errorf("event %+v with error %v", e, err)
			}
			if err == nil {
				fold.add(e)
			}
		}
		if _, ok := fold.result().Hosts["h"]; !ok {
			t.Error("an expected host has no result")
		}
	})
}
