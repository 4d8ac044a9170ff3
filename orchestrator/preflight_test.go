package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/runner"
)

func TestForesee(t *testing.T) {
	for _, c := range []struct{ name, from, to, broken string }{
		{"python3", "3.11.2-1+b1", "3.11.2-2", ""},
		{"python3", "3.11.2-1+b1", "3.13.5-1", "python3 3.11.2-1+b1 -> 3.13.5-1"},
		{"ansible-core", "2.14.18-0+deb12u2", "2.14.19-0", ""},
		{"ansible-core", "2.14.18-0+deb12u2", "2.19.0-1", "ansible-core 2.14.18-0+deb12u2 -> 2.19.0-1"},
		{"ansible-core", "1:2.14.18-1", "2:2.14.18-1", ""},
		{"ansible-core", "2.14.18-1", "", "ansible-core 2.14.18-1 -> "}, // removed
		{"python3-yaml", "6.0-3", "7.1-1", ""},
		{"python3", "", "3.13.5-1", ""}, // it runs without
	} {
		if _, got := Foresee([]Package{{Name: "vim", From: "1", To: "2"}, {Name: c.name, From: c.from, To: c.to}}); got != c.broken {
			t.Errorf("%s %s -> %s: %q", c.name, c.from, c.to, got)
		}
	}
	notes, _ := Foresee([]Package{{Name: "systemd", From: "252.1", To: "252.2"}, {Name: "vim", From: "1", To: "2"}})
	if len(notes) != 1 || !strings.Contains(notes[0], "systemd 252.1 -> 252.2") || strings.Contains(notes[0], "vim") {
		t.Errorf("%q", notes)
	}
}

// The controller is looked at before its wave, and only then.
func TestPreflight(t *testing.T) {
	for _, c := range []struct {
		name  string
		to    string
		allow bool
		fails error
		state State
	}{
		{name: "another patch release", to: "3.11.3-1", state: Passed},
		{name: "another Python", to: "3.13.0-1", state: Halted},
		{name: "another Python, allowed", to: "3.13.0-1", allow: true, state: Passed},
		{name: "not known", fails: errSick, state: Halted},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, fine)
			f.Policy.EngineUpgrade = c.allow
			asked := 0
			f.Preflight = engineFunc(func(_ context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
				asked++
				if !slices.Equal(w.Names(), []string{"controller"}) || !slices.Equal(f.waves, []int{0, 1}) {
					t.Errorf("asked about %v after waves %v", w.Names(), f.waves)
				}
				p := Patch{Version: PatchVersion, Packages: []Package{{Name: "python3", From: "3.11.2-1", To: c.to}}}
				data, err := json.Marshal(map[string]any{"ansible_facts": map[string]any{"homelab_patch": p}})
				f.ok(err)
				emit(runner.Event{Kind: runner.KindResult, Host: "controller", Action: "set_fact", Data: data})
				return allWell(w), c.fails
			})
			report, err := f.do(t.Context())
			var halt *HaltError
			if asked != 1 || report.State != c.state || errors.As(err, &halt) != (c.state == Halted) {
				t.Errorf("asked %d times, ended %s: %v", asked, report.State, err)
			}
			if c.fails == nil && (len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "python3 3.11.2-1 -> "+c.to)) {
				t.Errorf("notes %q", report.Notes)
			}
		})
	}
}

// A run of the controller alone, such as the retry of a run that lost it: what is asked before its wave finds the folder
// of the run. Regression: it was not there, and each such run was halted.
func TestPreflightOfTheControllerAlone(t *testing.T) {
	f := newFixture(t, fine)
	var err error
	f.plan, err = NewPlan(parse(t, homelab), Policy{Limit: []string{"controller"}})
	f.ok(err)
	f.Preflight = engineFunc(func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
		onDisk, err := f.store.Load(f.run.ID)
		if err != nil || onDisk.State != Running || onDisk.Waves[0].State != Pending {
			t.Errorf("the journal: %v, run %s", err, onDisk.State)
		}
		return allWell(w), nil
	})
	if report, err := f.do(t.Context()); err != nil || report.State != Passed {
		t.Errorf("ended %s: %v", report.State, err)
	}
}
