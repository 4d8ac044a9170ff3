package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

const (
	// pullUnit brings this machine, and so the playbooks of a run, to what a repository says. It reads our lease first.
	pullUnit = "homelab-ansible-pull.service"
	// pullWait is longer than systemd lets the unit be at work.
	pullWait = 35 * time.Minute
	// renewal is often enough that one which fails is made up for.
	renewal = orchestrator.LeaseLife / 6
)

// lease keeps ansible-pull from changing playbooks and inventory under a run of this machine. Nil is none: that of a
// dry run, which changes nothing and may see a change as well as not.
type lease struct {
	lock *orchestrator.Lock
	out  *printer
	stop chan struct{}
	done chan struct{}
	keep bool
}

// lease takes the lease for a run, waits until a pull that is at work has ended, and renews it until end is called.
// First the one, then the other: a pull that begins meanwhile sees the lease.
func (j *job) lease(ctx context.Context, stop <-chan struct{}, lock *orchestrator.Lock, run string, out *printer) (*lease, error) {
	if j.check {
		return nil, nil
	}
	boot := bootID()
	if resumes() { // then a boot does not end the run
		boot = ""
	}
	if err := lock.Lease(run, boot); err != nil {
		return nil, &exitError{orchestrator.ExitFailed, err}
	}
	l := &lease{lock: lock, out: out, stop: make(chan struct{}), done: make(chan struct{})}
	go l.renew(run, boot) // ends with end
	if err := pullEnds(ctx, stop, out); err != nil {
		l.end()
		return nil, &exitError{orchestrator.ExitFailed, err}
	}
	return l, nil
}

func (l *lease) renew(run, boot string) {
	defer close(l.done)
	tick := time.NewTicker(renewal)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			if err := l.lock.Lease(run, boot); err != nil {
				l.out.warn("%v; ansible-pull may change the playbooks under this run", err)
			}
		}
	}
}

// goesOn has end leave the lease to who goes on with the run after a boot.
func (l *lease) goesOn() {
	if l != nil {
		l.keep = true
	}
}

// end gives the lease up, if the run is over. It is to be called once.
func (l *lease) end() {
	if l == nil {
		return
	}
	close(l.stop)
	<-l.done
	if l.keep {
		return
	}
	if err := l.lock.GiveUp(); err != nil {
		l.out.warn("%v; ansible-pull waits for it to end, for at most %s", err, orchestrator.LeaseLife)
	}
}

// pullEnds waits until no pull is at work here.
func pullEnds(ctx context.Context, stop <-chan struct{}, out *printer) error {
	end := time.Now().Add(pullWait)
	for told := false; pulling(); told = true {
		if !told {
			out.note("waiting for at most %s: %s is at work, and may change the playbooks", pullWait, pullUnit)
			status("waiting for " + pullUnit + ", which may change the playbooks")
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is still at work after %s: let it finish, or stop it, and run again; nothing was touched", pullUnit, pullWait)
		}
		if !pause(ctx, stop) {
			return &orchestrator.InterruptError{Reason: "stopped while it waited for ansible-pull: nothing was touched", Err: context.Cause(ctx)}
		}
	}
	return nil
}

// pulling reports whether a pull is at work. An answer that does not come counts as yes.
func pulling() bool {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return false // no systemd
	}
	state, _ := exec.Command("systemctl", "show", "--property=ActiveState", "--value", pullUnit).Output()
	switch strings.TrimSpace(string(state)) {
	case "inactive", "failed":
		return false
	}
	return true
}
