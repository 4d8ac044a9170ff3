package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestNothingLeaks runs a crashing engine twenty times and the real one
// twice; TestThousandRuns goes on. It is not parallel: it counts what the whole process has.
func TestNothingLeaks(t *testing.T) {
	r := localRun(t, playOf("- ansible.builtin.debug:"), nil)
	count := func() (fds, goroutines int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries), runtime.NumGoroutine()
	}
	once := func(engine string) {
		p := r.Playbook
		p.Bin = engine
		_, err := p.Run(t.Context(), nil)
		if (err == nil) != (engine == "") {
			t.Errorf("engine %q: %v", engine, err)
		}
	}
	script("echo out; echo err >&2; echo '{\"kind\":\"start\"' >&3; kill -9 $$")(r)
	crash := r.Bin
	once(crash)
	once("")
	fds, goroutines := count()
	for range 20 {
		once(crash)
	}
	once("")
	once("/no/such/engine")
	eventually(t, "files and goroutines are as many as before", func() bool {
		f, g := count()
		return f <= fds && g <= goroutines
	})
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		text, _ := os.ReadFile(s)
		if p, state := parent(string(text)); p == os.Getpid() && state == "Z" {
			t.Errorf("a zombie: %s", text)
		}
	}
	r.nobodyLeft(t)
}

// parent returns the parent and the state of a process from its stat.
func parent(stat string) (ppid int, state string) {
	fmt.Sscan(stat[strings.LastIndexByte(stat, ')')+1:], &state, &ppid)
	return ppid, state
}
