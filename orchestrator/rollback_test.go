package orchestrator

import (
	"strings"
	"testing"
	"time"
)

// A rollback speaks for no fleet: a retry after it makes the full run a success only where it has patched the host that
// was rolled back; and neither retry nor resume takes it for a run that patches.
func TestRollbackIsNoPatching(t *testing.T) {
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	hour := 0
	save := func(kind Kind, of string, hosts ...HostReport) Report {
		hour++
		run := &Run{ID: time.Date(2026, 11, 22, hour, 0, 0, 0, time.UTC).Format(idTime) + "-00000a", store: store}
		run.Dir = store.runDir(run.ID)
		code := ExitDone
		r := Report{Version: Version, ID: run.ID, Kind: kind, Of: of, State: Passed, ExitCode: &code, Waves: []WaveReport{{State: Passed, Hosts: hosts}}}
		if err := run.save(r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, two := HostReport{Name: "one", Outcome: Patched}, HostReport{Name: "two", Outcome: Patched}
	broken := two
	broken.Outcome = HostFailed

	full := save(Full, "", one, broken)
	back := save(Rollback, full.ID, one)
	if latest, err := store.LatestPatching(); err != nil || latest.ID != full.ID {
		t.Errorf("the latest that patched is %s, %v", latest.ID, err)
	}
	retry := save(Retry, full.ID, two)
	if _, complete, err := store.Whole(retry); err != nil || complete {
		t.Errorf("complete is %t, %v, and one was rolled back", complete, err)
	}
	again := save(Retry, retry.ID, one)
	if _, complete, err := store.Whole(again); err != nil || !complete {
		t.Errorf("complete is %t, %v, and one was patched again", complete, err)
	}
	if _, complete, err := store.Whole(save(Full, "", one, two)); err != nil || !complete {
		t.Errorf("a new full run is complete: %t, %v", complete, err)
	}
	back.State = Running
	if may, why := back.MayContinue(time.Now(), time.Now(), "another boot"); may || !strings.Contains(why, "roll back again") {
		t.Errorf("it may continue: %t, %s", may, why)
	}
}
