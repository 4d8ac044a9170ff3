//go:build e2efull

package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestThousandRuns runs a playbook a thousand times, two at a time, and cuts
// every tenth run short. Nothing of any of them is left, in this process or on
// this machine, and memory does not grow.
func TestThousandRuns(t *testing.T) {
	const runs, every = 1000, 100
	r := localRun(t, playOf("- name: Task\n  ansible.builtin.debug:"), map[string]string{"hosts": oneHost})
	r.Hosts, r.Log, r.Events = r.Hosts[:1], nil, nil
	once := func(cut bool) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, err := r.Run(ctx, func(e Event) {
			if cut && e.Kind == KindBegin {
				cancel()
			}
		})
		switch {
		case cut && res.Complete: // the task ended first
		case cut != errors.Is(err, context.Canceled) || !cut && (err != nil || res.Hosts["h1"].Outcome != OK):
			t.Errorf("cut short %t: %v, %+v", cut, err, res)
		}
	}
	once(true)
	once(false)
	folders := runFolders()
	begin := growth(t)
	t.Logf("%5s %10s %5s %8s", "runs", "goroutines", "fds", "RSS MiB")
	t.Logf("%5d %10d %5d %8d", 0, begin.goroutines, begin.fds, begin.mib)
	var early usage
	for done := 0; done < runs && !t.Failed(); done += every {
		var pair sync.WaitGroup
		for half := range 2 {
			pair.Go(func() {
				for i := range every / 2 {
					once((i+half)%10 == 0)
				}
			})
		}
		pair.Wait()
		eventually(t, "files and goroutines are as many as before", func() bool {
			now := growth(t)
			return now.fds <= begin.fds && now.goroutines <= begin.goroutines
		})
		now := growth(t)
		t.Logf("%5d %10d %5d %8d", done+every, now.goroutines, now.fds, now.mib)
		if done == 0 {
			early = now
		}
		if now.mib > early.mib+32 {
			t.Errorf("%d MiB after %d runs, %d MiB after %d", now.mib, done+every, early.mib, every)
		}
	}
	r.nobodyLeft(t)
	if children := childrenOf(os.Getpid()); len(children) > 0 {
		t.Errorf("children left: %q", children)
	}
	for _, f := range runFolders() {
		if !slices.Contains(folders, f) && !inUse(f) {
			t.Errorf("%s is left", f)
		}
	}
}

// usage is what a process has of what may leak.
type usage struct{ goroutines, fds, mib int }

func growth(t *testing.T) usage {
	t.Helper()
	runtime.GC()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	statm, err := os.ReadFile("/proc/self/statm") // in pages; the second is resident
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(statm))[1])
	return usage{runtime.NumGoroutine(), len(fds), pages * os.Getpagesize() >> 20}
}

// childrenOf lists the stat of each child of a process, zombies too.
func childrenOf(pid int) (found []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		text, _ := os.ReadFile(s)
		if p, _ := parent(string(text)); p == pid {
			found = append(found, string(text))
		}
	}
	return found
}

func runFolders() []string {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if os.Geteuid() == 0 {
		base = "/run"
	}
	found, _ := filepath.Glob(filepath.Join(base, runPrefix+"*"))
	return found
}

// inUse says whether a run of another process has a folder, or had it a moment
// ago.
func inUse(dir string) bool {
	f, err := lockDir(dir)
	if err != nil {
		return true
	}
	f.Close()
	return false
}
