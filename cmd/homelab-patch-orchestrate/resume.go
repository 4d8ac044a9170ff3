package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/orchestrator"
)

func resumeCommand(out *printer, code *int) *cobra.Command {
	j := &job{}
	boot := false
	c := &cobra.Command{
		Use:   "resume",
		Short: "Go on with the latest run where it was cut short",
		Long: `Go on with the latest run, if it was cut short: with the wave it was in, and the hosts of it
whose work did not come to an end. A run that has ended, interrupted or halted, is gone on with as a
new run of the hosts that it did not finish. Hosts that failed are for retry.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return j.do(out, code, func(ctx context.Context, stop <-chan struct{}, out *printer, rec record) (int, error) {
				return j.resume(ctx, stop, out, rec, boot)
			})
		},
	}
	j.runFlags(c)
	c.Flags().BoolVar(&boot, "boot", false, "as the unit of that name does after a boot: go on only with what may go on by itself, and close what may not")
	c.Flags().MarkHidden("boot")
	return c
}

func retryCommand(out *printer, code *int) *cobra.Command {
	j := &job{}
	c := &cobra.Command{
		Use:   "retry RUN",
		Short: "Patch the hosts that an earlier run did not bring through",
		Long: `Patch exactly those hosts of RUN that failed, were unreachable, interrupted or not attempted, wave
by wave. RUN is the id of a run, the beginning of one, or latest, the latest that was no dry run. A retry after which all hosts of the latest full run are
well counts as the success of that run.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return j.do(out, code, func(ctx context.Context, stop <-chan struct{}, out *printer, rec record) (int, error) {
				return j.retry(ctx, stop, out, rec, args[0])
			})
		},
	}
	j.runFlags(c)
	c.ValidArgsFunction = j.completeRun
	return c
}

// again patches hosts of an earlier run as a run of its own.
func (j *job) again(ctx context.Context, stop <-chan struct{}, out *printer, rec record, old orchestrator.Report, outcomes []orchestrator.Outcome) (int, error) {
	j.of, j.outcomes = &old, outcomes
	rec.kind = orchestrator.Retry
	return j.locked(ctx, stop, out, rec)
}

func (j *job) retry(ctx context.Context, stop <-chan struct{}, out *printer, rec record, id string) (int, error) {
	store, err := orchestrator.Open(j.State)
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	old, err := store.LatestPatching() // somebody may have looked since, by a dry run
	switch {
	case id != latest:
		old, _, err = findRun(store, id)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		err = failed(err)
	}
	switch {
	case err != nil:
		return exitCode(err), err
	case old.Kind == orchestrator.Check:
		return orchestrator.ExitUsage, fmt.Errorf("run %s was a dry run: there is nothing to retry", old.ID)
	case old.Kind == orchestrator.Rollback:
		return orchestrator.ExitUsage, fmt.Errorf("run %s was a rollback: repeat that", old.ID)
	case !old.State.Final():
		return orchestrator.ExitUsage, fmt.Errorf("run %s has not ended, it is %s: resume it", old.ID, old.State)
	}
	return j.again(ctx, stop, out, rec, old, orchestrator.Lost())
}

// resume goes on with the latest run.
func (j *job) resume(ctx context.Context, stop <-chan struct{}, out *printer, rec record, boot bool) (int, error) {
	store, err := orchestrator.Open(j.State)
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	lock, err := j.take(ctx, stop, store, out)
	if err != nil {
		return orchestrator.ExitCode(orchestrator.Report{}, err), err
	}
	defer lock.Close()
	again := false // then that does it
	defer func() {
		if !again {
			j.shelve(store, lock, out)
		}
	}()
	rec.untold(store)
	report, err := store.Latest()
	if err == nil && (report.Kind == orchestrator.Check || report.Kind == orchestrator.Rollback) && report.State.Final() {
		report, err = store.LatestPatching() // somebody has looked, or undone something, since: that is not in the way
	}
	nothing := func(why string) (int, error) {
		out.note("nothing to resume: %s", why)
		return orchestrator.ExitDone, nil
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nothing("there is no run")
	case err != nil:
		return orchestrator.ExitFailed, rec.unreadable(err)
	case report.State == orchestrator.Passed, boot && report.State.Final():
		return nothing(fmt.Sprintf("run %s has ended: %s", report.ID, report.State))
	case report.State.Final():
		lock.Close()
		again = true
		return j.again(ctx, stop, out, rec, report, orchestrator.Unfinished())
	}
	run, err := lock.Reopen(report.ID)
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	last, err := store.LastSign(report.ID)
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	may, why := report.MayContinue(time.Now(), last, bootID())
	if !boot && report.Kind != orchestrator.Check && report.Kind != orchestrator.Rollback {
		may = true // somebody wants it
	}
	if !may {
		return j.closeRun(run, lock, store, out, rec, why)
	}
	w := &work{job: j, out: out, rec: rec, store: store, lock: lock, stop: stop, left: &report}
	defer w.end()
	plan, policy, err := w.plan(ctx, run.ID)
	if err != nil {
		if boot { // nobody would come back to it
			return j.closeRun(run, lock, store, out, rec, "it cannot be gone on with: "+err.Error())
		}
		return planCode(err), err
	}
	w.rec.kind = report.Kind
	policy.Budget = report.Budget
	return w.carryOut(ctx, run, plan, policy)
}

// closeRun ends a run that nobody goes on with, and tells of it.
func (j *job) closeRun(run *orchestrator.Run, lock *orchestrator.Lock, store *orchestrator.Store, out *printer, rec record, why string) (int, error) {
	report, err := (&orchestrator.Orchestrator{}).Close(context.Background(), run, why)
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	out.note("run %s is closed as interrupted: %s", run.ID, why)
	if err := lock.GiveUp(); err != nil {
		out.warn("%v", err)
	}
	rec.end(report, *report.ExitCode, store)
	return orchestrator.ExitDone, nil
}
