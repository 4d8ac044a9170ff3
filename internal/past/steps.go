package past

import (
	"errors"
	"regexp"
	"strings"

	"homelab-patch-orchestrate/orchestrator"
)

const program = "homelab-patch-orchestrate"

// mend is what an operator does about a cause; docs/faults.md has the same column. Steps without a place are done wherever
// they have to be, here is true for the controller, all others are done on the host.
var mend = map[orchestrator.Cause]struct {
	here bool
	Step
}{
	orchestrator.CauseTask:     {here: true, Step: Step{Say: "look at the task in ansible.log, and mend what it names"}},
	orchestrator.CauseLock:     {Step: Step{Say: "let the process that holds the lock finish, or stop it"}},
	orchestrator.CausePull:     {Step: Step{Command: "journalctl -u homelab-ansible-pull", Say: "let it finish, or stop it"}},
	orchestrator.CauseDpkg:     {Step: Step{Command: "dpkg --audit", Say: "repair the package that it names"}},
	orchestrator.CausePostinst: {Step: Step{Command: "journalctl -u homelab-patch", Say: "it has what the package's script said; repair the package"}},
	orchestrator.CauseApt:      {Step: Step{Command: "journalctl -u homelab-patch", Say: "it has what apt said"}},
	orchestrator.CauseLists:    {Step: Step{Command: "apt-get update", Say: "look at the source that it cannot reach, at the network, and at the clock"}},
	orchestrator.CauseDrift:    {here: true, Step: Step{Command: program + " run", Say: "again, which makes a new plan"}},
	orchestrator.CauseDisk:     {Step: Step{Command: "df -h / /var /boot", Say: "make room"}},
	orchestrator.CauseMemory:   {Step: Step{Command: "journalctl -k", Say: "it says who ate the memory"}},
	orchestrator.CauseKilled:   {Step: Step{Command: "journalctl -k", Say: "it says who was killed, and whether memory ran out"}},
	orchestrator.CausePower:    {Step: Step{Command: "last -x reboot shutdown", Say: "who switched it off, or restarted it? The next run repairs and goes on"}},
	orchestrator.CauseReboot:   {Step: Step{Say: "look at its console, and switch it on"}},
	orchestrator.CauseHealth:   {Step: Step{Command: "systemctl --failed", Say: "mend the unit that it names"}},
	orchestrator.CauseSlow:     {Step: Step{Command: "journalctl -fu homelab-patch", Say: "see how far it is; the next run waits for it"}},
	orchestrator.CauseSudo:     {Step: Step{Say: "let its user become root without a password, or log in as root"}},
	orchestrator.CauseWorker:   {here: true, Step: Step{Command: "journalctl -k", Say: "it says who was killed, and whether memory ran out"}},
	orchestrator.CauseLink:     {Step: Step{Say: "look whether it is on, and at its network; its upgrade may have gone on without the link"}},
	orchestrator.CauseSilent:   {Step: Step{Say: "look at its console: it hangs, is overloaded, or something else listens on its ssh port; restart it"}},
	orchestrator.CauseNoAnswer: {Step: Step{Say: "switch it on, or mend its network"}},
	orchestrator.CauseRoutes:   {here: true, Step: Step{Command: "ip route", Say: "mend the controller's own network: it has no way to that host's"}},
	orchestrator.CauseRefused:  {Step: Step{Command: "systemctl status ssh", Say: "at its console"}},
	orchestrator.CauseName:     {here: true, Step: Step{Say: "set ansible_host in the inventory, or mend DNS"}},
	orchestrator.CauseHostKey:  {here: true, Step: Step{Say: "if it was installed anew, put its new host key into known_hosts; if not, find out who answers there"}},
	orchestrator.CauseLogin:    {here: true, Step: Step{Say: "look at ansible_user, at the key, and at its authorized_keys"}},
	orchestrator.CauseStalled:  {Step: Step{Say: "look at its console: it was busy and reported nothing"}},
	orchestrator.CauseSSH:      {here: true, Step: Step{Say: "log in by hand as the run does, and mend what ssh says"}},

	orchestrator.CausePlaybook:  {here: true, Step: Step{Say: "look at the hosts of the playbook's plays: none has tasks for it"}},
	orchestrator.CauseGate:      {here: true, Step: Step{Say: "look at what the gate asks, and mend it"}},
	orchestrator.CauseDeadline:  {here: true, Step: Step{Command: program + " show RUN", Say: "which host and task took so long; or a longer wave_deadline"}},
	orchestrator.CauseBudget:    {here: true, Step: Step{Command: program + " show RUN", Say: "which hosts were lost, and why"}},
	orchestrator.CauseProject:   {here: true, Step: Step{Say: "leave the playbooks alone while a run is under way"}},
	orchestrator.CauseInventory: {here: true, Step: Step{Command: program + " waves", Say: "who is patched when"}},
	orchestrator.CauseUpgrade:   {here: true, Step: Step{Say: "upgrade the controller by hand (apt-get dist-upgrade, then reboot), or set engine_upgrade: true"}},
	orchestrator.CauseHalted:    {here: true, Step: Step{Say: "mend what the reason names"}},
	orchestrator.CauseEngine:    {here: true, Step: Step{Command: "journalctl -k", Say: "who killed ansible-playbook? Else its last words are in ansible.log"}},
	orchestrator.CauseDied:      {here: true, Step: Step{Command: "journalctl -u homelab-patch-orchestrate", Say: "it says how the run's process ended"}},
	orchestrator.CauseJournal:   {here: true, Step: Step{Command: "df -h /var", Say: "make room for the journal"}},
}

// steps is what is to be done about a host that a run has had.
func (f Facts) steps(s seen, why orchestrator.Why) []Step {
	r, h := *s.run, s.host
	if h.Outcome == orchestrator.Held {
		if h.Patch != nil && h.Patch.Hold != nil {
			return append([]Step{{On: f.Host, Command: "rm /etc/homelab/MAINTENANCE", Say: "when you are done"}}, f.run()...)
		}
		return f.run() // the hold of the controller's list, if it is still there, is told of besides
	}
	if h.Outcome.Well() {
		if h.Patch != nil && h.Patch.RebootRequired {
			return []Step{{On: f.Host, Command: "systemctl reboot", Say: "when it suits"}}
		}
		return nil
	}
	var do []Step
	if m, ok := mend[why.Cause]; ok {
		step := m.Step
		step.Command = strings.ReplaceAll(step.Command, "RUN", r.ID)
		if !m.here && !h.Controller {
			step.On = f.Host
		}
		do = append(do, step)
	}
	switch {
	case s.later:
	case why.Cause == orchestrator.CauseDrift: // a retry would want the same versions
		return do
	case h.Outcome == orchestrator.HostInterrupted || why.Cause == orchestrator.CauseStopped || why.Cause == orchestrator.CauseDied:
		return append(do, Step{Command: program + " resume", Say: "go on with what the run did not finish"})
	case h.Excused:
		return append(do, f.run()...)
	}
	return append(do, Step{Command: program + " retry " + r.ID, Say: "patch what that run did not bring through"})
}

// run is the step of having the host patched.
func (f Facts) run() []Step {
	return []Step{{Command: program + " run --limit " + quote(f.Host), Say: "now, it alone"}}
}

// begin is what to do about a run that did not begin.
func (f Facts) begin(c orchestrator.Cause) []Step {
	again := Step{Command: program + " run", Say: "again"}
	switch c {
	case orchestrator.CauseLocked:
		return []Step{{Command: program + " run --wait 4h", Say: "after the run that is under way"}}
	case orchestrator.CauseHold: // how it is cleared, where it is still there, is said besides
		return []Step{again}
	case orchestrator.CauseWindow:
		return []Step{{Command: program + " run --now", Say: "whatever the window says; else the timer comes when it is open"}}
	case orchestrator.CauseEngine:
		return []Step{{Say: "mend what is named"}, again}
	case orchestrator.CauseSettings:
		return []Step{{Say: "mend what is named"}, {Command: program + " waves", Say: "whether it can be used"}, again}
	}
	if m, ok := mend[c]; ok {
		return []Step{m.Step, again}
	}
	return []Step{again}
}

// unbegun is the cause of a run that did not begin, from its exit code and what it said.
func unbegun(code int, reason string) orchestrator.Cause {
	switch {
	case strings.Contains(reason, "no space left on device"):
		return orchestrator.CauseDisk
	case code == orchestrator.ExitLocked:
		return orchestrator.CauseLocked
	case code == orchestrator.ExitHeld && strings.HasPrefix(reason, orchestrator.ErrClosed.Error()):
		return orchestrator.CauseWindow
	case code == orchestrator.ExitHeld:
		return orchestrator.CauseHold
	case code == orchestrator.ExitUsage:
		return orchestrator.CauseSettings
	case code >= orchestrator.ExitInterrupted-1:
		return orchestrator.CauseStopped
	}
	return orchestrator.CauseEngine
}

// journalSteps is what to do about a journal that cannot be read.
func journalSteps(err error) []Step {
	if j := (*orchestrator.JournalError)(nil); errors.As(err, &j) && j.Version > orchestrator.Version {
		return []Step{{Say: "use the newer program that wrote it, or move the run's folder away"}}
	}
	return []Step{{Command: program + " run", Say: "again: what a host has done it says itself"}}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9._][A-Za-z0-9._-]*$`)

// quote is a host's name as a shell takes it.
func quote(host string) string {
	if plain.MatchString(host) {
		return host
	}
	return "'" + strings.ReplaceAll(host, "'", `'\''`) + "'"
}
