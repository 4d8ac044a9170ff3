package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"

	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/runner"
)

// TestMain lets the test binary be another process of ours: one that holds a lock, dies in a wave, or is traced.
func TestMain(m *testing.M) {
	dir := os.Getenv("ORCHESTRATOR_STATE")
	switch os.Getenv("ORCHESTRATOR_TEST") {
	case "":
		os.Exit(m.Run())
	case "hold-lock":
		childHoldLock(dir)
	case "leave-lock":
		childLeaveLock(dir)
	case "wait":
		io.Copy(io.Discard, os.Stdin)
	case "hang":
		childRun(dir, engineFunc(func(context.Context, Wave, func(runner.Event)) (runner.Result, error) {
			fmt.Println("patching")
			io.Copy(io.Discard, os.Stdin)
			return runner.Result{}, nil
		}))
	case "mark":
		childRun(dir, engineFunc(func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			os.Stat(fmt.Sprintf("/engine-of-wave-%d", w.Number))
			return allWell(w), nil
		}))
	case "open":
		_, err := Open(dir)
		fmt.Println(err)
	default:
		os.Exit(99)
	}
}

// child returns this test binary as a process of the given kind.
func child(t *testing.T, kind, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	// The race detector has every process that ends wait a second for races that are still to come.
	cmd.Env = append(os.Environ(), "ORCHESTRATOR_TEST="+kind, "ORCHESTRATOR_STATE="+dir, "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// childRun runs a plan of two waves.
func childRun(dir string, engine Engine) {
	lock := must(must(Open(dir)).Lock())
	o := &Orchestrator{Engine: engine}
	plan := &Plan{Waves: []Wave{
		{Number: 0, Group: "patching_wave0", Hosts: []Host{{Name: "canary"}}},
		{Number: 1, Group: "patching_wave1", Hosts: []Host{{Name: "web"}}},
	}}
	must(o.Run(context.Background(), must(lock.Begin()), plan))
}

// engineFunc is an engine that is a function.
type engineFunc func(ctx context.Context, w Wave, emit func(runner.Event)) (runner.Result, error)

func (f engineFunc) Run(ctx context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
	return f(ctx, w, emit)
}

// allWell is what the engine returns when nothing had to be done.
func allWell(w Wave) runner.Result { return result(w, nil) }

// result is a complete result in which the hosts have the outcomes given, the others OK.
func result(w Wave, outcomes map[string]runner.Outcome) runner.Result {
	r := runner.Result{Hosts: map[string]runner.HostResult{}, Version: "2.14.18", Complete: true}
	for _, h := range w.Hosts {
		o := runner.OK
		if given, ok := outcomes[h.Name]; ok {
			o = given
		}
		r.Hosts[h.Name] = runner.HostResult{Outcome: o, Reached: true, Stats: runner.Stats{OK: 1}}
	}
	return r
}

// fixture is a run about to begin, and what happened in it.
type fixture struct {
	*Orchestrator
	t       *testing.T
	store   *Store
	lock    *Lock
	run     *Run
	plan    *Plan
	waves   []int // numbers that the engine was called for
	changes []Change
}

// newFixture has three waves: canary; db and web; controller. The engine first checks that the journal on disk says
// that its wave is running.
func newFixture(t *testing.T, engine engineFunc) *fixture {
	t.Helper()
	f := &fixture{t: t, Orchestrator: &Orchestrator{}}
	store, err := Open(t.TempDir() + "/state")
	f.store = store
	f.ok(err)
	f.begin()
	f.plan, err = NewPlan(parse(t, homelab), Policy{})
	f.ok(err)
	f.Engine = engineFunc(func(ctx context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		f.waves = append(f.waves, w.Number)
		onDisk, err := f.store.Load(f.run.ID)
		f.ok(err)
		i := slices.IndexFunc(onDisk.Waves, func(r WaveReport) bool { return r.Number == w.Number })
		if onDisk.State != Running || onDisk.Waves[i].State != Running {
			t.Errorf("engine of wave %d was called while the journal said run %s, wave %s", w.Number, onDisk.State, onDisk.Waves[i].State)
		}
		return engine(ctx, w, emit)
	})
	f.Observe = func(ctx context.Context, c Change) {
		if ctx.Err() != nil {
			t.Errorf("the observer of %v got a context that has ended", c)
		}
		f.changes = append(f.changes, c)
	}
	return f
}

// begin takes the lock and begins a run, after the one before has ended.
func (f *fixture) begin() {
	f.t.Helper()
	if f.lock != nil {
		f.ok(f.lock.Close())
	}
	var err error
	f.lock, err = f.store.Lock()
	f.ok(err)
	f.t.Cleanup(func() { f.lock.Close() })
	f.run, err = f.lock.Begin()
	f.ok(err)
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// do runs the plan, and checks what holds for every run: the journal on disk is the report, and is final.
func (f *fixture) do(ctx context.Context) (Report, error) {
	f.t.Helper()
	report, err := f.Orchestrator.Run(ctx, f.run, f.plan)
	onDisk, loadErr := f.store.Load(f.run.ID)
	f.ok(loadErr)
	if got, want := encode(f.t, onDisk), encode(f.t, report); got != want {
		f.t.Errorf("journal:\n%s\nreport:\n%s", got, want)
	}
	for path, mode := range map[string]os.FileMode{f.run.Dir: 0o700, f.run.Dir + "/journal.json": 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			f.t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode().Perm(), mode, err)
		}
	}
	if !report.State.Final() || report.Ended.IsZero() || report.ExitCode == nil || report.Reason == "" {
		f.t.Errorf("the report is not final: state %s, ended %v, exit code %v, reason %q", report.State, report.Ended, report.ExitCode, report.Reason)
	}
	if code := ExitCode(report, err); code != *report.ExitCode {
		f.t.Errorf("exit code %d, in the report %d", code, *report.ExitCode)
	}
	for _, w := range report.Waves {
		if w.State != Pending && !w.State.Final() {
			f.t.Errorf("wave %d is left %s", w.Number, w.State)
		}
		if n := w.Count(Undecided); n > 0 {
			f.t.Errorf("wave %d: %d hosts without an outcome", w.Number, n)
		}
	}
	return report, err
}

// want compares the end of a run.
func (f *fixture) want(report Report, state State, code int, waves ...int) {
	f.t.Helper()
	if report.State != state || *report.ExitCode != code {
		f.t.Errorf("run ended %s with exit code %d, want %s with %d (%s)", report.State, *report.ExitCode, state, code, report.Reason)
	}
	if !slices.Equal(f.waves, waves) {
		f.t.Errorf("engine was called for waves %v, want %v", f.waves, waves)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func parse(t *testing.T, list string) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Parse([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

const homelab = `{
	"_meta": {"hostvars": {
		"web": {"ansible_host": "192.0.2.7", "patching_optional": true},
		"controller": {"ansible_connection": "local"},
		"printer": {}
	}},
	"patch_controller": {"hosts": ["controller"]},
	"patching_targets": {"children": ["patching_wave0", "patching_wave1", "patching_wave2"]},
	"patching_wave0": {"hosts": ["canary"]},
	"patching_wave1": {"hosts": ["web", "db"]},
	"patching_wave2": {"hosts": ["controller"]}
}`

// asError fails unless err holds a T.
func asError[T error](t *testing.T, err error) T {
	t.Helper()
	var target T
	if !errors.As(err, &target) {
		t.Fatalf("error is %T (%v), want %T", err, err, target)
	}
	return target
}
