package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Gate is asked after each wave that kept its budget, when the soak is over, and again right before the next wave begins,
// whether the fleet is well enough to go on.
type Gate struct {
	// Name is what reports and people call it; required, and no other gate's.
	Name string
	// Timeout is how long it may take to answer; 0 is a minute. One that takes longer has said no: unknown is unhealthy.
	Timeout time.Duration
	// Check returns nil for yes. An error is no, and its text, one line, is what people read: what was seen, and since
	// when if that can be told. A gate that cannot tell says no. When ctx ends, Check returns soon. Required.
	Check func(ctx context.Context, q Question) error
}

// Question is what a gate is asked about. It is to be read only.
type Question struct {
	Report Report     // of the run so far
	Wave   WaveReport // the wave that was just finished
	When   string     // "after wave 1", or "before wave 2"
}

// GateAnswer is what a gate said once.
type GateAnswer struct {
	Gate   string    `json:"gate"`
	When   string    `json:"when"` // "after wave 1": when its soak was over; "before wave 2"
	Time   time.Time `json:"time"` // of the answer
	OK     bool      `json:"ok"`
	Reason string    `json:"reason,omitempty"` // empty if it said yes
}

const gateTimeout = time.Minute

// answer asks the gate.
func (g Gate) answer(ctx context.Context, q Question) error {
	timeout := cmp.Or(g.Timeout, gateTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := g.Check(ctx, q)
	if ctx.Err() == nil {
		return err
	}
	late := fmt.Sprintf("no answer within %s", timeout)
	if err == nil || errors.Is(err, ctx.Err()) {
		return errors.New(late)
	}
	return fmt.Errorf("%s: %w", late, err)
}

// ask asks every gate about wave i, also when one has said no, and writes their answers into the report. It returns a
// [*HaltError] for the first that said no, or an [*InterruptError]: a gate whose context ended has not answered.
func (s *session) ask(ctx context.Context, i int, when string) error {
	w := &s.report.Waves[i]
	var halt *HaltError
	var others []string
	for _, gate := range s.Gates {
		if ctx.Err() != nil {
			break
		}
		err := gate.answer(ctx, Question{Report: s.report, Wave: *w, When: when})
		if ctx.Err() != nil {
			break
		}
		a := GateAnswer{Gate: gate.Name, When: when, Time: time.Now().UTC(), OK: err == nil}
		if err != nil {
			a.Reason = err.Error()
		}
		switch {
		case err == nil:
		case halt == nil:
			halt = &HaltError{Wave: w.Number, Reason: fmt.Sprintf("halted %s: gate %s: %v", when, gate.Name, err), Err: err}
			if yes, ok := s.report.lastYes(gate.Name); ok {
				halt.Reason += fmt.Sprintf("; it last said yes at %s UTC, %s", yes.Time.UTC().Format(time.TimeOnly), yes.When)
			}
		default:
			others = append(others, gate.Name)
		}
		w.Gates = append(w.Gates, a)
	}
	if halt != nil {
		if len(others) > 0 {
			halt.Reason += "; no was also said by: " + list(others)
		}
		return halt
	}
	if ctx.Err() != nil {
		return &InterruptError{Reason: fmt.Sprintf("interrupted %s: %v", when, context.Cause(ctx)), Err: context.Cause(ctx)}
	}
	return nil
}

// lastYes returns the latest yes of a gate.
func (r Report) lastYes(gate string) (yes GateAnswer, ok bool) {
	for _, w := range r.Waves {
		for _, a := range w.Gates {
			if a.Gate == gate && a.OK && !a.Time.Before(yes.Time) {
				yes, ok = a, true
			}
		}
	}
	return yes, ok
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

// Refused returns the latest answer of each gate that last said no, in the order in which they came.
func (r Report) Refused() (no []GateAnswer) {
	for _, w := range r.Waves {
		for _, a := range w.Gates {
			no = slices.DeleteFunc(no, func(old GateAnswer) bool { return old.Gate == a.Gate })
			if !a.OK {
				no = append(no, a)
			}
		}
	}
	return no
}

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
