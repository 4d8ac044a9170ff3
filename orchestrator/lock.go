package orchestrator

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrLocked says that another run is under way: errors.Is(err, ErrLocked). The error is a [*LockedError].
var ErrLocked = errors.New("another run is under way")

// LockedError says who holds the lock, as far as the lock file tells.
type LockedError struct {
	PID   int    // process that took the lock; 0 if unknown
	Run   string // id of its run; empty if it has none yet
	Ended bool   // that process is gone, and one that it started holds on
}

// Error names the holder.
func (e *LockedError) Error() string {
	s := ErrLocked.Error()
	if e.Run != "" {
		s += ": " + e.Run
	}
	switch {
	case e.PID > 0 && e.Ended:
		return fmt.Sprintf("%s (process %d has ended, but an ansible-playbook that it started still runs; wait for it)", s, e.PID)
	case e.PID > 0:
		return fmt.Sprintf("%s (process %d)", s, e.PID)
	}
	return s
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Lock is the right to run. It ends when Close was called, or this process died, and every child that inherited File
// has ended as well.
type Lock struct {
	store *Store
	file  *os.File
}

// Lock takes the store's lock without waiting. If another process has it, the error is a [*LockedError].
func (s *Store) Lock() (*Lock, error) {
	path := filepath.Join(s.dir, "lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("take the lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, holder(file)
		}
		return nil, fmt.Errorf("take the lock %s: %w", path, err)
	}
	l := &Lock{store: s, file: file}
	if err := l.write(""); err != nil {
		file.Close()
		return nil, err
	}
	return l, nil
}

// Holder says who holds the store's lock, and does not touch it; nil if nobody does. The kernel's own list is read, because
// whoever tries a lock has it for a moment.
func (s *Store) Holder() (*LockedError, error) {
	file, err := os.Open(filepath.Join(s.dir, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the lock: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the lock: %w", err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil, fmt.Errorf("look at the lock: %w", err)
	}
	inode := ":" + strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10)
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK  ADVISORY  WRITE 4711 00:2f:92 0 EOF; see proc(5). The device is that below an overlay, or not.
		f := strings.Fields(line)
		if len(f) > 5 && f[1] == "FLOCK" && f[3] == "WRITE" && strings.HasSuffix(f[5], inode) {
			return holder(file), nil
		}
	}
	return nil, nil
}

// File returns the open, locked file. It is closed on exec; a child that is to keep the lock inherits it explicitly.
// The lock owns it.
func (l *Lock) File() *os.File { return l.file }

// Close gives the lock up. A child that inherited the file keeps it until it ends.
func (l *Lock) Close() error { return l.file.Close() }

// Begin returns a new run: an id, and a folder that does not exist before the first entry of its journal. Ids sort in
// the order in which runs began, even if the clock was set back.
func (l *Lock) Begin() (*Run, error) {
	ids, err := l.store.IDs()
	if err != nil {
		return nil, err
	}
	stamp := time.Now().UTC().Truncate(time.Second)
	if len(ids) > 0 {
		last, err := time.Parse(idTime, ids[len(ids)-1][:len(idTime)])
		if err == nil && !stamp.After(last) {
			stamp = last.Add(time.Second)
		}
	}
	var random [3]byte
	rand.Read(random[:]) // never fails
	id := stamp.Format(idTime) + "-" + hex.EncodeToString(random[:])
	if err := l.write(id); err != nil {
		return nil, err
	}
	return &Run{ID: id, Dir: l.store.runDir(id), store: l.store}, nil
}

// write records who holds the lock, for the message to others. It need not be durable: it is read only while held.
func (l *Lock) write(id string) error {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", os.Getpid(), id)) + "\n"
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	return nil
}

// holder reads who holds the lock.
func holder(file *os.File) *LockedError {
	e := &LockedError{}
	text, _ := io.ReadAll(io.LimitReader(file, 256))
	var id string
	fmt.Sscanf(string(text), "%d %s", &e.PID, &id)
	if validID(id) {
		e.Run = id
	}
	if e.PID > 0 {
		e.Ended = errors.Is(syscall.Kill(e.PID, 0), syscall.ESRCH)
	}
	return e
}
