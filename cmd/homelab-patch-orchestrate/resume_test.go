package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// twoHosts is a fleet as small as one with two waves can be: time is short.
const twoHosts = `all:
  vars: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
  children:
    patch_controller: {hosts: {ctl: {}}}
    patching_targets: {hosts: {one: {}, ctl: {}}}
    patching_wave0: {hosts: {one: {}}}
    patching_wave1: {hosts: {ctl: {}}}
`

// kill starts a run, kills it in wave 0, and waits until its Ansible has ended.
func (b *bench) kill() (id string) {
	b.t.Helper()
	c, _ := b.waiting()
	c.Process.Kill()
	c.Wait()
	os.Remove(b.path("fifo"))
	b.orphaned()
	return b.journal().ID
}

// command of a verb on the bench.
func (b *bench) verb(code int, args ...string) result {
	b.t.Helper()
	args = append(args, "--project", b.path("project"), "--inventory", b.path("hosts.yml"), "--state", b.path("state"),
		"--textfile", b.path("run.prom"), "--config", b.path("settings.yaml"))
	r := b.do(b.bare(args...))
	if r.code != code {
		b.t.Fatalf("%v: exit code %d, want %d\n%s\n%s", args[:2], r.code, code, r.stdout, r.stderr)
	}
	return r
}

// A run that was killed is gone on with: the wave it was in, then the others, as the same run. What unattended units do
// with such a run in the same boot is to close it.
func TestResume(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	b.write("settings.yaml", "{}\n")
	wants(t, "nothing yet", b.verb(0, "resume").stderr, "nothing to resume: there is no run")
	id := b.kill()
	r := b.verb(0, "resume")
	if j := b.journal(); j.ID != id || j.State != orchestrator.Passed || len(j.Resumed) != 1 || j.Kind != orchestrator.Full {
		t.Errorf("the run: %+v", j)
	}
	if got := b.touched(); got != "one one ctl" { // a playbook that knows nothing of us does not know what it has done
		t.Errorf("touched %q", got)
	}
	wants(t, "stdout", r.stdout, "2 patched")
	if m := b.metrics(); m.ExitCode != 0 || m.Running || m.LastSuccess.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
	wants(t, "nothing left", b.verb(0, "resume").stderr, "nothing to resume", "passed")

	os.Remove(b.path("touched"))
	id = b.kill()
	b.verb(0, "resume", "--boot")
	j := b.journal()
	if j.ID != id || j.State != orchestrator.Interrupted || !strings.Contains(j.Reason, "the machine did not") {
		t.Errorf("the run: %+v", j)
	}
	if m := b.metrics(); m.ExitCode != 130 || m.Running {
		t.Errorf("metrics: %+v", m)
	}
}

// What systemd calls after its main process has died.
func TestFinalize(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	finalize := func(env ...string) result {
		t.Helper()
		c := b.bare("finalize", "--project", b.path("project"), "--inventory", b.path("hosts.yml"), "--state", b.path("state"),
			"--textfile", b.path("run.prom"), "--config", b.path("settings.yaml"))
		c.Env = append(c.Env, env...)
		r := b.do(c)
		if r.code != 0 {
			t.Errorf("%v: exit code %d\n%s", env, r.code, r.stderr)
		}
		return r
	}
	id := b.kill()
	finalize("SERVICE_RESULT=exec-condition")
	if j := b.journal(); j.State != orchestrator.Running {
		t.Errorf("a start that was skipped has closed run %s: %s", id, j.State)
	}
	finalize("SERVICE_RESULT=signal", "EXIT_CODE=killed", "EXIT_STATUS=KILL")
	if j := b.journal(); j.ID != id || j.State != orchestrator.Interrupted || j.Reason != "its process was ended by SIGKILL" || j.Waves[0].Hosts[0].Outcome != orchestrator.HostInterrupted {
		t.Errorf("the run: %+v", j)
	}
	if m := b.metrics(); m.ExitCode != 130 || m.Running {
		t.Errorf("metrics: %+v", m)
	}
	finalize("SERVICE_RESULT=success", "EXIT_CODE=exited", "EXIT_STATUS=0")

	// Its hosts are patched by hand: those that it did not finish, as a run of their own.
	b.run(0, "--check") // somebody looks first
	os.Remove(b.path("touched"))
	b.verb(0, "resume")
	if j := b.journal(); j.Kind != orchestrator.Retry || j.Of != id || b.touched() != "one ctl" {
		t.Errorf("%+v; touched %q", j, b.touched())
	}
	if m := b.metrics(); m.ExitCode != 0 || m.LastSuccess.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
	if _, err := os.Stat(b.path("state/runs/" + id)); errors.Is(err, os.ErrNotExist) {
		t.Error("the journal of the run is gone")
	}
}

// A run was killed, and its journal is damaged: who finds that says so once, and that no run goes on; the journal stays as
// it is, and the next run goes on. Regression: the metrics had the run going on for ever, and nobody was told.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	b.write("notify.env", "") // others can read it: messages wait
	id := b.kill()
	b.write("settings.yaml", "notify_env: "+b.path("notify.env")+"\n")
	damaged := "state/runs/" + id + "/journal.json"
	b.write(damaged, "{")
	for _, args := range [][]string{{"resume", "--boot"}, {"finalize"}, {"resume"}} {
		r := b.verb(1, args...)
		wants(t, args[0], r.stderr, "journal.json is damaged: unexpected end of JSON input (it is left as it is); run again")
		if m := b.metrics(); m.ExitCode != 1 || m.Running || !m.LastSuccess.IsZero() {
			t.Errorf("%v: metrics %+v", args, m)
		}
		if waiting, _ := filepath.Glob(b.path("state/outbox/discord/[!.]*")); len(waiting) != 1 {
			t.Errorf("%v: messages %q, want 1\n%s", args, waiting, r.stderr)
		}
	}
	b.verb(0, "run")
	if data, _ := os.ReadFile(b.path(damaged)); string(data) != "{" {
		t.Errorf("the damaged journal is now %q", data)
	}
}

// A process that died between the end of a wave and its word about it in the journal: who goes on takes the end from the
// events, and does not do the wave again.
func TestResumeEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	b.run(0)
	id := b.journal().ID
	b.edit("state/runs/"+id+"/events.jsonl", func(text string) string { // what wave 0 left
		before, _, _ := strings.Cut(text, `{"kind":"stats"`)
		_, after, _ := strings.Cut(text, `{"kind":"stats"`)
		recap, _, _ := strings.Cut(after, "\n")
		return before + `{"kind":"stats"` + recap + "\n"
	})
	b.edit("state/runs/"+id+"/journal.json", func(text string) string {
		var r orchestrator.Report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		r.State, r.ExitCode, r.Ended = orchestrator.Running, nil, time.Time{}
		for i := range r.Waves {
			w := &r.Waves[i]
			w.State, w.Ended = orchestrator.Pending, time.Time{}
			if i == 0 {
				w.State = orchestrator.Running
			}
			for j := range w.Hosts {
				w.Hosts[j] = orchestrator.HostReport{Name: w.Hosts[j].Name, Controller: w.Hosts[j].Controller}
			}
		}
		edited, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(edited) + "\n"
	})
	r := b.verb(0, "resume")
	wants(t, "stdout", r.stdout, "2 patched")
	if got := b.touched(); got != "one ctl ctl" { // by the first run both, by the second the controller
		t.Errorf("touched %q", got)
	}
	if j := b.journal(); j.ID != id || j.State != orchestrator.Passed || j.Waves[0].Hosts[0].Outcome != orchestrator.Patched {
		t.Errorf("the run: %+v", j)
	}
	log, _ := os.ReadFile(b.path("state/runs/" + id + "/ansible.log"))
	wants(t, "ansible.log", string(log), "wave 0 had come to its end")
}

func (b *bench) edit(name string, change func(string) string) {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	b.write(name, change(string(text)))
}
