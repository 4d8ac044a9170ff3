//go:build e2efull

package ara

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// TestLarge forwards a run of 500 hosts and 20 tasks, with 2 kB of output each. Memory is bounded: it is that of a run of
// one task, but for what is remembered of tasks and hosts.
func TestLarge(t *testing.T) {
	hosts, tasks := 500, 20
	if n, err := strconv.Atoi(os.Getenv("HOSTS")); err == nil {
		hosts = n
	}
	server := newServer(t, forAll)
	ev := e2e.Record(t, nil, "ara-large", fmt.Sprintf("A run of %d hosts × %d tasks is put on record", hosts, tasks))
	s := tell(t)
	s.add("start", `"version":"2.14.18","labels":[%q,"wave:0"]`, s.label)
	s.add("playbook", `"path":%q,"data":{"check":false}`, s.file)
	s.add("play", `"play":"p","id":%q,"path":"%s:1"`, uuidOf(1000), s.file)
	stats := []string{}
	output := strings.Repeat("output ", 300)
	for n := range tasks {
		s.task(n, fmt.Sprintf("Task %d", n))
		for h := range hosts {
			s.result(n, fmt.Sprintf("node%03d", h), "changed", "", fmt.Sprintf(`{"changed":true,"stdout":%q}`, output))
		}
	}
	for h := range hosts {
		stats = append(stats, fmt.Sprintf(`"node%03d":{"ok":%d,"changed":%d,"failures":0,"unreachable":0,"skipped":0,"rescued":0,"ignored":0}`, h, tasks, tasks))
	}
	s.add("stats", `"data":{%s}`, strings.Join(stats, ","))
	s.write()
	s.lines = nil
	runtime.GC()
	var before, m runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	f := s.open(&Client{Server: server.url()})
	defer f.Close()
	ended := make(chan error, 1)
	cpu := ownCPU(t)
	start := time.Now()
	go func() { ended <- f.Send(t.Context()) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		case <-tick.C:
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
	}
	took := time.Since(start)
	cpu = ownCPU(t) - cpu
	if err := f.Finish(t.Context(), told()); err != nil {
		t.Fatal(err)
	}
	books := server.labelled(s.label)
	if len(books) != 1 || books[0]["status"] != "completed" || books[0]["items"].(thing)["results"] != float64(hosts*tasks) || books[0]["items"].(thing)["hosts"] != float64(hosts) {
		t.Fatalf("%v", books)
	}
	fi, err := os.Stat(s.dir + "/" + done)
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("%d results in %.0f s, %.0f a second; %.2f ms of our CPU time each; heap %.1f MiB before, %.1f MiB at its peak", hosts*tasks, took.Seconds(),
		float64(hosts*tasks)/took.Seconds(), float64(cpu.Microseconds())/1000/float64(hosts*tasks), float64(before.HeapInuse)/(1<<20), float64(peak)/(1<<20))
	t.Log(line)
	ev.Lines("One server as Debian has it, SQLite in memory, without a password, on this machine", line, fmt.Sprintf("the progress at its end: %d bytes", fi.Size()))
	if peak > before.HeapInuse+32<<20 {
		t.Errorf("it took %d MiB of heap more", (peak-before.HeapInuse)>>20)
	}
}

// ownCPU is the CPU time that this process itself took so far.
func ownCPU(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
