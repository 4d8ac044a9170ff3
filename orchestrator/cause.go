package orchestrator

import (
	"cmp"
	"strings"
)

// Cause is in one word why a host came out of a run as it did, for scripts and for whoever says what to do about it. People
// read the words beside it.
type Cause string

// Causes of a host's outcome.
const (
	CauseNone Cause = "" // it came through, or nobody can tell

	// It failed.
	CauseTask     Cause = "task"     // a task of the playbook, and nothing more is known
	CauseLock     Cause = "lock"     // somebody else held the lock of apt or dpkg
	CausePull     Cause = "pull"     // an ansible-pull was at work on it
	CauseDpkg     Cause = "dpkg"     // dpkg is not in order, and does not mend itself
	CausePostinst Cause = "postinst" // a package could not be installed or configured: a script of its own, mostly
	CauseApt      Cause = "apt"      // apt-get could not plan or make the upgrade, or needrestart not say what it asks for
	CauseLists    Cause = "lists"    // the package lists could not be refreshed, or what was planned not be fetched
	CauseDrift    Cause = "drift"    // planned versions cannot be had; of a host that was not touched: on another
	CauseDisk     Cause = "disk"     // there is no room on it
	CauseMemory   Cause = "memory"   // its memory ran out
	CauseKilled   Cause = "killed"   // the upgrade was killed there, by the kernel or by somebody
	CausePower    Cause = "power"    // it was switched off or restarted in its upgrade
	CauseReboot   Cause = "reboot"   // it did not come back from its reboot
	CauseHealth   Cause = "health"   // a unit has failed, or systemd does not come to rest
	CauseSlow     Cause = "slow"     // its upgrade takes longer than patching_timeout
	CauseSudo     Cause = "sudo"     // its user may not become root
	CauseWorker   Cause = "worker"   // the process that worked on it was killed, on the controller

	// It was not reached, or no longer.
	CauseLink     Cause = "link"      // the link was lost in the middle
	CauseSilent   Cause = "silent"    // it takes connections and says nothing
	CauseNoAnswer Cause = "no-answer" // it is off, or its network is down
	CauseRoutes   Cause = "routes"    // the controller has no way to its network
	CauseRefused  Cause = "refused"   // nothing listens on its ssh port
	CauseName     Cause = "name"      // its name is not known to the resolver
	CauseHostKey  Cause = "host-key"  // its host key is not the known one
	CauseLogin    Cause = "login"     // it does not let us in
	CauseStalled  Cause = "stalled"   // it was busy and reported nothing, and its connection was ended
	CauseSSH      Cause = "ssh"       // ssh says something else

	// It was not touched, or the run was cut short while it was.
	CausePlaybook  Cause = "playbook"  // the playbook has no task for it
	CauseBudget    Cause = "budget"    // a wave lost more hosts than it may
	CauseGate      Cause = "gate"      // a gate said no
	CauseDeadline  Cause = "deadline"  // the wave took too long
	CauseHold      Cause = "hold"      // the fleet is held; of a held host: it is
	CauseWindow    Cause = "window"    // the window closed
	CauseProject   Cause = "project"   // the playbooks changed under the run
	CauseInventory Cause = "inventory" // the inventory changed under the run
	CauseUpgrade   Cause = "upgrade"   // the controller's upgrade would have broken the run
	CauseHalted    Cause = "halted"    // something else that the words name
	CauseStopped   Cause = "stopped"   // somebody stopped the run
	CauseDied      Cause = "died"      // the run's process ended before the run did
	CauseEngine    Cause = "engine"    // ansible-playbook could not do its work
	CauseJournal   Cause = "journal"   // the journal could not be written, or cannot be read

	// The run never began, for one of those above, or because:
	CauseLocked   Cause = "locked"   // another run was under way
	CauseSettings Cause = "settings" // the settings, the inventory or the plan were refused
)

// Why is the cause of a host's outcome.
type Why struct {
	Cause Cause
	// Words say it for people; empty if there is nothing to say. They may come from the host, and have more than one line.
	Words string
	// Wave is the number of the wave that stopped the run, if that is why the host was not touched; nil otherwise.
	Wave *int
}

// said pairs words that this package, the runner or the role say with what they mean. The first that fits counts.
type said []struct {
	words string
	cause Cause
}

func (s said) cause(words string, otherwise Cause) Cause {
	for _, c := range s {
		if strings.Contains(words, c.words) {
			return c.cause
		}
	}
	return otherwise
}

// failures are the words of a host that failed. They come before the phase that the role was in: an upgrade may end for
// want of room, or of power, in any.
var failures = said{
	{"o space left on device", CauseDisk},
	{"no space is left", CauseDisk},
	{"its worker of ansible-playbook", CauseWorker},
	{"as when memory runs out", CauseMemory},
	{"ended without a result: the host ran out of memory", CauseMemory},
	{"ended without a result: it was killed", CauseKilled},
	{"ended without a result", CausePower},
	{"host is being shut down", CausePower},
	{"is still running after", CauseSlow},
	{"sudo on the host asks for a password", CauseSudo},
	{"the link was lost", CauseLink},
	{"the link to the host was lost", CauseLink},
	{"failed after the reboot", CauseHealth},
	{"systemd still says", CauseHealth},
}

// phases are those of the role; see its README.
var phases = map[string]Cause{
	"pull": CausePull, "lock": CauseLock, "dpkg": CauseDpkg, "space": CauseDisk, "lists": CauseLists, "plan": CauseApt,
	"drift": CauseDrift, "download": CauseLists,
	"upgrade": CauseApt, "autoremove": CauseApt, "remove": CauseApt, "needrestart": CauseApt, "services": CauseHealth, "health": CauseHealth,
	"start": CauseHealth, "connection": CauseLink, "reboot": CauseReboot,
}

// halts are the words of why a run was halted.
var halts = said{
	{"plan drift: ", CauseDrift}, // which says what it is about in the words of the host
	{": gate ", CauseGate},
	{"did not come through, the budget is", CauseBudget},
	{"the deadline of", CauseDeadline},
	{": " + ErrHeld.Error(), CauseHold},
	{"is held is not known", CauseHold},
	{"look for a hold", CauseHold},
	{": " + ErrClosed.Error() + ": ", CauseWindow},
	{"the project changed", CauseProject},
	{"read the project", CauseProject},
	{"the inventory has changed", CauseInventory},
	{"the upgrade of ", CauseUpgrade},
}

// ends are the words of a run that was cut short, or could not be carried out.
var ends = said{
	{errJournal.Error(), CauseJournal},
	{"the deadline of", CauseDeadline},
	{"being shut down", CauseDied},
	{"stopped ", CauseStopped},
	{"interrupted ", CauseStopped},
	{"ansible-playbook", CauseEngine},
	{"without a recap", CauseEngine},
	{"reboot", CauseReboot},
	{"cut short", CauseDied},
	{"process", CauseDied},
}

// Why says why a host came out as it did; false if the run does not have it.
func (r Report) Why(host string) (Why, bool) {
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			if h.Name == host {
				return r.why(w, h), true
			}
		}
	}
	return Why{}, false
}

func (r Report) why(w WaveReport, h HostReport) Why {
	switch h.Outcome {
	case Held:
		return Why{Cause: CauseHold, Words: h.Message}
	case HostFailed:
		return Why{Cause: h.failure(), Words: h.Message}
	case HostUnreachable:
		return Why{Cause: unreached(h.Message), Words: h.Message}
	case HostInterrupted:
		words := cmp.Or(h.Message, w.Reason, r.Reason)
		return Why{Cause: ends.cause(words, ends.cause(r.Reason, CauseDied)), Words: words}
	case HostNotAttempted, Undecided:
		return r.untouched(w, h)
	}
	return Why{}
}

// failure is the cause of a host that failed.
func (h HostReport) failure() Cause {
	phase := CauseTask
	if h.Patch != nil && h.Patch.Failure != nil {
		if known, ok := phases[h.Patch.Failure.Phase]; ok {
			phase = known
		}
		if phase == CauseApt && strings.HasPrefix(h.Message, "package ") {
			phase = CausePostinst
		}
	}
	return failures.cause(h.Message, phase)
}

// unreached is the cause that [unreachable] has put into words.
func unreached(message string) Cause {
	if strings.HasPrefix(message, "no progress for ") {
		return CauseStalled
	}
	for _, s := range sshSays {
		if strings.HasPrefix(message, s.problem+": "+s.look) {
			return s.cause
		}
	}
	return CauseSSH
}

// untouched says why nothing was done to a host: its own wave broke, or one stopped the run before.
func (r Report) untouched(w WaveReport, h HostReport) Why {
	if !w.Started.IsZero() && (w.State == Passed || strings.Contains(w.Reason, "did not come through")) {
		return Why{Cause: CausePlaybook, Words: h.Message}
	}
	why := Why{Words: r.Reason}
	table, otherwise := ends, CauseEngine
	switch r.State {
	case Halted:
		table, otherwise = halts, CauseHalted
	case Interrupted:
		otherwise = CauseDied
	case Failed:
	default:
		return Why{} // it may have its turn yet
	}
	why.Cause = table.cause(r.Reason, otherwise)
	for _, other := range r.Waves {
		if !other.Started.IsZero() && other.Number != w.Number {
			n := other.Number
			why.Wave = &n
		}
	}
	return why
}
