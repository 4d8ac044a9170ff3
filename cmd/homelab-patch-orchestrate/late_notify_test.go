//go:build e2e

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"homelab-patch-orchestrate/e2e/discord"
)

// A signal that comes when the run is over does not change how it ended.
func TestSignalAtTheEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := newWorld(t, b, "")
	w.front.Set(discord.Fault{Kind: "hang"})
	c := b.command()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	b.eventually("the end of the run", func() bool {
		m, _ := os.ReadFile(b.path("run.prom"))
		return bytes.Contains(m, []byte("last_exit_code 0"))
	})
	c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if m := b.metrics(); m.Pending["discord"] != 1 || m.Pending["ntfy"] != 0 {
		t.Errorf("%+v", m.Pending)
	}
}

// A run that was killed is told of by whoever finds it, also by a dry run; a
// dry run that was killed is nobody's business.
func TestKilledIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := newWorld(t, b, "textfile: run.prom\n")
	kill := func(args ...string) {
		t.Helper()
		c := b.command(args...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		b.eventually("the task", func() bool {
			left, _ := filepath.Glob(b.path("state/runs/*/journal.json"))
			return len(left) > 0
		})
		c.Process.Kill()
		c.Wait()
	}
	after := func(args ...string) {
		t.Helper()
		b.orphaned()
		b.run(0, args...)
	}
	kill("--check")
	after("--check")
	b.do(b.bare("notify", "flush", "--config", b.path("settings.yaml"), "--state", b.path("state")))
	if d, n := w.heard(); d+n != "" {
		t.Errorf("a dry run was told of: %q %q", d, n)
	}
	os.RemoveAll(b.path("state/runs"))
	kill()
	after("--check")
	if d, n := w.heard(); d+n != "" {
		t.Errorf("a dry run has sent: %q %q", d, n)
	}
	if r := b.do(b.bare("notify", "flush", "--config", b.path("settings.yaml"), "--state", b.path("state"))); r.code != 0 {
		t.Errorf("flush: %d %s", r.code, r.stderr)
	}
	if d, n := w.heard(); !strings.HasPrefix(d, "Patching was interrupted") || n != d {
		t.Errorf("Discord heard %q, ntfy %q", d, n)
	}
}
