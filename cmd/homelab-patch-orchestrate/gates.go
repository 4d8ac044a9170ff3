package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/internal/gate"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// askTimeout is how long a whole wave may take to say which units have failed: connections are new, and a host that is
// dead takes its time to be so.
const askTimeout = 5 * time.Minute

// gates are what is asked between waves. A run that changes nothing asks nobody: how the fleet is says nothing about it.
// The playbook is that of the waves, and dir the folder of the run.
func (j *job) gates(playbook runner.Playbook, dir string) (all []orchestrator.Gate) {
	if j.check {
		return nil
	}
	if j.carried && j.FailedUnits {
		playbook.Playbook, playbook.Vars = filepath.Join(j.Project, "playbooks", "health.yml"), nil
		playbook.HostDeadline = 0 // needs the hosts' addresses; the gate has a deadline of its own
		check := failedUnits(playbook, dir)
		if len(j.Gates) == 0 {
			check = onceAMoment(check)
		}
		all = append(all, orchestrator.Gate{Name: config.FailedUnitsGate, Timeout: askTimeout, Check: check})
	}
	for _, g := range j.Gates {
		o := orchestrator.Gate{Name: g.Name, Timeout: g.Timeout}
		switch {
		case g.URL != "":
			o.Check = gate.HTTP{URL: g.URL, Status: g.Status, Contains: g.Contains}.Check
		case g.Command != nil:
			o.Check = gate.Command{Argv: g.Command}.Check
		default:
			o.Timeout = cmp.Or(g.For, gate.PromFor) + time.Minute
			o.Check = gate.PromQL{Server: g.Server, Query: g.Query, For: g.For, Instances: g.Instances, InstanceLabel: g.InstanceLabel}.Check
		}
		all = append(all, o)
	}
	return all
}

// aMoment is how old an answer about failed units may be where it is the only gate. Then nothing comes between the two times
// that it is asked about a wave, when that has ended and when the next begins, in the same second: one look serves both.
const aMoment = 3 * time.Second

// onceAMoment asks again about a wave only when a yes is older than a moment.
func onceAMoment(check func(context.Context, orchestrator.Question) error) func(context.Context, orchestrator.Question) error {
	var wave int
	var yes time.Time // zero before the first
	return func(ctx context.Context, q orchestrator.Question) error {
		if q.Wave.Number == wave && time.Since(yes) < aMoment {
			return nil
		}
		if err := check(ctx, q); err != nil {
			return err
		}
		wave, yes = q.Wave.Number, time.Now()
		return nil
	}
}

// failedUnits keeps what Ansible prints with the rest of the run.
func failedUnits(playbook runner.Playbook, dir string) func(context.Context, orchestrator.Question) error {
	return func(ctx context.Context, q orchestrator.Question) error {
		log, err := local{dir: dir}.append("ansible.log")
		if err != nil {
			return err
		}
		defer log.Close()
		fmt.Fprintf(log, "==== failed units %s, %s ====\n", q.When, time.Now().UTC().Format(time.RFC3339))
		p := playbook
		p.Log = log
		return gate.FailedUnits{Playbook: p}.Check(ctx, q)
	}
}
