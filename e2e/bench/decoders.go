package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"homelab-patch-orchestrate/runner"
)

// record runs the real Ansible once and keeps our stream and the stock
// document of the same run.
func (b *bench) record() error {
	events, err := os.Create(filepath.Join(b.tmp, "recorded.jsonl"))
	if err != nil {
		return err
	}
	defer events.Close()
	document, err := os.Create(filepath.Join(b.tmp, "recorded.json"))
	if err != nil {
		return err
	}
	defer document.Close()
	_, err = runner.Playbook{
		Dir: b.project, Playbook: "outputs.yml", Inventory: []string{"hosts.yml"}, Hosts: slices.Concat(fleet...),
		Events: events, Document: document,
	}.Run(context.Background(), nil)
	return err
}

var (
	rate  = regexp.MustCompile(`(?m)^BenchmarkRecorded/(\S+?)(?:-\d+)?\s.*?([\d.e+]+) results/s`)
	speed = regexp.MustCompile(`(?m)^BenchmarkEvents\S*\s.*?([\d.e+]+) events/s`)
)

// decoders compares how fast the same run is read. The peer may be imported by
// package runner alone, so the contest itself is a benchmark there.
func (b *bench) decoders(p *page) error {
	if err := b.record(); err != nil {
		return err
	}
	test := filepath.Join(b.tmp, "runner.test")
	if out, err := exec.Command("go", "test", "-c", "-o", test, "./runner").CombinedOutput(); err != nil {
		return fmt.Errorf("build the benchmarks of runner: %w\n%s", err, out)
	}
	const ours, document, peer = "Decode", "DecodeJSONCallback", "ParseJSONResultsStream"
	rates := map[string][]float64{}
	var events []float64
	for range rounds {
		c := exec.Command(test, "-test.run=^$", "-test.bench=^Benchmark(Recorded|Events)$")
		c.Dir = "runner"
		c.Env = append(os.Environ(), "RECORDED="+filepath.Join(b.tmp, "recorded"))
		out, err := c.Output()
		if err != nil {
			return fmt.Errorf("benchmarks of runner: %w\n%s", why(err), out)
		}
		if m := speed.FindStringSubmatch(string(out)); m != nil {
			n, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				return err
			}
			progress("events of 1 kB           %8.0f a second of CPU", n)
			events = append(events, n)
		}
		for _, m := range rate.FindAllStringSubmatch(string(out), -1) {
			r, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return err
			}
			progress("%-24s %8.0f results/s", m[1], r)
			rates[m[1]] = append(rates[m[1]], r)
		}
	}
	if len(events) != rounds {
		return fmt.Errorf("benchmarks of runner: %d figures of events of 1 kB, want %d", len(events), rounds)
	}
	for _, name := range []string{ours, document, peer} {
		if len(rates[name]) != rounds {
			return fmt.Errorf("benchmarks of runner: %d figures for %s, want %d", len(rates[name]), name, rounds)
		}
	}
	ratio := func(a string) (s []float64) {
		for i := range rates[a] {
			s = append(s, rates[a][i]/rates[peer][i])
		}
		return s
	}
	p.figure("results decoded ÷ go-ansible's", "×", ratio(ours), atLeast, 5, fmt.Sprintf(
		"`Decode` and the fold to a result for each host, against go-ansible's `ParseJSONResultsStream`, on one real run of "+
			"10 hosts × 10 tasks with 4 kB of output each: our stream of it, and the stock callback's document of the same run. "+
			"Ours: %s results/s. Theirs: %s.", format(spreadOf(rates[ours])), format(spreadOf(rates[peer]))))
	p.figure("events of 1 kB decoded and folded, a second of CPU", "", events, atLeast, 100_000,
		"Half of them results; the work of the garbage collector is in it. An event costs one allocation, its data, which a test of "+
			"runner holds to.")
	p.figure("the stock document decoded ÷ go-ansible's", "×", ratio(document), 0, 0, fmt.Sprintf(
		"`DecodeJSONCallback` and the fold on the very same document: %s results/s, in memory that does not grow with it.",
		format(spreadOf(rates[document]))))
	return nil
}

// callback publishes what the carried plugin costs inside of Ansible.
func (b *bench) callback(p *page) error {
	var costs []float64
	for range rounds {
		out, err := exec.Command("/usr/bin/python3", filepath.Join(b.tmp, "callback.py"),
			"runner/callback_plugins/runner_events.py", filepath.Join(b.project, "outputs.txt")).Output()
		if err != nil {
			return fmt.Errorf("callback: %w", why(err))
		}
		us, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			return err
		}
		progress("callback: %.1f µs", us)
		costs = append(costs, us)
	}
	p.figure("CPU of the callback plugin, a task on a host", "µs", costs, 0, 0,
		"What the carried plugin adds to Ansible: two events, the result with 4 kB of output.")
	return nil
}
