package orchestrator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who only looks makes nothing, mends nothing, and takes no lock.
func TestLook(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	uid := os.Geteuid()
	if _, err := Look(dir, uid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none is there: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	store, err := Look(dir, uid)
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := store.IDs(); ids != nil || err != nil {
		t.Errorf("runs: %v, %v", ids, err)
	}
	if l, err := store.Lease(); l != nil || err != nil {
		t.Errorf("a lease: %v, %v", l, err)
	}
	if h, err := store.Holder(); h != nil || err != nil {
		t.Errorf("a holder: %v, %v", h, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it made %v", left)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o755 {
		t.Errorf("it changed the mode to %v", info.Mode())
	}
	if _, err := Look(dir, uid+1); err == nil || !strings.Contains(err.Error(), "belongs to user") {
		t.Errorf("another user's: %v", err)
	}
	os.Chmod(dir, 0o777)
	if _, err := Look(dir, uid); err == nil || !strings.Contains(err.Error(), "others may write") {
		t.Errorf("others may write: %v", err)
	}
	os.Chmod(dir, 0o700)
	if err := os.Mkdir(filepath.Join(dir, "runs"), 0o770); err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Join(dir, "runs"), 0o770)
	if _, err := Look(dir, uid); err == nil || !strings.Contains(err.Error(), "runs") {
		t.Errorf("others may write its runs: %v", err)
	}
}

func TestHolder(t *testing.T) {
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	run, err := lock.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if h, err := store.Holder(); err != nil || h == nil || h.PID != os.Getpid() || h.Run != run.ID || h.Ended {
		t.Errorf("%+v, %v", h, err)
	}
	if err := lock.Lease(run.ID, "boot"); err != nil {
		t.Fatal(err)
	}
	if ids, err := store.IDs(); ids != nil || err != nil {
		t.Errorf("runs: %v, %v", ids, err)
	}
	if l, err := store.Lease(); err != nil || l.Run != run.ID || l.BootID != "boot" || l.Expires == 0 {
		t.Errorf("%+v, %v", l, err)
	}
	lock.Close()
	if h, err := store.Holder(); err != nil || h != nil {
		t.Errorf("after its end: %+v, %v", h, err)
	}
	if _, err := store.Lock(); err != nil {
		t.Errorf("it was taken by looking: %v", err)
	}
}
