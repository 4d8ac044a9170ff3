package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"homelab-patch-orchestrate/internal/failpoint"
	"homelab-patch-orchestrate/runner"
)

// wave runs one wave of the plan, or what an earlier process left of it, and returns why no other may follow.
func (s *session) wave(ctx context.Context, i int) error {
	w := &s.report.Waves[i]
	before := fmt.Sprintf("before wave %d", w.Number)
	if i > 0 || w.State != Pending {
		after := before
		if i > 0 {
			after = fmt.Sprintf("after wave %d", s.report.Waves[i-1].Number)
		}
		if err := s.mayGoOn(ctx, i, after); err != nil {
			return err
		}
	}
	if w.State != Soaking {
		if err := s.preflight(ctx, i); err != nil {
			return err
		}
		if i > 0 {
			if err := s.ask(ctx, i-1, before); err != nil {
				return err
			}
		}
		// Preflight and gates may take minutes, in which people do things.
		if err := s.mayGoOn(ctx, i, before); err != nil {
			return err
		}
		if err := s.attempt(ctx, i); err != nil {
			return err
		}
	}
	err := checkDrift(*w)
	if err == nil {
		err = checkBudget(*w, s.Policy.Budget)
	}
	if err == nil && s.mustReboot(ctx, i) {
		return s.awaitReboot(ctx, i)
	}
	if err == nil {
		err = s.settle(ctx, i)
	}
	return s.closeWave(ctx, i, err)
}

// attempt has the engine patch the hosts of a wave. An error ends the wave.
func (s *session) attempt(ctx context.Context, i int) error {
	if s.report.State == Soaking {
		if err := s.moveRun(Running, ""); err != nil {
			return err
		}
	}
	w := &s.report.Waves[i]
	if w.State == Pending {
		w.Started = time.Now().UTC()
		if err := s.moveWave(i, Running, ""); err != nil {
			return err
		}
	}
	if err := s.leaveHeld(i); err != nil {
		return s.closeWave(ctx, i, err)
	}
	if err := s.commit(ctx); err != nil {
		return err
	}
	failpoint.At("engine-before")
	err := s.patch(ctx, i)
	failpoint.At("engine-after")
	if err != nil {
		return s.closeWave(ctx, i, err)
	}
	return nil
}

// leaveHeld gives their outcome to the hosts of a wave that are held one by one.
func (s *session) leaveHeld(i int) error {
	w := &s.report.Waves[i]
	for j := range w.Hosts {
		h := &w.Hosts[j]
		if h.Outcome != Undecided || s.HostHold == nil {
			continue
		}
		held, reason, err := s.HostHold(h.Name)
		if err != nil {
			return &HaltError{Wave: w.Number, Reason: fmt.Sprintf("halted in wave %d: whether %s is held is not known: %v", w.Number, h.Name, err), Err: err}
		}
		if held {
			h.Outcome, h.Message = Held, reason
			s.changes = append(s.changes, Change{Time: time.Now().UTC(), Run: s.report.ID, Wave: &w.Number, Host: h.Name, To: string(Held), Reason: reason})
		}
	}
	return nil
}

// closeWave makes a wave final: passed, or what err says, which it returns.
func (s *session) closeWave(ctx context.Context, i int, err error) error {
	if down := (*ShutdownError)(nil); errors.Is(err, errJournal) || errors.As(err, &down) {
		return err
	}
	w := &s.report.Waves[i]
	state, reason := Passed, ""
	if lost := w.lost(); len(lost) > 0 {
		reason = fmt.Sprintf("within the budget of %d: %s did not come through", s.Policy.Budget, list(lost))
	}
	if err != nil {
		state, _ = verdict(err)
		reason = err.Error()
	}
	if moved := s.moveWave(i, state, reason); moved != nil {
		return errors.Join(err, moved)
	}
	if err != nil {
		return err // the final report has it all
	}
	return s.commit(ctx)
}

// mayGoOn asks whether anybody forbids the i-th wave: someone who said stop, a hold, the schedule, a changed project. It
// is asked when the wave before has ended, before a run is gone on with, and last of all before the engine is called.
func (s *session) mayGoOn(ctx context.Context, i int, where string) error {
	next := s.report.Waves[i].Number
	if err := s.interrupted(ctx, where); err != nil {
		return err
	}
	halt := func(reason string, err error) error {
		return &HaltError{Wave: next, Reason: fmt.Sprintf("halted before wave %d: %s", next, reason), Err: err}
	}
	switch held, reason, err := s.hold(); {
	case held:
		held := &HeldError{reason}
		return halt(held.Error(), nil)
	case err != nil:
		return halt(err.Error(), err)
	}
	if err := s.schedule(i); err != nil && s.report.Waves[i].State != Soaking {
		return halt(err.Error(), err)
	}
	return s.sameProject(halt)
}

// sameProject asks whether the project is still what it was when the run began.
func (s *session) sameProject(halt func(string, error) error) error {
	if s.Fingerprint == nil || s.report.Project == nil {
		return nil
	}
	now, err := s.Fingerprint()
	if err != nil {
		return halt(err.Error(), err)
	}
	if before := s.report.Project; now.Hash != before.Hash {
		reason := "the project changed during the run"
		if names := before.changed(now); len(names) > 0 {
			reason += ": " + list(names)
		}
		return halt(reason+"; run again when it is as you want it", nil)
	}
	return nil
}

// patch has the engine work on the hosts of the wave that have no outcome yet.
func (s *session) patch(ctx context.Context, i int) error {
	wave := s.plan.Waves[i]
	wave.Versions = s.versions
	known := s.report.Waves[i].byName()
	wave.Hosts = slices.DeleteFunc(slices.Clone(wave.Hosts), func(h Host) bool {
		return known[h.Name].Outcome != Undecided
	})
	if len(wave.Hosts) == 0 {
		return nil
	}
	return s.engine(ctx, i, s.Engine, wave)
}

// engine runs an engine over hosts of the i-th wave and fills in how they came out.
func (s *session) engine(ctx context.Context, i int, engine Engine, wave Wave) error {
	engineCtx, cancel := ctx, context.CancelFunc(func() {})
	if d := s.Policy.WaveDeadline; d > 0 {
		engineCtx, cancel = context.WithTimeoutCause(ctx, d, &deadlineError{d})
	}
	defer cancel()
	f := newFold()
	result, err := engine.Run(engineCtx, wave, func(e runner.Event) {
		f.add(e)
		if s.Progress != nil {
			s.Progress(e)
		}
	})
	w := &s.report.Waves[i]
	w.Ended = time.Now().UTC()
	if result.Version != "" {
		s.report.Engine = result.Version
	}
	s.report.Notes = append(s.report.Notes, f.judge(w, result, s.Policy)...)
	number, known := w.Number, w.byName()
	for _, h := range wave.Hosts {
		h := known[h.Name]
		s.changes = append(s.changes, Change{Time: w.Ended, Run: s.report.ID, Wave: &number, Host: h.Name, To: string(h.Outcome), Reason: h.Message})
	}
	return s.explain(engineCtx, ctx, *w, result, err)
}

// explain turns what the engine returned into what it means for the run. A context that ended when the last host had
// just come through has interrupted nothing.
func (s *session) explain(engineCtx, ctx context.Context, w WaveReport, result runner.Result, err error) error {
	undone := w.Count(HostInterrupted) + w.Count(HostNotAttempted)
	if engineCtx.Err() != nil && (err != nil || undone > 0) {
		var names []string
		for _, h := range w.Hosts {
			if h.Outcome == HostInterrupted {
				names = append(names, h.Name)
			}
		}
		reason := fmt.Sprintf("wave %d: %v", w.Number, context.Cause(engineCtx))
		if len(names) > 0 {
			reason += "; interrupted: " + list(names)
		}
		if ctx.Err() != nil {
			return &InterruptError{Reason: "interrupted in " + reason, Err: context.Cause(ctx)}
		}
		return &HaltError{Wave: w.Number, Reason: reason, Err: context.Cause(engineCtx)}
	}
	if err != nil {
		return fmt.Errorf("wave %d: %w", w.Number, err)
	}
	if !result.Complete {
		return fmt.Errorf("wave %d: %w", w.Number, &runner.EngineError{Problem: "it ended without a recap, so that the end of its hosts is not known"})
	}
	return nil
}

// settle waits out the soak of a wave that kept its budget, and asks the gates. A stop ends the soak; the gates are
// still asked, because the wave is to be finished.
func (s *session) settle(ctx context.Context, i int) error {
	soak := s.Policy.Soak
	if i == len(s.report.Waves)-1 {
		soak = 0
	}
	if soak == 0 && len(s.Gates) == 0 {
		return nil
	}
	// The hosts' outcomes are worth keeping before anything else can go wrong.
	if s.report.Waves[i].State != Soaking { // else an earlier process died in the soak
		if err := errors.Join(s.moveWave(i, Soaking, ""), s.moveRun(Soaking, "")); err != nil {
			return err
		}
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	timer := time.NewTimer(soak)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.Stop:
	case <-ctx.Done():
	}
	return s.ask(ctx, i, fmt.Sprintf("after wave %d", s.report.Waves[i].Number))
}
