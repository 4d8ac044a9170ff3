package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/orchestrator"
)

func runCommand(out *printer, code *int, script bool) *cobra.Command {
	j := &job{script: script}
	c := &cobra.Command{
		Use:   "run",
		Short: "Patch the fleet, wave by wave",
		Long: `Patch every host of patching_targets, one wave after the other. A wave that goes
wrong stops the run before the next one.

Exit codes: 0 done, 1 could not be carried out, 2 usage, settings or plan
(nothing was touched), 3 halted, 4 finished with losses within the budget,
5 another run is under way, 6 held or outside the window, 129, 130 and 143 interrupted by SIGHUP,
SIGINT and SIGTERM.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			j.after = resumeUnit
			return j.do(out, code, j.locked)
		},
	}
	f := c.Flags()
	f.BoolVar(&j.check, "check", false, "change nothing; show what would change")
	f.StringVar(&j.planFile, "plan", "", "install exactly the versions in `FILE`, made by plan --out, or stop: plan drift")
	f.BoolVar(&j.diff, "diff", false, "show differences of files in ansible.log")
	j.targetFlags(c)
	f.StringVar(&j.callback, "callback", "", "`json`: take results from the document of the stdout callback ansible.posix.json, kept as wave-N.json")
	j.workFlags(c)
	return c
}

// errTold stands for an error that the summary has told already.
var errTold = errors.New("told")

// underLock is what a command does about a run.
type underLock func(ctx context.Context, stop <-chan struct{}, out *printer, rec record) (int, error)

// do resolves the settings, has something done, and delivers what there is to tell. Its error is nil if the summary has
// told it.
func (j *job) do(out *printer, code *int, work underLock) error {
	c, err := j.doAndTell(out, work)
	*code = c
	if err == nil || err == errTold {
		return nil
	}
	return &exitError{c, err}
}

func (j *job) doAndTell(out *printer, work underLock) (int, error) {
	err := j.resolve()
	rec := j.record(out, nil)
	if err != nil {
		var settings *settingsError
		if errors.As(err, &settings) {
			rec.post = j.post(out)
			rec.refused(orchestrator.ExitUsage, err)
			j.remember(out, orchestrator.ExitUsage, err)
			rec.deliver()
		}
		return orchestrator.ExitUsage, err
	}
	rec.post = &post{out: out}
	if rec.kind != orchestrator.Check {
		rec.post = j.post(out)
	}
	ctx, stop, done := signals(out)
	defer done() // after the last message: a signal must not change the exit code of a run that is over
	code, err := work(ctx, stop, out, rec)
	j.remember(out, code, err)
	if code != orchestrator.ExitLocked { // then another run is at it
		rec.deliver()
		rec.post.recorder.wait()
	}
	return code, err
}

// remember keeps why a full run did not begin: it has no journal, and explain and history are asked about it.
func (j *job) remember(out *printer, code int, err error) {
	if j.flags.Name() != "run" || j.asked().Kind() != orchestrator.Full || err == nil {
		return
	}
	switch code {
	case orchestrator.ExitUsage, orchestrator.ExitLocked, orchestrator.ExitHeld:
		j.refuse(out, code, err)
	}
}

func (j *job) refuse(out *printer, code int, err error) {
	dir := cmp.Or(j.State, config.Default().State)
	refusal := orchestrator.Refusal{Time: time.Now().UTC(), ExitCode: code, Reason: err.Error()}
	if err := orchestrator.Refuse(dir, refusal); err != nil {
		out.warn("%v", err)
	}
}

// locked runs while it holds the lock.
func (j *job) locked(ctx context.Context, stop <-chan struct{}, out *printer, rec record) (int, error) {
	store, err := orchestrator.Open(j.State)
	if err != nil {
		rec.refused(orchestrator.ExitFailed, err)
		return orchestrator.ExitFailed, err
	}
	lock, err := j.take(ctx, stop, store, out)
	if err != nil {
		if !errors.Is(err, orchestrator.ErrLocked) {
			rec.refused(orchestrator.ExitFailed, err)
		}
		return orchestrator.ExitCode(orchestrator.Report{}, err), err
	}
	defer lock.Close()
	defer j.shelve(store, lock, out)
	rec.untold(store)
	if held, reason, err := orchestrator.HoldFile(j.Hold)(); err == nil && held && !j.planning {
		rec.held(reason)
		return orchestrator.ExitHeld, &orchestrator.HeldError{Reason: reason}
	}
	if err := j.Schedule.MayBegin(time.Now(), 0); err != nil && !j.now && !j.check {
		rec.closed(err)
		return orchestrator.ExitHeld, err
	}
	w := &work{job: j, out: out, rec: rec, store: store, lock: lock, stop: stop}
	defer w.end()
	run, err := lock.Begin()
	if err != nil {
		rec.neverBegan("", orchestrator.ExitFailed, err)
		return orchestrator.ExitFailed, err
	}
	plan, policy, err := w.plan(ctx, run.ID)
	if err == nil && j.of != nil {
		policy.Of = j.of.ID
		plan, err = plan.Left(*j.of, j.outcomes...)
	}
	if err == nil && j.versions != nil {
		err = j.versions.Fits(plan, time.Now())
	}
	if cause := context.Cause(ctx); cause != nil || closed(stop) {
		err = &orchestrator.InterruptError{Reason: "stopped before the first wave: nothing was touched", Err: cause}
	}
	if err != nil {
		code := planCode(err)
		if code != orchestrator.ExitUsage { // not a refusal: it leaves a report
			o := orchestrator.Orchestrator{Policy: j.asked(), Observe: func(_ context.Context, c orchestrator.Change) { w.leftover(run.ID, c) }}
			_, err = o.Fail(context.WithoutCancel(ctx), run, err)
		}
		if code != orchestrator.ExitUsage || rec.kind == orchestrator.Full && j.versions == nil { // else the flags may be to blame
			rec.neverBegan(run.ID, code, err)
		}
		return code, err
	}
	return w.carryOut(ctx, run, plan, policy)
}

// take takes the lock. For as long as j.wait allows it waits for another process to give it up; a run also for one that
// is about to take it, to go on with a run that it would otherwise close.
func (j *job) take(ctx context.Context, stop <-chan struct{}, store *orchestrator.Store, out *printer) (*orchestrator.Lock, error) {
	end := time.Now().Add(j.wait)
	told := false
	for {
		if j.after != "" && j.wait > 0 && time.Now().Before(end) && systemctl("is-active", "--quiet", j.after) == nil {
			status("waiting for " + j.after + " to go on with the run before")
			if !pause(ctx, stop) {
				return nil, &orchestrator.LockedError{}
			}
			continue
		}
		lock, err := store.Lock()
		if err == nil || !errors.Is(err, orchestrator.ErrLocked) || !time.Now().Before(end) {
			return lock, err
		}
		if !told {
			told = true
			out.note("waiting for at most %s: %v", j.wait, err)
			status(fmt.Sprintf("waiting for at most %s: %v", j.wait, err))
		}
		if !pause(ctx, stop) {
			return nil, err
		}
	}
}

// pause waits for a second, because flock cannot be waited for and given up. It returns false if somebody said stop.
func pause(ctx context.Context, stop <-chan struct{}) bool {
	select {
	case <-time.After(time.Second):
		return true
	case <-stop:
	case <-ctx.Done():
	}
	return false
}

// planCode is the exit code for a run that never began.
func planCode(err error) int {
	var stop *orchestrator.InterruptError
	var exit *exitError
	switch {
	case errors.As(err, &stop):
		return orchestrator.ExitCode(orchestrator.Report{}, err)
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, exec.ErrNotFound):
		return orchestrator.ExitFailed // no Ansible here
	}
	return orchestrator.ExitUsage
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// key is the controller's own ssh key, if it has one.
func (j *job) key() string {
	if !exists(j.PrivateKey) {
		return ""
	}
	return j.PrivateKey
}

// signals gives SIGINT two meanings: the first lets the wave under way finish,
// the second, like SIGTERM and SIGHUP, cancels it.
func signals(out *printer) (ctx context.Context, stop <-chan struct{}, done func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	first := make(chan struct{})
	got := make(chan os.Signal, 4)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as under nohup
			signal.Notify(got, s)
		}
	}
	ended := make(chan struct{})
	go func() { // ends with done
		asked := false
		for {
			select {
			case <-ended:
				return
			case s := <-got:
				if s == os.Interrupt && !asked {
					asked = true
					close(first)
					out.note("stopping: no other wave begins; press Ctrl-C again to cancel the one under way")
					continue
				}
				out.note("cancelling: %s", s)
				if s == syscall.SIGTERM && shuttingDown() && resumes() {
					cancel(&orchestrator.ShutdownError{})
					continue
				}
				cancel(&orchestrator.SignalError{Signal: s})
			}
		}
	}()
	return ctx, first, func() {
		signal.Stop(got)
		close(ended)
		cancel(nil)
	}
}
