package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

func readLease(t *testing.T, path string) *orchestrator.Lease {
	t.Helper()
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	l := &orchestrator.Lease{}
	if err := json.Unmarshal(data, l); err != nil {
		t.Fatal(err)
	}
	return l
}

// A run has the lease from before its plan to its end; who is killed leaves it, and who goes on takes it over. The program
// of the role ansible_pull understands it.
func TestLease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	path := b.path("state/lease.json")
	c, _ := b.waiting()
	l := readLease(t, path)
	if l == nil || l.Run != b.journal().ID {
		t.Fatalf("the lease of run %s: %+v", b.journal().ID, l)
	}
	const reads = `
import importlib.machinery, importlib.util, sys, time
loader = importlib.machinery.SourceFileLoader('program', sys.argv[1])
program = importlib.util.module_from_spec(importlib.util.spec_from_loader('program', loader))
sys.dont_write_bytecode = True
loader.exec_module(program)
print(program.leased(sys.argv[2], time.time(), program.boot_id()))`
	out, err := exec.Command("python3", "-c", reads, "../../ansible/roles/ansible_pull/files/homelab-ansible-pull", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "run "+l.Run+" has the lease until") {
		t.Errorf("the pull reads it as %q, %v", out, err)
	}
	c.Process.Kill()
	c.Wait()
	os.Remove(b.path("fifo"))
	b.orphaned()
	if readLease(t, path) == nil {
		t.Error("killed, the run gave the lease up: nobody knows what it has left")
	}
	b.verb(0, "resume")
	if l := readLease(t, path); l != nil {
		t.Errorf("the run is over, and the lease is %+v", l)
	}

	os.Remove(b.path("touched"))
	b.kill()
	b.verb(0, "resume", "--boot") // closes it
	if l := readLease(t, path); l != nil {
		t.Errorf("the run is closed, and the lease is %+v", l)
	}
	b.write("hosts.yml", "all: {}\n")
	b.run(2)
	if l := readLease(t, path); l != nil {
		t.Errorf("the run was refused, and the lease is %+v", l)
	}
	b.write("hosts.yml", twoHosts)
	b.write("state/lease.json", "{}") // of a run that died; a dry run leaves it alone
	b.run(0, "--check")
	if l := readLease(t, path); l == nil || l.Run != "" {
		t.Errorf("a dry run, and the lease is %+v", l)
	}
}

// lockedStore is a state directory with nothing in it, and its lock.
func lockedStore(t *testing.T) (*orchestrator.Store, *orchestrator.Lock) {
	t.Helper()
	store, err := orchestrator.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	return store, lock
}

// It is good for as long as its run goes on, however long that is.
func TestLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, lock := lockedStore(t)
		defer lock.Close()
		for _, over := range []bool{false, true} {
			l := &lease{lock: lock, out: &printer{out: os.Stdout, err: os.Stderr}, stop: make(chan struct{}), done: make(chan struct{})}
			go l.renew("r", "")
			for range 30 {
				time.Sleep(orchestrator.LeaseLife / 3)
				synctest.Wait()
				got := readLease(t, filepath.Join(store.Dir(), "lease.json"))
				if got == nil || time.Until(time.Unix(got.Expires, 0)) < orchestrator.LeaseLife/2 {
					t.Fatalf("after %s the lease is %+v", orchestrator.LeaseLife/3, got)
				}
			}
			if !over {
				l.goesOn()
			}
			l.end()
			if got := readLease(t, filepath.Join(store.Dir(), "lease.json")); (got == nil) != over {
				t.Errorf("over: %v, and the lease is %+v", over, got)
			}
		}
	})
}
