package metrics

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// names lists a folder.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWrite(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := t.TempDir()
	path := filepath.Join(dir, "patch_orchestrate.prom")
	for name, run := range cases() {
		if err := Write(path, run); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil || !reflect.DeepEqual(got, run) {
			t.Errorf("%s: Read = %+v, %v", name, got, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestWriteErrorsLeaveTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.prom")
	if err := Write(path, Run{Version: "old"}); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, Run{Version: "\xff"}); err == nil {
		t.Error("a run that cannot be encoded was written")
	}
	if got, err := Read(path); got.Version != "old" || err != nil {
		t.Errorf("Read = %+v, %v", got, err)
	}
	if err := Write(filepath.Join(dir, "missing", "x.prom"), Run{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	// A folder in the file's place makes the last step, the rename, fail.
	if err := os.MkdirAll(filepath.Join(dir, "y.prom", "z"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "y.prom"), Run{}); err == nil {
		t.Error("a folder was replaced")
	}
	if got := strings.Join(names(t, dir), " "); got != "x.prom y.prom" {
		t.Errorf("left behind: %s", got)
	}
}

// node_exporter may read at any moment, and it reads every file that ends in .prom.
func TestWriteIsNeverSeenHalf(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.prom")
	runs := []Run{cases()["halted"], cases()["never"]}
	if err := Write(path, runs[1]); err != nil {
		t.Fatal(err)
	}
	written := make(chan error)
	go func() {
		for i := range 200 {
			if err := Write(path, runs[i%2]); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for {
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		if got, err := Read(path); err != nil || !reflect.DeepEqual(got, runs[0]) && !reflect.DeepEqual(got, runs[1]) {
			t.Errorf("a reader saw %+v, %v", got, err)
			<-written
			return
		}
		if found, err := filepath.Glob(filepath.Join(dir, "*.prom")); err != nil || len(found) != 1 {
			t.Errorf("node_exporter would read %v, %v", found, err)
			<-written
			return
		}
	}
}

// A run and a `notify flush` both read the file, change a part of it and write it back.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.prom")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	if err := Write(path, Run{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	const changes = 50
	for _, channel := range []string{"discord", "ntfy"} {
		go func() {
			for range changes {
				unlock, err := Lock(t.Context(), path)
				if err != nil {
					done <- err
					return
				}
				r, err := Read(path)
				if r.Pending == nil {
					r.Pending = map[string]int{}
				}
				r.Pending[channel]++
				err = errors.Join(err, Write(path, r))
				unlock()
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if r, err := Read(path); err != nil || r.Pending["discord"] != changes || r.Pending["ntfy"] != changes {
		t.Errorf("changes were lost: %v, %v", r.Pending, err)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
	if _, err := Lock(t.Context(), filepath.Join(path, "missing", "x.prom")); err == nil {
		t.Error("a missing folder was locked")
	}
}
