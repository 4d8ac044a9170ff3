package main

import (
	"errors"
	"io/fs"
	"time"

	"homelab-patch-orchestrate/metrics"
	"homelab-patch-orchestrate/orchestrator"
)

// record writes what a run may say in patch_orchestrate.prom. A metric that
// cannot be written is reported and stops nothing.
type record struct {
	path string
	kind orchestrator.Kind
	hold string // path of the hold file
	out  *printer
}

// begin says that a run is going on.
func (r record) begin() {
	r.update(func(m *metrics.Run) { m.Running = true })
}

// held says that a run was refused because of a hold. The last run's result
// stands.
func (r record) held() {
	r.update(func(m *metrics.Run) { m.Running = false })
}

// refused says that a full run could not even take the lock: another may be
// under way, and what it wrote stands.
func (r record) refused(code int) {
	if r.kind == orchestrator.Full {
		r.update(func(m *metrics.Run) { m.ExitCode, m.LastRun, m.Duration = code, time.Now(), 0 })
	}
}

// end says how the run went. Only a full run speaks for the fleet; a narrowed
// one may say that something failed, and never that all is well.
func (r record) end(report orchestrator.Report, code int) {
	r.update(func(m *metrics.Run) {
		m.Running = false
		if r.kind != orchestrator.Full && code == orchestrator.ExitDone {
			return
		}
		now := time.Now()
		m.ExitCode, m.LastRun, m.Duration = code, now, 0
		if !report.Started.IsZero() {
			m.Duration = now.Sub(report.Started)
		}
		if r.kind != orchestrator.Full {
			return
		}
		m.Waves = waves(report)
		if code == orchestrator.ExitDone {
			m.LastSuccess = now
		}
	})
}

func waves(report orchestrator.Report) []metrics.Wave {
	var all []metrics.Wave
	for _, w := range report.Waves {
		m := metrics.Wave{Number: w.Number, Hosts: map[string]int{}}
		for _, h := range w.Hosts {
			m.Hosts[string(h.Outcome)]++
		}
		if !w.Ended.IsZero() {
			m.Duration = w.Ended.Sub(w.Started)
		}
		all = append(all, m)
	}
	return all
}

func (r record) update(change func(*metrics.Run)) {
	if r.kind == orchestrator.Check {
		return
	}
	m, err := metrics.Read(r.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// What was known of the last success is gone; claiming one would be worse.
		r.out.warn("metrics: the old file is not used: %v", err)
		m = metrics.Run{}
	}
	change(&m)
	m.Held = r.hold != "" && exists(r.hold)
	m.Version = buildVersion()
	if err := metrics.Write(r.path, m); err != nil {
		r.out.warn("metrics: %v; the run is not affected", err)
	}
}
