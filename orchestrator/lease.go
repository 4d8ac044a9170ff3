package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// LeaseLife is how long a lease is good. Whoever dies without giving it up keeps others waiting for no longer.
const LeaseLife = time.Hour

// Lease tells others on this machine, ansible-pull above all, that a run needs playbooks and inventory as they are. It
// is the file lease.json of the store.
type Lease struct {
	Version int    `json:"version"` // 1
	Run     string `json:"run"`
	// BootID is the boot in which it is good; empty: in whatever boot, because the run goes on after one.
	BootID  string `json:"boot_id"`
	Expires int64  `json:"expires"` // Unix time
}

// Lease writes the store's lease, for [LeaseLife] from now, in place of one that is there. It is only ever written under
// the lock, and whole or not at all, also through a power cut.
func (l *Lock) Lease(run, bootID string) error {
	data, err := json.Marshal(Lease{Version: 1, Run: run, BootID: bootID, Expires: time.Now().Add(LeaseLife).Unix()})
	if err == nil {
		err = l.store.disk.write(l.store.lease(), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the lease: %w", err)
	}
	return nil
}

// Lease returns the store's lease; nil if there is none. One that cannot be read is an error.
func (s *Store) Lease() (*Lease, error) {
	l, err := optional[Lease](s.lease())
	if err != nil {
		return nil, fmt.Errorf("read the lease: %w", err)
	}
	return l, nil
}

// GiveUp removes the lease, durably; none there is fine.
func (l *Lock) GiveUp() error {
	err := os.Remove(l.store.lease())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = l.store.disk.sync(l.store.dir)
	}
	if err != nil {
		return fmt.Errorf("give up the lease: %w", err)
	}
	return nil
}

func (s *Store) lease() string { return filepath.Join(s.dir, "lease.json") }
