package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"homelab-patch-orchestrate/e2e/sim"
	"homelab-patch-orchestrate/orchestrator"
)

// The fleets that a run is measured on, and what the run is like.
const (
	smallFleet = 300
	largeFleet = 3000
	faulty     = 0.05
)

// fleetScript is what happens to such a fleet: ten waves, twelve tasks of which nine print, 45 packages a host.
func fleetScript(hosts int) sim.Script {
	s := sim.Script{Hosts: hosts, Waves: 10, Tasks: 12, Bytes: 1600, Packages: 45, Took: 2}
	s.Break(faulty)
	return s
}

// simulated is one run of the whole program on such a fleet.
type simulated struct {
	dir  string
	cpu  float64 // seconds of the program alone, without the stand-in
	peak float64 // MiB
	took float64 // seconds, from the first line of its journal to the last
}

// simulate runs the program as it is shipped: the carried playbook, all hosts prepared first, failed units asked for after
// each wave, its pages written. env is for channels.
func (b *bench) simulate(hosts int, settings string) (simulated, error) {
	s := simulated{}
	dir, err := os.MkdirTemp(b.tmp, "fleet")
	if err != nil {
		return s, err
	}
	s.dir = dir
	for _, name := range []string{"ansible-playbook", "ansible-inventory"} {
		if err := os.Symlink(b.self, filepath.Join(dir, name)); err != nil {
			return s, err
		}
	}
	if err := errors.Join(fleetScript(hosts).Save(filepath.Join(dir, "script.json")), os.WriteFile(filepath.Join(dir, "hosts.yml"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "settings.yaml"), []byte("budget: 100000\ninventory: ["+dir+"/hosts.yml]\n"+settings), 0o644)); err != nil {
		return s, err
	}
	c := b.of(dir, "run", "--textfile", filepath.Join(dir, "run.prom"))
	c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), sim.ScriptVar+"="+filepath.Join(dir, "script.json"),
		sim.CostVar+"="+filepath.Join(dir, "cost"), "NOTIFY_SOCKET="+filepath.Join(dir, "systemd")) // as under systemd
	out, err := c.CombinedOutput()
	if code := c.ProcessState.ExitCode(); code != orchestrator.ExitLosses {
		return s, fmt.Errorf("%s: exit code %d, want %d: %w\n%s", c, code, orchestrator.ExitLosses, err, out)
	}
	rusage := c.ProcessState.SysUsage().(*syscall.Rusage)
	s.cpu, s.peak = c.ProcessState.UserTime().Seconds()+c.ProcessState.SystemTime().Seconds(), float64(rusage.Maxrss)/1024
	for line := range strings.Lines(read(filepath.Join(dir, "cost"))) {
		var others float64
		if _, err := fmt.Sscan(line, &others); err != nil {
			return s, err
		}
		s.cpu -= others
	}
	var r orchestrator.Report
	if err := json.Unmarshal([]byte(read(s.journal())), &r); err != nil {
		return s, err
	}
	s.took = r.Ended.Sub(r.Started).Seconds()
	if lost := r.Total() - r.Count(orchestrator.Patched); r.Total() != hosts || lost < hosts/40 || lost > hosts/15 {
		return s, fmt.Errorf("%d hosts, of which %d were lost", r.Total(), lost)
	}
	progress("fleet of %d: %.2f s of CPU, %.2f ms a host, %.0f MiB, %.1f s", hosts, s.cpu, 1000*s.cpu/float64(hosts), s.peak, s.took)
	return s, nil
}

// of is a command of the program on the files of a simulated run.
func (b *bench) of(dir string, args ...string) *exec.Cmd {
	return exec.Command(b.program, append(args, "--config", filepath.Join(dir, "settings.yaml"), "--state", filepath.Join(dir, "state"))...)
}

func (s simulated) journal() string {
	paths, _ := filepath.Glob(filepath.Join(s.dir, "state/runs/*/journal.json"))
	return strings.Join(paths, "")
}

// fleet measures a run of three thousand hosts, and of three hundred.
func (b *bench) fleet(p *page) error {
	var each, peaks, growth []float64
	var last simulated
	for range rounds {
		small, err := b.simulate(smallFleet, "notify_env: none\n")
		if err != nil {
			return err
		}
		large, err := b.simulate(largeFleet, "notify_env: none\n")
		if err != nil {
			return err
		}
		each, peaks = append(each, 1000*large.cpu/largeFleet), append(peaks, large.peak)
		growth = append(growth, large.cpu/small.cpu)
		os.RemoveAll(small.dir)
		if last.dir != "" {
			os.RemoveAll(last.dir)
		}
		last = large
	}
	defer os.RemoveAll(last.dir)
	p.figure("our CPU a host, 3,000 simulated hosts in 10 waves", "ms", each, atMost, 2,
		"The whole program as it is shipped, under systemd's eyes: `run` with the carried playbook, all hosts prepared first, failed units "+
			"asked for after each wave, a page at the end. Ansible's place is taken by [a stand-in](../e2e/sim) whose stream is compared "+
			"with the real one's; what it takes is left out. A host has 24 tasks, half of them with 4 kB of result, and 45 packages; 5 % of "+
			"the hosts fail, are unreachable, print 2 MB or stall. Hoped: 1.")
	p.figure("CPU of 3,000 hosts ÷ of 300", "×", growth, atMost, 11, "Nothing grows with the square of the fleet.")
	p.figure("peak memory of the whole program, the same 3,000 hosts", "MiB", peaks, 0, 0,
		"It keeps the packages of each host for the report, and its journal is read once more for the page.")
	if err := b.lookBack(p, last); err != nil {
		return err
	}
	return b.recorded(p)
}

// lookBack measures what people ask of a large run.
func (b *bench) lookBack(p *page, s simulated) error {
	longest, text := 0.0, []string{}
	for _, args := range [][]string{{"show", "latest"}, {"history"}, {"explain", "node00030"}, {"report", "latest", "--html", filepath.Join(s.dir, "report.html")}} {
		took, err := measure(b.of(s.dir, args...))
		if err != nil {
			return err
		}
		longest = max(longest, took.wall)
		text = append(text, fmt.Sprintf("`%s` %.2f s", args[0], took.wall))
	}
	p.figure("the longest of `show`, `history`, `explain`, `report` on that run", "s", []float64{longest}, atMost, 3,
		strings.Join(text, ", ")+", wall. Its journal has "+size(s.journal())+", its page "+size(filepath.Join(s.dir, "report.html"))+".")
	series := 0
	for line := range strings.Lines(read(filepath.Join(s.dir, "run.prom"))) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
	}
	p.figure("series in patch_orchestrate.prom after that run", "", []float64{float64(series)}, atMost, 200,
		"They are of waves, outcomes and channels; only a host that somebody holds has one of its own. See docs/contracts.md.")
	return nil
}

// recorded measures the same run while a slow ARA server takes its record.
func (b *bench) recorded(p *page) error {
	var posts atomic.Int64
	ara := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * time.Millisecond)
		switch {
		case r.URL.Path == "/api/":
			fmt.Fprint(w, `{"kind":"ara","version":"1.5.8","api":["http://localhost/api/v1/"]}`)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"id":%d}`, posts.Add(1))
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `{"count":0,"results":[]}`)
		default:
			fmt.Fprint(w, `{}`)
		}
	}))
	defer ara.Close()
	env := filepath.Join(b.tmp, "ara.env")
	if err := os.WriteFile(env, []byte("ARA_API_SERVER="+ara.URL+"\n"), 0o600); err != nil {
		return err
	}
	var slower, more []float64
	for range rounds {
		without, err := b.simulate(largeFleet, "notify_env: none\n")
		if err != nil {
			return err
		}
		with, err := b.simulate(largeFleet, "notify_env: "+env+"\nara: {forward: true}\n")
		if err != nil {
			return err
		}
		if pending, _ := filepath.Glob(filepath.Join(with.dir, "state/runs/*/ara.pending.json")); len(pending) != 1 || posts.Load() == 0 {
			return fmt.Errorf("%d records in ARA, and %d files that say what waits", posts.Load(), len(pending))
		}
		slower, more = append(slower, with.took/without.took), append(more, with.peak-without.peak)
		os.RemoveAll(without.dir)
		os.RemoveAll(with.dir)
	}
	p.figure("the same run with a record in ARA ÷ without, wall", "×", slower, 0, 0, fmt.Sprintf(
		"From the first line of its journal to the last. The server here takes 5 ms a record, as fast as a real one ever is, and had %d "+
			"of the runs' records when they ended; `ara forward` goes on.", posts.Load()))
	p.figure("memory that the record takes besides, peak", "MiB", more, atMost, 64, "What is sent is read from the file of events, an event at a "+
		"time; most of this is what the garbage collector lets lie, and differs from run to run.")
	return nil
}

func size(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return "no size"
	}
	return fmt.Sprintf("%.1f MB", float64(fi.Size())/1e6)
}
