package orchestrator

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestKilledRun kills a process in its first wave. The next run closes its journal and goes on.
func TestKilledRun(t *testing.T) {
	dir := t.TempDir() + "/state"
	cmd := child(t, "hang", dir)
	if line, _ := start(t, cmd); line != "patching" {
		t.Fatalf("child said %q", line)
	}
	store, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Lock(); !errors.Is(err, ErrLocked) {
		t.Fatalf("while it runs: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	dead, err := store.Latest()
	if err != nil || dead.State != Running || dead.Waves[0].State != Running || dead.ExitCode != nil {
		t.Fatalf("what it left: %s, %v", encode(t, dead), err)
	}

	f := newFixture(t, fine)
	f.store = store
	f.begin()
	report, err := f.do(t.Context())
	f.ok(err)
	f.want(report, Passed, ExitDone, 0, 1, 2)
	if want := "run " + dead.ID + " had died while it was running; it is now closed as interrupted"; len(report.Notes) != 1 || report.Notes[0] != want {
		t.Errorf("notes %q, want %q", report.Notes, want)
	}
	closed, err := store.Load(dead.ID)
	f.ok(err)
	if closed.State != Interrupted || *closed.ExitCode != ExitInterrupted || closed.Ended.IsZero() || !strings.Contains(closed.Reason, "closed by run "+f.run.ID) {
		t.Errorf("closed as %s", encode(t, closed))
	}
	if a, b := closed.Waves[0], closed.Waves[1]; a.State != Interrupted || a.Hosts[0].Outcome != HostInterrupted || b.State != Pending || b.Hosts[0].Outcome != HostNotAttempted {
		t.Errorf("its waves %s", encode(t, closed.Waves))
	}
	if c := f.changes[:2]; c[0].Run != dead.ID || c[0].To != "interrupted" || *c[0].Wave != 0 || c[1].Run != dead.ID || c[1].Wave != nil {
		t.Errorf("observed %+v", c)
	}
}

// TestLeftovers closes what may be left in each state, once.
func TestLeftovers(t *testing.T) {
	for _, state := range states {
		t.Run(string(state), func(t *testing.T) {
			f := newFixture(t, fine)
			old := leave(t, f, state)
			f.begin()
			report, err := f.do(t.Context())
			f.ok(err)
			now, err := f.store.Load(old.ID)
			f.ok(err)
			if state.Final() {
				if encode(t, now) != encode(t, old) || len(report.Notes) > 0 {
					t.Errorf("a finished run was changed: %s", encode(t, now))
				}
				return
			}
			if now.State != Interrupted || len(report.Notes) != 1 {
				t.Errorf("now %s, notes %q", now.State, report.Notes)
			}
			if now.Waves[0].Hosts[0].Outcome != Patched {
				t.Errorf("a known outcome was overwritten: %s", encode(t, now.Waves[0]))
			}
		})
	}
}

// leave writes the journal of an earlier run in a state, its first host patched.
func leave(t *testing.T, f *fixture, state State) Report {
	t.Helper()
	old := Report{
		Version: Version, ID: f.run.ID, State: state, Started: time.Unix(1e9, 0).UTC(),
		Waves: []WaveReport{{Number: 0, State: state, Hosts: []HostReport{{Name: "canary", Outcome: Patched}}}},
	}
	data, err := json.Marshal(old)
	f.ok(err)
	plant(t, f.store, old.ID, string(data))
	return old
}

// A run refused by a hold leaves the leftover for the next; one that fails before its first wave does not hide it.
func TestLeftoverAndFail(t *testing.T) {
	f := newFixture(t, fine)
	old := leave(t, f, Soaking)
	f.begin()
	_, err := f.Fail(t.Context(), f.run, errSick)
	if !errors.Is(err, errSick) {
		t.Error(err)
	}
	now, err := f.store.Load(old.ID)
	f.ok(err)
	if now.State != Interrupted {
		t.Errorf("the leftover is still %s", now.State)
	}
}

// A damaged journal is reported, left as it is, and keeps nobody from being patched.
func TestLeftoverDamaged(t *testing.T) {
	f := newFixture(t, fine)
	path := plant(t, f.store, f.run.ID, `{"version":1,"sta`)
	f.begin()
	report, err := f.do(t.Context())
	f.ok(err)
	f.want(report, Passed, ExitDone, 0, 1, 2)
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], path+" is damaged") {
		t.Errorf("notes %q", report.Notes)
	}
	if data, _ := os.ReadFile(path); string(data) != `{"version":1,"sta` {
		t.Errorf("the damaged journal is now %q", data)
	}
}

// A journal of a newer program is refused, every time, and nothing is touched.
func TestLeftoverNewer(t *testing.T) {
	f := newFixture(t, fine)
	path := plant(t, f.store, f.run.ID, `{"version":9}`)
	for range 2 {
		f.begin()
		report, err := f.Orchestrator.Run(t.Context(), f.run, f.plan)
		if e := asError[*JournalError](t, err); e.Path != path || e.Version != 9 || ExitCode(report, err) != ExitFailed {
			t.Errorf("error %v, exit code %d", err, ExitCode(report, err))
		}
		if _, err := f.Fail(t.Context(), f.run, errSick); !errors.Is(err, errSick) {
			t.Errorf("error %v", err)
		}
	}
	if ids, _ := f.store.IDs(); len(ids) != 1 || f.waves != nil {
		t.Errorf("runs %v, waves %v", ids, f.waves)
	}
}

// A leftover that cannot be closed stops the run before anything is touched.
func TestLeftoverUnwritable(t *testing.T) {
	f := newFixture(t, fine)
	old := leave(t, f, Running)
	f.ok(os.Mkdir(f.store.runDir(old.ID)+"/journal.json.tmp", 0o700))
	f.begin()
	report, err := f.Orchestrator.Run(t.Context(), f.run, f.plan)
	if err == nil || !strings.Contains(err.Error(), "close run "+old.ID) || ExitCode(report, err) != ExitFailed || f.waves != nil {
		t.Errorf("error %v, waves %v", err, f.waves)
	}
}

// A run that died between making its folder and its first entry is no run.
func TestFolderWithoutJournal(t *testing.T) {
	f := newFixture(t, fine)
	old := leave(t, f, Passed)
	f.begin()
	f.ok(os.Mkdir(f.run.Dir, 0o700))
	latest, err := f.store.Latest()
	f.ok(err)
	if latest.ID != old.ID {
		t.Errorf("latest is %s, want %s", latest.ID, old.ID)
	}
}
