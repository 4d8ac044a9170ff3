package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// Hosts asks hosts, each over a new connection, as a run would: by Ansible, with its become.
type Hosts struct {
	// Playbook is one that runs the action doctor of the carried role, such as ansible/playbooks/doctor.yml. Its Hosts and
	// Addresses are replaced.
	Playbook runner.Playbook
	// Pinned is whether site.yml has written the known host keys of this machine.
	Pinned bool
	// Hold is the path of the hold of the fleet. On the controller the same file may hold the host: it is told once.
	Hold string
	// EngineUpgrade is the setting of that name: then the run may lose its engine.
	EngineUpgrade bool
	// Asked is called with the number of hosts that have come to an end; may be nil.
	Asked func(done int)
}

// answerVersion is the version of a host's answer that is understood.
const answerVersion = 1

// said is what a host answered, and when.
type said struct {
	facts    Facts
	from, to time.Time // by our clock, it was between these that the host looked at its own
}

// Look asks the hosts once, and judges each. The error is that Ansible could not do its work: nothing is known of any host
// then. reached are the names of those that answered.
func (h Hosts) Look(ctx context.Context, hosts []orchestrator.Host) (all []Check, reached []string, err error) {
	p := h.Playbook
	p.Hosts, p.Addresses = nil, map[string]string{}
	for _, host := range hosts {
		p.Hosts = append(p.Hosts, host.Name)
		p.Addresses[host.Name] = host.Address
	}
	answers := map[string]said{}
	done := map[string]bool{}
	result, err := p.Run(ctx, func(e runner.Event) {
		if e.Kind != runner.KindResult {
			return
		}
		var a struct {
			Facts Facts `json:"homelab_doctor"`
		}
		ours := e.Action == "homelab_patch"
		if ours && e.Status != runner.StatusFailed && json.Unmarshal(e.Data, &a) == nil {
			answers[e.Host] = said{a.Facts, e.Started, e.Time}
		}
		if ended := ours || e.Status == runner.StatusUnreachable || e.Status == runner.StatusFailed; ended && !done[e.Host] {
			done[e.Host] = true
			if h.Asked != nil {
				h.Asked(len(done))
			}
		}
	})
	if err != nil && ctx.Err() == nil {
		return nil, nil, err
	}
	for _, host := range hosts {
		r, answer := result.Hosts[host.Name], answers[host.Name]
		if r.Outcome != runner.OK && r.Outcome != runner.Changed || answer.facts.Version == 0 {
			all = append(all, on(host.Name, h.lost(host, r))...)
			continue
		}
		reached = append(reached, host.Name)
		all = append(all, on(host.Name, h.judge(host, answer)...)...)
	}
	return all, reached, nil
}

// offending is the line of a known_hosts file that a host contradicts.
var offending = regexp.MustCompile(`Offending \S+ key in \S+`)

// sshWords is what ssh said, without what Ansible puts before it, and the warning about a changed host key in a line.
func sshWords(msg string) string {
	if line := offending.FindString(msg); line != "" {
		return line
	}
	if _, why, ok := strings.Cut(msg, "can be reached over ssh: "); ok {
		return why
	}
	return strings.TrimPrefix(msg, "Failed to connect to the host via ssh: ")
}

// lost says why a host did not answer.
func (h Hosts) lost(host orchestrator.Host, r runner.HostResult) Check {
	msg := strings.Join(strings.Fields(r.Msg), " ")
	has := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(msg, t) {
				return true
			}
		}
		return false
	}
	try := "ansible -m ansible.builtin.ping -b -vvv " + word(host.Name)
	switch r.Outcome {
	case runner.Unreachable:
		problem, look := orchestrator.Unreachable(msg)
		c := failure(HostsArea, cmp.Or(look, try), "%s", cmp.Or(problem, "it is not reached"))
		if why := sshWords(msg); why != "" {
			c.Text += ": " + why
		}
		if h.Pinned && has("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED") {
			c.Fix = "if it was installed anew: on its console cat /etc/ssh/ssh_host_ed25519_key.pub, that line into patching_ssh_host_keys of host_vars/" +
				host.Name + ".yml, then site.yml"
		}
		if host.Optional {
			c.Severity = Warning
		}
		return c
	case runner.Interrupted, runner.NotAttempted:
		return failure(HostsArea, try, "it did not answer in time: it hangs, or is overloaded")
	}
	switch {
	case has("Missing sudo password", "a password is required", "is not in the sudoers file", "may not run sudo", "is not allowed to execute", "a terminal is required"):
		return failure(HostsArea, there+"visudo -f /etc/sudoers.d/ansible, with a line USER ALL=(ALL) NOPASSWD: ALL; or log in as root (ansible_user)",
			"nobody becomes root on it: %s", msg)
	case has("No space left on device"):
		return failure(HostsArea, there+"df -h; apt-get clean", "no space is left on it")
	case has("python3: not found", "python: not found", "python3: No such file", "python: No such file", "No python interpreters found"):
		return failure(HostsArea, there+"apt-get install python3", "it has no Python: %s", msg)
	case msg == "":
		msg = "it did not answer"
	}
	return failure(HostsArea, try, "a run would fail there: %s", msg)
}
