package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"homelab-patch-orchestrate/orchestrator"
)

// latest is the name of the run that began last.
const latest = "latest"

// findRun returns the report of a run that a person named, and its folder: by its id, by the beginning of its id if no
// other begins so, or as latest. A name that is not of one run is the person's mistake, and the error says what to name
// instead; a journal that cannot be read is a failure.
func findRun(store *orchestrator.Store, name string) (report orchestrator.Report, dir string, err error) {
	missing := "there is no run in " + store.Dir()
	if name == latest {
		report, err = store.Latest()
	} else {
		var id string
		if id, err = wholeID(store, name); err != nil {
			return orchestrator.Report{}, "", err
		}
		missing = fmt.Sprintf("run %s left no journal: it ended before it touched anything", id)
		report, err = store.Load(id)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return orchestrator.Report{}, "", errors.New(missing)
	case err != nil:
		return orchestrator.Report{}, "", failed(err)
	}
	return report, runDir(store, report.ID), nil
}

// wholeID completes the beginning of a run's id.
func wholeID(store *orchestrator.Store, name string) (string, error) {
	ids, err := store.IDs()
	if err != nil {
		return "", failed(err)
	}
	if slices.Contains(ids, name) {
		return name, nil
	}
	match := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return name == "" || !strings.HasPrefix(id, name) })
	switch {
	case len(match) == 1:
		return match[0], nil
	case len(match) > 1:
		return "", fmt.Errorf("%s is the beginning of %d runs: %s; give more of it", name, len(match), few(match))
	case len(ids) == 0:
		return "", fmt.Errorf("there is no run %s in %s", name, store.Dir())
	}
	slices.Reverse(ids)
	return "", fmt.Errorf("there is no run %s in %s; the latest are %s", name, store.Dir(), few(ids))
}

// few names some of many.
func few(ids []string) string {
	if len(ids) > 3 {
		return strings.Join(ids[:3], ", ") + ", …"
	}
	return strings.Join(ids, ", ")
}

func runDir(store *orchestrator.Store, id string) string {
	return filepath.Join(store.Dir(), "runs", id)
}
