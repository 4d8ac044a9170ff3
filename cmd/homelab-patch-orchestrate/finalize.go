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

// orphans is how long the processes of a run that was killed may take to end.
const orphans = 30 * time.Second

func finalizeCommand(out *printer, code *int) *cobra.Command {
	j := &job{}
	c := &cobra.Command{
		Use:   "finalize",
		Short: "Make true what a run that was killed has left behind; for ExecStopPost of its unit",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			result := os.Getenv("SERVICE_RESULT")
			if result == "exec-condition" || shuttingDown() {
				return nil // nothing was begun; or the boot will tell
			}
			j.wait = orphans
			return j.do(out, code, func(ctx context.Context, stop <-chan struct{}, out *printer, rec record) (int, error) {
				return j.finalize(ctx, stop, out, rec, result)
			})
		},
	}
	j.runFlags(c)
	c.Hidden = true
	return c
}

func (j *job) finalize(ctx context.Context, stop <-chan struct{}, out *printer, rec record, result string) (int, error) {
	store, err := orchestrator.Open(j.State)
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	lock, err := j.take(ctx, stop, store, out)
	if errors.Is(err, orchestrator.ErrLocked) {
		return orchestrator.ExitDone, nil // somebody is at work, and will close what there is to close
	}
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	defer lock.Close()
	defer j.shelve(store, lock, out)
	rec.untold(store)
	report, err := store.Latest()
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && report.State.Final():
		return orchestrator.ExitDone, nil
	case err != nil:
		return orchestrator.ExitFailed, rec.unreadable(err)
	case report.State == orchestrator.AwaitingReboot:
		if result != "" && result != "success" && report.Reboot != nil && report.Reboot.Boot == bootID() {
			// It died around its request: whether the machine reboots, who resumes it finds out.
			return orchestrator.ExitDone, order("start", resumeUnit)
		}
		return orchestrator.ExitDone, nil
	}
	run, err := lock.Reopen(report.ID)
	if err != nil {
		return orchestrator.ExitFailed, err
	}
	return j.closeRun(run, lock, store, out, rec, ended(result, os.Getenv("EXIT_CODE"), os.Getenv("EXIT_STATUS")))
}

// ended says how the main process of a unit ended, from what systemd tells ExecStopPost; see systemd.exec(5).
func ended(result, code, status string) string {
	switch {
	case result == "oom-kill":
		return "the kernel ended its process for lack of memory"
	case result == "timeout":
		return "its unit took too long to stop, and was killed"
	case result == "watchdog":
		return "systemd's watchdog ended its process"
	case code == "killed" || code == "dumped":
		return fmt.Sprintf("its process was ended by SIG%s", status)
	case code == "exited":
		return fmt.Sprintf("its process ended with exit code %s before the run did", status)
	}
	return "its process ended before the run did"
}
