package gate

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/ansible"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// need skips where Ansible is missing, or fails where E2E_REQUIRED=1.
func need(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// put writes files below a folder that it makes.
func put(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func patched(name string, before ...string) orchestrator.HostReport {
	return orchestrator.HostReport{Name: name, Outcome: orchestrator.Patched, Patch: &orchestrator.Patch{
		Version: 1, FailedUnits: orchestrator.FailedUnits{Before: before, After: before},
	}}
}

// Real Ansible, with a role's module that says what the inventory says of the host.
func TestFailedUnits(t *testing.T) {
	need(t)
	t.Parallel()
	dir := put(t, map[string]string{
		"health.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n  - homelab_patch: {said: '{{ said }}'}\n",
		"library/homelab_patch.py": `#!/usr/bin/python3
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={'said': {'type': 'raw'}})
if module.params['said'] == 'fail':
    module.fail_json(msg='systemd does not run\non this host')
module.exit_json(**module.params['said'])
`,
		"hosts": "[all:vars]\nansible_connection=local\nansible_python_interpreter=/usr/bin/python3\n[all]\n" +
			`well said='{"homelab_health": {"version": 1, "state": "running", "failed_units": []}}'` + "\n" +
			`before said='{"homelab_health": {"version": 1, "state": "degraded", "failed_units": [{"name": "old.service", "since": 7}]}}'` + "\n" +
			`sick said='{"homelab_health": {"version": 1, "state": "degraded", "failed_units": [{"name": "a.service", "since": 1793534531}, {"name": "old.service", "since": 7}, {"name": "b.mount", "since": 0}]}}'` + "\n" +
			`leaving said='{"homelab_health": {"version": 1, "state": "stopping", "failed_units": []}}'` + "\n" +
			"failing said=fail\ngone said='{}' ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1\n",
	})
	g := FailedUnits{runner.Playbook{Dir: dir, Playbook: "health.yml", Inventory: []string{"hosts"}}}
	held := patched("failing")
	held.Outcome, held.Patch.Hold = orchestrator.Held, &orchestrator.HostHold{Reason: "x"}
	lost := patched("failing")
	lost.Outcome = orchestrator.HostFailed
	for _, test := range []struct {
		name  string
		hosts []orchestrator.HostReport
		want  string
	}{
		{"well", []orchestrator.HostReport{patched("well"), patched("before", "old.service"), held, lost, {Name: "failing", Outcome: orchestrator.Patched}}, ""},
		{"nobody to ask", []orchestrator.HostReport{held, lost, {Name: "failing", Outcome: orchestrator.Patched}}, ""},
		{"not well", []orchestrator.HostReport{
			patched("well"), patched("sick", "old.service"), patched("leaving"), patched("failing"), patched("gone"), patched("before"),
		}, "sick: a.service failed at 12:02:11 UTC; it had not before the host was patched; sick: b.mount failed; it had not before the host was patched; " +
			`leaving: systemd says it is "stopping"; ` +
			"failing: it cannot be asked for failed units: systemd does not run on this host; gone: it cannot be asked for failed units: Data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := g.Check(t.Context(), orchestrator.Question{Wave: orchestrator.WaveReport{Hosts: test.hosts}})
			if err != nil && strings.HasPrefix(err.Error(), test.want) && strings.HasSuffix(err.Error(), "; and 1 more") {
				return // what ssh says is between them
			}
			says(t, err, "\x00", test.want)
		})
	}
	gone := orchestrator.Question{Wave: orchestrator.WaveReport{Hosts: []orchestrator.HostReport{patched("gone")}}}
	broken := g
	broken.Playbook.Playbook = "missing.yml"
	err := broken.Check(t.Context(), gone)
	if err == nil || !strings.HasPrefix(err.Error(), "the hosts cannot be asked for failed units: ansible-playbook could not begin") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a playbook that is missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := g.Check(ctx, gone); err != context.DeadlineExceeded {
		t.Errorf("no time: %v", err)
	}
}

// What a host says is made printable, and a version that is not known is no answer.
func TestJudge(t *testing.T) {
	var now health
	for range 20 {
		now.FailedUnits = append(now.FailedUnits, struct {
			Name  string `json:"name"`
			Since int64  `json:"since"`
		}{"x\x1b.service", 0})
	}
	now.Version, now.State = healthVersion, "degraded"
	if got := judge(patched("h"), runner.HostResult{Outcome: runner.OK}, now); len(got) != 20 || got[0] != "h: x.service failed; it had not before the host was patched" {
		t.Errorf("%d: %q", len(got), got)
	}
	now.Version++
	if got := judge(patched("h"), runner.HostResult{Outcome: runner.OK}, now); len(got) != 1 || got[0] != "h: it did not say which units have failed" {
		t.Errorf("another version: %q", got)
	}
}

// The carried playbook: it never uses a connection that is open already, and leaves the operator's own arguments alone.
func TestCarriedPlaybook(t *testing.T) {
	need(t)
	t.Parallel()
	content, err := ansible.Unpack(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	playbook := func(dir string) runner.Playbook {
		return runner.Playbook{
			Dir: dir, Playbook: filepath.Join(content, "playbooks/health.yml"), Inventory: []string{"hosts"},
			Env: []string{"ANSIBLE_ROLES_PATH=" + filepath.Join(content, "roles")},
		}
	}
	ask := func(dir string, names ...string) error {
		var q orchestrator.Question
		for _, name := range names {
			q.Wave.Hosts = append(q.Wave.Hosts, patched(name))
		}
		return FailedUnits{playbook(dir)}.Check(t.Context(), q)
	}
	dir := put(t, map[string]string{
		"ansible.cfg": "[ssh_connection]\nssh_args = -o ControlMaster=auto -o ControlPersist=60s -o ControlPath=/x\nssh_extra_args = -o Tag=cfg\n",
		"ssh":         "#!/bin/sh\ncase \" $* \" in *\" -G \"*) exit 1 ;; esac\necho \"$@\" >> \"$(dirname \"$0\")/asked\"\nexit 255\n",
	})
	hosts := "[patching_targets]\nfar\nown ansible_ssh_extra_args='-o Tag=host'\n[all:vars]\nansible_python_interpreter=/usr/bin/python3\nansible_ssh_executable=" + dir + "/ssh\n"
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	err = ask(dir, "far", "own")
	if err == nil || !strings.HasPrefix(err.Error(), "far: it cannot be asked for failed units: ") || !strings.Contains(err.Error(), "; own: ") {
		t.Errorf("says %v", err)
	}
	asked, _ := os.ReadFile(filepath.Join(dir, "asked"))
	for _, want := range []string{"-S none -o Tag=cfg far", "-S none -o Tag=host own"} {
		if n := bytes.Count(asked, []byte(" "+want+" ")); n != 1 || bytes.Count(asked, []byte("\n")) != 2 {
			t.Errorf("ssh was not called once with %q:\n%s", want, asked)
		}
	}
	// ssh itself: -S wins over what comes before it and after it.
	said, err := exec.Command("ssh", "-G", "-o", "ControlMaster=auto", "-o", "ControlPath=/x", "-S", "none", "-o", "ControlPath=/y", "far").Output()
	if err != nil || !bytes.Contains(said, []byte("hostname far\n")) || bytes.Contains(said, []byte("controlpath ")) {
		t.Errorf("ssh -G: %v\n%s", err, said)
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return // what this machine's systemd says is no test's to judge
	}
	dir = put(t, map[string]string{"hosts": "[patching_targets]\nhere ansible_connection=local ansible_python_interpreter=/usr/bin/python3 ansible_become=false\n"})
	if err := ask(dir, "here"); err == nil || !strings.HasPrefix(err.Error(), "here: it cannot be asked for failed units: systemd does not answer: ") {
		t.Errorf("without systemd: %v", err)
	}
}
