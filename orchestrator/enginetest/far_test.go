package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// far is the far end of an engine whose waves run elsewhere: a server that carries out a wave of a run once, keeps its
// events, and hands them out from any offset. What it does on hosts is simulated. It is here to show that nothing else
// of the program has to change for such an engine, and is no example of a safe one: it asks nobody who he is.
type far struct {
	mu          sync.Mutex
	waves       map[string]*execution // by run and wave
	begun, done map[string]int        // by run and host
	held        chan struct{}         // nil: nobody waits
	frozen      chan struct{}         // nil: it answers
	busy        sync.WaitGroup
	atWork      int
}

// execution is a wave being carried out, or carried out.
type execution struct {
	log    []byte
	more   chan struct{} // closed when log has grown, or it is over
	over   bool
	cancel context.CancelFunc
}

// ServeHTTP begins a wave (PUT, with its hosts), hands out its events (GET, from ?offset=), or cancels it (DELETE).
func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	frozen, x := f.frozen, f.waves[r.URL.Path]
	f.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	switch {
	case r.Method == http.MethodPut:
		var hosts []string
		if err := json.NewDecoder(r.Body).Decode(&hosts); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.begin(r.URL.Path, hosts)
	case x == nil:
		http.NotFound(w, r)
	case r.Method == http.MethodDelete:
		x.cancel()
	default:
		var offset int
		fmt.Sscan(r.URL.Query().Get("offset"), &offset)
		f.tell(w, r, x, offset)
	}
}

// begin carries out a wave, unless that is under way or has come to its end: the same run and wave is one execution. One
// that was cut short is begun anew.
func (f *far) begin(key string, hosts []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.waves[key]; x != nil && (!x.over || bytes.Contains(x.log, []byte(`{"kind":"stats"`))) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	x := &execution{more: make(chan struct{}), cancel: cancel}
	f.waves[key] = x
	f.atWork++
	f.busy.Go(func() {
		f.play(ctx, x, strings.Split(key, "/")[1], hosts)
		f.mu.Lock()
		defer f.mu.Unlock()
		x.over = true
		f.atWork--
		close(x.more)
	})
}

// tell writes the events from an offset on, to the end of the wave, with a sign of life where there is none for a while.
func (f *far) tell(w http.ResponseWriter, r *http.Request, x *execution, offset int) {
	for {
		f.mu.Lock()
		news, more, over, frozen := x.log[min(offset, len(x.log)):], x.more, x.over, f.frozen
		f.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		offset += len(news)
		if len(news) == 0 {
			if over {
				return
			}
			news = []byte("\n")
		}
		w.Write(news)
		http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-time.After(20 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
}

// play simulates the work: three tasks a host, one host after the other. The second task of Held can wait.
func (f *far) play(ctx context.Context, x *execution, run string, hosts []string) {
	stats := map[string]runner.Stats{}
	say := func(kind runner.Kind, rest string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		x.log = fmt.Appendf(x.log, `{"kind":%q,"time":%f%s}`+"\n", kind, float64(time.Now().UnixMicro())/1e6, rest)
		close(x.more)
		x.more = make(chan struct{})
	}
	say(runner.KindStart, `,"version":"2.14.18"`)
	for _, h := range hosts {
		for n, task := range []string{"Begin", "Work", "End"} {
			head := fmt.Sprintf(`,"play":"Patch","task":%q,"id":"%d","host":%q`, task, n, h)
			say(runner.KindBegin, head)
			f.mu.Lock()
			held := f.held
			switch {
			case h == "unreachable":
			case n == 0:
				f.begun[run+" "+h]++
			case n == 2:
				f.done[run+" "+h]++
			}
			f.mu.Unlock()
			if n == 1 && h == "held" && held != nil {
				select {
				case <-held:
				case <-ctx.Done():
				}
			}
			if ctx.Err() != nil {
				return // and no word of how it ended
			}
			status, s := "changed", stats[h]
			switch {
			case h == "unreachable":
				status, s.Unreachable = "unreachable", 1
			case h == "failing" && n == 1:
				status, s.Failed = "failed", 1
			default:
				s.OK, s.Changed = s.OK+1, s.Changed+1
			}
			stats[h] = s
			say(runner.KindResult, head+fmt.Sprintf(`,"action":"ansible.builtin.command","status":%q,"msg":"on purpose","data":{"changed":true}`, status))
			if s.Unreachable+s.Failed > 0 {
				break
			}
		}
	}
	text, _ := json.Marshal(stats)
	say(runner.KindStats, `,"data":`+string(text))
}

// TestFar has an engine whose waves run elsewhere do all that an engine must.
func TestFar(t *testing.T) { Test(t, newFar) }

func newFar(t *testing.T) World {
	f := &far{waves: map[string]*execution{}, begun: map[string]int{}, done: map[string]int{}}
	server := httptest.NewServer(f)
	let := func(c *chan struct{}) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if *c != nil {
			close(*c)
			*c = nil
		}
	}
	stop := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, x := range f.waves {
			x.cancel()
		}
	}
	t.Cleanup(func() {
		stop()
		let(&f.frozen)
		server.CloseClientConnections()
		server.Close()
		f.busy.Wait()
	})
	count := func(m map[string]int) func(run, host string) int {
		return func(run, host string) int {
			f.mu.Lock()
			defer f.mu.Unlock()
			return m[run+" "+host]
		}
	}
	wave := orchestrator.Wave{Number: 0, Group: "patching_wave0"}
	for _, h := range []string{"failing", "held", "unreachable", "well"} {
		wave.Hosts = append(wave.Hosts, orchestrator.Host{Name: h})
	}
	slices.SortFunc(wave.Hosts, func(a, b orchestrator.Host) int { return strings.Compare(a.Name, b.Name) })
	return World{
		Wave: wave, Well: "well", Held: "held", Failing: "failing", Unreachable: "unreachable", Deadline: 2 * time.Second,
		Engine: func(run string, _ bool) orchestrator.Engine { return near{server.URL + "/" + run, time.Second} },
		Hold: func() func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.held = make(chan struct{})
			return func() { let(&f.held) }
		},
		Begun: count(f.begun), Done: count(f.done),
		Busy: func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.atWork > 0
		},
		Break: server.CloseClientConnections,
		Kill:  func() { server.CloseClientConnections(); server.Listener.Close(); stop() },
		Freeze: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.frozen = make(chan struct{})
		},
	}
}
