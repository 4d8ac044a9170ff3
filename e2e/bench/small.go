package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// onScreen is how many hosts the wave has that is drawn, and how many events come a second.
const (
	onScreen = 500
	eachTime = 200
)

// drawn is what the process that draws says of itself.
type drawn struct{ CPU, Frames, Bytes float64 } // a second

type screen struct{ writes, bytes atomic.Int64 }

func (s *screen) Write(p []byte) (int, error) {
	s.writes.Add(1)
	s.bytes.Add(int64(len(p)))
	return len(p), nil
}

// draw is the process that is measured: a wave of many hosts is drawn for so many seconds, as events come.
func draw(seconds string) error {
	long, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	wave := orchestrator.WaveReport{Number: 0, State: orchestrator.Pending}
	for _, h := range manyHosts(onScreen) {
		wave.Hosts = append(wave.Hosts, orchestrator.HostReport{Name: h})
	}
	out, number := &screen{}, 0
	alone, err := events(long, wave, func(runner.Event) {})
	if err != nil {
		return err
	}
	live := tui.New(tui.NewRun("run", []orchestrator.WaveReport{wave}, nil),
		tui.Screen{Out: out, Size: func() (int, int) { return 160, 50 }, Color: true})
	live.Change(orchestrator.Change{Run: "run", Wave: &number, To: string(orchestrator.Running), Time: time.Now()})
	with, err := events(long, wave, live.Event)
	if err != nil {
		return err
	}
	per := float64(long)
	return json.NewEncoder(os.Stdout).Encode(drawn{(with - alone) / per, float64(out.writes.Load()) / per, float64(out.bytes.Load()) / per})
}

// events hands events to f for so many seconds, and returns the CPU seconds that it took.
func events(long int, wave orchestrator.WaveReport, f func(runner.Event)) (float64, error) {
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	before, err := ownCPU()
	if err != nil {
		return 0, err
	}
	for n := 0; n < long*eachTime; {
		<-tick.C
		for range int(eachTime * every / time.Second) {
			e := runner.Event{Kind: runner.KindBegin, Time: time.Now(), Host: wave.Hosts[n%onScreen].Name, Task: fmt.Sprintf("Upgrade, part %d", n/onScreen)}
			if n/onScreen%2 == 1 {
				e.Kind, e.Status = runner.KindResult, runner.StatusOK
			}
			f(e)
			n++
		}
	}
	after, err := ownCPU()
	return after - before, err
}

// ownCPU is how many seconds of it this process has taken.
func ownCPU() (float64, error) {
	var ru syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9, err
}

// terminal measures what drawing costs.
func (b *bench) terminal(p *page) error {
	var share, frames, bytes []float64
	for range rounds {
		out, err := exec.Command(b.self, "draw", "10").Output()
		if err != nil {
			return why(err)
		}
		var d drawn
		if err := json.Unmarshal(out, &d); err != nil {
			return err
		}
		progress("terminal: %.2f %% of a core, %.1f frames/s, %.1f kB/s", 100*d.CPU, d.Frames, d.Bytes/1000)
		share, frames, bytes = append(share, 100*d.CPU), append(frames, d.Frames), append(bytes, d.Bytes/1000)
	}
	p.figure("drawing a wave of 500 hosts on a terminal, of a core", "%", share, atMost, 1, fmt.Sprintf(
		"What it takes besides taking the events, %d a second, 160 × 50 characters, %s kB/s to the terminal.", eachTime, format(spreadOf(bytes))))
	p.figure("frames a second, the same", "", frames, atMost, 10, "However many events come.")
	return nil
}

// start compares how long it takes until the first task runs on a host.
func (b *bench) start(p *page) error {
	playbook := "- hosts: patching_targets\n  gather_facts: false\n  tasks:\n" +
		"    - ansible.builtin.command: {argv: [sh, -c, 'date +%s.%N >$HOSTS_DIR/{{ inventory_hostname }}'], creates: /nowhere}\n"
	project := filepath.Join(b.tmp, "first")
	if err := os.CopyFS(project, os.DirFS(b.project)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(project, "patch.yml"), []byte(playbook), 0o644); err != nil {
		return err
	}
	until := func(command func(dir string) *exec.Cmd) (first float64, took cost, err error) {
		dir, err := os.MkdirTemp(b.tmp, "start")
		if err != nil {
			return 0, took, err
		}
		defer os.RemoveAll(dir)
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "hosts"), 0o755), os.WriteFile(filepath.Join(dir, "limit"), []byte("ctl\n"), 0o644),
			os.WriteFile(filepath.Join(dir, "settings.yaml"), []byte("{}\n"), 0o644)); err != nil {
			return 0, took, err
		}
		began := time.Now()
		if took, err = measure(command(dir)); err != nil {
			return 0, took, err
		}
		if _, err := fmt.Sscan(strings.TrimSpace(read(filepath.Join(dir, "hosts/ctl"))), &first); err != nil {
			return 0, took, fmt.Errorf("when the first task ran: %w", err)
		}
		return first - float64(began.UnixMicro())/1e6, took, nil
	}
	ours := func(dir string) *exec.Cmd {
		return in(dir, equal, b.program, "run", "--wave", "2", "--project", project, "--config", filepath.Join(dir, "settings.yaml"),
			"--state", filepath.Join(dir, "state"), "--textfile", filepath.Join(dir, "run.prom"))
	}
	bare := func(dir string) *exec.Cmd {
		return in(dir, equal, "sh", "-c", "cd "+project+" && ansible-inventory --list >"+dir+"/list && ansible-playbook --limit @"+dir+"/limit patch.yml")
	}
	var ratio, seconds []float64
	var costs [2][]cost
	for round := range 3 * rounds { // wall time: what else the machine does is in it
		var first [2]float64
		for i := range 2 {
			i = (i + round) % 2
			at, took, err := until([]func(string) *exec.Cmd{ours, bare}[i])
			if err != nil {
				return err
			}
			first[i], costs[i] = at, append(costs[i], took)
		}
		progress("start: %.2f s, bare %.2f s", first[0], first[1])
		ratio, seconds = append(ratio, first[0]/first[1]), append(seconds, first[0])
	}
	p.cost("a run with a single task", "ansible-inventory and ansible-playbook", costs[0], costs[1], 1.1,
		"`run` on one local host against the two commands one after the other: what there is around the first task, and its end.")
	p.figure("from the start to the first task ÷ that of the two commands, wall", "×", ratio, 0, 0, fmt.Sprintf(
		"It took %s s. What else the machine does is in it; before ansible-inventory, and between that and ansible-playbook, `run` needs "+
			"some 20 ms each.", format(spreadOf(seconds))))
	return nil
}
