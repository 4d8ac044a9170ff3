package orchestrator

import (
	"context"
	"fmt"
	"time"
)

// Gate is asked after a wave that kept its budget, when its soak is over, whether the next may begin. Nil means yes; an
// error means no, and its text is the reason that people read. A gate that cannot tell says no. When ctx ends, Check
// returns soon.
type Gate interface {
	Check(ctx context.Context, w WaveReport) error
}

// HaltError says that a run was stopped before or after a wave. It holds the cause, such as a gate's error.
type HaltError struct {
	Wave   int // number of the wave
	Reason string
	Err    error // nil if the reason is the budget or the deadline
}

// Error returns the reason.
func (e *HaltError) Error() string { return e.Reason }

// Unwrap returns the cause.
func (e *HaltError) Unwrap() error { return e.Err }

// checkBudget is the gate that every wave has.
func checkBudget(w WaveReport, budget int) error {
	lost := w.lost()
	if len(lost) <= budget {
		return nil
	}
	return &HaltError{Wave: w.Number, Reason: fmt.Sprintf("wave %d: %s did not come through, the budget is %d: %s",
		w.Number, hosts(len(lost)), budget, list(lost))}
}

// deadlineError is the cause of the end of a wave's context when the wave took too long.
type deadlineError struct {
	after time.Duration
}

func (e *deadlineError) Error() string { return fmt.Sprintf("the deadline of %s has passed", e.after) }

func (e *deadlineError) Is(target error) bool { return target == context.DeadlineExceeded }
