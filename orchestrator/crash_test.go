package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"homelab-patch-orchestrate/runner"
)

// death is how the controller's process ends at a step.
type death string

const (
	killed   death = "killed"    // SIGKILL; the machine goes on
	powerCut death = "power cut" // the machine boots again
	lostAll  death = "power cut, unflushed writes lost"
)

// TestCrashSweep ends the process at every step of a run: after each step of each write of the journal, and around all
// that the run does to the world. What systemd would start then, is started; that process is ended at each of its steps
// as well (at some of them, but in the full suites). Whatever happens: the run ends, no host is upgraded twice, the controller is told to reboot at most once,
// the lock is free.
func TestCrashSweep(t *testing.T) {
	for _, how := range []death{killed, powerCut, lostAll} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			first, second, stride := 0, 0, 29
			if os.Getenv("E2E_FULL") == "1" {
				stride = 1
			}
			for at := 1; ; at++ {
				w := newWorld(t, inMemory(t), how)
				w.dieAt = at
				if !w.life(w.run) {
					break // it came to its end before that step
				}
				first++
				w.dieAt = 0
				w.settled()
				for again := 1; ; again += stride {
					w := newWorld(t, inMemory(t), how)
					w.dieAt = at
					w.life(w.run)
					w.dieAt = w.steps + again
					died := w.restart()
					w.dieAt = 0
					w.settled()
					if !died {
						break
					}
					second++
				}
				if t.Failed() {
					t.Fatalf("at step %d", at)
				}
			}
			if first < 30 || second == 0 {
				t.Errorf("%d and %d points: too few to be all of them", first, second)
			}
			t.Logf("crash points, %s: %d/%d, and again in the process after it %d/%d", how, first, first, second, second)
		})
	}
}

// crashed is what a process ends with at its step.
type crashed struct{}

// world is a fleet, the controller's disk, and how often what happened.
type world struct {
	t     *testing.T
	dir   string // of the store
	disk  string // what would be left of it after a power cut
	death death
	steps int
	dieAt int

	boot     int
	rebooted bool              // the controller's reboot is under way
	upgrades map[string]int    // transactions that changed something, by host
	results  map[string]string // by host: the run whose result it has
	requests map[string]int    // reboots of the controller asked for, by run
	ended    []string          // runs that an observer heard the end of
}

// newWorld has its store in dir, which need not exist.
func newWorld(t *testing.T, dir string, how death) *world {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir + "/state", disk: dir + "/durable", death: how, boot: 1,
		upgrades: map[string]int{}, results: map[string]string{}, requests: map[string]int{}}
	w.store()
	if err := os.CopyFS(w.disk, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	return w
}

// step is a moment at which the process may end.
func (w *world) step() {
	w.steps++
	if w.steps == w.dieAt {
		panic(crashed{})
	}
}

func (w *world) store() *Store {
	store, err := Open(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	store.disk.after = func(step, path string) {
		if w.death == lostAll {
			w.remember(step, path)
		}
		w.step()
	}
	return store
}

// remember keeps what is durable now: of a folder that was flushed the names, of a file what was flushed of it.
func (w *world) remember(step, path string) {
	rel, err := filepath.Rel(w.dir, path)
	if err != nil {
		w.t.Fatal(err)
	}
	durable := filepath.Join(w.disk, rel)
	flushed := func(name string) string {
		return filepath.Join(w.dir, "..", "flushed", strings.ReplaceAll(name, "/", "_"))
	}
	switch step {
	case "flushed":
		data, err := os.ReadFile(path)
		os.MkdirAll(filepath.Dir(flushed(rel)), 0o700)
		if err = errors.Join(err, os.WriteFile(flushed(rel), data, 0o600)); err != nil {
			w.t.Fatal(err)
		}
	case "renamed": // not yet durable, but what was flushed goes by the new name now
		os.Rename(flushed(rel+".tmp"), flushed(rel))
	case "synced":
		entries, err := os.ReadDir(path)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range entries {
			name := filepath.Join(durable, e.Name())
			if e.IsDir() {
				os.MkdirAll(name, 0o700)
				continue
			}
			data, _ := os.ReadFile(flushed(filepath.Join(rel, e.Name()))) // never flushed: an empty file
			os.MkdirAll(durable, 0o700)
			if err := os.WriteFile(name, data, 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// life is one process. It reports whether it was ended at its step, and does to the machine what ended it.
func (w *world) life(process func()) (died bool) {
	func() {
		defer func() {
			switch r := recover(); r.(type) {
			case nil:
			case crashed:
				died = true
			default:
				panic(r)
			}
		}()
		process()
	}()
	if died && w.death != killed {
		w.boot++
		w.rebooted = false
	}
	if died && w.death == lostAll {
		if err := errors.Join(os.RemoveAll(w.dir), os.CopyFS(w.dir, os.DirFS(w.disk)), os.Chmod(w.dir, 0o700)); err != nil {
			w.t.Fatal(err)
		}
		filepath.WalkDir(w.dir, func(path string, e os.DirEntry, err error) error {
			if e.IsDir() {
				os.Chmod(path, 0o700)
			}
			return err
		})
	}
	if w.rebooted { // whatever became of the process
		w.boot++
		w.rebooted = false
	}
	return died
}

func (w *world) orchestrator() *Orchestrator {
	return &Orchestrator{
		Boot:   fmt.Sprint("boot ", w.boot),
		Engine: engineFunc(w.engine),
		Returned: engineFunc(func(_ context.Context, wave Wave, emit func(runner.Event)) (runner.Result, error) {
			w.step()
			w.publish(emit, wave.Hosts[0].Name, true)
			return allWell(wave), nil
		}),
		Reboot: func(_ context.Context, r Report) error {
			w.step()
			w.requests[r.ID]++
			w.rebooted = true
			w.step()
			return nil
		},
		Observe: func(_ context.Context, c Change) {
			w.step()
			if c.Wave == nil && c.Host == "" && State(c.To).Final() {
				w.ended = append(w.ended, c.Run)
			}
		},
	}
}

// engine is the playbook with the role: a host that has a result of this very run is not upgraded again, and nothing
// is left to do on one that was upgraded before.
func (w *world) engine(_ context.Context, wave Wave, emit func(runner.Event)) (runner.Result, error) {
	for _, h := range wave.Hosts {
		if report, err := w.store().Latest(); err != nil || report.Waves[wave.Number].byName()[h.Name].Outcome != Undecided {
			w.t.Errorf("%s is run again, and the journal says how it came out (%v)", h.Name, err)
		}
		w.step()
		if w.upgrades[h.Name] == 0 { // its unit comes to its end whatever happens here
			w.upgrades[h.Name]++
		}
		w.step()
		w.publish(emit, h.Name, false)
	}
	w.step()
	return allWell(wave), nil
}

func (w *world) publish(emit func(runner.Event), host string, rebooted bool) {
	p := Patch{Version: PatchVersion, Rebooted: rebooted, RebootDue: host == "controller" && !rebooted && w.boot == 1}
	data, err := json.Marshal(map[string]any{"ansible_facts": map[string]any{"homelab_patch": p}})
	if err != nil {
		w.t.Fatal(err)
	}
	emit(runner.Event{Kind: runner.KindResult, Host: host, Action: "set_fact", Data: data})
}

func (w *world) plan() *Plan {
	plan, err := NewPlan(parse(w.t, homelab), Policy{})
	if err != nil {
		w.t.Fatal(err)
	}
	return plan
}

// run is the weekly run.
func (w *world) run() {
	lock, err := w.store().Lock()
	if err != nil {
		w.t.Fatal(err)
	}
	defer lock.Close()
	run, err := lock.Begin()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.orchestrator().Run(context.Background(), run, w.plan()); err != nil {
		w.t.Errorf("run: %v", err)
	}
}

// restart is what systemd starts after a death: at boot the resume service, else finalize. It reports whether that died.
func (w *world) restart() bool {
	return w.life(func() {
		lock, err := w.store().Lock()
		if err != nil {
			w.t.Fatal(err)
		}
		defer lock.Close()
		report, err := lock.store.Latest()
		if errors.Is(err, os.ErrNotExist) || err == nil && report.State.Final() {
			return
		}
		if err != nil {
			w.t.Fatal(err)
		}
		run, err := lock.Reopen(report.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		o := w.orchestrator()
		sign := time.Now()
		if ok, why := report.MayContinue(sign.Add(time.Minute), sign, o.Boot); !ok {
			if _, err := o.Close(context.Background(), run, why); err != nil {
				w.t.Errorf("close: %v", err)
			}
			return
		}
		synctest.Test(w.t, func(*testing.T) { // a controller that does not reboot is waited for
			defer func() {
				if r := recover(); r != nil {
					err = fmt.Errorf("%v", r)
					if r == (crashed{}) {
						err = errDied
					}
				}
			}()
			_, err = o.Resume(context.Background(), run, w.plan())
		})
		var reboot *RebootError
		switch {
		case errors.Is(err, errDied):
			panic(crashed{})
		case errors.As(err, &reboot) && w.requests[report.ID] == 0 && w.death == killed: // it died right before
		case err != nil:
			w.t.Errorf("resume: %v", err)
		}
	})
}

var errDied = errors.New("died")

// settled starts what is started until a run is at its end, then the run of the next week, and checks what must hold.
func (w *world) settled() {
	w.t.Helper()
	for range 3 {
		w.restart()
	}
	w.life(w.run)
	w.restart() // if that one waits for a reboot
	store := w.store()
	ids, err := store.IDs()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, id := range ids {
		report, err := store.Load(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // died before its first word: nothing was touched
		}
		if err != nil || !report.State.Final() || report.ExitCode == nil {
			w.t.Errorf("run %s is %s (%v)", id, report.State, err)
		}
		for _, wave := range report.Waves {
			for _, h := range wave.Hosts {
				if report.State == Passed && !h.Outcome.Well() {
					w.t.Errorf("run %s passed, and %s is %q", id, h.Name, h.Outcome)
				}
			}
		}
		if n := w.requests[id]; n > 1 {
			w.t.Errorf("run %s asked for %d reboots", id, n)
		}
		if n := len(slices.DeleteFunc(slices.Clone(w.ended), func(e string) bool { return e != id })); n > 1 {
			w.t.Errorf("the end of run %s was told %d times", id, n)
		}
	}
	for host, n := range w.upgrades {
		if n != 1 {
			w.t.Errorf("%s was upgraded %d times", host, n)
		}
	}
	if len(w.upgrades) != 4 {
		w.t.Errorf("upgraded: %v", w.upgrades)
	}
}
