package runner

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that was killed cannot remove its folder; the next run does, and
// leaves those of living runs.
func TestSweep(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	folder := func(name string, full bool) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if full {
			if err := os.WriteFile(filepath.Join(dir, "limit"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	dead, alive := folder(runPrefix+"dead", true), folder(runPrefix+"alive", true)
	young, other := folder(runPrefix+"young", false), folder("ansible-other", true)
	f, err := lockDir(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sweep(base)
	for dir, want := range map[string]bool{dead: false, alive: true, young: true, other: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: there %t, want %t", filepath.Base(dir), err == nil, want)
		}
	}
}

func TestRunDir(t *testing.T) {
	t.Parallel()
	dir, lock, err := runDir()
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if f, err := lockDir(dir); err == nil {
		f.Close()
		t.Error("it is not locked while in use")
	}
	lock.Close()
	if f, err := lockDir(dir); err != nil {
		t.Errorf("it is locked when no longer in use: %v", err)
	} else {
		f.Close()
	}
	os.RemoveAll(dir)
}
