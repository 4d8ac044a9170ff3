//go:build e2e

package main

import (
	"os"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

// A retry has the hosts that were lost, and no other; when it brings them through, the full run is a success.
func TestRetry(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	b.write("settings.yaml", "budget: 1\n")
	b.write("break-one", "")
	b.write("break-ctl", "")
	b.run(4)
	id := b.journal().ID
	if got := b.touched(); got != "one ctl" {
		t.Errorf("touched %q", got)
	}
	os.Remove(b.path("break-one"))
	b.verb(4, "retry", id)
	if got := b.touched(); got != "one ctl one ctl" {
		t.Errorf("touched %q", got)
	}
	if m := b.metrics(); m.ExitCode != 4 || !m.LastSuccess.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
	os.Remove(b.path("break-ctl"))
	b.verb(0, "retry", "latest")
	if got := b.touched(); got != "one ctl one ctl ctl" {
		t.Errorf("touched %q", got)
	}
	j := b.journal()
	if m := b.metrics(); m.ExitCode != 0 || m.LastSuccess.IsZero() || len(m.Waves) != 2 || m.Waves[0].Hosts["patched"] != 1 {
		t.Errorf("metrics: %+v", m)
	}
	if j.Kind != orchestrator.Retry || len(j.Waves) != 1 {
		t.Errorf("%+v", j)
	}
	wants(t, "nobody", b.verb(2, "retry", j.ID).stderr, "has no host left")
	wants(t, "unknown", b.verb(2, "retry", "20200101T000000Z-000000").stderr, "there is no run")
}
