package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// closeLeftover closes the latest journal if its run never ended. We hold the lock, so the process that wrote it is
// gone, and nobody else will.
func (s *session) closeLeftover(ctx context.Context) error {
	store := s.run.store
	old, err := store.Latest()
	var damaged *JournalError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case errors.As(err, &damaged) && damaged.Err != nil:
		// There is nothing in it to go by, and patching must not stop for ever because of it.
		s.report.Notes = append(s.report.Notes, damaged.Error())
		return nil
	case err != nil:
		return err
	case old.State.Final():
		return nil
	}
	was := old.State
	reason := fmt.Sprintf("the process that ran it ended while the run was %s; closed by run %s", was, s.run.ID)
	if _, err := s.Close(ctx, &Run{ID: old.ID, Dir: store.runDir(old.ID), store: store}, reason); err != nil {
		return fmt.Errorf("close run %s: %w", old.ID, err)
	}
	s.report.Notes = append(s.report.Notes, fmt.Sprintf("run %s had died while it was %s; it is now closed as interrupted", old.ID, was))
	return nil
}

// abandon makes the report final as far as a dead run's journal tells how it was.
func (s *session) abandon(reason string) error {
	for i := range s.report.Waves {
		w := &s.report.Waves[i]
		unknown := HostNotAttempted
		if w.State != Pending && !w.State.Final() {
			unknown = HostInterrupted
			if err := s.moveWave(i, Interrupted, reason); err != nil {
				return err
			}
		}
		for j := range w.Hosts {
			if h := &w.Hosts[j]; h.Outcome == Undecided {
				h.Outcome, h.Message = unknown, reason
			}
		}
	}
	if err := s.moveRun(Interrupted, reason); err != nil {
		return err
	}
	code := ExitInterrupted
	s.report.Ended, s.report.ExitCode, s.report.Reason = time.Now().UTC(), &code, reason
	return nil
}
