//go:build e2efull

package ara

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

// cost is what a run took, in seconds of CPU: it and all that it started, and our own process alone.
type cost struct{ all, own float64 }

// TestCost compares what 3 hosts × 20 tasks cost without a record, with ours, and with the callback of ARA, in turns. What
// decides is what our own process takes more, which another load on the machine hardly touches.
func TestCost(t *testing.T) {
	server := newServer(t, forAll)
	ev := e2e.Record(t, nil, "ara-cost", "What the record costs a run")
	s := newSite(t, server.url())
	s.write("project/patch.yml", light(), 0o644)
	s.write("hosts.yml", strings.NewReplacer("{one: {}, ctl", "{one: {}, two: {}, three: {}, ctl", "wave0: {hosts: {one: {}}", "wave0: {hosts: {one: {}, two: {}, three: {}}").Replace(twoWaves), 0o644)
	s.write("env", "ARA_API_SERVER="+server.url()+"\n", 0o600)
	callback := plugins(t)
	measure := func(kind string) cost {
		env := []string{}
		s.settings(fmt.Sprintf("forward: %t", kind == "ours"))
		if kind == "callback" {
			env = []string{"ANSIBLE_CALLBACK_PLUGINS=" + callback, "ARA_API_CLIENT=http", "ARA_API_SERVER=" + server.url()}
		}
		c := s.run(append(env, "GODEBUG=")...)
		c.Args = append(c.Args, "--wave", "0")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		self := ownOf(t, c.Process.Pid)
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		// It counts only if all is on record by the end of the run.
		id, dir := s.last()
		books := server.labelled("run:" + id)
		if want := map[string]int{"none": 0, "ours": 1, "callback": 1}[kind]; len(books) != want {
			t.Fatalf("%s: %d playbooks on record of run %s, want %d", kind, len(books), id, want)
		}
		for _, b := range books {
			if n := b["items"].(thing)["results"]; b["status"] != "completed" || n != 60.0 {
				t.Fatalf("%s: a playbook is %v with %v results", kind, b["status"], n)
			}
		}
		if st, err := ReadStatus(dir); kind == "ours" && (err != nil || st.State != "done") {
			t.Fatalf("%+v %v", st, err)
		}
		return cost{(c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds(), self}
	}
	rounds := 8
	if n, err := strconv.Atoi(os.Getenv("ROUNDS")); err == nil {
		rounds = n
	}
	costs := map[string][]cost{}
	kinds := []string{"none", "ours", "callback"}
	measure("none") // files are read from the disk
	for n := range rounds {
		for i := range kinds { // each is first as often as the others
			k := kinds[(n+i)%len(kinds)]
			costs[k] = append(costs[k], measure(k))
		}
	}
	all, own := func(c cost) float64 { return c.all }, func(c cost) float64 { return c.own }
	base, _, _ := spread(costs["none"], nil, all)
	percent := func(kind string, of func(cost) float64) (mean, least, most float64) {
		mean, least, most = spread(costs[kind], costs["none"], of)
		return 100 * mean / base, 100 * least / base, 100 * most / base
	}
	var lines []string
	for _, k := range kinds {
		a, a0, a1 := spread(costs[k], nil, all)
		o, o0, o1 := spread(costs[k], nil, own)
		lines = append(lines, fmt.Sprintf("%-8s  %6.2f s in all (%.2f to %.2f), %.3f s in our own process (%.2f to %.2f)", k, a, a0, a1, o, o0, o1))
	}
	added, least, most := percent("ours", own)
	lines = append(lines, "", fmt.Sprintf("ours adds         %5.2f %% of the run's CPU time (%.2f to %.2f), in our own process, beside the run", added, least, most))
	whole, least, most := percent("ours", all)
	lines = append(lines, fmt.Sprintf("  the whole of it %5.2f %% (%.2f to %.2f), which says how far two runs differ anyway", whole, least, most))
	theirs, least, most := percent("callback", all)
	lines = append(lines, fmt.Sprintf("the callback adds %5.2f %% (%.2f to %.2f), in Ansible, in the middle of its tasks", theirs, least, most))
	t.Log("\n" + strings.Join(lines, "\n"))
	ev.Lines(fmt.Sprintf("3 hosts × 20 tasks, one ansible-playbook, %d rounds of the three in turns; CPU seconds: the mean, the least and the most. "+
		"The server's own CPU is not in them. Each time all 60 results were on record when the run ended", rounds), lines...)
	if added >= 1 {
		t.Error("that is 1 % or more")
	}
}

// spread is the mean, the least and the most of what costs are above those of the same round.
func spread(costs, above []cost, of func(cost) float64) (mean, least, most float64) {
	for i, c := range costs {
		x := of(c)
		if above != nil {
			x -= of(above[i])
		}
		if i == 0 || x < least {
			least = x
		}
		if i == 0 || x > most {
			most = x
		}
		mean += x / float64(len(costs))
	}
	return mean, least, most
}

// ownOf waits until a process has ended, and says how much CPU time it took itself, what it started left out, in seconds.
func ownOf(t *testing.T, pid int) float64 {
	t.Helper()
	for { // it stays there to be looked at
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system float64
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &system)
	return (user + system) / 100
}
