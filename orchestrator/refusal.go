package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Refusal is a full run that never began, and so has no journal: it was held, outside the window, kept out by another run,
// or its settings or plan could not be used.
type Refusal struct {
	Version  int       `json:"version"`
	Time     time.Time `json:"time"`
	ExitCode int       `json:"exit_code"`
	Reason   string    `json:"reason"`
}

const refusalFile = "refused.json"

// Refuse remembers the latest refusal in a state directory. A run needs it for nothing: where there is no such directory
// yet it is forgotten, without an error.
func Refuse(dir string, r Refusal) error {
	r.Version = Version
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("remember why no run began: %w", err)
	}
	path := filepath.Join(dir, refusalFile)
	err = ReplaceFile(path, append(data, '\n'), 0o600)
	if info, gone := os.Stat(dir); err == nil && gone == nil && os.Geteuid() == 0 { // root looks for holds for another user
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			err = os.Lchown(path, int(stat.Uid), int(stat.Gid))
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remember why no run began: %w", err)
	}
	return nil
}

// Refused returns the latest refusal, nil if there never was one.
func (s *Store) Refused() (*Refusal, error) {
	path := filepath.Join(s.dir, refusalFile)
	r, err := optional[Refusal](path)
	if err != nil {
		return nil, fmt.Errorf("why no run began, in %s, cannot be read: %w", path, err)
	}
	return r, nil
}
