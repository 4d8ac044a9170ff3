package orchestrator

import (
	"maps"
	"os"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	store, err := Open(t.TempDir() + "/state")
	if err != nil {
		t.Fatal(err)
	}
	day := 0
	save := func(kind Kind, state State, minutes ...int) *Run {
		t.Helper()
		day++
		at := time.Date(2026, 11, day, 4, 0, 0, 0, time.UTC)
		run := &Run{ID: at.Format(idTime) + "-00000a", store: store}
		run.Dir = store.runDir(run.ID)
		r := Report{Version: Version, ID: run.ID, Kind: kind, State: state}
		for i, m := range minutes {
			w := WaveReport{Number: i, Group: []string{"patching_wave0", "patching_wave1"}[i], State: state, Started: at}
			if m > 0 {
				w.Ended = at.Add(time.Duration(m) * time.Minute)
			}
			r.Waves = append(r.Waves, w)
		}
		if err := run.save(r); err != nil {
			t.Fatal(err)
		}
		return run
	}
	want := func(name string, minutes ...int) {
		t.Helper()
		all := Durations{}
		for i, m := range minutes {
			all[[]string{"patching_wave0", "patching_wave1"}[i]] = time.Duration(m) * time.Minute
		}
		if got, err := store.Durations(); err != nil || !maps.Equal(got, all) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, all)
		}
	}
	want("no run")
	save(Full, Passed, 90, 9)
	want("one", 90, 9)
	save(Narrowed, Passed, 500, 500)
	save(Check, Passed, 500, 500)
	save(Full, Halted, 500, 500)
	save(Full, Interrupted, 500, 0)
	save(Full, Running, 500, 0)
	want("others do not count", 90, 9)
	save(Full, Passed, 5, 72)
	for range 3 {
		save(Full, Passed, 4, 3)
	}
	want("the longest of five", 90, 72)
	damaged := save(Full, Passed, 500, 500)
	put(t, damaged.Dir, journalFile, "{")
	if err := os.Mkdir(store.runDir("20261130T040000Z-00000b"), 0o700); err != nil {
		t.Fatal(err)
	}
	want("what cannot be read does not count", 90, 72)
	save(Full, Passed, 6, 7)
	want("the first is forgotten", 6, 72)
}
