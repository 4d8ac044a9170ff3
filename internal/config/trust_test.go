package config

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// build makes folders (names ending in a slash), links ("name -> target") and files below a new folder.
func build(t *testing.T, names ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// found returns what Trusted names, relative to root.
func found(t *testing.T, root string, err error) (names []string) {
	t.Helper()
	var trust *TrustError
	if !errors.As(err, &trust) {
		t.Fatalf("%v is no *TrustError", err)
	}
	for _, u := range trust.Found {
		names = append(names, strings.TrimPrefix(strings.TrimPrefix(u.Path, root), "/"))
	}
	return names
}

func TestTrusted(t *testing.T) {
	root := build(t, "project/roles/a/tasks/main.yml", "project/patch.yml", "project/hosts.yml -> ../data/hosts.yml",
		"project/dangling -> nowhere", "data/hosts.yml", "current -> project")
	t.Chdir(root)
	for _, path := range []string{root, root + "/project", root + "/project/patch.yml", "project", "current/patch.yml", "current/../data"} {
		if err := Trusted(os.Geteuid(), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTrustedRefusesWhatOthersMayWrite(t *testing.T) {
	names := []string{"top/project/roles/a/main.yml", "top/project/b.yml", "top/project/hosts.yml -> ../../data/hosts.yml",
		"data/hosts.yml", "elsewhere/deep/x", "way -> elsewhere/deep", "way2/back -> ../way/../y", "elsewhere/y", "y"}
	for _, c := range []struct {
		change string
		mode   fs.FileMode
		path   string
		want   string
	}{
		{"top/project/roles/a/main.yml", 0o646, "top/project", "top/project/roles/a/main.yml"},
		{"top/project/roles/a", 0o757, "top/project", "top/project/roles/a"},
		{"top/project", 0o777 | fs.ModeSticky, "top/project", "top/project"},
		{"top", 0o757, "top/project/b.yml", "top"},
		{"data/hosts.yml", 0o666, "top/project", "data/hosts.yml"},
		{"data", 0o777, "top/project", "data"},
		{"elsewhere", 0o777, "way/x", "elsewhere"},
		{"elsewhere/y", 0o666, "way2/back", "elsewhere/y"},
	} {
		root := build(t, names...)
		chmod(t, filepath.Join(root, c.change), c.mode)
		err := Trusted(os.Geteuid(), filepath.Join(root, c.path))
		if got := found(t, root, err); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s made %v: found %v, want %s", c.change, c.mode, got, c.want)
		}
	}
}

func TestTrustedFollowsAbsoluteLinks(t *testing.T) {
	root := build(t, "data/x", "project/")
	if err := os.Symlink(filepath.Join(root, "data"), filepath.Join(root, "project/link")); err != nil {
		t.Fatal(err)
	}
	if err := Trusted(os.Geteuid(), filepath.Join(root, "project/link/x")); err != nil {
		t.Error(err)
	}
	chmod(t, filepath.Join(root, "data/x"), 0o666)
	if got := found(t, root, Trusted(os.Geteuid(), filepath.Join(root, "project"))); len(got) != 1 || got[0] != "data/x" {
		t.Errorf("found %v", got)
	}
}

// A sticky folder on the way is /tmp: nobody can replace what is ours in it.
func TestTrustedAllowsStickyOnTheWay(t *testing.T) {
	root := build(t, "tmp/ours/x")
	chmod(t, filepath.Join(root, "tmp"), 0o777|fs.ModeSticky)
	if err := Trusted(os.Geteuid(), filepath.Join(root, "tmp/ours")); err != nil {
		t.Error(err)
	}
}

func TestTrustedGroups(t *testing.T) {
	root := build(t, "project/x")
	file := filepath.Join(root, "project/x")
	chmod(t, file, 0o664)
	stat, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if gid := stat.Sys().(*syscall.Stat_t).Gid; gid == 0 {
		if err := Trusted(os.Geteuid(), root); err != nil {
			t.Errorf("writable by root's group: %v", err)
		}
		if err := os.Chown(file, -1, 4242); err != nil {
			t.Fatal(err)
		}
	}
	if got := found(t, root, Trusted(os.Geteuid(), root)); len(got) != 1 || got[0] != "project/x" {
		t.Errorf("writable by another group: found %v", got)
	}
}

func TestTrustedOwners(t *testing.T) {
	root := build(t, "project/x", "project/l -> x")
	euid := os.Geteuid()
	if euid == 0 {
		for _, name := range []string{"project/x", "project/l"} {
			if err := os.Lchown(filepath.Join(root, name), 4242, -1); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		euid++ // What is ours is then somebody else's.
	}
	err := Trusted(euid, root)
	got := strings.Join(found(t, root, err), " ")
	if !strings.Contains(got, "project/x") || !strings.Contains(got, "project/l") {
		t.Errorf("found %s", got)
	}
	if os.Geteuid() == 0 {
		if err := Trusted(4242, root); err != nil {
			t.Errorf("the owner does not trust itself and root: %v", err)
		}
	}
}

func TestTrustedGit(t *testing.T) {
	root := build(t, "p/.git/config", "p/.git/objects/aa/bb")
	chmod(t, filepath.Join(root, "p/.git/objects/aa/bb"), 0o666)
	if err := Trusted(os.Geteuid(), filepath.Join(root, "p")); err != nil {
		t.Errorf("objects are looked at: %v", err)
	}
	chmod(t, filepath.Join(root, "p/.git/objects"), 0o777)
	chmod(t, filepath.Join(root, "p/.git/config"), 0o666)
	if got := strings.Join(found(t, root, Trusted(os.Geteuid(), filepath.Join(root, "p"))), " "); got != "p/.git/config p/.git/objects" {
		t.Errorf("found %q", got)
	}
}

func TestTrustedMissingAndLoops(t *testing.T) {
	root := build(t, "a -> b", "b -> a", "tree/in -> ../tree", "tree/x")
	if err := Trusted(os.Geteuid(), filepath.Join(root, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := Trusted(os.Geteuid(), filepath.Join(root, "a")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a loop of links: %v", err)
	}
	if err := Trusted(os.Geteuid(), filepath.Join(root, "tree")); err != nil {
		t.Errorf("a link to the folder it is in: %v", err)
	}
}

// The commands in the message mend what it names, whatever the name.
func TestTrustErrorMends(t *testing.T) {
	root := build(t, "it's/a b.yml", "it's/2", "it's/3", "it's/4", "it's/5", "it's/6", "it's/7")
	entries, err := os.ReadDir(filepath.Join(root, "it's"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		chmod(t, filepath.Join(root, "it's", e.Name()), 0o666)
	}
	err = Trusted(os.Geteuid(), root)
	if text := err.Error(); strings.Count(text, "chmod go-w") != 5 || !strings.HasSuffix(text, "and 2 more") {
		t.Errorf("the message does not name the first five:\n%s", text)
	}
	var trust *TrustError
	if !errors.As(err, &trust) {
		t.Fatal(err)
	}
	for _, u := range trust.Found {
		if out, err := exec.Command("sh", "-c", u.Mend).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", u.Mend, err, out)
		}
	}
	if err := Trusted(os.Geteuid(), root); err != nil {
		t.Errorf("after all commands: %v", err)
	}
}
