package runner

import (
	"errors"
	"iter"
	"reflect"
	"strings"
	"testing"
)

// What was recorded comes out as it did when it was heard; cut off in the middle it is a run that was cut short.
func TestReplay(t *testing.T) {
	for _, version := range generations {
		stream := recorded(t, version+".jsonl")
		n := 0
		res, err := Replay(Decode(strings.NewReader(stream)), hostNames(), func(Event) { n++ })
		events, want := refold(t, Decode(strings.NewReader(stream)))
		if err != nil || n != len(events) || !res.Complete || !reflect.DeepEqual(res.Hosts, want.Hosts) {
			t.Errorf("%s: %v, %d events of %d, complete %t\n%v\nnot\n%v", version, err, n, len(events), res.Complete, res.Hosts, want.Hosts)
		}
		if !res.Started.Equal(events[0].Time) || !res.Ended.Equal(events[len(events)-1].Time) {
			t.Errorf("%s: from %s to %s", version, res.Started, res.Ended)
		}
		broken := errors.New("broken")
		res, err = Replay(first(Decode(strings.NewReader(stream)), 30, broken), hostNames(), nil)
		if err != broken || res.Complete {
			t.Errorf("%s: cut off: %v, complete %t", version, err, res.Complete)
		}
		for h, r := range res.Hosts {
			if r.Outcome == OK || r.Outcome == Changed {
				t.Errorf("%s: cut off, and %s is %s", version, h, r.Outcome)
			}
		}
	}
}

// Lost is who was never reached where nobody minds, and no other.
func TestLost(t *testing.T) {
	stream := `{"kind":"start","version":"2.14.18"}
{"kind":"result","host":"never","id":"1","action":"ping","status":"unreachable","ignored":true}
{"kind":"result","host":"never","id":"2","action":"debug","status":"ok"}
{"kind":"result","host":"later","id":"1","action":"ping","status":"unreachable","ignored":true}
{"kind":"result","host":"later","id":"2","action":"ping","status":"ok"}
{"kind":"result","host":"here","id":"2","action":"debug","status":"ok"}
{"kind":"result","host":"failed","id":"2","action":"uri","delegated":"x","status":"failed","ignored":true}
{"kind":"stats","data":{"never":{"ok":2,"ignored":1},"later":{"ok":2,"ignored":1},"here":{"ok":1},"failed":{"ok":1,"ignored":1}}}
`
	res, err := Replay(Decode(strings.NewReader(stream)), nil, nil)
	if err != nil || len(res.Hosts) != 4 {
		t.Fatal(err, res.Hosts)
	}
	for name, h := range res.Hosts {
		if h.Lost != (name == "never") || h.Outcome != OK {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// first is the first n events, and then an error.
func first(events iter.Seq2[Event, error], n int, then error) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e, err := range events {
			if n--; n < 0 {
				yield(Event{}, then)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
