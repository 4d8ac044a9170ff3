package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// local is the engine of a run: ansible-playbook on this machine, its output
// in the run's folder.
type local struct {
	playbook runner.Playbook
	dir      string // of the run
	document bool   // the result comes from the stock callback's document
	wave     bool   // what it does is a wave, and not something around it
	what     string // what it does, if it is of no wave
	// unsure is the waves that an earlier process of the run was in the middle of: their engine may have come to its end.
	unsure []int
}

// Run implements [orchestrator.Engine].
func (l local) Run(ctx context.Context, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	log, err := l.append("ansible.log")
	if err != nil {
		return runner.Result{}, err
	}
	defer log.Close()
	events, err := l.events()
	if err != nil {
		return runner.Result{}, err
	}
	defer events.Close()
	if slices.Contains(l.unsure, w.Number) {
		switch res, err := l.ended(events, w, emit); {
		case err != nil:
			return res, fmt.Errorf("what was done already is not known: %w", err)
		case res.Complete:
			fmt.Fprintf(log, "==== wave %d had come to its end: its events tell how, and nothing is done again ====\n", w.Number)
			return res, nil
		}
	}
	what := l.what
	if what == "" {
		what = fmt.Sprintf("wave %d", w.Number)
	}
	now := time.Now().UTC()
	fmt.Fprintf(log, "==== %s, %s ====\n", what, now.Format(time.RFC3339))

	p := l.playbook
	p.Log, p.Events = log, events
	p.Hosts = w.Names()
	if w.Versions != nil {
		p.Vars = maps.Clone(p.Vars)
		p.Vars["homelab_patch_plan"] = w.Versions.Vars(p.Hosts, now.Format(time.RFC3339Nano))
	}
	if l.wave {
		p.Labels = append(slices.Clone(p.Labels), waveLabel(w.Number))
	}
	if l.document {
		doc, err := os.OpenFile(filepath.Join(l.dir, fmt.Sprintf("wave-%d.json", w.Number)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return runner.Result{}, err
		}
		defer doc.Close()
		p.Document = doc
	}
	p.Addresses = map[string]string{}
	for _, h := range w.Hosts {
		p.Addresses[h.Name] = h.Address
	}
	return p.Run(ctx, emit)
}

func (l local) append(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(l.dir, name), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
}
