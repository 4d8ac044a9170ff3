package tui

import (
	"fmt"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// BenchmarkFrame draws a wave of 500 hosts of which 48 can be seen.
func BenchmarkFrame(b *testing.B) {
	wave := orchestrator.WaveReport{State: orchestrator.Running}
	for i := range 500 {
		wave.Hosts = append(wave.Hosts, orchestrator.HostReport{Name: fmt.Sprintf("node%05d.lab.example", i)})
	}
	r := NewRun("run", []orchestrator.WaveReport{wave}, nil)
	at := time.Now()
	for i := range 500 {
		r.Event(runner.Event{Kind: runner.KindBegin, Time: at, Host: wave.Hosts[i].Name, Task: "Upgrade the packages"})
	}
	b.ReportAllocs()
	for b.Loop() {
		if lines := r.view(look{width: 160, room: 49, color: true, at: at}); len(lines) != 49 {
			b.Fatalf("%d lines", len(lines))
		}
	}
}
