package runner

import (
	"fmt"
	"time"
)

// Outcome is how a host came out of a run.
type Outcome string

// Outcomes. A host that was expected and not seen is NotAttempted: silence is
// not success.
const (
	OK           Outcome = "ok"
	Changed      Outcome = "changed"
	Failed       Outcome = "failed"
	Unreachable  Outcome = "unreachable"
	Interrupted  Outcome = "interrupted"
	NotAttempted Outcome = "not-attempted"
)

// HostResult is what happened to one host.
type HostResult struct {
	Outcome Outcome
	Stats   Stats
	Task    string // the task in which it failed, became unreachable or was interrupted
	Path    string // file:line of that task
	Msg     string // why, as the module or ssh said it
	Reached bool   // a task has run on the host itself, not only about it on the controller
	Lost    bool   // it was unreachable whenever it was tried, and the playbook ignores that
}

// Result is what happened in one run of ansible-playbook.
type Result struct {
	Hosts    map[string]HostResult // every host that was expected or seen
	Version  string                // of ansible-core; empty if it never came up
	ExitCode int                   // of ansible-playbook; -1 if it was killed. It explains; Hosts decide
	Complete bool                  // the recap was seen
	Started  time.Time
	Ended    time.Time
	Stderr   string // the last 16 KiB of it
}

// EngineError says that ansible-playbook could not do its work, whatever the
// hosts are like: it is missing, too old, could not parse the playbook, or
// died. It holds the cause, such as [os/exec.ErrNotFound].
type EngineError struct {
	Problem string // one sentence
	Detail  string // the last lines of stderr; may be empty
	Err     error  // cause; may be nil
}

func (e *EngineError) Error() string {
	s := e.Problem
	if e.Err != nil {
		s = fmt.Sprintf("%s: %v", s, e.Err)
	}
	if e.Detail != "" {
		s += "\n" + e.Detail
	}
	return s
}

func (e *EngineError) Unwrap() error { return e.Err }
