package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// idTime is the part of a run's id that says when it began, in UTC.
const idTime = "20060102T150405Z"

// Store is the state directory: the lock, and a folder a run with its journal. Only its owner may read it.
type Store struct {
	dir  string
	disk disk
}

// Open returns the store in a directory, which is created if it is missing. A directory that others may write is
// refused: what it says could not be believed.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "runs")} {
		if err := own(d); err != nil {
			return nil, fmt.Errorf("open the state directory: %w", err)
		}
	}
	return &Store{dir: dir}, nil
}

// Look returns the store in a directory as it is, for who only reads it: nothing is made or changed. The error is why the
// user uid could not [Open] it, or one that errors.Is fs.ErrNotExist if there is none yet.
func Look(dir string, uid int) (*Store, error) {
	for _, d := range []string{dir, filepath.Join(dir, "runs")} {
		if _, err := ours(d, uid); err != nil && (d == dir || !errors.Is(err, os.ErrNotExist)) { // no runs is none yet
			return nil, err
		}
	}
	return &Store{dir: dir}, nil
}

// optional reads a file of the store that need not be there; nil if it is not.
func optional[T any](path string) (*T, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	v := new(T)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// own makes sure of a folder that only this user may enter.
func own(dir string) error {
	if err := (disk{}).mkdir(dir, 0o700); err != nil {
		return err
	}
	info, err := ours(dir, os.Geteuid())
	if err != nil {
		return err
	}
	if info.Mode().Perm() == 0o700 {
		return nil
	}
	// Others may read it. If it is ours, they no longer may; /var/lib, named by mistake, must stay as it is.
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains([]string{"lock", "lease.json", refusalFile, "runs", "content", "outbox", "index.html", "security-tracker.json"}, e.Name()) && !validID(e.Name()) {
			return fmt.Errorf("%s holds other files (%s): use a directory of its own", dir, e.Name())
		}
	}
	return os.Chmod(dir, 0o700)
}

// ours refuses a folder that is another user's than uid, or that others may write.
func ours(dir string, uid int) (os.FileInfo, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", dir)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != uid {
		return nil, fmt.Errorf("%s belongs to user %d, not to user %d who runs this: use another directory, or chown it", dir, stat.Uid, uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("others may write %s: chmod 0700 it, or use another directory", dir)
	}
	return info, nil
}

// Dir returns the absolute path of the directory.
func (s *Store) Dir() string { return s.dir }

func (s *Store) runDir(id string) string { return filepath.Join(s.dir, "runs", id) }

// IDs returns the id of every run that has a folder, oldest first.
func (s *Store) IDs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "runs"))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // who looks before the first run
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && validID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Load returns the report of a run. The error holds [os.ErrNotExist] if there is none, and is a [*JournalError] if
// there is one that cannot be read.
func (s *Store) Load(id string) (Report, error) {
	if !validID(id) {
		return Report{}, fmt.Errorf("run %q: %w: an id looks like 20261122T040000Z-1a2b3c", id, os.ErrNotExist)
	}
	return readJournal(s.runDir(id), id)
}

// Latest returns the report of the run that began last. A run that died before the first entry of its journal does not
// count. Errors are those of [Store.Load].
func (s *Store) Latest() (Report, error) {
	for report, err := range s.newest() {
		return report, err
	}
	return Report{}, fmt.Errorf("there is no run in %s: %w", s.dir, os.ErrNotExist)
}

// LatestPatching returns the report of the run that began last and was neither a dry run nor a rollback. Errors are those of [Store.Load].
func (s *Store) LatestPatching() (Report, error) {
	for report, err := range s.newest() {
		if err != nil || report.Kind != Check && report.Kind != Rollback {
			return report, err
		}
	}
	return Report{}, fmt.Errorf("there is no run in %s but dry ones and rollbacks: %w", s.dir, os.ErrNotExist)
}

// newest yields the report of each run that has a journal, or why it cannot be read, latest first.
func (s *Store) newest() iter.Seq2[Report, error] {
	return func(yield func(Report, error) bool) {
		ids, err := s.IDs()
		if err != nil {
			yield(Report{}, err)
			return
		}
		for _, id := range slices.Backward(ids) {
			report, err := s.Load(id)
			if !errors.Is(err, os.ErrNotExist) && !yield(report, err) {
				return
			}
		}
	}
}

// validID reports whether an id is like one of [Lock.Begin].
func validID(id string) bool {
	stamp, random, ok := strings.Cut(id, "-")
	if !ok || len(stamp) != len(idTime) || len(random) != 6 || stamp[8] != 'T' || stamp[15] != 'Z' {
		return false
	}
	return strings.Trim(stamp[:8]+stamp[9:15], "0123456789") == "" && strings.Trim(random, "0123456789abcdef") == ""
}
