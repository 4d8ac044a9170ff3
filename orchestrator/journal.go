package orchestrator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"homelab-patch-orchestrate/internal/failpoint"
)

// Version is the version of the journal that this package writes, and the newest it reads.
const Version = 1

const journalFile = "journal.json"

// Run is one run's place in the store. Nothing exists of it on disk before [Orchestrator.Run] or [Orchestrator.Fail].
type Run struct {
	// ID is the run's id: the time it began, in UTC, and something random.
	ID string
	// Dir is the run's folder, for the engine's log and events. It exists when the engine is called, mode 0700.
	Dir string

	store  *Store
	passed map[int][]byte // by index: hosts of waves that passed, as JSON. They do not change any more
	size   int            // of the journal, when it was written last
}

// JournalError says that a journal is there and cannot be used. It is never overwritten.
type JournalError struct {
	Path    string
	Version int   // of the journal, if that is the problem; it is newer than [Version]
	Err     error // what is damaged; nil if the version is the problem
}

// Error says which journal, why, and what to do.
func (e *JournalError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("journal %s has version %d, and this program knows %d: use the newer program that wrote it, or move the run's folder away",
			e.Path, e.Version, Version)
	}
	return fmt.Sprintf("journal %s is damaged: %v (it is left as it is)", e.Path, e.Err)
}

// Unwrap returns what is damaged.
func (e *JournalError) Unwrap() error { return e.Err }

// save puts the report on disk such that after a power cut there is the old one or the new one, whole.
func (r *Run) save(report Report) error {
	if _, err := os.Stat(r.Dir); err != nil {
		if err := r.store.disk.mkdir(r.Dir, 0o700); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
	}
	data, err := r.encode(report)
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := r.store.disk.write(filepath.Join(r.Dir, journalFile), data); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// encode is json.Marshal and the end of a line, but of the hosts of a wave that has passed only once: of a large fleet they are nearly all of it,
// and the journal is written three times a wave.
func (r *Run) encode(report Report) ([]byte, error) {
	waves := report.Waves
	if len(waves) == 0 {
		data, err := json.Marshal(report)
		return append(data, '\n'), err
	}
	report.Waves = nil
	whole, err := json.Marshal(report)
	if err != nil {
		return nil, err
	}
	// A quote in a value is escaped: this is the member, and the only one.
	before, after, _ := bytes.Cut(whole, []byte(`"waves":null`))
	data := append(make([]byte, 0, len(whole)+r.size+r.size/4), before...)
	data = append(data, `"waves":[`...)
	for i, w := range waves {
		if i > 0 {
			data = append(data, ',')
		}
		if data, err = r.appendWave(data, i, w); err != nil {
			return nil, err
		}
	}
	data = append(append(append(data, ']'), after...), '\n')
	r.size = len(data)
	return data, nil
}

func (r *Run) appendWave(data []byte, i int, w WaveReport) ([]byte, error) {
	hosts, known := r.passed[i]
	if !known {
		var err error
		if hosts, err = json.Marshal(w.Hosts); err != nil {
			return nil, err
		}
		if w.State == Passed {
			if r.passed == nil {
				r.passed = map[int][]byte{}
			}
			r.passed[i] = hosts
		}
	}
	w.Hosts = nil
	whole, err := json.Marshal(w)
	before, after, _ := bytes.Cut(whole, []byte(`"hosts":null`))
	return append(append(append(append(data, before...), `"hosts":`...), hosts...), after...), err
}

// disk is how the store writes. after, if not nil, is called when each step is done: a test dies there, or forgets what
// was not flushed.
type disk struct {
	after func(step, path string)
}

func (d disk) done(step, path string) {
	failpoint.At(step)
	if d.after != nil {
		d.after(step, path)
	}
}

// write replaces a file that nobody else writes.
func (d disk) write(path string, data []byte) error {
	temp, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return d.replace(path, temp, data)
}

// replace writes data into a new file beside path and has it take its place: write, fsync, rename, fsync of the folder.
// Until the last, a power cut may bring the old file back; without the first fsync it may leave an empty one.
func (d disk) replace(path string, temp *os.File, data []byte) error {
	_, err := temp.Write(data)
	d.done("written", temp.Name())
	if err == nil {
		err = temp.Sync()
		d.done("flushed", temp.Name())
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	d.done("renamed", path)
	return d.sync(filepath.Dir(path))
}

// ReplaceFile writes a file whole or not at all, also through a power cut, with that mode whatever the umask. With an error
// the old file is there, or the new one if it only could not be flushed. The folder must exist.
func ReplaceFile(path string, data []byte, mode os.FileMode) error {
	// The name begins with a dot: among holds it must not be that of a host.
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // which is gone if all went well
	if err := temp.Chmod(mode); err != nil {
		return errors.Join(err, temp.Close())
	}
	return disk{}.replace(path, temp, data)
}

// mkdir makes a folder, and those above it, unless it is there.
func (d disk) mkdir(dir string, mode os.FileMode) error {
	parent := filepath.Dir(dir)
	err := os.Mkdir(dir, mode)
	if errors.Is(err, os.ErrNotExist) && parent != dir {
		if err := d.mkdir(parent, 0o755); err != nil {
			return err
		}
		err = os.Mkdir(dir, mode)
	}
	switch {
	case errors.Is(err, os.ErrExist):
		return nil
	case err != nil:
		return err
	}
	d.done("made", dir)
	return d.sync(parent)
}

// sync makes durable what a folder lists.
func (d disk) sync(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = errors.Join(dir.Sync(), dir.Close())
	d.done("synced", path)
	return err
}

// readJournal reads the journal of a run's folder and believes it only if it is whole.
func readJournal(dir, id string) (Report, error) {
	path := filepath.Join(dir, journalFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return Report{}, fmt.Errorf("read the journal of run %s: %w", id, err)
	}
	var report Report
	err = json.Unmarshal(data, &report)
	version := report.Version
	if err != nil { // what else it has may be of a newer version
		var head struct {
			Version int `json:"version"`
		}
		if err := json.Unmarshal(data, &head); err != nil {
			return Report{}, &JournalError{Path: path, Err: err}
		}
		version = head.Version
	}
	if version > Version {
		return Report{}, &JournalError{Path: path, Version: version}
	}
	if err != nil {
		return Report{}, &JournalError{Path: path, Err: err}
	}
	if err := report.check(id); err != nil {
		return Report{}, &JournalError{Path: path, Err: err}
	}
	return report, nil
}

// check says what in a decoded report cannot be.
func (r Report) check(id string) error {
	if r.Version < 1 {
		return errors.New("it has no version")
	}
	if r.ID != id {
		return fmt.Errorf("it is of run %q", r.ID)
	}
	states := []State{r.State}
	for _, w := range r.Waves {
		states = append(states, w.State)
	}
	for _, s := range states {
		if !s.known() {
			return fmt.Errorf("%q is not a state", s)
		}
	}
	return nil
}

// known reports whether the state is one of ours.
func (s State) known() bool {
	switch s {
	case Pending, Running, Soaking, Passed, Failed, Halted, Interrupted, AwaitingReboot:
		return true
	}
	return false
}
