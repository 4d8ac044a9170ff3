//go:build e2efull

package ara

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// light is 20 tasks that Ansible does itself, so that what runs beside them weighs the most.
func light() string {
	var b strings.Builder
	b.WriteString("- hosts: patching_targets\n  gather_facts: false\n  tasks:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "    - name: Task %d\n      ansible.builtin.command: echo %d\n", i, i)
	}
	return b.String()
}

// TestCost compares what 3 hosts × 20 tasks cost without a record, with ours, and with the callback of ARA: CPU seconds of
// the run and of all it started, in turns, and of our own process alone.
func TestCost(t *testing.T) {
	server := newServer(t)
	ev := e2e.Record(t, nil, "ara-cost", "What the record costs a run")
	s := newSite(t, server.url())
	s.write("project/patch.yml", light(), 0o644)
	s.write("hosts.yml", strings.NewReplacer("{one: {}, ctl", "{one: {}, two: {}, three: {}, ctl", "wave0: {hosts: {one: {}}", "wave0: {hosts: {one: {}, two: {}, three: {}}").Replace(twoWaves), 0o644)
	callback := plugins(t)
	type cost struct{ all, own float64 }
	costs := map[string][]cost{}
	kinds := []string{"none", "ours", "callback"}
	measure := func(kind string) cost {
		env := []string{}
		s.settings(fmt.Sprintf("forward: %t", kind == "ours"))
		if kind == "callback" {
			env = []string{"ANSIBLE_CALLBACK_PLUGINS=" + callback, "ARA_API_CLIENT=http", "ARA_API_SERVER=" + server.url(), "ARA_API_USERNAME=" + user, "ARA_API_PASSWORD=" + password}
		}
		c := s.run(append(env, "GODEBUG=")...)
		c.Args = append(c.Args, "--wave", "0")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		own, stop := make(chan float64), make(chan struct{})
		go watchOwn(c.Process.Pid, stop, own)
		err := c.Wait()
		close(stop)
		self := <-own
		if err != nil {
			t.Fatal(err)
		}
		return cost{(c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds(), self}
	}
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("ROUNDS")); err == nil {
		rounds = n
	}
	for range rounds {
		for _, k := range kinds {
			costs[k] = append(costs[k], measure(k))
		}
	}
	median := func(kind string, of func(cost) float64) float64 {
		var all []float64
		for _, c := range costs[kind] {
			all = append(all, of(c))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	all, own := func(c cost) float64 { return c.all }, func(c cost) float64 { return c.own }
	base := median("none", all)
	added := 100 * (median("ours", own) - median("none", own)) / base
	theirs := 100 * (median("callback", all) - base) / base
	for _, k := range kinds {
		line := fmt.Sprintf("%-9s %6.2f s in all, %5.2f s in our own process (medians of %d)", k, median(k, all), median(k, own), len(costs[k]))
		t.Log(line)
		ev.Lines("record: "+k, line)
	}
	sum := fmt.Sprintf("ours adds %.2f %% of the run's CPU time, in our own process, beside the run; the callback of ARA adds %.1f %%, in Ansible", added, theirs)
	t.Log(sum)
	ev.Lines("3 hosts × 20 tasks, one ansible-playbook", sum)
	if added >= 1 {
		t.Error("that is 1 % or more")
	}
}

// watchOwn says how much CPU time a process itself took, its children left out, in seconds.
func watchOwn(pid int, stop <-chan struct{}, own chan<- float64) {
	last := 0.0
	for {
		select {
		case <-stop:
			own <- last
			return
		case <-time.After(5 * time.Millisecond):
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		var user, system float64
		fmt.Sscan(f[11], &user)
		fmt.Sscan(f[12], &system)
		last = max(last, (user+system)/100)
	}
}
