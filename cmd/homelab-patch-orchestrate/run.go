package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
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
5 another run is under way, 6 held, 129, 130 and 143 interrupted by SIGHUP,
SIGINT and SIGTERM.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var err error
			*code, err = j.run(out)
			if err == nil || err == errTold {
				return nil
			}
			return &exitError{*code, err}
		},
	}
	f := c.Flags()
	f.BoolVar(&j.check, "check", false, "change nothing; show what would change")
	f.BoolVar(&j.diff, "diff", false, "show differences of files in ansible.log")
	j.targetFlags(c)
	f.StringVar(&j.Textfile, "textfile", "", "metrics `FILE` (default /var/lib/prometheus/node-exporter/patch_orchestrate.prom)")
	f.IntVar(&j.Forks, "forks", 0, "let Ansible work on `N` hosts at a time (default: what ansible.cfg says, or 10)")
	f.StringVar(&j.callback, "callback", "", "`json`: take results from the document of the stdout callback ansible.posix.json, kept as wave-N.json")
	f.CountVarP(&j.verbose, "verbose", "v", "more in ansible.log; may be repeated")
	return c
}

// errTold stands for an error that the summary has told already.
var errTold = errors.New("told")

// run patches the fleet, and tells others. Its error has not been printed yet.
func (j *job) run(out *printer) (int, error) {
	err := j.resolve()
	rec := record{path: cmp.Or(j.Textfile, config.Default().Textfile), kind: j.asked().Kind(), hold: cmp.Or(j.Hold, config.Default().Hold), out: out}
	if err != nil {
		var settings *settingsError
		if errors.As(err, &settings) {
			rec.post = j.post(out)
			rec.refused(orchestrator.ExitUsage, err)
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
	code, err := j.locked(ctx, stop, out, rec)
	if code != orchestrator.ExitLocked { // then another run is at it
		rec.deliver()
	}
	return code, err
}

// locked runs while it holds the lock.
func (j *job) locked(ctx context.Context, stop <-chan struct{}, out *printer, rec record) (int, error) {
	store, err := orchestrator.Open(j.State)
	if err != nil {
		rec.refused(orchestrator.ExitFailed, err)
		return orchestrator.ExitFailed, err
	}
	lock, err := store.Lock()
	if err != nil {
		if !errors.Is(err, orchestrator.ErrLocked) {
			rec.refused(orchestrator.ExitFailed, err)
		}
		return orchestrator.ExitCode(orchestrator.Report{}, err), err
	}
	defer lock.Close()
	rec.untold(store)
	hold := orchestrator.HoldFile(j.Hold)
	if held, reason, err := hold(); err == nil && held {
		rec.held(reason)
		return orchestrator.ExitHeld, &orchestrator.HeldError{Reason: reason}
	}
	run, err := lock.Begin()
	if err != nil {
		rec.neverBegan("", orchestrator.ExitFailed, err)
		return orchestrator.ExitFailed, err
	}
	leftover := func(c orchestrator.Change) { // an earlier run that died, and is closed now
		if c.Run != run.ID && c.Wave == nil && c.Host == "" {
			post := rec.post
			if rec.kind == orchestrator.Check {
				post = j.post(out)
			}
			rec.died(post, store, c.Run)
		}
	}
	plan, policy, err := j.plan(ctx)
	if cause := context.Cause(ctx); cause != nil || closed(stop) {
		err = &orchestrator.InterruptError{Reason: "stopped before the first wave: nothing was touched", Err: cause}
	}
	if err != nil {
		code := planCode(err)
		if code != orchestrator.ExitUsage { // not a refusal: it leaves a report
			o := orchestrator.Orchestrator{Policy: j.asked(), Observe: func(_ context.Context, c orchestrator.Change) { leftover(c) }}
			_, err = o.Fail(context.WithoutCancel(ctx), run, err)
		}
		if code != orchestrator.ExitUsage || rec.kind == orchestrator.Full { // else the flags may be to blame
			rec.neverBegan(run.ID, code, err)
		}
		return code, err
	}
	announcer := rec.post.announce(run.ID)
	view := out.view(run.ID, plan, j.json)
	o := orchestrator.Orchestrator{
		Engine: local{dir: run.Dir, document: j.callback == "json", playbook: runner.Playbook{
			Dir: j.Project, Playbook: j.Playbook, Inventory: j.Inventory,
			Vars: roleVars(run.ID, announcer), Forks: j.Forks,
			Check: j.check, Diff: j.diff, Verbosity: j.verbose, Env: j.env, PrivateKey: j.key(),
			HostDeadline: j.HostDeadline, Inherit: []*os.File{lock.File()},
		}},
		Policy: policy, Hold: hold, Stop: stop,
		Fingerprint: func() (orchestrator.Project, error) { return orchestrator.Fingerprint(j.contents()...) },
		Progress:    view.Event,
		Observe: func(_ context.Context, c orchestrator.Change) {
			leftover(c)
			view.Change(c)
		},
	}
	rec.begin()
	report, err := o.Run(ctx, run, plan)
	code := orchestrator.ExitCode(report, err)
	view.Close()
	if hosts, longest, sum := announcer.close(); hosts > 0 {
		out.note("messages: reboots announced %d, longest wait %.2f s, in all %.2f s", hosts, longest.Seconds(), sum.Seconds())
	}
	if report.ExitCode == nil { // refused after all: it never began
		if code == orchestrator.ExitHeld {
			rec.held(err.Error())
		} else {
			rec.neverBegan(run.ID, code, err)
		}
		return code, err
	}
	rec.end(report, code)
	if j.json {
		enc := json.NewEncoder(out.out)
		enc.SetIndent("", "  ")
		if werr := enc.Encode(report); werr != nil {
			out.warn("print the report: %v", werr)
		}
	} else {
		out.summary(report, run.Dir)
		if err != nil && err.Error() == report.Reason {
			err = errTold
		}
	}
	return code, err
}

// roleVars are extra variables for the role; docs/contracts.md lists them.
func roleVars(run string, a *announcer) map[string]any {
	vars := map[string]any{"homelab_patch_run_id": run}
	if socket := a.socket(); socket != "" {
		vars["homelab_patch_announce"], vars["homelab_patch_command"] = socket, program()
	}
	return vars
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
