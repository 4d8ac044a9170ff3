package orchestrator

import "fmt"

// State is where a run or a wave is. docs/states.md says what each means for the people who read it.
type State string

// The states of a run and of a wave.
const (
	Pending        State = "pending"         // not begun
	Running        State = "running"         // hosts are being patched
	Soaking        State = "soaking"         // the wave kept its budget; waiting, and asking the gates, before the next
	Passed         State = "passed"          // the gate said go on; for a run: every wave passed
	Failed         State = "failed"          // it could not be carried out; no judgement about hosts
	Halted         State = "halted"          // a gate said stop
	Interrupted    State = "interrupted"     // someone said stop, or the process died
	AwaitingReboot State = "awaiting-reboot" // the controller reboots; a later process ends the run
)

// Final reports whether nothing follows the state.
func (s State) Final() bool {
	return s == Passed || s == Failed || s == Halted || s == Interrupted
}

// subject is what is in a state.
type subject string

const (
	theRun  subject = "run"
	theWave subject = "wave"
)

// move is one allowed transition.
type move struct {
	from, to  State
	run, wave bool
	when      string
}

// moves is the transition table: what is not here cannot happen. docs/states.md shows the same rows, kept by a test.
func moves() []move {
	return []move{
		{Pending, Running, true, true, "the run begins; the engine of the wave is about to start"},
		{Pending, Failed, true, false, "an error before the first wave"},
		{Pending, Interrupted, true, false, "stopped before the first wave, or the process died"},
		{Running, Soaking, true, true, "the wave kept its budget, and a soak or gates come next"},
		{Running, Passed, true, true, "the wave kept its budget; for a run: it was the last"},
		{Running, Failed, true, true, "the engine broke, or the journal could not be written"},
		{Running, Halted, true, true, "over the budget, past the deadline; for a run also: held, or the project changed"},
		{Running, Interrupted, true, true, "cancelled, or the process died; for a run also: stopped after a wave"},
		{Running, AwaitingReboot, true, true, "the controller is patched and has to reboot"},
		{Soaking, Running, true, false, "the next wave begins"},
		{Soaking, Passed, true, true, "the soak is over and the gates said go on; for a run: it was the last wave"},
		{Soaking, Failed, true, true, "the journal could not be written"},
		{Soaking, Halted, true, true, "a gate said stop; for a run also: held, or the project changed"},
		{Soaking, Interrupted, true, true, "cancelled, or the process died; for a run also: stopped after a wave"},
		{AwaitingReboot, Passed, true, true, "the controller came back well"},
		{AwaitingReboot, Failed, true, true, "the controller did not reboot, or came back degraded"},
		{AwaitingReboot, Halted, true, true, "the controller came back well, and a gate said stop"},
		{AwaitingReboot, Interrupted, true, true, "nobody resumed the run before the next one began"},
	}
}

// TransitionError is a transition that the table does not allow: a mistake in this program.
type TransitionError struct {
	Subject  string // "run" or "wave"
	From, To State
}

// Error names the subject and both states.
func (e *TransitionError) Error() string {
	return fmt.Sprintf("a %s cannot go from %s to %s: please report this", e.Subject, e.From, e.To)
}

// transit returns the [*TransitionError] of a transition that is not in the table.
func transit(what subject, from, to State) error {
	for _, m := range moves() {
		if m.from == from && m.to == to && (what == theRun && m.run || what == theWave && m.wave) {
			return nil
		}
	}
	return &TransitionError{Subject: string(what), From: from, To: to}
}
