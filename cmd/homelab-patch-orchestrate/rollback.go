package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
)

func rollbackCommand(out *printer, code *int) *cobra.Command {
	j := &job{undoes: true}
	var packages []string
	yes := false
	c := &cobra.Command{
		Use:   "rollback RUN HOST",
		Short: "Undo on one host what a run has changed",
		Long: `Bring the packages of HOST back to the versions that they had before RUN: show what would change and
where the old version comes from, ask, do it in a unit of the host's own, and look at what came of it. RUN is
the id of a run, the beginning of one, or latest, the latest that patched. Where apt cannot do it, or would
do more than that, nothing is touched. The host is not restarted.

The next run upgrades the packages again, unless patching_exclude or a hold keeps them: the last lines say how.

Exit codes: 0 done, 1 it failed, 2 refused before anything was touched, 5 a run is under way, 6 held, 129,
130 and 143 interrupted.`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: j.completeRunHost,
		RunE: func(_ *cobra.Command, args []string) error {
			return j.do(out, code, func(ctx context.Context, stop <-chan struct{}, out *printer, rec record) (int, error) {
				b := &back{job: j, host: args[1], packages: packages, yes: yes}
				return b.rollBack(ctx, stop, out, rec, args[0])
			})
		},
	}
	j.sourceFlags(c)
	f := c.Flags()
	f.StringVar(&j.Textfile, "textfile", "", "metrics `FILE` (default /var/lib/prometheus/node-exporter/patch_orchestrate.prom)")
	f.DurationVar(&j.wait, "wait", 0, "wait for at most `DURATION`, such as 4h, for a run to end")
	f.CountVarP(&j.verbose, "verbose", "v", "more in ansible.log; may be repeated")
	f.StringArrayVar(&packages, "package", nil, "bring back only this package, by `NAME`; may be repeated")
	f.BoolVar(&j.check, "check", false, "show what would go back, and change nothing")
	f.BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// back is a run that is undone on a host.
type back struct {
	job      *job
	of       orchestrator.Report
	host     string
	packages []string // the only ones; nil is all
	yes      bool     // nobody is asked

	changed []orchestrator.Package // by the run
	failed  []string               // units that had failed before it
	shown   []orchestrator.BackPackage
}

func (b *back) rollBack(ctx context.Context, stop <-chan struct{}, out *printer, rec record, run string) (int, error) {
	j := b.job
	store, err := orchestrator.Open(j.State)
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	if err := b.find(store, run); err != nil {
		return exitCode(err), err
	}
	if err := b.held(); err != nil {
		return orchestrator.ExitCode(orchestrator.Report{}, err), err
	}
	// What is asked of a person may take long, and a run of the timer must not find the lock taken meanwhile.
	lock, err := j.take(ctx, stop, store, out)
	if err != nil {
		return orchestrator.ExitCode(orchestrator.Report{}, err), err
	}
	lock.Close()
	j.limit = b.host
	if _, _, err := j.plan(ctx); err != nil {
		return planCode(err), err
	}
	undone, code, err := b.ask(ctx)
	if err != nil {
		return code, err
	}
	if j.check && j.json {
		return orchestrator.ExitDone, out.json(undone)
	}
	out.rollback(b, undone)
	if b.shown = undone.Packages; len(b.shown) == 0 {
		out.note("nothing to do: what run %s has changed on %s is not there any more, or stays", b.of.ID, b.host)
		return orchestrator.ExitDone, nil
	}
	if j.check {
		return orchestrator.ExitDone, nil
	}
	if err := b.confirm(ctx, stop, out); err != nil {
		return exitCode(err), err
	}
	return b.carryOut(ctx, stop, out, rec, store)
}

// find looks for the run, and for what it has changed on the host. Its error says what to name instead.
func (b *back) find(store *orchestrator.Store, run string) (err error) {
	if run == latest {
		b.of, err = store.LatestPatching()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			err = failed(err)
		}
	} else {
		b.of, _, err = findRun(store, run)
	}
	if err != nil {
		return err
	}
	switch r := b.of; {
	case r.Kind == orchestrator.Check:
		return fmt.Errorf("run %s was a dry run: there is nothing to undo", r.ID)
	case r.Kind == orchestrator.Rollback:
		return fmt.Errorf("run %s was a rollback itself: `%s run` upgrades again", r.ID, name)
	case !r.State.Final():
		return fmt.Errorf("run %s has not ended, it is %s: resume it, or let it end", r.ID, r.State)
	}
	var hosts []string
	for _, w := range b.of.Waves {
		for _, h := range w.Hosts {
			hosts = append(hosts, h.Name)
			if h.Name == b.host {
				return b.changes(h)
			}
		}
	}
	if near := inventory.Nearest(b.host, hosts); near != "" {
		return fmt.Errorf("host %s is not in run %s (did you mean %s?)", b.host, b.of.ID, near)
	}
	return fmt.Errorf("host %s is not in run %s; its hosts are %s", b.host, b.of.ID, strings.Join(hosts, ", "))
}

// changes takes from the report of a host what is to be undone.
func (b *back) changes(h orchestrator.HostReport) error {
	switch {
	case h.Patch == nil:
		return fmt.Errorf("what run %s has changed on %s (%s) is not known: its role did not say. Its /var/log/apt/history.log does", b.of.ID, b.host, h.Outcome)
	case len(h.Patch.Packages) == 0:
		return fmt.Errorf("run %s has changed no package on %s (%s)", b.of.ID, b.host, h.Outcome)
	}
	b.changed, b.failed = h.Patch.Packages, h.Patch.FailedUnits.Before
	for _, p := range b.changed {
		if err := spelled(p.Name, p.From, p.To); err != nil {
			return fmt.Errorf("the report of %s cannot be used: %w", b.host, err)
		}
	}
	for _, unit := range b.failed {
		if !unitName.MatchString(unit) {
			return fmt.Errorf("the report of %s cannot be used: %q is not the name of a unit", b.host, unit)
		}
	}
	if b.packages == nil {
		return nil
	}
	b.changed = nil
	var known []string
	for _, p := range h.Patch.Packages {
		known = append(known, p.Name)
		if slices.Contains(b.packages, p.Name) {
			b.changed = append(b.changed, p)
		}
	}
	for _, p := range b.packages {
		if slices.Contains(known, p) {
			continue
		}
		hint := ""
		if near := inventory.Nearest(p, known); near != "" {
			hint = fmt.Sprintf(" (did you mean %s?)", near)
		}
		return fmt.Errorf("run %s has not changed %s on %s%s", b.of.ID, p, b.host, hint)
	}
	return nil
}

// held says that the fleet or the host is held on this machine; a hold on the host itself it says itself.
func (b *back) held() error {
	held, reason, err := orchestrator.HoldFile(b.job.Hold)()
	if err == nil && !held {
		held, reason, err = orchestrator.HostHolds(b.job.HostHolds)(b.host)
	}
	if err == nil && held {
		return &orchestrator.HeldError{Reason: reason}
	}
	return err
}

// confirm asks the person at the terminal. Nobody there is a refusal.
func (b *back) confirm(ctx context.Context, stop <-chan struct{}, out *printer) error {
	if b.yes {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("nobody is there to be asked: add --yes. Nothing was touched")
	}
	fmt.Fprintf(out.err, "\nBring this back on %s? [y/N] ", clean(b.host))
	said := make(chan string, 1)
	go func() { // ends with the program at the latest
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		said <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-said:
		if line == "y" || line == "yes" {
			return nil
		}
		return errors.New("not done: nothing was touched")
	case <-stop:
	case <-ctx.Done():
	}
	stopped := &orchestrator.InterruptError{Reason: "stopped before anything was touched", Err: context.Cause(ctx)}
	return &exitError{orchestrator.ExitCode(orchestrator.Report{}, stopped), stopped}
}

// carryOut undoes what was shown, as a run of its own.
func (b *back) carryOut(ctx context.Context, stop <-chan struct{}, out *printer, rec record, store *orchestrator.Store) (int, error) {
	j := b.job
	lock, err := j.take(ctx, stop, store, out)
	if err != nil {
		return orchestrator.ExitCode(orchestrator.Report{}, err), err
	}
	defer lock.Close()
	rec.untold(store)
	if err := b.held(); err != nil { // since
		return orchestrator.ExitCode(orchestrator.Report{}, err), err
	}
	run, err := lock.Begin()
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	w := &work{job: j, out: out, rec: rec, store: store, lock: lock, stop: stop, back: b}
	defer w.end()
	plan, policy, err := w.plan(ctx, run.ID)
	if err != nil {
		return planCode(err), err
	}
	policy.Rollback, policy.Of = true, b.of.ID
	code, err := w.carryOut(ctx, run, plan, policy)
	if code == orchestrator.ExitDone {
		b.keep(out)
	}
	return code, err
}

// keep says how the packages stay as they are now.
func (b *back) keep(out *printer) {
	var names []string
	for _, p := range b.shown {
		if p.To != "" && p.From != "" {
			names = append(names, p.Name)
		}
	}
	if len(names) > 0 {
		out.note("the next run upgrades them again. To keep them as they are, in host_vars/%s.yml: patching_exclude: [%s]. To keep the whole host: %s hold set --host %s --reason ...",
			b.host, strings.Join(names, ", "), name, b.host)
	}
}
