package enginetest

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// call is one call of an engine, as it goes on.
type call struct {
	mu     sync.Mutex
	events []runner.Event
	ended  bool // Run has returned
	inside bool // an event is being taken
	wrong  []string

	done chan struct{}
	res  runner.Result
	err  error
}

// start calls an engine.
func start(t *testing.T, ctx context.Context, e orchestrator.Engine, w orchestrator.Wave) *call {
	t.Helper()
	c := &call{done: make(chan struct{})}
	go func() { // ends with the engine
		defer close(c.done)
		res, err := e.Run(ctx, w, c.take)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.res, c.err, c.ended = res, err, true
	}()
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, what := range c.wrong {
			t.Error(what)
		}
		if t.Failed() {
			t.Logf("error: %v\nresult: %+v", c.err, c.res)
		}
	})
	return c
}

func (c *call) take(e runner.Event) {
	c.mu.Lock()
	if c.inside || c.ended {
		c.wrong = append(c.wrong, fmt.Sprintf("event %s of %q: emit was called while it ran (%t), or after Run had returned (%t)", e.Kind, e.Host, c.inside, c.ended))
	}
	c.inside = true
	c.events = append(c.events, e)
	c.mu.Unlock()
	// Here another event would be caught.
	c.mu.Lock()
	c.inside = false
	c.mu.Unlock()
}

// wait waits for the end of the call.
func (c *call) wait(t *testing.T, most time.Duration) *call {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(most):
		t.Fatalf("it has not returned after %s", most)
	}
	return c
}

func (c *call) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *call) heard() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.events) > 0
}

// until waits for an event of a sort.
func (c *call) until(t *testing.T, what string, sort func() func(runner.Event) bool) {
	t.Helper()
	is, seen := sort(), 0
	eventually(t, what, func() bool {
		if c.over() {
			t.Fatalf("it is over (%v), and never happened: %s", c.err, what)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for ; seen < len(c.events); seen++ {
			if is(c.events[seen]) {
				return true
			}
		}
		return false
	})
}

// held returns what tells the event by which the work on Held waits and that on Well has got on.
func (w World) held() func(runner.Event) bool {
	begun := 0
	return func(e runner.Event) bool {
		if e.Kind == runner.KindBegin && e.Host == w.Held {
			begun++
		}
		return begun >= 2 && e.Kind == runner.KindBegin && e.Host == w.Held
	}
}

// complete wants the result of a wave that came to its end.
func (c *call) complete(t *testing.T, w World) {
	t.Helper()
	if c.err != nil || !c.res.Complete {
		t.Fatalf("%v, complete %t: hosts that fail are no failure of the engine", c.err, c.res.Complete)
	}
	for h, want := range map[string][]runner.Outcome{
		w.Well: {runner.OK, runner.Changed}, w.Held: {runner.OK, runner.Changed}, w.Failing: {runner.Failed}, w.Unreachable: {runner.Unreachable},
	} {
		if got := c.res.Hosts[h]; !slices.Contains(want, got.Outcome) || got.Outcome == runner.Failed && got.Msg == "" {
			t.Errorf("%s came out %+v, want %v", h, got, want)
		}
	}
}

// interrupted wants the result of a wave that was cut short while Held was worked on.
func (c *call) interrupted(t *testing.T, w World) {
	t.Helper()
	if got := c.res.Hosts[w.Held].Outcome; got != runner.Interrupted || c.res.Complete {
		t.Errorf("%s came out %q, complete %t", w.Held, got, c.res.Complete)
	}
	for _, h := range w.Wave.Hosts {
		if _, ok := c.res.Hosts[h.Name]; !ok {
			t.Errorf("the result says nothing of %s", h.Name)
		}
	}
	c.ordered(t)
}

// ordered wants each event once, and in an order that can be.
func (c *call) ordered(t *testing.T) {
	t.Helper()
	begun, seen := map[string]bool{}, map[string]int{}
	var last time.Time
	for i, e := range c.events {
		key := e.Host + " " + e.TaskID
		if e.Time.Before(last) {
			t.Errorf("event %d (%s of %q) is older than the one before", i, e.Kind, e.Host)
		}
		last = e.Time
		switch e.Kind {
		case runner.KindBegin:
			begun[key] = true
		case runner.KindResult:
			if !begun[key] {
				t.Errorf("event %d: %q ended task %q and never began it", i, e.Host, e.Task)
			}
		case runner.KindItem, runner.KindRetry, runner.KindPoll, runner.KindStall, runner.KindTask: // may come again
			continue
		}
		what := fmt.Sprint(e.Kind, " ", key)
		if seen[what]++; seen[what] > 1 {
			t.Errorf("event %d: %s came %d times", i, what, seen[what])
		}
	}
}

// asTold wants the result to be that of the events.
func (c *call) asTold(t *testing.T, w World) {
	t.Helper()
	var all iter.Seq2[runner.Event, error] = func(yield func(runner.Event, error) bool) {
		for _, e := range c.events {
			if !yield(e, nil) {
				return
			}
		}
	}
	told, err := runner.Replay(all, w.Wave.Names(), nil)
	if err != nil || !maps.Equal(told.Hosts, c.res.Hosts) || told.Version != c.res.Version {
		t.Errorf("the events say\n%+v\nthe result\n%+v", told, c.res)
	}
}

// told is every event in a few words, without what differs from one run to the next.
func (c *call) told() (words []string) {
	for _, e := range c.events {
		words = append(words, fmt.Sprintf("%s %s %s %s %v", e.Kind, e.Host, e.Task, e.Status, e.Stats))
	}
	return words
}

// sameSet compares without order: hosts do not wait for each other.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// worked wants the work on the hosts that can be reached to have been begun so often in a run.
func (w World) worked(t *testing.T, run string, times int) {
	t.Helper()
	for _, h := range []string{w.Well, w.Held, w.Failing} {
		if n := w.Begun(run, h); n != times {
			t.Errorf("work on %s was begun %d times in run %s, want %d", h, n, run, times)
		}
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
