package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// RebootWait is how long the controller may take from the request that it reboot to its next boot.
const RebootWait = 10 * time.Minute

// resumable is how long ago a run may have been cut short that goes on by itself.
const resumable = 2 * time.Hour

// ErrEnded says that a run has ended, so that nothing of it can be resumed: errors.Is(err, ErrEnded).
var ErrEnded = errors.New("the run has ended")

// errAwaiting ends the waves of a run that waits for the reboot of its controller.
var errAwaiting = errors.New("the controller reboots")

// RebootError says that the controller did not reboot, or did not come back well.
type RebootError struct {
	Reason string
	Err    error // may be nil
}

// Error returns the reason.
func (e *RebootError) Error() string { return e.Reason }

// Unwrap returns the cause.
func (e *RebootError) Unwrap() error { return e.Err }

// mustReboot reports whether the controller, whose wave has kept its budget, is to reboot now. Where somebody has said
// stop, or nobody may do it, that is noted.
func (s *session) mustReboot(ctx context.Context, i int) bool {
	w := s.report.Waves[i]
	at := slices.IndexFunc(w.Hosts, func(h HostReport) bool { return h.Controller })
	if i != len(s.report.Waves)-1 || at < 0 || s.Policy.Check || s.report.Reboot != nil {
		return false
	}
	if w.State == Soaking {
		return false // the process that died in its gates had decided against it, and noted why
	}
	if h := w.Hosts[at]; !h.Outcome.Well() || h.Patch == nil || !h.Patch.RebootDue {
		return false
	}
	why := ""
	switch {
	case s.stopped() || ctx.Err() != nil:
		why = "the run was stopped"
	case s.Reboot == nil || s.Returned == nil:
		why = "nobody would end the run afterwards"
	case s.Boot == "":
		why = "its boot_id is not known"
	default:
		return true
	}
	s.report.Notes = append(s.report.Notes, fmt.Sprintf("%s has to reboot and was not told to: %s; reboot it yourself", w.Hosts[at].Name, why))
	return false
}

// awaitReboot makes durable that the controller is told to reboot; [session.conclude] tells it.
func (s *session) awaitReboot(ctx context.Context, i int) error {
	if err := errors.Join(s.moveWave(i, AwaitingReboot, ""), s.moveRun(AwaitingReboot, "")); err != nil {
		return err
	}
	s.report.Reboot = &Reboot{Asked: time.Now().UTC(), Boot: s.Boot}
	if err := s.commit(ctx); err != nil {
		return err
	}
	return errAwaiting
}

// Resume goes on with a run that its process left unfinished. Hosts that have an outcome keep it, and passed waves stay
// passed; a wave that was under way has its other hosts attempted again, under the id of the run, by which the role
// knows what it has done. A run in state [AwaitingReboot] has its controller judged, and ends.
//
// Hold, gates and project are asked again, as before each wave. plan is of the inventory as it is now, of the whole
// fleet: a host of the run that is no longer in it halts the run. Report and error are those of [Orchestrator.Run]; of a
// run that has ended the error is [ErrEnded].
func (o *Orchestrator) Resume(ctx context.Context, run *Run, plan *Plan) (Report, error) {
	report, err := run.store.Load(run.ID)
	if err != nil {
		return report, err
	}
	if report.State.Final() {
		return report, fmt.Errorf("run %s: %w: it is %s", run.ID, ErrEnded, report.State)
	}
	s := &session{Orchestrator: o, run: run, report: report, unsure: map[int]bool{}}
	for i, w := range report.Waves {
		s.unsure[i] = w.State == Running
	}
	s.report.Boot = o.Boot
	s.report.Resumed = append(s.report.Resumed, time.Now().UTC())
	err = s.commit(ctx)
	if err == nil {
		s.plan, err = report.replan(plan)
	}
	switch {
	case err != nil:
	case report.State == AwaitingReboot:
		err = s.returned(ctx)
	case report.State == Pending:
		err = errors.New("it had not begun: nothing was touched; run again")
	default:
		next := slices.IndexFunc(report.Waves, func(w WaveReport) bool { return w.State != Passed })
		if next < 0 {
			next = len(report.Waves)
		}
		if err = s.prepare(ctx); err == nil {
			err = s.waves(ctx, next)
		}
	}
	return s.conclude(ctx, err)
}

// replan returns the waves of the report with what the inventory says now of their hosts.
func (r Report) replan(now *Plan) (*Plan, error) {
	known := map[string]Host{}
	for _, w := range now.Waves {
		for _, h := range w.Hosts {
			known[h.Name] = h
		}
	}
	p := &Plan{Controller: r.Controller}
	for _, w := range r.Waves {
		wave := Wave{Number: w.Number, Group: w.Group}
		for _, h := range w.Hosts {
			host, ok := known[h.Name]
			if !ok && w.State != Passed || ok && host.Controller != h.Controller {
				return nil, &HaltError{Wave: w.Number, Reason: fmt.Sprintf("halted: the inventory has changed since the run began: look at %s; run again", h.Name)}
			}
			wave.Hosts = append(wave.Hosts, host)
		}
		p.Waves = append(p.Waves, wave)
	}
	return p, nil
}

// returned judges the controller after its reboot.
func (s *session) returned(ctx context.Context) error {
	i := slices.IndexFunc(s.report.Waves, func(w WaveReport) bool { return w.State != Passed })
	if i < 0 { // an earlier process died when only the end was missing
		return nil
	}
	if s.report.Waves[i].State != AwaitingReboot || s.report.Reboot == nil || s.Returned == nil {
		return &RebootError{Reason: "the journal does not say of what reboot the run waits"}
	}
	if s.Boot == "" {
		return &RebootError{Reason: fmt.Sprintf("whether %s has rebooted is not known: it has no boot_id", s.report.Controller)}
	}
	if s.Boot == s.report.Reboot.Boot {
		timer := time.NewTimer(min(RebootWait, RebootWait-time.Since(s.report.Reboot.Asked)))
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return s.interrupted(ctx, "while the controller was to reboot")
		case <-timer.C: // the reboot would have ended this process
		}
		return &RebootError{Reason: fmt.Sprintf("%s was told to reboot and did not within %s: look at what keeps it, then reboot it", s.report.Controller, RebootWait)}
	}
	w := &s.report.Waves[i]
	wave := s.plan.Waves[i]
	wave.Hosts = slices.DeleteFunc(slices.Clone(wave.Hosts), func(h Host) bool { return !h.Controller })
	for j := range w.Hosts {
		if w.Hosts[j].Controller {
			w.Hosts[j].Outcome = Undecided
		}
	}
	if err := s.engine(ctx, i, s.Returned, wave); err != nil {
		return err
	}
	for _, h := range w.Hosts {
		if h.Controller && !h.Outcome.Well() {
			return &RebootError{Reason: fmt.Sprintf("%s rebooted and did not come back well: %s", h.Name, h.Message)}
		}
	}
	return s.closeWave(ctx, i, s.ask(ctx, i, "after the reboot of "+s.report.Controller))
}

// MayContinue reports whether the run, which nobody has ended, may go on by itself in a boot of this machine, and if
// not, why. last is the last sign of life that it gave.
func (r Report) MayContinue(now, last time.Time, boot string) (bool, string) {
	age := now.Sub(last)
	switch {
	case r.State == AwaitingReboot:
		return true, ""
	case r.Kind == Check:
		return false, "a dry run is not gone on with"
	case r.Kind == Rollback:
		return false, "a rollback is not gone on with: what was under way on the host goes on there; look at it, and roll back again"
	case boot == "" || boot == r.Boot:
		return false, "the process that ran it ended, and the machine did not"
	case age < 0:
		return false, "when it was cut short is not known: the clock says that this has yet to come"
	case age > resumable:
		return false, fmt.Sprintf("it was cut short %s ago", age.Round(time.Minute))
	}
	return true, ""
}

// Close ends a run whose process is gone as interrupted, for a reason in words. The hosts it was at work on have an end
// that is not known.
func (o *Orchestrator) Close(ctx context.Context, run *Run, reason string) (Report, error) {
	report, err := run.store.Load(run.ID)
	if err != nil {
		return report, err
	}
	if report.State.Final() {
		return report, fmt.Errorf("run %s: %w: it is %s", run.ID, ErrEnded, report.State)
	}
	s := &session{Orchestrator: o, run: run, report: report}
	if err := s.abandon(reason); err != nil {
		return s.report, err
	}
	return s.report, s.commit(ctx)
}

// LastSign returns when a run last gave a sign of life: wrote its journal, or heard from its engine.
func (s *Store) LastSign(id string) (time.Time, error) {
	var last time.Time
	for _, name := range []string{journalFile, "events.jsonl"} {
		info, err := os.Stat(filepath.Join(s.runDir(id), name))
		if errors.Is(err, os.ErrNotExist) && name != journalFile {
			continue
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("run %s: %w", id, err)
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, nil
}

// Reopen returns a run that has a journal, to resume or close it.
func (l *Lock) Reopen(id string) (*Run, error) {
	if !validID(id) {
		return nil, fmt.Errorf("run %q: %w", id, os.ErrNotExist)
	}
	if err := l.write(id); err != nil {
		return nil, err
	}
	return &Run{ID: id, Dir: l.store.runDir(id), store: l.store}, nil
}
