package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/runner"
)

// says emits the word of a host.
func says(t *testing.T, emit func(runner.Event), host string, p Patch) {
	t.Helper()
	p.Version = PatchVersion
	data, err := json.Marshal(map[string]any{"ansible_facts": map[string]any{"homelab_patch": p}})
	if err != nil {
		t.Fatal(err)
	}
	emit(runner.Event{Kind: runner.KindResult, Host: host, Action: "set_fact", Data: data})
}

// debian is the plan of a host that would get one package.
func debian(to string, archives map[string]string) Patch {
	return Patch{Check: true, Suite: "bookworm", Architecture: "amd64", Archives: archives,
		Packages: []Package{{Name: "openssl", From: "1", To: to, Origin: "Debian:12/oldstable"}}}
}

// prepared is a fixture whose hosts say these plans, the others none.
func prepared(t *testing.T, plans map[string]Patch) (f *fixture, asked *[]string, got map[string]map[string]any) {
	got = map[string]map[string]any{}
	f = newFixture(t, func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
		if w.Versions != nil {
			maps.Copy(got, toMaps(w.Versions.Vars(w.Names(), "now")))
		}
		return allWell(w), nil
	})
	asked = &[]string{}
	f.Prepare = engineFunc(func(_ context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		r, err := f.store.Load(f.run.ID)
		f.ok(err)
		if r.Versions == nil || !r.Versions.Made.IsZero() || r.Waves[0].State != Pending {
			t.Errorf("while hosts are prepared the journal says %+v, wave 0 %s", r.Versions, r.Waves[0].State)
		}
		*asked = append(*asked, w.Names()...)
		outcomes := map[string]runner.Outcome{}
		for _, h := range w.Hosts {
			p, ok := plans[h.Name]
			if !ok {
				outcomes[h.Name] = runner.Unreachable
				continue
			}
			if says(t, emit, h.Name, p); p.Failure != nil {
				outcomes[h.Name] = runner.Failed
			}
		}
		return result(w, outcomes), nil
	})
	return f, asked, got
}

func toMaps(all map[string]any) map[string]map[string]any {
	m := map[string]map[string]any{}
	for k, v := range all {
		m[k] = v.(map[string]any)
	}
	return m
}

func TestPrepare(t *testing.T) {
	f, asked, got := prepared(t, map[string]Patch{
		"canary": debian("2", map[string]string{"Debian 12": "ab", "{{ evil }}": "ab", "Evil": "{{ evil }}"}), "db": debian("2", nil),
		"controller": {Failure: &Failure{Phase: "lists", Reason: "no mirror"}},
	})
	report, err := f.do(t.Context())
	f.ok(err)
	f.want(report, Passed, ExitDone, 0, 1, 2)
	if !slices.Equal(*asked, []string{"canary", "db", "web", "controller"}) {
		t.Errorf("prepared %v", *asked)
	}
	for _, name := range []string{"canary", "db"} {
		if p := got[name]["packages"].(map[string]string); p["openssl"] != "2" || got[name]["others"] != nil {
			t.Errorf("%s gets %v", name, got[name])
		}
	}
	for name, why := range map[string]string{"web": "unreachable", "controller": "no mirror"} { // in their own wave, what others get
		o, _ := got[name]["others"].(map[string]map[string]string)
		if a, _ := got[name]["archives"].(map[string]map[string]string); !maps.Equal(a["bookworm amd64"], map[string]string{"Debian 12": "ab"}) {
			t.Errorf("%s compares its archives with %v", name, a)
		}
		if got[name]["packages"] != nil || o["bookworm amd64"]["openssl"] != "2" || report.Versions.Unprepared[name] != why {
			t.Errorf("%s gets %v; %q", name, got[name], report.Versions.Unprepared[name])
		}
	}
	v, err := f.store.Versions(f.run.ID)
	f.ok(err)
	if v.ID != f.run.ID || report.Versions.Plan != v.ID || v.Made.IsZero() || len(v.Hosts) != 4 {
		t.Errorf("on disk: %+v", v)
	}
	if info, err := os.Stat(filepath.Join(f.run.Dir, versionsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A mirror that moved while hosts were prepared: the later host takes what the first one gets. With the same archives they
// differ because somebody wants it so.
func TestPrepareFromTwoMoments(t *testing.T) {
	for hash, want := range map[string]bool{"b": false, "a": true} {
		f, _, got := prepared(t, map[string]Patch{
			"canary": debian("2", map[string]string{"Debian": "a"}), "db": debian("3", map[string]string{"Debian": hash}),
			"web": debian("2", map[string]string{"Debian": "a"}), "controller": debian("2", map[string]string{"Debian": "a"}),
		})
		report, err := f.do(t.Context())
		f.ok(err)
		if own := got["db"]["packages"] != nil; own != want || (report.Versions.Unprepared["db"] == "") != want {
			t.Errorf("archives a and %s: db gets %v; %v", hash, got["db"], report.Versions.Unprepared)
		}
	}
}

// A host that cannot get what was planned halts the run, whatever the budget: before the first wave, or in its own.
func TestDrift(t *testing.T) {
	drift := Patch{Failure: &Failure{Phase: driftPhase, Reason: "plan drift: openssl 2 is planned and cannot be had"}}
	f, _, _ := prepared(t, map[string]Patch{"canary": debian("2", nil), "db": drift})
	f.Versions = &Versions{ID: f.run.ID, Made: time.Now(), Hosts: []HostVersions{{Name: "db", Packages: []Package{}}}}
	report, err := f.do(t.Context())
	if f.want(report, Halted, ExitHalted); !strings.Contains(report.Reason, "plan drift") || !strings.Contains(report.Reason, "nothing was patched") {
		t.Errorf("%v", err)
	}

	f = newFixture(t, func(_ context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		if w.Number == 1 {
			says(t, emit, "db", drift)
			return result(w, map[string]runner.Outcome{"db": runner.Failed}), nil
		}
		return allWell(w), nil
	})
	f.Policy.Budget = 9
	report, _ = f.do(t.Context())
	if f.want(report, Halted, ExitHalted, 0, 1); !strings.Contains(report.Reason, "halted in wave 1: db: plan drift") {
		t.Errorf("%s", report.Reason)
	}
}

// Versions that are given are what a host gets, whatever it would plan now, and are from where they are from.
func TestGivenVersions(t *testing.T) {
	given := &Versions{ID: "20261122T040000Z-1a2b3c", Made: time.Now(), Hosts: []HostVersions{{Name: "canary", Packages: []Package{{Name: "bash", From: "1", To: "5"}}}}}
	for _, prepare := range []bool{true, false} {
		f, asked, got := prepared(t, map[string]Patch{"canary": debian("2", nil)})
		f.Versions, f.From = given, "run x"
		if !prepare {
			f.Prepare = nil
		}
		report, err := f.do(t.Context())
		f.ok(err)
		p, _ := got["canary"]["packages"].(map[string]string)
		if !maps.Equal(p, map[string]string{"bash": "5"}) || got["canary"]["id"] != given.ID || report.Versions.From != "run x" || (len(*asked) > 0) != prepare {
			t.Errorf("prepare %v: %v, %+v, asked %v", prepare, got["canary"], report.Versions, *asked)
		}
	}
}

// A run that died while it prepared prepares again; one that died later goes on with the versions it began with, and with
// none where they are lost.
func TestResumeWithVersions(t *testing.T) {
	for name, c := range map[string]struct {
		state   State // of wave 0
		made    bool
		damaged bool
		asked   int
		code    int
	}{
		"while it prepared": {Pending, false, false, 4, ExitDone},
		"when it had":       {Pending, true, false, 0, ExitDone},
		"in wave 0":         {Running, true, false, 0, ExitDone},
		"and lost them":     {Running, true, true, 0, ExitHalted},
	} {
		t.Run(name, func(t *testing.T) {
			f, asked, got := prepared(t, map[string]Patch{"canary": debian("2", nil), "db": debian("2", nil), "web": debian("2", nil), "controller": debian("2", nil)})
			s := f.Orchestrator.session(f.run, f.plan)
			s.report.State, s.report.Waves[0].State = Running, c.state
			v := &Versions{ID: f.run.ID}
			s.report.Versions = &VersionsReport{Plan: v.ID}
			if c.made {
				v.Made, s.report.Versions.Made = time.Now(), time.Now()
				for _, h := range []string{"canary", "db", "web", "controller"} {
					v.Hosts = append(v.Hosts, HostVersions{Name: h, Packages: debian("1.5", nil).Packages})
				}
			}
			f.ok(f.run.saveVersions(v))
			f.ok(f.run.save(s.report))
			if c.damaged {
				f.ok(os.WriteFile(filepath.Join(f.run.Dir, versionsFile), []byte(`{"version":1,"plan":{}}`), 0o600))
			}
			report, err := f.Orchestrator.Resume(t.Context(), f.run, f.plan)
			if len(*asked) != c.asked || ExitCode(report, err) != c.code {
				t.Fatalf("asked %v, exit code %d: %v", *asked, ExitCode(report, err), err)
			}
			want := "2"
			if c.made {
				want = "1.5"
			}
			if c.damaged {
				if len(f.waves) > 0 || !strings.Contains(report.Reason, "plan drift") {
					t.Errorf("waves %v: %s", f.waves, report.Reason)
				}
			} else if p, _ := got["controller"]["packages"].(map[string]string); p["openssl"] != want {
				t.Errorf("the controller gets %v", got["controller"])
			}
		})
	}
}

// The plan of the controller says what its upgrade changes: it is not asked again.
func TestPreflightByTheVersions(t *testing.T) {
	python := Patch{Packages: []Package{{Name: "python3", From: "3.11.2-1", To: "3.13.0-1"}}}
	f, _, _ := prepared(t, map[string]Patch{"canary": debian("2", nil), "db": debian("2", nil), "web": debian("2", nil), "controller": python})
	f.Preflight = engineFunc(func(context.Context, Wave, func(runner.Event)) (runner.Result, error) {
		t.Error("the controller was asked")
		return runner.Result{}, errSick
	})
	report, _ := f.do(t.Context())
	if f.want(report, Halted, ExitHalted, 0, 1); !strings.Contains(report.Reason, "python3 3.11.2-1 -> 3.13.0-1") {
		t.Errorf("%s", report.Reason)
	}
}

// An engine that breaks while hosts are prepared has touched none; a stop is an interrupt.
func TestPrepareFails(t *testing.T) {
	f, _, _ := prepared(t, nil)
	f.Prepare = engineFunc(func(context.Context, Wave, func(runner.Event)) (runner.Result, error) {
		return runner.Result{}, &runner.EngineError{Problem: "broken"}
	})
	report, _ := f.do(t.Context())
	f.want(report, Failed, ExitFailed)

	f, _, _ = prepared(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	f.Prepare = engineFunc(func(ctx context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
		cancel()
		return runner.Result{}, ctx.Err()
	})
	report, err := f.do(ctx)
	var stop *InterruptError
	if f.want(report, Interrupted, ExitInterrupted); !errors.As(err, &stop) {
		t.Errorf("%v", err)
	}
}

// A host that is held is not even prepared.
func TestHeldIsNotPrepared(t *testing.T) {
	f, asked, _ := prepared(t, map[string]Patch{"canary": debian("2", nil), "web": debian("2", nil), "controller": debian("2", nil)})
	f.HostHold = func(host string) (bool, string, error) { return host == "db", "racks", nil }
	report, err := f.do(t.Context())
	f.ok(err)
	if slices.Contains(*asked, "db") || report.Versions.Unprepared["db"] != "held: racks" {
		t.Errorf("asked %v, %v", *asked, report.Versions.Unprepared)
	}
}
