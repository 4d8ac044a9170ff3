package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/orchestrator/enginetest"
	"homelab-patch-orchestrate/runner"
)

// TestEngine has an engine whose waves run elsewhere do all that an engine must.
func TestEngine(t *testing.T) { enginetest.Test(t, newWorld) }

// worldWave is the wave of that test: of each host it is known what becomes of it.
func worldWave() orchestrator.Wave {
	w := orchestrator.Wave{Number: 0, Group: "patching_wave0"}
	for _, name := range []string{"node00000", "node00001", "node00002", "node00003"} {
		w.Hosts = append(w.Hosts, orchestrator.Host{Name: name})
	}
	return w
}

// worldScript is what happens to its hosts: the second of four tasks fails on one, and waits on another as long as there is hold.
func worldScript(hold string) Script {
	return Script{Hosts: 5, Waves: 2, Tasks: 4, Bytes: 300, Packages: 3, Took: 2, Done: "done", Faults: map[string]Fault{
		"node00000": {Kind: Failed, Task: 2}, "node00001": {Kind: Wait, Task: 2, Seconds: 60, While: hold}, "node00002": {Kind: Unreachable, Task: 1},
	}}
}

func newWorld(t *testing.T) enginetest.World {
	hold := filepath.Join(t.TempDir(), "hold")
	e := begin(t, worldScript(hold), 0)
	signal := func(s syscall.Signal) func() { return func() { e.cmd.Process.Signal(s) } }
	return enginetest.World{
		Wave: worldWave(), Well: "node00003", Held: "node00001", Failing: "node00000", Unreachable: "node00002", Deadline: 10 * time.Second,
		Engine: func(run string, _ bool) orchestrator.Engine { return e.engine(run) },
		Hold: func() func() {
			write(t, hold, "")
			return func() { os.Remove(hold) }
		},
		Begun: func(run, host string) int { return e.done(run, host, 1) },
		Done:  func(run, host string) int { return e.done(run, host, 4) },
		Busy:  e.busy,
		Controller: func(run string) *exec.Cmd {
			return exec.Command(called(t, t.TempDir(), "controller"), e.engine(run).URL)
		},
		Outlives: true,
		Break:    e.cable.cut,
		Kill:     signal(syscall.SIGKILL),
		Freeze:   signal(syscall.SIGSTOP),
	}
}

// control is the process of a controller that is killed.
func control() int {
	if err := enginetest.Control(os.Stdout, Engine{os.Args[1], time.Minute}, worldWave()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// What a far end said last is why it was given up, and not that it was asked once more when the time was over.
func TestGoneSays(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, "somebody else is at it", http.StatusConflict)
			return
		}
		io.Copy(io.Discard, r.Body) // it is told of the end of the request only after this
		<-r.Context().Done()
	}))
	defer far.Close()
	_, err := Engine{far.URL, 2 * time.Second}.Run(t.Context(), worldWave(), nil)
	if !errors.Is(err, errGone) || !strings.Contains(err.Error(), "somebody else is at it") {
		t.Errorf("it says %v", err)
	}
}

// What the far end has done outlives it: its next process tells of it, and does nothing again. What it was killed in the middle
// of is begun anew, and not before nobody is at work on it any more.
func TestFarAgain(t *testing.T) {
	t.Parallel()
	hold := filepath.Join(t.TempDir(), "hold")
	e := begin(t, worldScript(hold), 4000)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	play := func() (events int, res runner.Result) {
		t.Helper()
		res, err := e.engine("run").Run(ctx, worldWave(), func(runner.Event) { events++ })
		if err != nil || !res.Complete {
			t.Fatalf("%v, %+v", err, res)
		}
		return events, res
	}
	write(t, hold, "")
	_, err := e.engine("run").Run(ctx, worldWave(), func(ev runner.Event) {
		if ev.Kind == runner.KindBegin && ev.Host == "node00003" && e.done("run", "node00003", 1) == 1 {
			e.signal(syscall.SIGSTOP) // it outlives its far end
			e.kill()
		}
	})
	if err == nil || e.done("run", "node00003", 1) != 1 || e.done("run", "node00003", 4) != 0 {
		t.Errorf("it was to be killed in the middle: %v", err)
	}
	e.kill()
	e.up()
	if _, err := e.engine("run").Run(ctx, worldWave(), nil); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("beside one that is under way: %v", err)
	}
	e.signal(syscall.SIGCONT)
	for e.busy() && ctx.Err() == nil { // it was told to end, when its far end was killed
		time.Sleep(5 * time.Millisecond)
	}
	os.Remove(hold)
	events, res := play()
	e.kill()
	e.up()
	if again, same := play(); again != events || !reflect.DeepEqual(same.Hosts, res.Hosts) {
		t.Errorf("it told %d events, and then %d\n%+v\n%+v", events, again, res, same)
	}
	if n := e.done("run", "node00003", 1); n != 2 {
		t.Errorf("work was begun %d times, want 2: before it was killed, and after", n)
	}
}

// TestElsewhere patches a fleet of which much goes wrong, by an engine on this machine and by one that is elsewhere, its
// connection breaking all the time. Nothing else differs, and so neither do the reports.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	s := Script{Hosts: 300, Waves: 10, Tasks: 6, Bytes: 400, Packages: 9, Took: 2}
	s.Break(0.1)
	for h, f := range s.Faults {
		f.Bytes = min(f.Bytes, 40_000) // a line comes whole
		s.Faults[h] = f
	}
	s.Faults["node00200"] = Fault{Kind: Killed, Task: 2} // the wave breaks off, and is the last
	plan := &orchestrator.Plan{}
	for n := range s.Waves {
		w := orchestrator.Wave{Number: n, Group: fmt.Sprintf("patching_wave%d", n)}
		for _, h := range s.Wave(n) {
			w.Hosts = append(w.Hosts, orchestrator.Host{Name: h})
		}
		plan.Waves = append(plan.Waves, w)
	}
	e := begin(t, s, 100_000)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	patch := func(engine func(run string) orchestrator.Engine) orchestrator.Report {
		t.Helper()
		run := enginetest.Begin(t)
		o := orchestrator.Orchestrator{Engine: engine(run.ID), Policy: orchestrator.Policy{Budget: s.Hosts}}
		report, err := o.Run(ctx, run, plan)
		if err == nil {
			t.Error("a wave that breaks off is no success")
		}
		return report
	}
	far := patch(func(run string) orchestrator.Engine { return e.engine(run) })
	near := patch(func(string) orchestrator.Engine {
		return here{runner.Playbook{
			Dir: filepath.Join(e.dir, "runs"), Bin: filepath.Join(e.dir, "ansible-playbook"), Playbook: "patch.yml", Inventory: []string{"hosts"},
			Env: []string{ScriptVar + "=" + e.script},
		}}
	})
	if near.State != orchestrator.Failed || far.State != near.State || near.Waves[5].State != orchestrator.Passed {
		t.Errorf("here it is %s: %s\nelsewhere it is %s: %s", near.State, near.Reason, far.State, far.Reason)
	}
	for n, w := range near.Waves {
		for i, want := range w.Hosts {
			got := far.Waves[n].Hosts[i]
			got.Path, want.Path = "", "" // of another folder
			if !reflect.DeepEqual(got, want) {
				t.Errorf("elsewhere\n%+v\nhere\n%+v", got, want)
			}
		}
	}
	cuts := e.cable.cuts.Load()
	if cuts < 10 {
		t.Errorf("the connection broke %d times", cuts)
	}
	t.Logf("patched %d, failed %d, unreachable %d, interrupted %d; %d connections broke", far.Count(orchestrator.Patched),
		far.Count(orchestrator.HostFailed), far.Count(orchestrator.HostUnreachable), far.Count(orchestrator.HostInterrupted), cuts)
}

// here is an engine without anything between its ends.
type here struct{ runner.Playbook }

func (h here) Run(ctx context.Context, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	h.Hosts = w.Names()
	return h.Playbook.Run(ctx, emit)
}
