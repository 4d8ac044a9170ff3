package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"homelab-patch-orchestrate/runner"
)

const (
	manyHostsN   = 10_000
	memoryRounds = 2
)

// memory measures our own process where a fleet is large.
func (b *bench) memory(p *page) error {
	var few, many, growth, whole []float64
	var last folded
	for range memoryRounds {
		f, err := b.fold(12)
		if err != nil {
			return err
		}
		m, err := b.fold(60)
		if err != nil {
			return err
		}
		few, many, last = append(few, f.Peak), append(many, m.Peak), f
		growth = append(growth, m.Peak/f.Peak)
	}
	for range memoryRounds {
		w, err := b.wholeRun(12)
		if err != nil {
			return err
		}
		whole = append(whole, w)
	}
	what := fmt.Sprintf("%d hosts, 12 events of %.1f kB each", manyHostsN, float64(last.Bytes)/manyHostsN/12/1000)
	p.figure("peak memory of `Playbook.Run`, "+what, "MiB", few, atMost, 64,
		"VmHWM of a process that runs one playbook, its events in a file and folded to a result for each host. "+
			"Ansible's place is taken by a program that writes what the callback plugin would.")
	p.figure("the same with 60 events a host ÷ with 12", "×", growth, 0, 0,
		fmt.Sprintf("Flat: memory grows with hosts, not with events. With 60: %s MiB.", format(spreadOf(many))))
	p.figure("peak memory of the whole program, "+what, "MiB", whole, 0, 0,
		fmt.Sprintf("`run` from plan to summary. It keeps the packages of each host, %d here, for the report.", publishedPackages))
	return nil
}

// folded is what a process that ran a playbook over many hosts says of itself.
type folded struct {
	Peak   float64 // MiB of resident memory, at most
	Events int
	Bytes  int64
	CPU    float64 // seconds, its own alone
}

// foldMany is the process that is measured: a playbook of so many tasks, run
// with the stand-in, its events in a file.
func foldMany(tasks int) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "ansible-playbook")
	if err := os.Symlink(self, bin); err != nil {
		return err
	}
	events, err := os.Create(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		return err
	}
	var f folded
	p := runner.Playbook{
		Dir: dir, Bin: bin, Playbook: "patch.yml", Inventory: []string{"hosts.yml"}, Hosts: manyHosts(manyHostsN),
		Env: []string{tasksVar + "=" + strconv.Itoa(tasks)}, Events: events,
	}
	res, err := p.Run(context.Background(), func(runner.Event) { f.Events++ })
	if err != nil {
		return err
	}
	for name, h := range res.Hosts {
		if h.Outcome != runner.Changed || h.Stats.Changed != tasks {
			return fmt.Errorf("host %s: %+v", name, h)
		}
	}
	stored, err := events.Stat()
	if err != nil {
		return err
	}
	f.Bytes = stored.Size()
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return err
	}
	f.CPU = float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
	if f.Peak, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// peak is the most memory this process ever had resident: VmHWM in proc(5).
func peak() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscanf(rest, "%f kB", &kib); err != nil {
		return 0, fmt.Errorf("VmHWM: %w", err)
	}
	return kib / 1024, nil
}

// fold runs foldMany in a process of its own.
func (b *bench) fold(tasks int) (folded, error) {
	var f folded
	out, err := exec.Command(b.self, "fold", strconv.Itoa(tasks)).Output()
	if err == nil {
		err = json.Unmarshal(out, &f)
	}
	if err != nil {
		return f, fmt.Errorf("fold %d tasks: %w", tasks, why(err))
	}
	progress("fold: %d hosts, %d tasks: %.1f MiB, %d events, %.1f s of CPU", manyHostsN, tasks, f.Peak, f.Events, f.CPU)
	return f, nil
}

// wholeRun is the peak memory of the whole program in such a run: the most
// that any process of it had, which is the program itself.
func (b *bench) wholeRun(tasks int) (float64, error) {
	dir, err := os.MkdirTemp(b.tmp, "many")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"ansible-playbook", "ansible-inventory"} {
		if err := os.Symlink(b.self, filepath.Join(dir, name)); err != nil {
			return 0, err
		}
	}
	c := b.run(dir)
	c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), tasksVar+"="+strconv.Itoa(tasks))
	took, err := measure(c)
	if err != nil {
		return 0, err
	}
	rusage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, fmt.Errorf("%s: no resource usage", c)
	}
	mib := float64(rusage.Maxrss) / 1024
	progress("whole program: %d hosts, %d tasks: %.1f MiB, %.1f s of CPU with the stand-in", manyHostsN, tasks, mib, took.cpu)
	return mib, nil
}
