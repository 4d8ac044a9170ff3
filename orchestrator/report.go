package orchestrator

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"homelab-patch-orchestrate/runner"
)

// Kind says how much a run covers. Only a [Full] run speaks for the fleet.
type Kind string

// Kinds of runs.
const (
	Full     Kind = "full"     // every host of every wave
	Narrowed Kind = "narrowed" // a limit or one wave was asked for
	Retry    Kind = "retry"    // hosts that an earlier run did not bring through
	Check    Kind = "check"    // nothing is changed anywhere
	Rollback Kind = "rollback" // what an earlier run has changed on a host is undone; it patches nobody
)

// Outcome is how a host came out of a run.
type Outcome string

// Outcomes of a host.
const (
	Undecided        Outcome = ""          // the wave has not ended yet
	Unchanged        Outcome = "unchanged" // nothing to do, or only looked at
	Patched          Outcome = "patched"   // packages changed, or it rebooted
	Held             Outcome = "held"      // a MAINTENANCE file on the host
	HostFailed       Outcome = "failed"
	HostUnreachable  Outcome = "unreachable"
	HostInterrupted  Outcome = "interrupted" // its end is not known
	HostNotAttempted Outcome = "not-attempted"
)

// Well reports whether the host came through.
func (o Outcome) Well() bool { return o == Unchanged || o == Patched || o == Held }

// Report is a run as data. The journal on disk is its JSON; the names in it are a contract.
type Report struct {
	Version    int          `json:"version"` // of the journal's format
	ID         string       `json:"id"`
	State      State        `json:"state"`
	Kind       Kind         `json:"kind"`
	Of         string       `json:"of,omitempty"`   // of a retry: id of the run whose hosts it has; of a rollback: of the run that is undone
	Boot       string       `json:"boot,omitempty"` // boot of the controller in which the run was last at work
	Started    time.Time    `json:"started"`
	Ended      time.Time    `json:"ended,omitzero"`
	ExitCode   *int         `json:"exit_code"`  // nil until State is final
	Reason     string       `json:"reason"`     // how it ended and why, in words
	Controller string       `json:"controller"` // name of the host that ran it
	Project    *Project     `json:"project"`    // nil if there is none to compare
	Engine     string       `json:"engine"`     // version of ansible-core; empty if it never came up
	Budget     int          `json:"budget"`     // hosts a wave may lose
	Waves      []WaveReport `json:"waves"`      // every wave of the plan
	// Versions is those that the run installs, the same in every wave; nil if each wave takes what the archive has.
	Versions *VersionsReport `json:"versions,omitempty"`
	Reboot   *Reboot         `json:"reboot,omitempty"`  // of the controller; nil if none was asked for
	Resumed  []time.Time     `json:"resumed,omitempty"` // when later processes went on with the run
	Notes    []string        `json:"notes,omitempty"`   // what a person should know besides
}

// Reboot is a request that the controller reboot itself. A run makes one at most.
type Reboot struct {
	Asked time.Time `json:"asked"`
	Boot  string    `json:"boot"` // the boot that was to end
}

// WaveReport is what happened to one wave.
type WaveReport struct {
	Number  int          `json:"number"`
	Group   string       `json:"group"`
	State   State        `json:"state"`
	Started time.Time    `json:"started,omitzero"`
	Ended   time.Time    `json:"ended,omitzero"` // when its last host had ended; the soak is not in it
	Reason  string       `json:"reason"`         // why it is in this state; empty if all is well
	Hosts   []HostReport `json:"hosts"`
	// Strangers is the hosts outside the wave that the playbook ran tasks on and that did not come through, with their
	// outcome. They count against the budget.
	Strangers []string `json:"strangers,omitempty"`
	// Gates is every answer of a gate about this wave, in the order in which they came.
	Gates []GateAnswer `json:"gates,omitempty"`
}

// HostReport is what happened to one host.
type HostReport struct {
	Name       string       `json:"name"`
	Outcome    Outcome      `json:"outcome"`
	Optional   bool         `json:"optional,omitempty"`   // it may be unreachable at first contact
	Excused    bool         `json:"excused,omitempty"`    // it was, and does not count against the budget
	Controller bool         `json:"controller,omitempty"` // it runs the patching
	Task       string       `json:"task,omitempty"`       // where it went wrong
	Path       string       `json:"path,omitempty"`       // file:line of that task
	Message    string       `json:"message,omitempty"`    // why, for people
	Stats      runner.Stats `json:"stats"`
	Patch      *Patch       `json:"patch,omitempty"` // what the role published; nil if it is not the role
}

// Lost reports whether the host counts against the budget.
func (h HostReport) Lost() bool { return !h.Outcome.Well() && !h.Excused }

// Count returns how many hosts of the wave have the outcome.
func (w WaveReport) Count(o Outcome) int {
	n := 0
	for _, h := range w.Hosts {
		if h.Outcome == o {
			n++
		}
	}
	return n
}

// byName returns what the wave says of each host.
func (w WaveReport) byName() map[string]*HostReport {
	hosts := make(map[string]*HostReport, len(w.Hosts))
	for i := range w.Hosts {
		hosts[w.Hosts[i].Name] = &w.Hosts[i]
	}
	return hosts
}

// lost returns the hosts that count against the budget, with their outcome.
func (w WaveReport) lost() []string {
	var names []string
	for _, h := range w.Hosts {
		if h.Lost() {
			names = append(names, fmt.Sprintf("%s (%s)", h.Name, h.Outcome))
		}
	}
	return append(names, w.Strangers...)
}

// Count returns how many hosts of the run have the outcome.
func (r Report) Count(o Outcome) int {
	n := 0
	for _, w := range r.Waves {
		n += w.Count(o)
	}
	return n
}

// lost returns the hosts of every wave that count.
func (r Report) lost() []string {
	var names []string
	for _, w := range r.Waves {
		names = append(names, w.lost()...)
	}
	return names
}

// summary says in words how a run ended that was carried out to its end.
func (r Report) summary() string {
	if lost := r.lost(); len(lost) > 0 {
		return fmt.Sprintf("finished; %s did not come through, within the budget of %d a wave: %s", hosts(len(lost)), r.Budget, list(lost))
	}
	if r.Kind == Check {
		packages, on := 0, 0
		for _, w := range r.Waves {
			for _, h := range w.Hosts {
				if h.Patch != nil && len(h.Patch.Packages) > 0 {
					packages, on = packages+len(h.Patch.Packages), on+1
				}
			}
		}
		return fmt.Sprintf("checked %s, changed nothing; packages that would change: %d on %s", hosts(r.Total()), packages, hosts(on))
	}
	if r.Kind == Rollback {
		changes := 0
		for _, w := range r.Waves {
			for _, h := range w.Hosts {
				if h.Patch != nil {
					changes += len(h.Patch.Packages)
				}
			}
		}
		return fmt.Sprintf("undid run %s on %s; packages changed back: %d", r.Of, hosts(r.Total()), changes)
	}
	if r.Count(Unchanged) == r.Total() {
		return fmt.Sprintf("nothing to do on %s", hosts(r.Total()))
	}
	var parts []string
	for _, o := range []Outcome{Patched, Unchanged, Held, HostUnreachable} {
		if n := r.Count(o); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	return strings.Join(parts, ", ")
}

// PackageChange is one change of a package, and the hosts that have it.
type PackageChange struct {
	Package          // Security if it is on one of them
	Hosts   []string // in the order of the report
}

// Changes returns each change of a package once, in the order in which hosts first report it.
func (r Report) Changes() []PackageChange {
	type change struct{ name, from, to string }
	index := map[change]int{}
	var all []PackageChange
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			if h.Patch == nil {
				continue
			}
			for _, p := range h.Patch.Packages {
				key := change{p.Name, p.From, p.To}
				i, known := index[key]
				if !known {
					i = len(all)
					index[key], all = i, append(all, PackageChange{Package: p})
				}
				all[i].Hosts = append(all[i].Hosts, h.Name)
				all[i].Security = all[i].Security || p.Security
			}
		}
	}
	return all
}

// Total returns how many hosts the run has.
func (r Report) Total() int {
	n := 0
	for _, w := range r.Waves {
		n += len(w.Hosts)
	}
	return n
}

func hosts(n int) string {
	if n == 1 {
		return "1 host"
	}
	return fmt.Sprintf("%d hosts", n)
}

// The exit codes. Anything else that a process ends with is a failure, too.
const (
	ExitDone        = 0
	ExitFailed      = 1   // the run could not be carried out
	ExitUsage       = 2   // usage, configuration or plan: nothing was touched
	ExitHalted      = 3   // a gate, a hold between waves, or a changed project
	ExitLosses      = 4   // finished; hosts were lost within the budget
	ExitLocked      = 5   // another run holds the lock
	ExitHeld        = 6   // held, or outside the window, at the start: nothing was touched
	ExitInterrupted = 130 // stopped; 143 if it was by SIGTERM
)

// ExitCode returns the exit code for what [Orchestrator.Run], [NewPlan] or [Store.Lock] returned.
func ExitCode(report Report, err error) int {
	if report.ExitCode != nil {
		return *report.ExitCode
	}
	if err == nil && report.State == AwaitingReboot {
		return ExitDone // a later process ends it
	}
	if err == nil {
		return ExitFailed // a run without an end cannot be a success
	}
	_, code := verdict(err)
	return code
}

// verdict returns the state that a run ends in because of an error, and the exit code.
func verdict(err error) (State, int) {
	var plan *PlanError
	var halt *HaltError
	var stop *InterruptError
	switch {
	case errors.Is(err, errJournal):
		return Failed, ExitFailed
	case errors.As(err, &halt): // before those that it may hold as a cause
		return Halted, ExitHalted
	case errors.As(err, &stop):
		return Interrupted, stop.code()
	case errors.As(err, &plan):
		return Failed, ExitUsage
	case errors.Is(err, ErrLocked):
		return Failed, ExitLocked
	case errors.Is(err, ErrHeld), errors.Is(err, ErrClosed):
		return Failed, ExitHeld
	}
	return Failed, ExitFailed
}
