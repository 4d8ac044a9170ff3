package main

import (
	"cmp"
	"time"

	"homelab-patch-orchestrate/internal/gate"
	"homelab-patch-orchestrate/orchestrator"
)

// gates are what is asked between waves. A run that changes nothing asks
// nobody: how the fleet is says nothing about it.
func (j *job) gates() (all []orchestrator.Gate) {
	if j.check {
		return nil
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
