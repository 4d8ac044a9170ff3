package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

// shelf is a state directory with runs as their journals have them; one without text has a folder only.
func shelf(t *testing.T, journals map[string]string) *orchestrator.Store {
	t.Helper()
	store, err := orchestrator.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range journals {
		dir := runDir(store, id)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "journal.json"), []byte(strings.ReplaceAll(text, "ID", id)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

const passed = `{"version": 1, "id": "ID", "state": "passed", "kind": "full", "waves": []}`

func TestFindRun(t *testing.T) {
	t.Parallel()
	store := shelf(t, map[string]string{
		"20261101T040000Z-aaaaaa": passed,
		"20261108T040000Z-bbbbbb": passed,
		"20261108T160000Z-cccccc": strings.Replace(passed, "full", "check", 1),
		"20261115T040000Z-dddddd": "{",
		"20261122T040000Z-eeeeee": "",
	})
	for name, id := range map[string]string{
		"20261101T040000Z-aaaaaa": "20261101T040000Z-aaaaaa",
		"20261101":                "20261101T040000Z-aaaaaa",
		"20261108T16":             "20261108T160000Z-cccccc",
	} {
		report, dir, err := findRun(store, name)
		if err != nil || report.ID != id || dir != runDir(store, id) {
			t.Errorf("%s is %s in %s, %v", name, report.ID, dir, err)
		}
	}
	for name, want := range map[string]string{
		"20261108":            "beginning of 2 runs: 20261108T040000Z-bbbbbb, 20261108T160000Z-cccccc",
		"2026":                "beginning of 5 runs: 20261101T040000Z-aaaaaa, 20261108T040000Z-bbbbbb, 20261108T160000Z-cccccc, …",
		"":                    "there is no run",
		"2025":                "the latest are 20261122T040000Z-eeeeee, 20261115T040000Z-dddddd",
		"../runs/20261101T04": "there is no run",
		"20261122":            "run 20261122T040000Z-eeeeee left no journal",
	} {
		if _, _, err := findRun(store, name); err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != orchestrator.ExitUsage {
			t.Errorf("%q: %v, exit code %d", name, err, exitCode(err))
		}
	}
	for _, name := range []string{"20261115", latest} { // the latest that has a journal
		_, _, err := findRun(store, name)
		if damaged := (*orchestrator.JournalError)(nil); !errors.As(err, &damaged) || exitCode(err) != orchestrator.ExitFailed {
			t.Errorf("%s: %v, exit code %d", name, err, exitCode(err))
		}
	}
	if report, _, err := findRun(shelf(t, map[string]string{"20261122T040000Z-eeeeee": "", "20261101T040000Z-aaaaaa": passed}), latest); err != nil || report.ID != "20261101T040000Z-aaaaaa" {
		t.Errorf("latest is %q, %v", report.ID, err)
	}
	if _, _, err := findRun(shelf(t, nil), latest); err == nil || exitCode(err) != orchestrator.ExitUsage {
		t.Errorf("of none: %v", err)
	}
}
