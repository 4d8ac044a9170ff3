package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// runPrefix begins the names of all run folders.
const runPrefix = "ansible-run-"

// runDir makes the folder of one run: under /run, because it holds variables
// and sockets, and because their paths must be short. It is locked for as long
// as lock, or a copy that a child inherited, is open, so that what a killed
// process left is told from what is in use, and removed.
func runDir() (dir string, lock *os.File, err error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if os.Geteuid() == 0 {
		base = "/run"
	}
	if fi, err := os.Stat(base); err != nil || !fi.IsDir() {
		base = os.TempDir()
	}
	sweep(base)
	dir, err = os.MkdirTemp(base, runPrefix)
	if err != nil {
		return "", nil, fmt.Errorf("run folder: %w", err)
	}
	lock, err = lockDir(dir)
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, fmt.Errorf("run folder: %w", err)
	}
	return dir, lock, nil
}

// sweep removes the run folders that nobody has locked. An empty one is left
// alone: its maker may be about to lock it.
func sweep(base string) {
	left, _ := filepath.Glob(filepath.Join(base, runPrefix+"*"))
	for _, dir := range left {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
			continue
		}
		if f, err := lockDir(dir); err == nil {
			os.RemoveAll(dir)
			f.Close()
		}
	}
}

// lockDir locks a folder of ours. The lock ends with the file, or with us.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
