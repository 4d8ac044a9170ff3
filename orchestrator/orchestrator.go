package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"homelab-patch-orchestrate/internal/failpoint"
	"homelab-patch-orchestrate/runner"
)

// Engine patches the hosts of one wave. It calls emit with each event, one after the other, and not after Run has
// returned. The result tells how each host came out, whatever the error. The error is nil if the engine did its work,
// even if every host failed. When ctx ends, Run returns soon, with hosts in flight as [runner.Interrupted] and nothing
// left running on this machine.
//
// A run and a wave name one execution: asked again for one that has come to its end, by a process that goes on with the
// run, it tells what it told then. docs/engines.md has all that an engine owes, package enginetest tests it.
type Engine interface {
	Run(ctx context.Context, w Wave, emit func(runner.Event)) (runner.Result, error)
}

// Change is one transition: of the run, of a wave, or of a host. It is durable when an observer hears of it.
type Change struct {
	Time     time.Time
	Run      string // id
	Wave     *int   // number of the wave; nil if the run itself changed
	Host     string // empty if the wave or the run changed
	From, To string // states; outcomes for a host, whose From is empty
	Reason   string // why, for people; may be empty
}

// Orchestrator runs plans. Engine is required; every other field may be zero.
type Orchestrator struct {
	Engine Engine
	// Policy is the one that the plan was made with.
	Policy Policy
	// Gates are all asked, in order, after each wave and again before the next; one that says no halts the run.
	Gates []Gate
	// Hold says whether the operator forbids patching now, and why; nil never does. It is asked at the start and before
	// each wave. An error counts as a reason not to go on.
	Hold func() (held bool, reason string, err error)
	// HostHold says the same of a single host, which is then left alone; nil never does. An error halts the run.
	HostHold func(host string) (held bool, reason string, err error)
	// Schedule says when waves may begin. It is asked at the start and before each wave, with what Took says of it; not
	// of a run that changes nothing.
	Schedule Schedule
	// Took is how long waves took before.
	Took Durations
	// Now begins waves whatever the schedule says, which the report then has.
	Now bool
	// Fingerprint says what the project is; nil compares nothing. A run whose project changes under it is halted.
	Fingerprint func() (Project, error)
	// Boot tells this boot of the machine from all others, as the kernel's boot_id does; empty if that is not known.
	Boot string
	// Reboot tells this machine, which is the controller, to reboot, and does not wait for it. It is called when all
	// else of the run is durable, and once a run at most. Nil leaves a reboot that is due to somebody else.
	Reboot func(context.Context, Report) error
	// Returned judges the controller after that reboot, as Engine does a wave that has the controller alone.
	Returned Engine
	// Preflight says what the upgrade of the controller would change, in check mode, before its wave begins; nil is not
	// asked. What would take the engine away from under the run halts it.
	Preflight Engine
	// Prepare has all hosts of the plan download what they get before the first wave, so that each wave gets the versions
	// of those before it; Wave.Versions says what is planned already. Nil prepares nobody.
	Prepare Engine
	// Versions is versions that were planned before; nil is none. Without Prepare they are installed as they are.
	Versions *Versions
	// From says where Versions is from, for people.
	From string
	// Stop, once closed, lets the wave under way finish and begins no other; nil never does.
	Stop <-chan struct{}
	// Progress is called with each event of the engine; nil is not. While it runs, the engine waits.
	Progress func(runner.Event)
	// Observe is called with each change after the journal was written; nil is not. Its context does not end when the
	// run's does. While it runs, the run waits. Closing the journal of an earlier run that died is a change of that run.
	Observe func(context.Context, Change)
}

// Run carries out a plan. The report is final, and in the run's folder, whatever the error, with the exception of a
// refusal that touched nothing: a [*PlanError] for a plan without hosts, a [*HeldError] for a hold at the start, a
// [*ClosedError] of the schedule, a [*JournalError] for an earlier journal of a newer version.
//
// The error is nil if the run came to its end, also if hosts were lost within the budget. Otherwise it is a
// [*HaltError], an [*InterruptError], or what kept the run from being carried out, such as a [*runner.EngineError] or a
// journal that could not be written. [ExitCode] knows them all.
//
// Two ends leave the report unfinished, for [Orchestrator.Resume] in a later process: a run in state [AwaitingReboot],
// whose error is nil, and one whose context ended with a [*ShutdownError].
func (o *Orchestrator) Run(ctx context.Context, run *Run, plan *Plan) (Report, error) {
	s := o.session(run, plan)
	if s.report.Total() == 0 {
		return s.report, &PlanError{errors.New("the plan has no hosts")}
	}
	held, reason, err := o.hold()
	if held {
		return s.report, &HeldError{reason}
	}
	if closed := s.schedule(0); err == nil && closed != nil {
		return s.report, closed
	}
	if err := s.closeLeftover(ctx); err != nil {
		return s.report, err
	}
	if err == nil {
		err = s.begin(ctx)
	}
	if err == nil {
		err = s.prepare(ctx)
	}
	if err == nil {
		err = s.waves(ctx, 0)
	}
	return s.conclude(ctx, err)
}

// waves carries out the waves from the i-th on.
func (s *session) waves(ctx context.Context, i int) error {
	for ; i < len(s.report.Waves); i++ {
		if err := s.wave(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// conclude ends the run, unless a later process will.
func (s *session) conclude(ctx context.Context, err error) (Report, error) {
	if errors.Is(err, errAwaiting) {
		failpoint.At("reboot-before")
		err = s.Reboot(context.WithoutCancel(ctx), s.report)
		failpoint.At("reboot-after")
		if err == nil {
			return s.report, nil
		}
		err = &RebootError{Reason: fmt.Sprintf("%s could not be told to reboot: %v", s.report.Controller, err), Err: err}
	}
	if down := (*ShutdownError)(nil); errors.As(err, &down) && !errors.Is(err, errJournal) {
		return s.report, err
	}
	return s.end(ctx, err)
}

// Fail writes the final report of a run that could not begin because of err: no engine, no readable inventory. It
// returns err, joined with what kept the report from being written.
func (o *Orchestrator) Fail(ctx context.Context, run *Run, err error) (Report, error) {
	s := o.session(run, &Plan{})
	if left := s.closeLeftover(ctx); left != nil {
		return s.report, errors.Join(err, left)
	}
	return s.end(ctx, err)
}

func (o *Orchestrator) hold() (bool, string, error) {
	if o.Hold == nil {
		return false, "", nil
	}
	return o.Hold()
}

// session is one run under way: its report, and the changes that are not durable yet.
type session struct {
	*Orchestrator
	run     *Run
	plan    *Plan
	report  Report
	changes []Change
	// versions is what hosts get; nil if that is whatever the archive has.
	versions *Versions
	unsure   map[int]bool // waves that an earlier process was in the middle of
}

func (o *Orchestrator) session(run *Run, plan *Plan) *session {
	return &session{Orchestrator: o, run: run, plan: plan, report: Report{
		Version: Version, ID: run.ID, State: Pending, Kind: o.Policy.Kind(), Of: o.Policy.Of, Boot: o.Boot, Started: time.Now().UTC(),
		Controller: plan.Controller, Budget: o.Policy.Budget, Notes: plan.Notes, Waves: plan.Pending(),
	}}
}

// begin does what comes before the first wave.
func (s *session) begin(ctx context.Context) error {
	if s.Fingerprint != nil {
		project, err := s.Fingerprint()
		if err != nil {
			return err
		}
		s.report.Project = &project
	}
	if err := s.interrupted(ctx, "before the first wave"); err != nil {
		return err
	}
	return s.moveRun(Running, "")
}

// end makes the report final.
func (s *session) end(ctx context.Context, err error) (Report, error) {
	r := &s.report
	state, code, reason := Passed, ExitDone, ""
	if err != nil {
		state, code = verdict(err)
		reason = err.Error()
	} else {
		reason = r.summary()
		if len(r.lost()) > 0 {
			code = ExitLosses
		}
	}
	for i := range r.Waves {
		w := &r.Waves[i]
		for j := range w.Hosts {
			h := &w.Hosts[j]
			switch {
			case h.Outcome != Undecided:
			case s.unsure[i]:
				h.Outcome = HostInterrupted
			default:
				h.Outcome = HostNotAttempted
			}
		}
		if w.State != Pending && !w.State.Final() { // the journal failed in its middle
			err = errors.Join(err, s.moveWave(i, state, reason))
		}
	}
	if moved := s.moveRun(state, reason); moved != nil {
		err = errors.Join(err, moved)
		code = ExitFailed
	}
	r.Ended, r.ExitCode, r.Reason = time.Now().UTC(), &code, reason
	if saved := s.commit(ctx); saved != nil {
		code = ExitFailed // nobody will find out how it ended
		if err == nil || !errors.Is(err, errJournal) {
			err = errors.Join(err, saved)
		}
	}
	return *r, err
}

// moveRun changes the state of the run in memory; commit makes it durable.
func (s *session) moveRun(to State, reason string) error {
	r := &s.report
	if err := transit(theRun, r.State, to); err != nil {
		return err
	}
	s.changes = append(s.changes, Change{Time: time.Now().UTC(), Run: r.ID, From: string(r.State), To: string(to), Reason: reason})
	r.State = to
	return nil
}

// moveWave is moveRun for a wave.
func (s *session) moveWave(i int, to State, reason string) error {
	w := &s.report.Waves[i]
	if err := transit(theWave, w.State, to); err != nil {
		return err
	}
	number := w.Number
	s.changes = append(s.changes, Change{Time: time.Now().UTC(), Run: s.report.ID, Wave: &number, From: string(w.State), To: string(to), Reason: reason})
	w.State, w.Reason = to, reason
	return nil
}

// errJournal is held by the error of a journal that cannot be written.
var errJournal = errors.New("the run stops, because what it does could not be recorded")

// commit makes the report durable, then tells the observer what changed.
func (s *session) commit(ctx context.Context) error {
	if err := s.run.save(s.report); err != nil {
		return fmt.Errorf("%w (%w)", err, errJournal)
	}
	failpoint.At("told-before")
	s.tell(ctx, s.changes...)
	failpoint.At("told-after")
	s.changes = nil
	return nil
}

func (s *session) tell(ctx context.Context, changes ...Change) {
	if s.Observe == nil {
		return
	}
	for _, c := range changes {
		s.Observe(context.WithoutCancel(ctx), c)
	}
}

// interrupted returns an [*InterruptError] if someone has said stop.
func (s *session) interrupted(ctx context.Context, where string) error {
	if ctx.Err() != nil {
		return &InterruptError{Reason: fmt.Sprintf("interrupted %s: %v", where, context.Cause(ctx)), Err: context.Cause(ctx)}
	}
	if s.stopped() {
		return &InterruptError{Reason: "stopped " + where}
	}
	return nil
}

func (s *session) stopped() bool {
	select {
	case <-s.Stop:
		return true
	default:
		return false
	}
}
