package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"homelab-patch-orchestrate/ansible"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// The settings' word for versions that are the same in every wave, and for those of the moment.
const (
	pinned   = "pinned"
	unpinned = "latest"
)

// planLimit is more than a plan of any fleet needs.
const planLimit = 64 << 20

// pinnable refuses versions that are to be the same in every wave where nobody can see to that, and reads --plan.
func (j *job) pinnable() error {
	if j.Versions == pinned && !j.carried && !j.readOnly {
		return &settingsError{fmt.Errorf("%s: the setting versions is pinned, and %s is a playbook of your own, which cannot have that: "+
			"write versions: latest, or leave it out", j.File, j.Playbook)}
	}
	if j.planFile == "" {
		return nil
	}
	if j.check {
		return errors.New("--plan with --check: a plan says what would change; leave one of them out")
	}
	if !j.carried {
		return fmt.Errorf("--plan: %s is a playbook of your own, which does not install what was planned: leave it out", j.Playbook)
	}
	data, err := readPlan(j.planFile)
	if err != nil {
		return fmt.Errorf("--plan: %w", err)
	}
	if j.versions, err = orchestrator.DecodeVersions(data); err != nil {
		return fmt.Errorf("--plan: %s cannot be used: %w", j.planFile, err)
	}
	j.planFile, err = filepath.Abs(j.planFile)
	return err
}

// readPlan reads a file that only its owner could have written.
func readPlan(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: plan --out makes it", path)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > planLimit:
		return nil, fmt.Errorf("%s is no file of plan --out", path)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("others may write %s: chmod 0600 it, if you know that it is as it was made", path)
	}
	return os.ReadFile(path)
}

// pins reports whether a run of this kind gets the same versions in every wave.
func (j *job) pins(kind orchestrator.Kind) bool {
	return j.versions != nil || j.Versions == pinned || j.Versions == "" && j.carried && kind == orchestrator.Full
}

// pin has the run install the same versions in every wave, where it is to.
func (w *work) pin(o *orchestrator.Orchestrator, playbook runner.Playbook, run *orchestrator.Run) error {
	j := w.job
	switch {
	case w.left != nil && w.left.Versions == nil, j.of == nil && w.left == nil && !j.pins(w.rec.kind):
		return nil
	case w.left != nil: // as it began
	case j.of != nil && (j.Versions == unpinned || j.of.Versions == nil && j.Versions != pinned):
		return nil
	case j.of != nil && j.of.Versions != nil && !j.of.Versions.Made.IsZero():
		// What the hosts have that came through it: each host says itself whether it can get that.
		v, err := w.store.Versions(j.of.ID)
		o.Versions, o.From = v, "run "+j.of.ID
		return err
	}
	content, err := ansible.Unpack(filepath.Join(j.State, "content"))
	if err != nil {
		return err
	}
	ahead := playbook
	ahead.Playbook, ahead.Diff, ahead.Labels = filepath.Join(content, "playbooks", "prepare.yml"), false, labels(run.ID, w.rec.kind, "prepare")
	ahead.Env = append(slices.Clone(j.env), "ANSIBLE_ROLES_PATH="+filepath.Join(content, "roles"))
	o.Prepare = preparation{local{dir: run.Dir, playbook: ahead, what: "prepare"}, w.out}
	if j.versions != nil {
		o.Versions, o.From = j.versions, j.planFile
	}
	return nil
}

// preparation is the engine that has hosts plan and download, and says so: it may take a while, and no wave is to be seen.
type preparation struct {
	local
	out *printer
}

// Run implements [orchestrator.Engine].
func (p preparation) Run(ctx context.Context, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	p.out.note("before the first wave %d hosts plan and download", len(w.Hosts))
	return p.local.Run(ctx, w, emit)
}

// vars are the extra variables of a run, which are for the role; docs/contracts.md lists them.
func (j *job) vars(run, controller string, a *announcer) map[string]any {
	vars := map[string]any{"homelab_patch_run_id": run, "homelab_patch_controller": controller}
	if socket := a.socket(); socket != "" {
		vars["homelab_patch_announce"], vars["homelab_patch_command"] = socket, program()
	}
	if j.planning {
		vars["homelab_patch_detailed"] = true
	}
	return vars
}
