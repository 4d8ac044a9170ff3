package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"homelab-patch-orchestrate/runner"
)

// wave runs one wave of the plan and returns why no other may follow.
func (s *session) wave(ctx context.Context, i int) error {
	if i > 0 {
		if err := s.mayGoOn(ctx, i); err != nil {
			return err
		}
		if err := s.askAgain(ctx, i); err != nil {
			return err
		}
	}
	if s.report.State == Soaking {
		if err := s.moveRun(Running, ""); err != nil {
			return err
		}
	}
	w := &s.report.Waves[i]
	w.Started = time.Now().UTC()
	if err := s.moveWave(i, Running, ""); err != nil {
		return err
	}
	if err := s.commit(ctx); err != nil {
		return err
	}
	err := s.patch(ctx, i)
	if err == nil {
		err = checkBudget(*w, s.Policy.Budget)
	}
	if err == nil {
		err = s.settle(ctx, i)
	}
	if errors.Is(err, errJournal) {
		return err
	}
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

// mayGoOn asks everything that is asked before each wave but the first.
func (s *session) mayGoOn(ctx context.Context, i int) error {
	last, next := s.report.Waves[i-1].Number, s.report.Waves[i].Number
	if err := s.interrupted(ctx, fmt.Sprintf("after wave %d", last)); err != nil {
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
	if s.Fingerprint == nil {
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

// patch runs the engine over the wave and fills in how its hosts came out.
func (s *session) patch(ctx context.Context, i int) error {
	engineCtx, cancel := ctx, context.CancelFunc(func() {})
	if d := s.Policy.WaveDeadline; d > 0 {
		engineCtx, cancel = context.WithTimeoutCause(ctx, d, &deadlineError{d})
	}
	defer cancel()
	f := newFold()
	result, err := s.Engine.Run(engineCtx, s.plan.Waves[i], func(e runner.Event) {
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
	s.report.Notes = append(s.report.Notes, f.judge(w, result, s.Policy.Check)...)
	number := w.Number
	for _, h := range w.Hosts {
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
	if err := errors.Join(s.moveWave(i, Soaking, ""), s.moveRun(Soaking, "")); err != nil {
		return err
	}
	if err := s.commit(ctx); err != nil {
		return err
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
