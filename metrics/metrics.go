// Package metrics writes and reads patch_orchestrate.prom, the textfile that tells node_exporter how the latest run
// went.
//
//	last, err := metrics.Read(path)          // the zero Run if there is no file yet
//	last.Running = true
//	err = metrics.Write(path, last)
//
// # What it guarantees
//
// A reader sees the old file or the new one, never half of one: [Write] makes the new file beside the old, flushes it
// to the disk and renames it. What is written, [Read] reads back. The order of lines is fixed, so equal runs make
// equal files.
//
// # What the numbers mean
//
// All families are gauges without timestamps, and begin with homelab_patch_orchestrate. The two times are 0 as long as
// the event has never happened, so that an alert on time() - x fires on a controller that never patched anything.
// Numbers that would lie as 0 are absent instead: the exit code and duration of a run that never was, and the duration
// of a wave that did not start.
//
// # What it does not do
//
// It does not decide what a run may write: a narrowed run may set a failure and never clear one, and a dry run writes
// nothing. That is the caller's.
package metrics

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Run is what the file says. The zero value is a controller that never ran.
type Run struct {
	// ExitCode is the exit code of the latest run that ended. Written only if LastRun is not zero.
	ExitCode int
	// LastRun is when that run ended, to the second; zero for never.
	LastRun time.Time
	// LastSuccess is when a full run last ended with exit code 0, to the second; zero for never.
	LastSuccess time.Time
	// Duration is how long the run of LastRun took, to the millisecond. Written only if LastRun is not zero. Below zero,
	// as after a clock was set back, is written as 0: no reason to lose the exit code.
	Duration time.Duration
	// Running is whether a run is going on.
	Running bool
	// Held is whether a hold keeps the fleet from being patched.
	Held bool
	// HoldUntil is when the fleet's hold is to end, to the second; zero for no hold or no end. Zero is not written: a
	// number there would be an end. A hold past its end still holds.
	HoldUntil time.Time
	// HostHoldsUntil is the same for each host that is held by itself and has an end.
	HostHoldsUntil map[string]time.Time
	// Waves is the waves of the latest run, in any order, each number once.
	Waves []Wave
	// Pending is how many notifications wait in the outbox, by channel. A channel with none is written as 0; nil writes
	// no channel.
	Pending map[string]int
	// Dropped is how many notifications were given up, by channel, since there is an outbox; written as Pending is.
	Dropped map[string]int
	// Version is the version of the program that wrote the file; empty for unknown.
	Version string
}

// Wave is the hosts of one wave, counted.
type Wave struct {
	// Number is the wave's number.
	Number int
	// Hosts is how many hosts had each of the [Outcomes]. Outcomes left out are written as 0, and read as left out.
	Hosts map[string]int
	// Duration is how long the wave took, to the millisecond; zero or below for a wave that did not start.
	Duration time.Duration
}

// Outcomes returns every outcome a host can have, in the order they are documented.
func Outcomes() []string {
	return []string{"unchanged", "patched", "held", "failed", "unreachable", "interrupted", "not-attempted"}
}

const prefix = "homelab_patch_orchestrate_"

// Encode writes the run in the text format of Prometheus. The error is the writer's, or says what in the run cannot be
// written, before anything is.
func (r Run) Encode(w io.Writer) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("encode metrics: %w", err)
	}
	for _, family := range r.families() {
		if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
			return fmt.Errorf("encode metrics: %w", err)
		}
	}
	return nil
}

// check refuses what a reader would get back as something else.
func (r Run) check() error {
	numbers := map[int]bool{}
	for _, wave := range r.Waves {
		if numbers[wave.Number] || wave.Number < 0 {
			return fmt.Errorf("wave %d is there twice, or below zero", wave.Number)
		}
		numbers[wave.Number] = true
		for outcome, hosts := range wave.Hosts {
			if !slices.Contains(Outcomes(), outcome) || hosts < 0 {
				return fmt.Errorf("wave %d: %d hosts with outcome %q", wave.Number, hosts, outcome)
			}
		}
	}
	for _, counts := range []map[string]int{r.Pending, r.Dropped} {
		for channel, n := range counts {
			if !utf8.ValidString(channel) || n < 0 {
				return fmt.Errorf("%d notifications for channel %q", n, channel)
			}
		}
	}
	if !utf8.ValidString(r.Version) {
		return fmt.Errorf("version %q is not UTF-8", r.Version)
	}
	if r.ExitCode < 0 {
		return fmt.Errorf("exit code %d is below zero", r.ExitCode)
	}
	for host, at := range r.HostHoldsUntil {
		if host == "" || !utf8.ValidString(host) || !writable(at) {
			return fmt.Errorf("%v is not the end of a hold of host %q", at, host)
		}
	}
	if !r.HoldUntil.IsZero() && !writable(r.HoldUntil) {
		return fmt.Errorf("%v is not the end of a hold", r.HoldUntil)
	}
	for _, at := range []time.Time{r.LastRun, r.LastSuccess} {
		if !at.IsZero() && !writable(at) {
			return fmt.Errorf("%v is not a time of a run", at)
		}
	}
	return nil
}

// writable reports whether a time is one that a number in the file can mean.
func writable(at time.Time) bool { return at.Unix() > 0 && at.Unix() <= largest }

// families returns the run as gauges, those without a sample left out.
func (r Run) families() []*dto.MetricFamily {
	var all []*dto.MetricFamily
	add := func(name, help string, samples ...*dto.Metric) {
		if len(samples) > 0 {
			all = append(all, &dto.MetricFamily{Name: new(prefix + name), Help: &help, Type: dto.MetricType_GAUGE.Enum(), Metric: samples})
		}
	}
	waves := slices.Clone(r.Waves)
	slices.SortFunc(waves, func(a, b Wave) int { return a.Number - b.Number })

	if r.Version != "" {
		add("build_info", "1, with the version of homelab-patch-orchestrate that wrote this file.", sample(1, "version", r.Version))
	}
	add("held", "1 while a hold keeps the fleet from being patched.", sample(number(r.Held)))
	var ends []*dto.Metric
	if !r.HoldUntil.IsZero() {
		ends = append(ends, sample(unix(r.HoldUntil)))
	}
	for _, host := range slices.Sorted(maps.Keys(r.HostHoldsUntil)) {
		ends = append(ends, sample(unix(r.HostHoldsUntil[host]), "host", host))
	}
	add("hold_until_unixtime", "When a hold of the fleet, or of the host, is to end; past it, it still holds.", ends...)
	if !r.LastRun.IsZero() {
		add("last_duration_seconds", "How long the latest run took.", sample(seconds(max(0, r.Duration))))
		add("last_exit_code", "Exit code of the latest run; 0 is done.", sample(float64(r.ExitCode)))
	}
	add("last_run_unixtime", "When the latest run ended; 0 is never.", sample(unix(r.LastRun)))
	add("last_success_unixtime", "When a full run last ended with exit code 0; 0 is never.", sample(unix(r.LastSuccess)))
	add("notifications_dropped", "Notifications that were given up, too old or never taken.", byChannel(r.Dropped)...)
	add("notifications_pending", "Notifications that wait to be delivered.", byChannel(r.Pending)...)
	add("running", "1 while a run is going on.", sample(number(r.Running)))
	var durations, hosts []*dto.Metric
	for _, wave := range waves {
		label := strconv.Itoa(wave.Number)
		if wave.Duration > 0 {
			durations = append(durations, sample(seconds(wave.Duration), "wave", label))
		}
		for _, outcome := range Outcomes() {
			hosts = append(hosts, sample(float64(wave.Hosts[outcome]), "wave", label, "outcome", outcome))
		}
	}
	add("wave_duration_seconds", "How long a wave of the latest run took.", durations...)
	add("wave_hosts", "Hosts of a wave of the latest run, by outcome.", hosts...)
	return all
}

func byChannel(counts map[string]int) (samples []*dto.Metric) {
	for _, channel := range slices.Sorted(maps.Keys(counts)) {
		samples = append(samples, sample(float64(counts[channel]), "channel", channel))
	}
	return samples
}

// sample is one gauge; labels are names and values in turn.
func sample(value float64, labels ...string) *dto.Metric {
	m := &dto.Metric{Gauge: &dto.Gauge{Value: &value}}
	for pair := range slices.Chunk(labels, 2) {
		m.Label = append(m.Label, &dto.LabelPair{Name: &pair[0], Value: &pair[1]})
	}
	return m
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// seconds rounds to the millisecond, which survives the way through text and back.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
