package orchestrator

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestLease(t *testing.T) {
	store, err := Open(filepath.Join(t.TempDir(), "state"))
	must(t, err)
	lock, err := store.Lock()
	must(t, err)
	defer lock.Close()
	must(t, lock.GiveUp()) // there is none

	path := filepath.Join(store.Dir(), "lease.json")
	for _, boot := range []string{"one", ""} {
		before := time.Now()
		must(t, lock.Lease("20261122T040000Z-1a2b3c", boot))
		data, err := os.ReadFile(path)
		must(t, err)
		var lease Lease
		must(t, json.Unmarshal(data, &lease))
		if lease.Version != 1 || lease.Run != "20261122T040000Z-1a2b3c" || lease.BootID != boot {
			t.Errorf("the lease: %+v", lease)
		}
		if good := time.Unix(lease.Expires, 0).Sub(before); good < LeaseLife-time.Second || good > LeaseLife+time.Minute {
			t.Errorf("it is good for %s", good)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("its mode: %v, %v", info.Mode(), err)
		}
	}
	must(t, lock.GiveUp())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("given up, it is still there: %v", err)
	}

	// A lease that cannot be written is an error: a run without one could change under its own feet.
	must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o700))
	if lock.Lease("r", "") == nil || lock.GiveUp() == nil {
		t.Error("a folder in its place is no error")
	}
}

// Written, flushed, renamed, flushed: a power cut leaves the old lease or the new one.
func TestLeaseIsDurable(t *testing.T) {
	store, err := Open(filepath.Join(t.TempDir(), "state"))
	must(t, err)
	var steps []string
	store.disk.after = func(step, path string) { steps = append(steps, step) }
	lock, err := store.Lock()
	must(t, err)
	defer lock.Close()
	must(t, lock.Lease("r", ""))
	must(t, lock.GiveUp())
	if want := []string{"written", "flushed", "renamed", "synced", "synced"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
}
