package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Project is what the playbooks were when a run began.
type Project struct {
	Path   string `json:"path"`   // as it was given; the first of several
	Commit string `json:"commit"` // of git; empty if there is none. For people: it says nothing about uncommitted changes
	Hash   string `json:"hash"`   // of names, modes and contents of all files

	files map[string]string // hash by path, to name what changed
}

const (
	maxFiles   = 100_000   // more is not a project but a mistake in --project
	maxContent = 256 << 20 // bytes read; beyond, a file's size and time stand for its content
)

// Fingerprint reads the files and folders of a project and returns what they are now. Symbolic links count as what they
// point to by name, except the paths themselves, which are followed. Left out is what running a playbook writes: .git,
// __pycache__, *.pyc, *.retry, *.log.
func Fingerprint(paths ...string) (Project, error) {
	p := Project{files: map[string]string{}}
	budget := int64(maxContent)
	for i, path := range paths {
		if i == 0 {
			p.Path, p.Commit = path, commit(path)
		}
		root, err := filepath.EvalSymlinks(path)
		if err != nil {
			return Project{}, fmt.Errorf("read the project: %w", err)
		}
		err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if name != root && generated(entry) {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if len(p.files) >= maxFiles {
				return fmt.Errorf("%s has more than %d files: name the folder of the playbooks", path, maxFiles)
			}
			p.files[name], err = fileHash(name, entry, &budget)
			return err
		})
		if err != nil {
			return Project{}, fmt.Errorf("read the project: %w", err)
		}
	}
	all := sha256.New()
	for _, name := range sortedKeys(p.files) {
		fmt.Fprintf(all, "%q %s\n", name, p.files[name])
	}
	p.Hash = sum(all)
	return p, nil
}

// generated reports whether running a playbook may write the file.
func generated(entry fs.DirEntry) bool {
	switch name := entry.Name(); {
	case name == ".git", name == "__pycache__":
		return true
	case entry.IsDir():
		return false
	default:
		ext := filepath.Ext(name)
		return ext == ".pyc" || ext == ".retry" || ext == ".log"
	}
}

// fileHash returns a hash of mode and content.
func fileHash(name string, entry fs.DirEntry, budget *int64) (string, error) {
	info, err := entry.Info()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", info.Mode())
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(name)
		if err != nil {
			return "", err
		}
		io.WriteString(h, target)
	case info.Mode().IsRegular() && info.Size() > *budget:
		fmt.Fprintf(h, "%d %d", info.Size(), info.ModTime().UnixNano())
	case info.Mode().IsRegular():
		file, err := os.Open(name)
		if err != nil {
			return "", err
		}
		n, err := io.Copy(h, file)
		file.Close()
		if err != nil {
			return "", err
		}
		*budget -= n
	}
	return sum(h), nil
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// changed returns the paths that differ between two fingerprints of the same project.
func (p Project) changed(now Project) []string {
	var names []string
	for name, hash := range now.files {
		if p.files[name] != hash {
			names = append(names, name)
		}
	}
	for name := range p.files {
		if _, ok := now.files[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// commit returns the commit that is checked out around path, read from git's files; empty if there is none.
func commit(path string) string {
	dir, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	for ; ; dir = filepath.Dir(dir) {
		git := filepath.Join(dir, ".git")
		if info, err := os.Stat(git); err == nil {
			if !info.IsDir() { // a work tree, or a submodule
				text, ok := strings.CutPrefix(readLine(git), "gitdir: ")
				if !ok {
					return ""
				}
				if git = text; !filepath.IsAbs(git) {
					git = filepath.Join(dir, git)
				}
			}
			return head(git)
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// head returns the commit that HEAD of a git folder names.
func head(git string) string {
	text := readLine(filepath.Join(git, "HEAD"))
	ref, symbolic := strings.CutPrefix(text, "ref: ")
	if !symbolic {
		return hexOnly(text)
	}
	if !filepath.IsLocal(ref) {
		return ""
	}
	folders := []string{git}
	if common := readLine(filepath.Join(git, "commondir")); common != "" { // branches of a work tree live there
		if !filepath.IsAbs(common) {
			common = filepath.Join(git, common)
		}
		folders = append(folders, common)
	}
	for _, folder := range folders {
		if c := hexOnly(readLine(filepath.Join(folder, ref))); c != "" {
			return c
		}
		packed, _ := os.ReadFile(filepath.Join(folder, "packed-refs"))
		for line := range strings.Lines(string(packed)) {
			if c, ok := strings.CutSuffix(strings.TrimSpace(line), " "+ref); ok {
				return hexOnly(c)
			}
		}
	}
	return ""
}

func hexOnly(s string) string {
	if regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`).MatchString(s) {
		return s
	}
	return ""
}

// readLine returns a small file without the space around it; empty if it cannot be read.
func readLine(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
