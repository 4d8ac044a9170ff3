// Package ansible is the Ansible content the program carries: playbooks and roles.
//
// [Unpack] makes a folder of it that ansible-playbook can run:
//
//	dir, err := ansible.Unpack("/var/lib/homelab-patch-orchestrate/content")
//	playbook := filepath.Join(dir, "playbooks", "patch.yml")
//
// The folder is named after its content, and each call looks at every byte of it before it is used again. Whatever is
// not as it was carried is put right: a changed file is written anew, and what was added is removed. It is mended
// rather than refused, because the content is known to the last byte, and a refusal would leave a fleet unpatched
// until somebody comes to delete a folder. Changes belong into a project of one's own.
package ansible

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// carried is what a build takes in. Names that begin with a dot or an underscore are left out, such as __pycache__. So
// is ansible.cfg, which is for using the playbook by hand: beside the unpacked playbook it would hide the operator's own.
//
//go:embed playbooks roles
var carried embed.FS

// Unpack writes the carried content to a folder below dir, and returns the folder. Its name is the first 16 hexadecimal
// digits of a SHA-256 over names, modes and bytes. Folders are 0700, files 0600, and files that begin with "#!" 0700.
// A missing dir is made, 0700.
//
// Several processes may call it at once; each returns when the folder is complete. Folders of other versions are left
// alone, because a run that is going on may be using them.
func Unpack(dir string) (string, error) {
	folder, err := unpack(carried, dir)
	if err != nil {
		return "", fmt.Errorf("unpack playbooks and roles: %w", err)
	}
	return folder, nil
}

// file is a file as it must be on the disk.
type file struct {
	name string // relative, with the separators of this system
	mode fs.FileMode
	data []byte
}

func unpack(content fs.FS, dir string) (string, error) {
	files, sum, err := list(content)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	unlock, err := lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()

	folder := filepath.Join(dir, sum)
	if _, err := os.Lstat(folder); err == nil {
		return folder, mend(folder, files)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	// Made under another name, so that a folder with the right name has been complete once. Nothing is flushed to the
	// disk: what a power cut takes away, the next call mends.
	unfinished := filepath.Join(dir, "."+sum+".unfinished")
	if err := mend(unfinished, files); err != nil {
		return "", err
	}
	return folder, os.Rename(unfinished, folder)
}

// list returns the files of the content in the order of their names, and the name of their folder.
func list(content fs.FS) (files []file, sum string, err error) {
	hash := sha256.New()
	err = fs.WalkDir(content, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(content, name)
		if err != nil {
			return err
		}
		// Embedded files have no modes. What needs to be executable says how it is executed.
		mode := fs.FileMode(0o600)
		if bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o700
		}
		fmt.Fprintf(hash, "%q %o %d\n", name, mode, len(data))
		hash.Write(data)
		files = append(files, file{filepath.FromSlash(name), mode, data})
		return nil
	})
	return files, fmt.Sprintf("%x", hash.Sum(nil)[:8]), err
}

// lock waits until no other process unpacks into the folder. The kernel gives the lock back if the process dies.
func lock(dir string) (unlock func(), err error) {
	handle, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(handle.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		handle.Close()
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	return func() { handle.Close() }, nil
}

// mend makes the folder hold the files and nothing else. What is right already is not touched.
func mend(folder string, files []file) error {
	want := map[string]file{}
	for _, f := range files {
		want[f.name] = f
		for dir := filepath.Dir(f.name); dir != "."; dir = filepath.Dir(dir) {
			want[dir] = file{name: dir, mode: fs.ModeDir | 0o700}
		}
	}
	want["."] = file{name: ".", mode: fs.ModeDir | 0o700}
	right, err := sweep(folder, want)
	if err != nil {
		return err
	}
	for _, f := range files {
		if right[f.name] {
			continue
		}
		path := filepath.Join(folder, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := write(path, f); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what is not wanted, or not as it is wanted, and returns what is right.
func sweep(folder string, want map[string]file) (map[string]bool, error) {
	right := map[string]bool{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == folder {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		f, wanted := want[name]
		switch {
		case !wanted || f.mode.Type() != info.Mode().Type():
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			if info.Mode() != f.mode {
				return os.Chmod(path, 0o700)
			}
			return nil
		}
		if info.Mode() == f.mode && info.Size() == int64(len(f.data)) {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if bytes.Equal(data, f.data) {
				right[name] = true
				return nil
			}
		}
		return os.Remove(path)
	})
	return right, err
}

// write makes a new file. It never writes through a link or into a file somebody holds open: [sweep] removed them.
func write(path string, f file) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(f.data)
	return errors.Join(err, out.Chmod(f.mode), out.Close())
}
