package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"

	"homelab-patch-orchestrate/ansible"
	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// playbook is the carried one that undoes a run, whoever's the project is.
func (b *back) playbook(like runner.Playbook) (runner.Playbook, error) {
	carried, err := ansible.Unpack(filepath.Join(b.job.State, "content"))
	if err != nil {
		return like, err
	}
	// The host compares them as Ansible gives them: null is no list there.
	asked := map[string]any{"of": b.of.ID, "packages": b.changed, "failed_units": append([]string{}, b.failed...), "shown": append([]orchestrator.BackPackage{}, b.shown...)}
	vars := map[string]any{"homelab_patch_rollback": asked}
	for k, v := range like.Vars {
		vars[k] = v
	}
	like.Vars, like.Playbook = vars, filepath.Join(carried, "playbooks", "rollback.yml")
	like.Env = append(slices.Clone(b.job.env), "ANSIBLE_ROLES_PATH="+filepath.Join(carried, "roles"))
	return like, nil
}

// sources is where the .deb of an old version comes from, in words.
var sources = map[string]string{"kept": "kept on the host", "cache": "in apt's cache", "archive": "from the archive"}

var (
	packageName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9+.-]*(:[a-z0-9-]+)?$`)
	versionName = regexp.MustCompile(`^[a-zA-Z0-9.+~:-]*$`)
	unitName    = regexp.MustCompile(`^[a-zA-Z0-9:_.@\\-]+$`)
)

// spelled refuses what is not spelled as Debian spells a package and its versions. A host has said it, and it goes into
// variables of Ansible, which would carry out a template that is in one, on this machine.
func spelled(name string, versions ...string) error {
	if !packageName.MatchString(name) {
		return fmt.Errorf("%q is not the name of a package", name)
	}
	for _, v := range versions {
		if !versionName.MatchString(v) {
			return fmt.Errorf("%q is not a version of %s", v, name)
		}
	}
	return nil
}

// ask has the host say what undoing the run would change. Nothing is touched.
func (b *back) ask(ctx context.Context) (orchestrator.Undone, int, error) {
	j := b.job
	p, err := b.playbook(runner.Playbook{
		Dir: j.Project, Inventory: j.Inventory, Vars: map[string]any{"homelab_patch_run_id": b.of.ID}, Hosts: []string{b.host},
		Check: true, Verbosity: j.verbose, PrivateKey: j.key(), Labels: labels(b.of.ID, orchestrator.Rollback, "preview"),
	})
	var none orchestrator.Undone
	if err != nil {
		return none, orchestrator.ExitFailed, err
	}
	asked, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var patch *orchestrator.Patch
	problem := ""
	result, err := p.Run(asked, func(e runner.Event) {
		if said, why := orchestrator.Published(e); e.Host == b.host && (said != nil || why != "") {
			patch, problem = said, why
		}
	})
	host := result.Hosts[b.host]
	if patch != nil && patch.Rollback != nil {
		for _, k := range patch.Rollback.Packages {
			if bad := spelled(k.Name, k.From, k.To); bad != nil || sources[k.Source] == "" && k.Source != "" {
				patch, problem = nil, fmt.Sprintf("what it said cannot be used: %q (%v)", k, bad)
				break
			}
		}
	}
	refused := func(why string) error { return fmt.Errorf("%s is not rolled back: %s", b.host, why) }
	switch {
	case ctx.Err() != nil:
		stopped := &orchestrator.InterruptError{Reason: "stopped before anything was touched", Err: context.Cause(ctx)}
		return none, orchestrator.ExitCode(orchestrator.Report{}, stopped), stopped
	case asked.Err() != nil:
		return none, orchestrator.ExitFailed, fmt.Errorf("%s did not say within %s what would change; nothing was touched", b.host, askTimeout)
	case err != nil:
		return none, orchestrator.ExitFailed, err
	case patch != nil && patch.Hold != nil:
		return none, orchestrator.ExitHeld, &orchestrator.HeldError{Reason: cmp.Or(patch.Hold.Reason, "a MAINTENANCE file on "+b.host)}
	case patch != nil && patch.Failure != nil && patch.Failure.Phase == "rollback":
		return none, orchestrator.ExitUsage, refused(patch.Failure.Reason)
	case patch != nil && patch.Failure != nil:
		return none, orchestrator.ExitFailed, refused(patch.Failure.Reason)
	case patch == nil || patch.Rollback == nil || host.Outcome != runner.OK && host.Outcome != runner.Changed:
		return none, orchestrator.ExitFailed, refused(cmp.Or(host.Msg, problem, string(host.Outcome), "it did not say what would change") + "; nothing was touched")
	}
	return *patch.Rollback, orchestrator.ExitDone, nil
}

// instead has an orchestrator undo a run where it would patch. Nobody is asked about the fleet: it is as it was.
func (b *back) instead(o *orchestrator.Orchestrator, playbook runner.Playbook, dir string) {
	o.Engine = undo{b, playbook, dir}
	o.Gates, o.Schedule, o.Policy.Soak = nil, orchestrator.Schedule{}, 0
}

// undo is the engine of a rollback.
type undo struct {
	b        *back
	playbook runner.Playbook
	dir      string // of the run
}

// Run implements [orchestrator.Engine]. A host that does not come through is an error: there is no other to weigh it against.
func (u undo) Run(ctx context.Context, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	p, err := u.b.playbook(u.playbook)
	if err != nil {
		return runner.Result{}, err
	}
	p.Check = false
	var patch *orchestrator.Patch
	res, err := local{dir: u.dir, playbook: p, wave: true}.Run(ctx, w, func(e runner.Event) {
		if said, _ := orchestrator.Published(e); said != nil {
			patch = said
		}
		emit(e)
	})
	host := res.Hosts[u.b.host]
	switch {
	case err != nil || host.Outcome == runner.Interrupted:
		return res, err
	case patch != nil && patch.Hold != nil:
		return res, fmt.Errorf("%s is held: %s", u.b.host, patch.Hold.Reason)
	case patch != nil && patch.Failure != nil:
		return res, errors.New(u.b.host + ": " + patch.Failure.Reason)
	case host.Outcome != runner.OK && host.Outcome != runner.Changed:
		return res, errors.New(u.b.host + ": " + cmp.Or(host.Msg, string(host.Outcome), "not attempted"))
	case patch == nil || patch.Rollback == nil:
		return res, errors.New(u.b.host + " did not say what came of it")
	}
	return res, nil
}

// rollback shows what goes back.
func (p *printer) rollback(b *back, u orchestrator.Undone) {
	w := p.out
	if b.job.json {
		w = p.err
	}
	fmt.Fprintf(w, "Back on %s to before run %s of %s:\n\n", clean(b.host), b.of.ID, b.of.Started.Local().Format("2006-01-02 15:04"))
	t := table{}
	t.row("PACKAGE", "NOW", "BACK TO", "ITS .DEB")
	for _, k := range u.Packages {
		t.row(k.Name, cmp.Or(k.From, "(not there)"), cmp.Or(k.To, "(removed)"), sources[k.Source])
	}
	t.print(w, "", p.width())
	for _, s := range u.Stays {
		fmt.Fprintf(w, "stays as it is: %s\n", tui.Line(clean(s.Name+" "+s.Version)+": "+s.Reason, 200))
	}
}
