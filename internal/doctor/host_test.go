package doctor

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// wellFacts is a host on which nothing is wrong, as the role answers.
const wellFacts = `{"version": 1, "uid": 0, "time": 1000000.5, "hold": null, "space": [{"paths": ["/", "/var"], "free_mib": 900, "least_mib": 512, "read_only": false}],
	"audit": "", "lock": "", "sources": 3, "upgrade": [], "python_apt": true, "unattended": [false, ""],
	"health": {"state": "running", "failed_units": []}, "upgrading": false, "textfiles": "", "unknown": {}}`

// wants checks that there is one finding with these words, or none without any.
func wants(t *testing.T, what string, got []Check, words ...string) {
	t.Helper()
	var found []Check
	for _, c := range got {
		if c.Severity != OK {
			found = append(found, c)
		}
	}
	if len(words) == 0 {
		if len(found) > 0 || len(got) == 0 {
			t.Errorf("%s: %+v, want what is well", what, got)
		}
		return
	}
	if len(found) != 1 {
		t.Errorf("%s: %+v, want one finding", what, got)
		return
	}
	text := string(found[0].Severity) + " " + found[0].Text + " fix: " + found[0].Fix
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q lacks %q", what, text, w)
		}
	}
	if found[0].Fix == "" {
		t.Errorf("%s: %q has no fix", what, text)
	}
}

func TestJudgeHost(t *testing.T) {
	target := orchestrator.Host{Name: "prox"}
	controller := orchestrator.Host{Name: "ctl", Controller: true}
	at := func(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)) }
	for _, c := range []struct {
		name     string
		host     orchestrator.Host
		old, new string // in wellFacts
		words    []string
	}{
		{"well", target, "", "", nil},
		{"not root", target, `"uid": 0`, `"uid": 1000`, []string{"error Ansible is user 1000", "ansible_become"}},
		{"held", target, `"hold": null`, `"hold": {"reason": "disks"}`, []string{"warning it is held", "disks", "on the host: rm /etc/homelab/MAINTENANCE"}},
		{"held with the fleet", controller, `"hold": null`, `"hold": {"reason": "disks"}`, nil},
		{"no Debian", target, `"unknown": {}`, `"unknown": {"hold": "only hosts of the Debian family"}`, []string{"error it cannot be patched: only"}},
		{"no room", target, "900", "511", []string{"error only 511 MiB are free in /, /var, 512 are needed", "apt-get clean"}},
		{"little room for kernels", target, `["/", "/var"], "free_mib": 900`, `["/boot"], "free_mib": 90`, []string{"warning only 90 MiB are free in /boot"}},
		{"read-only", target, `"read_only": false`, `"read_only": true`, []string{"error /, /var is mounted read-only", "findmnt"}},
		{"dpkg", target, `"audit": ""`, `"audit": "half\n  configured"`, []string{"warning dpkg is not in order: half configured", "on the host: dpkg --configure -a"}},
		{"dpkg, so that apt cannot plan", target, `"audit": "", "lock": "", "sources": 3, "upgrade": []`, `"audit": "x", "lock": "", "sources": 3, "upgrade": null`, []string{"warning dpkg is not in order"}},
		{"dpkg is not known", target, `"audit": ""`, `"audit": null`, []string{"warning nobody knows whether dpkg is in order: the host did not say"}},
		{"lock", target, `"lock": ""`, `"lock": "x is held by process 3 (apt)"`, []string{"warning another apt is at work: x is held by process 3"}},
		{"no sources", target, `"sources": 3`, `"sources": 0`, []string{"error apt has no sources"}},
		{"no plan", target, `"upgrade": []`, `"upgrade": null`, []string{"error a run would fail", "on the host: apt-get -s upgrade"}},
		{"sources, so that apt cannot plan", target, `"sources": 3, "upgrade": []`, `"sources": null, "upgrade": null`, []string{"error apt cannot read its sources"}},
		{"another Python on a target", target, `"upgrade": []`, `"upgrade": [{"name": "python3", "from": "3.11.2-1", "to": "3.13.5-1"}]`, nil},
		{"another Python on the controller", controller, `"upgrade": []`, `"upgrade": [{"name": "python3", "from": "3.11.2-1", "to": "3.13.5-1"}]`, []string{"error", "python3 3.11.2-1 -> 3.13.5-1", "engine_upgrade"}},
		{"python3-apt", target, `"python_apt": true`, `"python_apt": false`, []string{"warning python3-apt is missing", "on the host: apt-get install python3-apt"}},
		{"unattended-upgrades", target, `[false, ""]`, `[true, ""]`, []string{"warning unattended-upgrades patches it too", "on the host: apt-get remove unattended-upgrades"}},
		{"unattended-upgrades that stays", target, `[false, ""]`, `[false, "it stays: x"]`, []string{"warning it stays: x"}},
		{"failed units", target, `"failed_units": []`, `"failed_units": [{"name": "a.service"}, {"name": "b.mount"}]`, []string{"warning failed units: a.service, b.mount", "on the host: systemctl status a.service"}},
		{"starting", target, `"running"`, `"starting"`, []string{`warning its systemd says "starting"`}},
		{"no systemd", target, `{"state": "running", "failed_units": []}`, "null", []string{"error it is not well"}},
		{"at work", target, `"upgrading": false`, `"upgrading": true`, []string{"warning an upgrade of an earlier run"}},
		{"no textfiles", target, `"textfiles": ""`, `"textfiles": "the folder x does not exist"`, []string{"warning the folder x does not exist"}},
		{"clock behind", target, "1000000.5", "999000", []string{"warning its clock is 16m40s behind the controller's", "timedatectl"}},
		{"clock far behind", target, "1000000.5", "900000", []string{"error its clock is 27h46m40s behind"}},
		{"clock ahead", target, "1000000.5", "1000063", []string{"warning its clock is 1m1s ahead of"}},
		{"a clock that may be right", target, "1000000.5", "1000060", nil},
		{"a newer role", target, `"version": 1`, `"version": 2`, []string{"error its answer has version 2"}},
	} {
		text := strings.Replace(wellFacts, c.old, c.new, 1)
		if c.old != "" && text == wellFacts {
			t.Fatalf("%s: nothing was replaced", c.name)
		}
		var f Facts
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		h := Hosts{Hold: hostHold}
		got := h.judge(c.host, said{f, at(1000000), at(1000002)})
		wants(t, c.name, got, c.words...)
		if c.name == "another Python on the controller" {
			h.EngineUpgrade = true
			wants(t, "engine_upgrade", h.judge(c.host, said{f, at(1000000), at(1000002)}))
		}
	}
}

func TestLostHost(t *testing.T) {
	for _, c := range []struct {
		outcome runner.Outcome
		msg     string
		words   []string
	}{
		{runner.Unreachable, "ssh: connect to host 192.0.2.1 port 22: No route to host", []string{"it does not answer: ssh: connect", "fix: it is off"}},
		{runner.Unreachable, "Data could not be sent to remote host \"192.0.2.1\". Make sure this host can be reached over ssh: @@@@ @ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @ " +
			"@@@@ IT IS POSSIBLE Offending ED25519 key in /etc/known_hosts:3 Host key verification failed.",
			[]string{"its host key is not the known one: Offending ED25519 key in /etc/known_hosts:3 fix: if it was installed anew"}},
		{runner.Unreachable, "Failed to connect to the host via ssh: x: Permission denied (publickey).", []string{"it does not let us in: x: Permission denied (publickey). fix: look at the user, the key"}},
		{runner.Unreachable, "Host key verification failed.", []string{"its host key is not known", "patching_ssh_host_keys of host_vars/prox.yml"}},
		{runner.Unreachable, "what nobody has heard", []string{"it is not reached: what nobody", "fix: ansible -m ansible.builtin.ping -b -vvv prox"}},
		{runner.Failed, "MODULE FAILURE: sudo: a password is required", []string{"nobody becomes root on it", "NOPASSWD"}},
		{runner.Failed, "Missing sudo password", []string{"nobody becomes root on it"}},
		{runner.Failed, "OSError: [Errno 28] No space left on device", []string{"no space is left on it", "df -h"}},
		{runner.Failed, "/bin/sh: 1: /usr/bin/python3: not found", []string{"it has no Python", "on the host: apt-get install python3"}},
		{runner.Failed, "", []string{"it did not answer"}},
		{runner.OK, "", []string{"it did not answer"}}, // without a word of the role's
		{runner.Interrupted, "", []string{"it did not answer in time"}},
		{runner.NotAttempted, "", []string{"it did not answer in time"}},
	} {
		got := Hosts{Pinned: true}.lost(orchestrator.Host{Name: "prox"}, runner.HostResult{Outcome: c.outcome, Msg: c.msg})
		wants(t, c.msg, []Check{got}, append(c.words, "error ")...)
	}
	got := Hosts{}.lost(orchestrator.Host{Name: "prox", Optional: true}, runner.HostResult{Outcome: runner.Unreachable})
	wants(t, "optional", []Check{got}, "warning it is not reached")
}
