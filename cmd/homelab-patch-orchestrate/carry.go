package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"homelab-patch-orchestrate/ansible"
	"homelab-patch-orchestrate/internal/message"
	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// work is a run that is begun, or gone on with, while the lock is held.
type work struct {
	job   *job
	out   *printer
	rec   record
	store *orchestrator.Store
	lock  *orchestrator.Lock
	stop  <-chan struct{}
	lease *lease
	left  *orchestrator.Report // what the process before left of the run; nil if it begins
	back  *back                // what is undone instead of patching; nil if nothing is

	connections *runner.Connections // to the hosts, for preparation and waves
}

// plan says who is patched when, by an inventory that from here on stays as it is. Call end when the run is over.
func (w *work) plan(ctx context.Context, run string) (*orchestrator.Plan, orchestrator.Policy, error) {
	var err error
	if w.lease, err = w.job.lease(ctx, w.stop, w.lock, run, w.out); err != nil {
		return nil, orchestrator.Policy{}, err
	}
	status("asking Ansible who is to be patched")
	return w.job.plan(ctx)
}

// end lets others change what the run was made of, and ends the connections.
func (w *work) end() {
	w.lease.end()
	if w.connections != nil {
		w.connections.Close()
	}
}

// carryOut carries a plan out and tells of it.
func (w *work) carryOut(ctx context.Context, run *orchestrator.Run, plan *orchestrator.Plan, policy orchestrator.Policy) (int, error) {
	announcer := w.rec.post.announce(run.ID)
	o, err := w.orchestrator(run, plan.Controller, policy, announcer)
	if err != nil {
		announcer.close()
		w.rec.neverBegan(run.ID, orchestrator.ExitFailed, err)
		return orchestrator.ExitFailed, err
	}
	waves := plan.Pending()
	if w.left != nil {
		waves = w.left.Waves
	}
	known := tui.NewRun(run.ID, waves, w.took())
	view := &teller{view: w.out.view(known, w.job.json), run: known}
	o.Progress = view.Event
	recorder := w.recorder(run)
	w.rec.post.recorder = recorder
	o.Observe = func(_ context.Context, c orchestrator.Change) {
		if c.Run == run.ID { // its folder is there
			recorder.begin()
		}
		w.leftover(run.ID, c)
		view.Change(c)
	}
	tellAround(o, view, plan)
	w.rec.begin()
	var report orchestrator.Report
	if w.left != nil {
		if w.left.State != orchestrator.AwaitingReboot {
			w.rec.post.put(message.Resume(*w.left, w.rec.post.linksOf(*w.left)))
		}
		report, err = o.Resume(ctx, run, plan)
	} else {
		report, err = o.Run(ctx, run, plan)
	}
	code := orchestrator.ExitCode(report, err)
	view.Close()
	if hosts, longest, sum := announcer.close(); hosts > 0 {
		w.out.note("messages: reboots announced %d, longest wait %.2f s, in all %.2f s", hosts, longest.Seconds(), sum.Seconds())
	}
	if down := (*orchestrator.ShutdownError)(nil); errors.As(err, &down) || report.State == orchestrator.AwaitingReboot {
		recorder.end(nil, w.rec.post)
		w.out.note("run %s goes on after the next boot of this machine", run.ID)
		w.lease.goesOn()
		return code, nil
	}
	if report.ExitCode == nil { // refused after all: it never began
		var held *orchestrator.HeldError
		switch {
		case errors.Is(err, orchestrator.ErrClosed):
			w.rec.closed(err)
		case errors.As(err, &held):
			w.rec.held(held.Reason)
		default:
			w.rec.neverBegan(run.ID, code, err)
		}
		return code, err
	}
	w.rec.end(report, code, w.store)
	recorder.end(&report, w.rec.post)
	if w.job.shown != nil {
		if werr := w.job.shown(w.out, report); werr != nil {
			return orchestrator.ExitFailed, werr
		}
		if err != nil && err.Error() == report.Reason {
			w.out.note("%s", report.Reason)
			err = errTold
		}
		return code, err
	}
	if w.job.json {
		if werr := w.out.json(report); werr != nil {
			w.out.warn("print the report: %v", werr)
		}
		return code, err
	}
	w.out.summary(report, run.Dir, w.rec.post.linksOf(report).ARA)
	if err != nil && err.Error() == report.Reason {
		err = errTold
	}
	return code, err
}

// took is how long the waves took before, as far as that can be known: it is for people alone.
func (w *work) took() orchestrator.Durations {
	took, err := w.store.Durations()
	if err != nil {
		w.out.warn("how long earlier runs took: %v", err)
	}
	return took
}

// leftover tells of an earlier run that died, and is closed now.
func (w *work) leftover(run string, c orchestrator.Change) {
	if c.Run == run || c.Wave != nil || c.Host != "" {
		return
	}
	post := w.rec.post
	if w.rec.kind == orchestrator.Check {
		post = w.job.post(w.out)
	}
	w.rec.died(post, w.store, c.Run)
}

// orchestrator is what carries the run out.
func (w *work) orchestrator(run *orchestrator.Run, controller string, policy orchestrator.Policy, announcer *announcer) (*orchestrator.Orchestrator, error) {
	j := w.job
	var err error
	if w.connections, err = runner.NewConnections(); err != nil {
		return nil, err
	}
	playbook := runner.Playbook{
		Dir: j.Project, Playbook: j.Playbook, Inventory: j.Inventory,
		Vars: j.vars(run.ID, controller, announcer), Forks: j.Forks,
		Check: j.check, Diff: j.diff, Verbosity: j.verbose, Env: j.env, PrivateKey: j.key(), Labels: labels(run.ID, w.rec.kind),
		HostDeadline: j.HostDeadline, Inherit: []*os.File{w.lock.File()}, Connections: w.connections,
	}
	o := &orchestrator.Orchestrator{
		Engine: local{dir: run.Dir, document: j.callback == "json", playbook: playbook, wave: true, unsure: w.unsure(bootID())},
		Policy: policy, Hold: orchestrator.HoldFile(j.Hold), HostHold: orchestrator.HostHolds(j.HostHolds),
		Schedule: j.Schedule, Now: j.now, Stop: w.stop, Boot: bootID(), Gates: j.gates(playbook, run.Dir),
		Fingerprint: func() (orchestrator.Project, error) { return orchestrator.Fingerprint(j.contents()...) },
	}
	if w.back != nil {
		w.back.instead(o, playbook, run.Dir)
		return o, nil
	}
	if j.planning { // to look ahead nobody has to be let
		o.Hold = nil
	}
	if j.check {
		return o, nil
	}
	if err := w.pin(o, playbook, run); err != nil {
		return nil, err
	}
	if len(j.Schedule.Windows)+len(j.Schedule.Blackouts) > 0 { // else nobody asks, and journals are many
		if o.Took, err = w.store.Durations(); err != nil {
			return nil, err
		}
	}
	carried := j.Project
	if !j.carried {
		if carried, err = ansible.Unpack(filepath.Join(j.State, "content")); err != nil {
			return nil, err
		}
	}
	// The carried role judges the controller after its reboot, whoever's the playbook is.
	returned := playbook
	returned.Labels = labels(run.ID, w.rec.kind, "returned")
	returned.Playbook = filepath.Join(carried, "playbooks", "returned.yml")
	returned.Env = append(slices.Clone(j.env), "ANSIBLE_ROLES_PATH="+filepath.Join(carried, "roles"))
	if j.carried || exists(filepath.Join(j.Project, "roles", "patching")) { // another playbook does not say what it would change
		ahead := playbook
		ahead.Check, ahead.Diff, ahead.Labels = true, false, labels(run.ID, w.rec.kind, preflightLabel)
		o.Preflight = local{dir: run.Dir, playbook: ahead}
	}
	o.Returned = local{dir: run.Dir, playbook: returned}
	if resumes() {
		o.Reboot = w.reboot
	}
	return o, nil
}

// unsure is the waves that the process before may have carried out without a word in the journal. That of the controller
// is not one after a boot: what it said of itself, that it has to reboot for instance, is no longer so.
func (w *work) unsure(boot string) (waves []int) {
	if w.left == nil {
		return nil
	}
	for _, wave := range w.left.Waves {
		stale := w.left.Boot != boot && slices.ContainsFunc(wave.Hosts, func(h orchestrator.HostReport) bool { return h.Controller })
		if wave.State == orchestrator.Running && !stale {
			waves = append(waves, wave.Number)
		}
	}
	return waves
}

// reboot tells this machine to reboot, when people were told and all is durable.
func (w *work) reboot(_ context.Context, report orchestrator.Report) error {
	w.rec.awaiting(report)
	return order("reboot")
}
