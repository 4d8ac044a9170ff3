package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// People is the first id of a person's user; root and those of the system are below. See login.defs(5).
const People = 1000

// TrustError says which files and folders someone else could have changed.
type TrustError struct {
	// Found is every one of them, in the order of the paths asked about; never empty.
	Found []Untrusted
}

// Untrusted is one file or folder that someone other than root and ourselves can change.
type Untrusted struct {
	// Path is the file or folder.
	Path string
	// Problem says who can change it.
	Problem string
	// Mend is the shell command that mends it.
	Mend string
}

// Error names the first five.
func (e *TrustError) Error() string {
	const most = 5
	var b strings.Builder
	b.WriteString("refused, because someone else may have changed it:")
	for i, u := range e.Found {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Found)-most)
			break
		}
		fmt.Fprintf(&b, "\n  %s %s (%s)", u.Path, u.Problem, u.Mend)
	}
	return b.String()
}

// Trusted returns nil if nobody but root and the user euid can change the files at paths, anything below the folders
// at paths, or what their names lead to: every folder above them up to / and, for symbolic links, both ends. A folder
// that others may write is fine above them only if it is sticky, as /tmp is. A group may write if it is root's.
//
// Of a folder named .git, itself and the files directly in it are looked at, such as config; its objects are too many,
// and nothing runs them.
//
// The error is a [*TrustError], or one that errors.Is fs.ErrNotExist if a path leads to nothing.
func Trusted(euid int, paths ...string) error {
	w := trustWalk{euid: uint32(euid), looked: map[string]bool{}, walked: map[string]bool{}, noted: map[string]bool{}}
	for _, path := range paths {
		if err := w.tree(path); err != nil {
			return fmt.Errorf("check who may change %s: %w", path, err)
		}
	}
	if len(w.found) > 0 {
		return &TrustError{Found: w.found}
	}
	return nil
}

// trustWalk is one call of Trusted.
type trustWalk struct {
	euid   uint32
	looked map[string]bool // names looked at on the way to a path
	walked map[string]bool // files and folders looked at below a path
	noted  map[string]bool // paths that are in found
	found  []Untrusted
}

// tree looks at a file or folder, what leads to it, and all that is below it.
func (w *trustWalk) tree(path string) error {
	path, err := w.lead(path)
	if err != nil {
		return err
	}
	return filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if w.walked[file] {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		w.walked[file] = true
		info, err := entry.Info()
		if err != nil {
			return err
		}
		w.look(file, info, false)
		if entry.Type() == fs.ModeSymlink {
			return w.link(file)
		}
		if entry.IsDir() && file != path && filepath.Base(filepath.Dir(file)) == ".git" {
			return fs.SkipDir
		}
		return nil
	})
}

// link looks at what a symbolic link inside a tree leads to. A link to nothing has nothing to read and is let pass.
func (w *trustWalk) link(file string) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return w.tree(file)
}

// lead looks at every name on the way to path, path included, and follows links as the kernel does. It returns the
// path without links.
func (w *trustWalk) lead(path string) (string, error) {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = dir + "/" + path
	}
	real, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		// Join keeps real where name is empty or a dot, and goes up where it is two.
		next := filepath.Join(real, name)
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if !w.looked[next] {
			w.looked[next] = true
			w.look(next, info, true)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			real = next
			continue
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if links++; links > 40 {
			return "", &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
		}
		if filepath.IsAbs(target) {
			real = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return real, nil
}

// look notes what is wrong with one file or folder. A sticky folder on the way is fine, because only the owner of the
// next name can replace it, and that name is looked at as well.
func (w *trustWalk) look(path string, info fs.FileInfo, onTheWay bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		w.note(path, "has no owner that could be read", "stat "+quote(path))
		return
	}
	if stat.Uid != 0 && stat.Uid != w.euid {
		w.note(path, fmt.Sprintf("belongs to user %d", stat.Uid), "chown -h root: "+quote(path))
		return
	}
	mode := info.Mode()
	if mode&fs.ModeSymlink != 0 || onTheWay && mode.IsDir() && mode&fs.ModeSticky != 0 {
		return // The mode of a link means nothing.
	}
	if mode&0o002 != 0 {
		w.note(path, "can be written by everyone", "chmod go-w "+quote(path))
	} else if mode&0o020 != 0 && stat.Gid != 0 {
		w.note(path, fmt.Sprintf("can be written by group %d", stat.Gid), "chmod g-w "+quote(path))
	}
}

// note adds one problem, once a path.
func (w *trustWalk) note(path, problem, mend string) {
	if w.noted[path] {
		return
	}
	w.noted[path] = true
	w.found = append(w.found, Untrusted{Path: path, Problem: problem, Mend: mend})
}

// quote returns the path as one word for a shell.
func quote(path string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@"
	if strings.Trim(path, safe) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
