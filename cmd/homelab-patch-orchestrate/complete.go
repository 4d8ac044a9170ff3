package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/orchestrator"
)

// What the shell asks for when somebody presses Tab. It is asked often and by anybody: nothing is made or changed, and what
// cannot be found out is left out without a word.

// noFile ends a list that files are no part of.
const noFile = cobra.ShellCompDirectiveNoFileComp

// completeRun completes RUN, latest run first. It reads no journal.
func (j *job) completeRun(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = noFile | cobra.ShellCompDirectiveKeepOrder
	if j.flags = c; len(args) > 0 {
		return nil, directive
	}
	store, err := j.looksBack()
	if store == nil || err != nil {
		return nil, directive
	}
	ids, _ := store.IDs()
	slices.Reverse(ids)
	return append([]cobra.Completion{latest}, ids...), directive
}

// completeRunHost completes RUN and then a HOST of that run, with its outcome.
func (j *job) completeRunHost(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return j.completeRun(c, args, word)
	}
	j.flags = c
	store, err := j.looksBack()
	if store == nil || err != nil || len(args) > 1 {
		return nil, noFile
	}
	report, err := store.LatestPatching()
	if args[0] != latest || !j.undoes {
		report, _, err = findRun(store, args[0])
	}
	var hosts []cobra.Completion
	for _, w := range report.Waves {
		for _, h := range w.Hosts {
			if err == nil && !(j.undoes && (h.Patch == nil || len(h.Patch.Packages) == 0)) { // else there is nothing to undo
				hosts = append(hosts, cobra.CompletionWithDesc(h.Name, string(h.Outcome)))
			}
		}
	}
	return hosts, noFile
}

// completeHost completes one HOST of the inventory.
func (j *job) completeHost(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFile
	}
	return slices.Collect(maps.Values(j.foreseen(c).hosts)), noFile
}

// completeLimit completes the last part of a pattern of hosts.
func (j *job) completeLimit(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	hosts, directive := j.completeHost(c, nil, "")
	before := typed[:strings.LastIndexAny(typed, ",:!&")+1]
	for i := range hosts {
		hosts[i] = before + hosts[i]
	}
	return hosts, directive
}

// completeWave completes --wave, with the hosts of each.
func (j *job) completeWave(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return j.foreseen(c).waves, noFile | cobra.ShellCompDirectiveKeepOrder
}

// completeHeld completes a host that is held.
func (j *job) completeHeld(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if j.flags = c; j.resolveSettings() != nil {
		return nil, noFile
	}
	held, _ := orchestrator.ReadHostHolds(j.HostHolds)
	var hosts []cobra.Completion
	for name, hold := range held {
		hosts = append(hosts, cobra.CompletionWithDesc(name, clean(hold.Reason)))
	}
	return hosts, noFile
}

// roll is who can be named.
type roll struct {
	hosts map[string]cobra.Completion // by name; with the wave
	waves []cobra.Completion
}

// tabWait is how long Tab waits for the inventory.
const tabWait = 3 * time.Second

// foreseen is who the inventory has, or where it cannot be read in time, the latest run of the fleet.
func (j *job) foreseen(c *cobra.Command) roll {
	j.flags, j.readOnly = c, true // else the carried playbook would be unpacked
	if j.resolve() == nil {
		ctx, cancel := context.WithTimeout(c.Context(), tabWait)
		defer cancel()
		if inv, err := j.fleet(ctx); err == nil && len(inv.Hosts) > 0 {
			r, rest := rollOf(nil), "" // of a fleet that is refused nobody knows the waves
			if plan, err := orchestrator.NewPlan(inv, orchestrator.Policy{}); err == nil {
				r, rest = rollOf(plan.Pending()), "in no wave"
			}
			for name := range inv.Hosts {
				if _, ok := r.hosts[name]; !ok {
					r.hosts[name] = cobra.CompletionWithDesc(name, rest)
				}
			}
			return r
		}
	}
	if store, err := j.looksBack(); err == nil {
		for report, err := range reports(store, new([]string)) {
			if err == nil && report.Kind == orchestrator.Full {
				return rollOf(report.Waves)
			}
		}
	}
	return roll{}
}

func rollOf(waves []orchestrator.WaveReport) roll {
	r := roll{hosts: map[string]cobra.Completion{}}
	for _, w := range waves {
		var names []string
		for _, h := range w.Hosts {
			names = append(names, h.Name)
			r.hosts[h.Name] = cobra.CompletionWithDesc(h.Name, fmt.Sprintf("wave %d", w.Number))
		}
		r.waves = append(r.waves, cobra.CompletionWithDesc(strconv.Itoa(w.Number), few(names)))
	}
	return r
}
