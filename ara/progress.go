package ara

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The progress of a run's forwarding is one file in the folder of the run. Its name says whether anything is left, so
// that a glob finds the runs that wait.
const (
	Pending = "ara.pending.json"
	done    = "ara.json"
)

// ErrBusy says that another process forwards the run right now.
var ErrBusy = errors.New("another process forwards this run")

// progress is what is on record, and what the records that follow refer to. It is written from time to time, not after
// each record: what it does not know yet is asked for.
type progress struct {
	Version   int        `json:"version"`
	Server    string     `json:"server"`
	Offset    int64      `json:"offset"` // the events before it are on record
	Playbooks []playbook `json:"playbooks"`
	Start     *start     `json:"start,omitempty"` // an engine that is up, and has not read its playbook yet
	Open      *open      `json:"open,omitempty"`  // what the last of Playbooks still needs
	Error     string     `json:"error,omitempty"` // why it does not go on; empty if it does
	Tried     time.Time  `json:"tried,omitzero"`
}

// start is what the first event of an engine says.
type start struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
	Labels  []string  `json:"labels"`
}

// playbook is one ansible-playbook.
type playbook struct {
	ID      int64     `json:"id"`
	Labels  []string  `json:"labels"`
	Started time.Time `json:"started"`
	Status  string    `json:"status"`            // ARA's word
	Refused int       `json:"refused,omitempty"` // records that the server does not take, whatever is tried
	Removed int       `json:"removed,omitempty"` // records that it had twice
	Gone    bool      `json:"gone,omitempty"`    // somebody has deleted it on the server
	Told    bool      `json:"told,omitempty"`    // the records of the run are there
}

// open is what the events of a playbook under way refer to.
type open struct {
	Path    string              `json:"path"`
	Play    int64               `json:"play,omitempty"`
	Last    time.Time           `json:"last"` // of the events so far
	Plays   map[int64]bool      `json:"plays"`
	Tasks   map[string]*task    `json:"tasks"` // by Ansible's id
	Hosts   map[string]int64    `json:"hosts"`
	Files   map[string]int64    `json:"files"`
	To      map[string][]string `json:"to"` // hosts that the items of a loop were delegated to, by task and host
	Results int                 `json:"results"`
}

// task is a task on record.
type task struct {
	ID    int64     `json:"id"`
	Play  int64     `json:"play"`
	Ended time.Time `json:"ended"` // so far
	Open  bool      `json:"open"`  // its end is not on record
}

// Status is how far the forwarding of a run is.
type Status struct {
	State     string // "done", "waiting", or "none" if it was never begun
	Offset    int64  // bytes of the events that are on record
	Size      int64  // of the events
	Playbooks []int64
	Refused   int // records that the server does not take
	Removed   int // records that it had twice
	Gone      int // playbooks that somebody deleted on the server
	Error     string
}

// ReadStatus tells how far the forwarding of the run in a folder is.
func ReadStatus(dir string) (Status, error) {
	s := Status{State: "none"}
	if fi, err := os.Stat(filepath.Join(dir, events)); err == nil {
		s.Size = fi.Size()
	}
	p, name, err := load(dir)
	if err != nil || name == "" {
		return s, err
	}
	s.State = "waiting"
	if name == done {
		s.State = "done"
	}
	s.Offset, s.Error = p.Offset, p.Error
	for _, b := range p.Playbooks {
		if b.ID != 0 {
			s.Playbooks = append(s.Playbooks, b.ID)
		}
		s.Refused, s.Removed = s.Refused+b.Refused, s.Removed+b.Removed
		if b.Gone {
			s.Gone++
		}
	}
	return s, nil
}

// Page returns where in ARA a run is to be seen: the playbook that has the label as, or, where there is none yet or
// several, the list of those that have the label all.
func Page(server, dir, all, as string) string {
	p, _, _ := load(dir)
	var found []int64
	for _, b := range p.Playbooks {
		for _, l := range b.Labels {
			if l == as && b.ID != 0 && !b.Gone {
				found = append(found, b.ID)
			}
		}
	}
	if len(found) == 1 {
		return PlaybookPage(server, found[0])
	}
	return LabelPage(server, all)
}

// load reads the progress in a folder, and says in which file it was; "" if there is none.
func load(dir string) (p progress, name string, err error) {
	for _, name := range []string{Pending, done} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return p, name, fmt.Errorf("read what is on record in ARA: %w", err)
		}
		if err := json.Unmarshal(data, &p); err != nil || p.Version > 1 {
			// Nothing is lost: the server is asked for each record.
			return progress{}, name, nil
		}
		return p, name, nil
	}
	return p, "", nil
}

// Mark says that the run in a folder is to be forwarded, so that whoever comes later does it. It is durable when Mark
// returns, and changes nothing if it was said before.
func Mark(dir string) error {
	_, name, err := load(dir)
	if err != nil || name != "" {
		return err
	}
	return progress{Version: 1}.save(dir, Pending)
}

// Again makes a run that is on record one that is to be forwarded.
func Again(dir string) error {
	err := os.Rename(filepath.Join(dir, done), filepath.Join(dir, Pending))
	if errors.Is(err, fs.ErrNotExist) {
		return Mark(dir)
	}
	return err
}

// save replaces the file of that name such that after a power cut there is the old one or the new one, whole.
func (p progress) save(dir, name string) (err error) {
	defer kept(&err)
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(dir)
}

// finish gives the file the name that says that nothing is left.
func finish(dir string) (err error) {
	defer kept(&err)
	if err := os.Rename(filepath.Join(dir, Pending), filepath.Join(dir, done)); err != nil {
		return err
	}
	return syncDir(dir)
}

// kept says in an error what could not be done.
func kept(err *error) {
	if *err != nil {
		*err = fmt.Errorf("keep what is on record in ARA: %w", *err)
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock keeps other processes from forwarding the same run. It is the folder that is locked: nothing new is left in it.
func lock(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		d.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return d, nil
}
