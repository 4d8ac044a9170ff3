// Bench measures the project against what it stands in for, writes
// docs/benchmarks.md, and fails where a promise is broken. It is `make bench`,
// started in the project's folder, and takes an hour on two cores, as root: three
// parts boot hosts. With names of parts, such as `go run ./e2e/bench waves`, only
// those are measured, and printed.
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
	"slices"
	"strconv"
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
	for _, name := range os.Args[1:] {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q", name)
		}
	}
	return measureAll(os.Args[1:])
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

var parts = []part{
	{"waves", (*bench).waves}, {"playbooks", (*bench).playbooks}, {"memory", (*bench).memory}, {"decoders", (*bench).decoders},
	{"callback", (*bench).callback}, {"role", (*bench).role}, {"real", (*bench).real}, {"idle", (*bench).idle},
}

// measureAll measures all parts and writes the page; of only, it measures those that are named, and prints them.
func measureAll(only []string) error {
	tmp, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	b := &bench{tmp: tmp, program: filepath.Join(tmp, "homelab-patch-orchestrate"), project: filepath.Join(tmp, "project")}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	p := &page{machine: machine()}
	for _, part := range parts {
		if len(only) > 0 && !slices.Contains(only, part.name) {
			continue
		}
		if err := part.measure(b, p); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if len(only) > 0 {
		fmt.Print(p.text())
		return p.judge()
	}
	if err := os.WriteFile("docs/benchmarks.md", []byte(p.text()), 0o644); err != nil {
		return err
	}
	return p.judge()
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
