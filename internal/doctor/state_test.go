package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

const runID = "20260101T040000Z-1a2b3c"

// put writes a file of a state directory.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestState(t *testing.T) {
	now := time.Unix(1000, 0)
	look := func(dir string) []Check { return State(dir, os.Geteuid(), now) }
	journal := "runs/" + runID + "/journal.json"
	missing := filepath.Join(t.TempDir(), "a", "b")
	wants(t, "before the first run", look(missing))
	if _, err := os.Stat(filepath.Dir(missing)); err == nil {
		t.Error("it was made")
	}
	for _, c := range []struct {
		name, file, text string
		words            []string
	}{
		{"an ended run", journal, `{"version": 1, "id": "` + runID + `", "state": "passed"}`, nil},
		{"a damaged journal", journal, `{"version": 1`, []string{"warning", "is damaged", "fix: mv "}},
		{"a journal of tomorrow", journal, `{"version": 2}`, []string{"error", "version 2"}},
		{"a run that never ended", journal, `{"version": 1, "id": "` + runID + `", "state": "running"}`, []string{"warning run " + runID + " is running, and nobody is at it", "homelab-patch-orchestrate resume"}},
		{"a run that waits", journal, `{"version": 1, "id": "` + runID + `", "state": "awaiting-reboot"}`, []string{"warning run " + runID + " waits for a restart", "systemctl start " + resume}},
		{"a lease", "lease.json", `{"version": 1, "run": "` + runID + `", "expires": 1001}`, []string{"warning run " + runID + " left its lease", "fix: rm "}},
		{"a lease that has ended", "lease.json", `{"version": 1, "run": "` + runID + `", "expires": 1000}`, nil},
		{"a lease that nobody understands", "lease.json", `{`, []string{"warning read the lease"}},
	} {
		dir := t.TempDir()
		os.Chmod(dir, 0o700)
		put(t, dir, "runs/"+runID+"/events.jsonl", "")
		put(t, dir, c.file, c.text)
		wants(t, c.name, look(dir), c.words...)
	}

	dir := t.TempDir()
	os.Chmod(dir, 0o770)
	wants(t, "others may write", look(dir), "error others may write", "fix: chmod 0700 "+dir)
	os.Chmod(dir, 0o700)
	wants(t, "another user's", State(dir, os.Geteuid()+1, now), "error "+dir+" belongs to user", "fix: chown -R ", ": "+dir)

	store, err := orchestrator.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "nobody at it", look(dir))
	lock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "a run is under way", look(dir), "warning another run is under way", fmt.Sprint(os.Getpid()))
	lock.Close()
	wants(t, "it has ended", look(dir))
}
