// Bench measures the project against what it stands in for, writes
// docs/benchmarks.md, and fails where a promise is broken. It is `make bench`,
// started in the project's folder, and takes some fifteen minutes on two cores.
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
	if len(os.Args) > 1 {
		return errors.New("it takes no arguments")
	}
	return measureAll()
}

// bench is what all measurements share.
type bench struct {
	tmp     string // removed at the end
	self    string // this program
	program string // homelab-patch-orchestrate, as it is built for its users
	project string // an operator's own
}

func measureAll() error {
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
	if os.Getenv("TRY") != "" {
		n, _ := strconv.Atoi(os.Getenv("TRY"))
		_, err := b.fleetSmall(n, 1, 0, 1, 2)
		return err
	}
	p := &page{machine: machine()}
	for _, part := range []func(*page) error{b.waves, b.playbooks, b.memory, b.decoders, b.callback} {
		if err := part(p); err != nil {
			return err
		}
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
