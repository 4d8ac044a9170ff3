//go:build e2e

package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// momentsSite has something of each kind that a run may be cancelled in.
const momentsSite = `
- name: First
  hosts: h1, h2
  gather_facts: false
  handlers:
    - name: Handler
      ansible.builtin.command: sleep 0.3
  tasks:
    - name: Command
      ansible.builtin.command: sleep 0.3
      notify: Handler
    - name: Job
      ansible.builtin.command: sleep 1
      async: 600
      poll: 1
    - name: Retries
      ansible.builtin.command: "false"
      register: r
      until: r.attempts > 1
      failed_when: false
      retries: 2
      delay: 1
    - name: Connection
      ansible.builtin.wait_for_connection:
        delay: 1
    - name: Pause
      ansible.builtin.pause:
        seconds: 1
- name: Second
  hosts: h3
  gather_facts: false
  tasks:
    - name: Later
      ansible.builtin.command: sleep 0.3
`

// TestMoments cancels runs at random moments of their whole length: local
// ones and such over ssh. After each nothing of the run is left, and the result
// tells no more than the events. MOMENTS says how many (60), and MOMENTS_SEED
// repeats those of an earlier test.
func TestMoments(t *testing.T) {
	count := envInt(t, "MOMENTS", 60)
	seed := envInt(t, "MOMENTS_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("MOMENTS=%d MOMENTS_SEED=%d", count, seed)
	server := newSSHD(t)
	var mu sync.Mutex
	phases := map[string]int{}
	t.Run("runs", func(t *testing.T) {
		for i, c := range []struct{ name, hosts string }{{"local", localHosts}, {"ssh", server.hosts()}} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				dir := project(t, map[string]string{"site.yml": momentsSite, "hosts": "h3 ansible_host=127.0.0.1\n" + c.hosts})
				random := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
				length := cancelAt(t, dir, server.key, time.Hour).took
				n := count / 2
				t.Logf("a whole run took %.1f s", length.Seconds())
				order := random.Perm(n)
				for k, slot := range order { // one in each part, so that they are all over it
					at := time.Duration((float64(slot) + random.Float64()) / float64(n) * 1.1 * float64(length))
					t.Run(strconv.Itoa(k+1), func(t *testing.T) {
						m := cancelAt(t, dir, server.key, at)
						t.Logf("| %s | %.2f of %.1f | %s | %.2f | %s |", c.name, at.Seconds(), length.Seconds(), m.phase, m.took.Seconds(), m.came)
						mu.Lock()
						defer mu.Unlock()
						phases[m.kind]++
					})
				}
			})
		}
	})
	t.Logf("cancelled: %v", phases)
	if count < 40 {
		return // too few to hit each
	}
	for _, want := range []string{atStart, inTask} {
		if phases[want] == 0 {
			t.Errorf("no moment was %s", want)
		}
	}
	if phases[between]+phases[atEnd] == 0 {
		t.Error("no moment was between two tasks, or after the last")
	}
}

// What a run is at.
const (
	atStart = "before the first task"
	inTask  = "in a task"
	between = "between two tasks"
	atEnd   = "after the end"
)

// moment is how a run was cancelled, and how it ended.
type moment struct {
	kind, phase string        // what it was at
	took        time.Duration // from then to its end; for a whole run, from its beginning
	came        string        // how its hosts came out
}

// cancelAt runs the project and cancels it after a while.
func cancelAt(t *testing.T, dir, key string, after time.Duration) (m moment) {
	t.Helper()
	r := newRun(t, dir, "h1", "h2", "h3")
	r.PrivateKey, r.Grace = key, 3*time.Second
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("somebody said stop")
	var mu sync.Mutex // of all that follows
	told := ledger{open: map[string]Event{}}
	var seen []process
	folder, begun, cut := "", time.Now(), time.Time{}
	timer := time.AfterFunc(after, func() {
		mu.Lock()
		defer mu.Unlock()
		m.kind, m.phase = told.phase()
		folder, seen = r.folder(), descendants(r)
		cut = time.Now()
		cancel(cause)
	})
	r.do(ctx, t, func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		told.add(e)
	})
	r.nobodyLeft(t) // before anything else, or it could have gone meanwhile
	whole := timer.Stop()
	mu.Lock()
	defer mu.Unlock()
	m.took = time.Since(begun)
	if !whole {
		m.took = time.Since(cut)
		if limit := 30 * time.Second; m.took > limit {
			t.Errorf("it ended %s after it was cancelled", m.took)
		}
	} else {
		m.kind, m.phase = atEnd, atEnd
	}
	for _, p := range seen {
		if now, zombie := stateOf(p.pid); zombie && now == os.Getpid() {
			t.Errorf("process %d %q is a zombie of ours", p.pid, p.args)
		}
		if now, ok := readProcess(p.pid); ok && slices.Equal(now.args, p.args) {
			t.Errorf("process %d %q lives", p.pid, p.args)
		}
	}
	if folder != "" {
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", folder, err)
		}
		for _, p := range mastersIn(folder + "/cp") {
			t.Errorf("ssh master %d %q lives", p.pid, p.args)
		}
	}
	told.judge(t, r, cause)
	if whole && !r.res.Complete {
		t.Error("nobody cancelled it, and it is not complete")
	}
	var came []string
	for _, h := range r.Hosts {
		came = append(came, string(r.res.Hosts[h].Outcome))
	}
	m.came = strings.Join(came, " ")
	return m
}

// ledger is what the events alone tell.
type ledger struct {
	open     map[string]Event // by host: the task begun and not ended
	begun    []string         // hosts that have begun one
	complete bool
}

func (l *ledger) add(e Event) {
	switch e.Kind {
	case KindBegin:
		l.open[e.Host] = e
		l.begun = append(l.begun, e.Host)
	case KindResult:
		delete(l.open, e.Host)
	case KindStats:
		l.complete = true
	}
}

// phase says what the run is at, in one of four words and in detail.
func (l *ledger) phase() (kind, detail string) {
	switch {
	case l.complete:
		return atEnd, atEnd
	case len(l.begun) == 0:
		return atStart, atStart
	case len(l.open) == 0:
		return between, between
	}
	for _, e := range l.open {
		detail = cmp.Or(detail, "in "+e.Task)
	}
	return inTask, detail
}

// judge compares the result and the error with the events. No task of the
// playbook fails, so no host may have.
func (l *ledger) judge(t *testing.T, r *run, cause error) {
	t.Helper()
	if l.complete != r.res.Complete {
		t.Errorf("complete is %t, by the events %t", r.res.Complete, l.complete)
	}
	if l.complete && r.err != nil {
		t.Errorf("the run is complete, and its error is %v", r.err)
	}
	if !l.complete && (!errors.Is(r.err, context.Canceled) || !errors.Is(r.err, cause)) {
		t.Errorf("error %v", r.err)
	}
	for _, h := range r.Hosts {
		want, task := Interrupted, l.open[h].Task
		switch {
		case l.complete:
			want = Changed
		case !slices.Contains(l.begun, h):
			want = NotAttempted
		}
		if got := r.res.Hosts[h]; got.Outcome != want || got.Task != task {
			t.Errorf("%s is %s in task %q, by the events %s in task %q", h, got.Outcome, got.Task, want, task)
		}
	}
}

// descendants lists the living processes of the run, and their children,
// whatever their environment.
func descendants(r *run) (all []process) {
	ours := map[int]bool{}
	for _, line := range r.alive() {
		var pid int
		fmt.Sscan(line, &pid)
		ours[pid] = true
	}
	dirs, _ := os.ReadDir("/proc")
	for grown := true; grown; {
		grown = false
		for _, d := range dirs {
			pid := atoi(d.Name())
			if p, ok := readProcess(pid); ok && !ours[pid] && ours[p.ppid] {
				ours[pid], grown = true, true
			}
		}
	}
	for pid := range ours {
		if p, ok := readProcess(pid); ok {
			all = append(all, p)
		}
	}
	return all
}

// stateOf returns the parent of a process, and whether it waits to be reaped.
func stateOf(pid int) (parent int, zombie bool) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return 0, false
	}
	return atoi(f[1]), f[0] == "Z"
}

// envInt is a number in the environment.
func envInt(t *testing.T, name string, without int) int {
	text, ok := os.LookupEnv(name)
	if !ok {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is no number", name, text)
	}
	return n
}
