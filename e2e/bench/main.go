// Bench measures the project against what it stands in for, writes
// docs/benchmarks.md, and fails where a promise is broken. It is `make bench`,
// started in the project's folder, and takes an hour on two cores, as root: three parts
// boot hosts.
// With names of parts it measures those anew: `make bench PARTS="fleet start"`.
//
// Costs are CPU seconds, user and system, of a process and all it waited for:
// what else the machine does makes them less wrong than wall time. Compared
// with what a cgroup counted, nothing of weight escapes: they differed
// by less than a thousandth.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"homelab-patch-orchestrate/e2e/sim"
)

// rounds is how often each contestant does its work where a promise is at stake.
const rounds = 3

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// run also plays the parts of the processes that are measured.
func run() error {
	if os.Getenv(sim.ScriptVar) != "" {
		os.Exit(sim.Main(os.Args))
	}
	switch filepath.Base(os.Args[0]) {
	case "ansible-playbook":
		return standIn(os.Args[1:])
	case "ansible-inventory":
		return standInInventory()
	}
	if len(os.Args) == 3 && os.Args[1] == "fold" {
		tasks, err := strconv.Atoi(os.Args[2])
		if err != nil {
			return err
		}
		return foldMany(tasks)
	}
	if len(os.Args) == 6 && os.Args[1] == "playbook" {
		return playbook(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	}
	if len(os.Args) == 3 && os.Args[1] == "draw" {
		return draw(os.Args[2])
	}
	return measureParts(os.Args[1:])
}

// bench is what all measurements share.
type bench struct {
	tmp     string // removed at the end
	self    string // this program
	program string // homelab-patch-orchestrate, as it is built for its users
	project string // an operator's own
}

// part is a group of measurements.
type part struct {
	name    string
	measure func(*bench, *page) error
}

// parts are all that is measured, in the order of the page.
func parts() []part {
	return []part{
		{"waves", (*bench).waves}, {"playbooks", (*bench).playbooks}, {"memory", (*bench).memory}, {"decoders", (*bench).decoders},
		{"callback", (*bench).callback}, {"fleet", (*bench).fleet}, {"terminal", (*bench).terminal}, {"start", (*bench).start},
		{"role", (*bench).role}, {"real", (*bench).real}, {"idle", (*bench).idle},
	}
}

// measureParts measures the named parts, or all. What one has measured is kept whatever becomes of the next.
func measureParts(args []string) error {
	tmp, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	b := &bench{tmp: tmp, program: filepath.Join(tmp, "homelab-patch-orchestrate"), project: filepath.Join(tmp, "project")}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	some, err := chosen(parts(), args)
	if err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	var broken []error
	for _, part := range some {
		p := &page{machine: machine()}
		if err := part.measure(b, p); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if err := keep(parts(), part.name, p); err != nil {
			return err
		}
		broken = append(broken, p.judge())
	}
	return errors.Join(broken...)
}

// why adds what a command said to the error it ended with.
func why(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return err
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
