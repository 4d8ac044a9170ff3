package orchestrator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// childHoldLock begins a run and keeps the lock until its input ends.
func childHoldLock(dir string) {
	lock := must(must(Open(dir)).Lock())
	fmt.Println(must(lock.Begin()).ID)
	io.Copy(io.Discard, os.Stdin)
}

// childLeaveLock takes the lock and dies; a child that inherited it lives on until its input ends.
func childLeaveLock(dir string) {
	lock := must(must(Open(dir)).Lock())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ORCHESTRATOR_TEST=wait")
	cmd.Stdin = os.Stdin
	cmd.ExtraFiles = []*os.File{lock.File()}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	fmt.Println(cmd.Process.Pid)
	os.Exit(0)
}

// start starts a child and returns its first line of output, and its input.
func start(t *testing.T, cmd *exec.Cmd) (string, io.WriteCloser) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	return strings.TrimSpace(line), in
}

func TestLockHeldByAnotherProcess(t *testing.T) {
	dir := t.TempDir() + "/state"
	cmd := child(t, "hold-lock", dir)
	id, in := start(t, cmd)
	store, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock()
	if lock != nil || !errors.Is(err, ErrLocked) {
		t.Fatalf("lock %v, error %v", lock, err)
	}
	if e := asError[*LockedError](t, err); e.PID != cmd.Process.Pid || e.Run != id || e.Ended {
		t.Errorf("holder %+v, want process %d, run %s", e, cmd.Process.Pid, id)
	}
	if want := fmt.Sprintf("another run is under way: %s (process %d)", id, cmd.Process.Pid); err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if code := ExitCode(Report{}, fmt.Errorf("run: %w", err)); code != ExitLocked {
		t.Errorf("exit code %d", code)
	}
	in.Close()
	cmd.Wait()
	if lock, err = store.Lock(); err != nil {
		t.Fatalf("after the holder ended: %v", err)
	}
	lock.Close()
}

// The engine inherits the lock: while it lives, no second run begins, whatever became of the first.
func TestLockOutlivesItsOwnerInAChild(t *testing.T) {
	dir := t.TempDir() + "/state"
	cmd := child(t, "leave-lock", dir)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd.Stdin = r
	out, err := cmd.Output() // returns when both have given up the output: the heir never had it
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	var heir int
	fmt.Sscan(string(out), &heir)
	store, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Lock()
	if e := asError[*LockedError](t, err); !e.Ended || e.PID != cmd.Process.Pid || !strings.Contains(err.Error(), "still runs") {
		t.Errorf("error %v, want that process %d has ended", err, cmd.Process.Pid)
	}
	defer syscall.Kill(heir, syscall.SIGKILL)
	file, err := os.Open(dir + "/lock")
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil { // waits
		t.Fatal(err)
	}
	file.Close()
	lock, err := store.Lock()
	if err != nil {
		t.Fatalf("after the heir ended: %v", err)
	}
	lock.Close()
}

func TestLockFile(t *testing.T) {
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	info, err := lock.File().Stat()
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := store.Lock(); !errors.Is(err, ErrLocked) || err.Error() != fmt.Sprintf("another run is under way (process %d)", os.Getpid()) {
		t.Errorf("second lock in the same process: %v", err)
	}
	// What a stranger left in the file is not believed.
	if err := os.WriteFile(store.Dir()+"/lock", []byte("\x1b[31m everything is fine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Lock(); err == nil || err.Error() != "another run is under way" {
		t.Errorf("lock file with garbage: %v", err)
	}
}

func TestLockIsNoLink(t *testing.T) {
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	victim := t.TempDir() + "/precious"
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Symlink(victim, store.Dir()+"/lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Lock(); err == nil {
		t.Error("a link was followed")
	}
	if data, _ := os.ReadFile(victim); string(data) != "precious" {
		t.Errorf("the file behind the link is now %q", data)
	}
}

// Ids sort in the order of beginning within one second, and when the clock goes back.
func TestIDsSort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.run.ID
		for i := range 20 {
			f.ok(os.Mkdir(f.run.Dir, 0o700))
			if i == 10 { // as if the clock had been a year ahead
				last = "20010101T000000Z-ffffff"
				f.ok(os.Mkdir(f.store.runDir(last), 0o700))
			}
			f.begin()
			if f.run.ID <= last || !validID(f.run.ID) {
				t.Fatalf("id %s after %s", f.run.ID, last)
			}
			last = f.run.ID
		}
		ids, err := f.store.IDs()
		f.ok(err)
		if len(ids) != 21 {
			t.Errorf("%d runs, want 21", len(ids))
		}
	})
}
