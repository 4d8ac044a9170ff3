package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

// output is what a process that still runs has printed.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// waiting starts a run that waits in wave 0 until the fifo is written.
func (b *bench) waiting() (c *exec.Cmd, out *output) {
	b.t.Helper()
	b.write("settings.yaml", "{}\n")
	if err := syscall.Mkfifo(b.path("fifo"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	c, out = b.command(), &output{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	b.eventually("wave 0 is touched", func() bool { return b.touched() == "one" })
	return c, out
}

// orphaned waits until the Ansible of a run that was killed has ended.
func (b *bench) orphaned() {
	b.t.Helper()
	b.eventually("the orphan has ended", func() bool {
		f, err := os.Open(b.path("state/lock"))
		if err != nil {
			b.t.Fatal(err)
		}
		defer f.Close()
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	})
}

// release lets the waiting task, and all after it, end.
func (b *bench) release() {
	b.t.Helper()
	f, err := os.OpenFile(b.path("fifo"), os.O_WRONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	os.Remove(b.path("fifo"))
	f.Close() // the reader, which has been waiting for a writer, sees the end
}

// A second run is refused and leaves the first alone. One Ctrl-C finishes the
// wave, and begins no other.
func TestInterruptOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, out := b.waiting()
	r := b.do(b.command())
	if r.code != 5 {
		t.Errorf("a second run: exit code %d, want 5", r.code)
	}
	wants(t, "a second run", r.stderr, "another run", fmt.Sprint(c.Process.Pid))
	if m := b.metrics(); !m.Running || !m.LastRun.IsZero() {
		t.Errorf("a second run spoke for the first: %+v", m)
	}
	c.Process.Signal(os.Interrupt)
	b.eventually("the run says what it does now", func() bool { return strings.Contains(out.String(), "no other wave begins") })
	if j := b.journal(); j.State != orchestrator.Running {
		t.Errorf("the run was cut short: %+v", j)
	}
	b.release()
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if got := b.touched(); got != "one" {
		t.Errorf("touched %q", got)
	}
	if r := b.journal(); r.State != orchestrator.Interrupted || r.Waves[0].State != orchestrator.Passed {
		t.Errorf("journal: %+v", r)
	}
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, out := b.waiting()
	c.Process.Signal(syscall.SIGTERM)
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 143 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	r := b.journal()
	if r.State != orchestrator.Interrupted || r.Waves[0].Hosts[0].Outcome != orchestrator.HostInterrupted {
		t.Errorf("journal: %+v", r)
	}
	left, _ := exec.Command("pgrep", "-f", b.path("project")).Output()
	if len(left) > 0 {
		t.Errorf("processes left: %s", left)
	}
	if m := b.metrics(); m.ExitCode != 143 || m.Running {
		t.Errorf("metrics: %+v", m)
	}
}
