package orchestrator

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Keep says how many runs stay in the store.
type Keep struct {
	// Runs is how many of the latest stay; 0 is any number.
	Runs int
	// Age is how long ago a run that stays began at most; 0 is however long.
	Age time.Duration
}

// Tidy removes the folders of runs that are beyond what is kept, oldest first, and returns their ids. These stay whatever
// their number and age: the latest run and the latest that was no dry run, the latest full one and the latest that
// passed without a loss, a retry that ended so since, what these retry, the five by which [Store.Durations] goes, one that
// has not ended, one whose journal cannot be read, and one that is pinned.
//
// It goes on after what it cannot remove, and says so at the end.
func (l *Lock) Tidy(k Keep, now time.Time, pinned func(id string) bool) (removed []string, err error) {
	ids, err := l.store.IDs()
	if err != nil {
		return nil, err
	}
	var beyond []string
	for i, id := range ids {
		begun, _ := time.Parse(idTime, id[:len(idTime)]) // else it is as old as can be
		if k.Runs > 0 && len(ids)-i > k.Runs || k.Age > 0 && now.Sub(begun) > k.Age {
			beyond = append(beyond, id)
		}
	}
	if len(beyond) == 0 {
		return nil, nil
	}
	needed := l.store.needed()
	var errs []error
	for _, id := range beyond {
		if id == ids[len(ids)-1] || needed[id] || pinned(id) {
			continue
		}
		report, err := l.store.Load(id)
		if err != nil && !errors.Is(err, os.ErrNotExist) || err == nil && !report.State.Final() {
			continue
		}
		if err := os.RemoveAll(l.store.runDir(id)); err != nil {
			errs = append(errs, fmt.Errorf("remove run %s: %w", id, err))
			continue
		}
		removed = append(removed, id)
	}
	return removed, errors.Join(errs...)
}

// needed returns the runs that others are judged by.
func (s *Store) needed() map[string]bool {
	needed := map[string]bool{}
	var latest, patching, full, retry, success bool
	passed := 0
	for report, err := range s.newest() {
		if err != nil {
			continue
		}
		well := report.ExitCode != nil && *report.ExitCode == ExitDone
		first := func(found *bool, is bool) bool {
			was := *found
			*found = was || is
			return is && !was
		}
		keep := first(&latest, true)
		keep = first(&patching, report.Kind != Check) || keep
		keep = first(&full, report.Kind == Full) || keep
		keep = first(&retry, report.Kind == Retry && well) || keep
		keep = first(&success, report.Kind == Full && well) || keep
		if report.Kind == Full && report.State == Passed {
			passed++
			keep = keep || passed <= lookBack
		}
		if keep || needed[report.ID] {
			needed[report.ID] = true
			needed[report.Of] = true // older: it comes later
		}
		if success && passed >= lookBack && !slices.Contains([]bool{latest, patching, full}, false) {
			break
		}
	}
	return needed
}
