package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"homelab-patch-orchestrate/runner"
)

// Each way in which a run may stop, made by a run that stops so, and what it means for the hosts that it had not touched.
func TestWhyNotAttempted(t *testing.T) {
	always, err := ParseBlackout("2000-01-01..2199-12-31")
	if err != nil {
		t.Fatal(err)
	}
	after := func(f *fixture, what func() (bool, string, error)) func() (bool, string, error) {
		return func() (bool, string, error) {
			if f.waves == nil {
				return false, "", nil
			}
			return what()
		}
	}
	stop := make(chan struct{})
	close(stop)
	for name, c := range map[string]struct {
		engine engineFunc
		set    func(f *fixture)
		host   string // db is of wave 1
		cause  Cause
		wave   int // that stopped it, -1 is none
		words  string
	}{
		"budget": {lost(runner.Failed), nil, "db", CauseBudget, 0, "canary (failed)"},
		"gate": {fine, func(f *fixture) {
			f.Gates = []Gate{{Name: "dns", Check: func(context.Context, Question) error { return errors.New("is held: no answer") }}}
		}, "db", CauseGate, 0, "gate dns"},
		"hold":         {fine, func(f *fixture) { f.Hold = after(f, func() (bool, string, error) { return true, "racks", nil }) }, "db", CauseHold, 0, "racks"},
		"hold unknown": {fine, func(f *fixture) { f.Hold = after(f, HoldFile("/proc/self/cmdline/x")) }, "db", CauseHold, 0, "look for a hold"},
		"window": {fine, func(f *fixture) {
			f.Hold = func() (bool, string, error) { // asked right before
				if f.waves != nil {
					f.Schedule.Blackouts = []Blackout{always}
				}
				return false, "", nil
			}
		}, "db", CauseWindow, 0, "closed: "},
		"project": {fine, func(f *fixture) {
			f.Fingerprint = func() (Project, error) { return Project{Hash: fmt.Sprint(len(f.waves))}, nil }
		}, "db", CauseProject, 0, "the project changed"},
		"project unreadable": {fine, func(f *fixture) {
			f.Fingerprint = func() (Project, error) {
				if f.waves == nil {
					return Project{Hash: "1"}, nil
				}
				return Fingerprint("/nowhere")
			}
		}, "db", CauseProject, 0, "read the project"},
		"something else": {fine, func(f *fixture) { f.Hold = after(f, func() (bool, string, error) { return false, "", syscall.EACCES }) }, "db", CauseHalted, 0, "permission denied"},
		"upgrade": {fine, func(f *fixture) {
			f.Preflight = engineFunc(func(_ context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
				emit(runner.Event{Kind: runner.KindResult, Action: "set_fact", Host: "controller", Data: []byte(
					`{"ansible_facts": {"homelab_patch": {"version": 1, "packages": [{"name": "python3", "from": "3.11", "to": "3.13"}]}}}`)})
				return allWell(w), nil
			})
		}, "controller", CauseUpgrade, 1, "python3 3.11 -> 3.13"},
		"upgrade unknown": {fine, func(f *fixture) {
			f.Preflight = engineFunc(func(context.Context, Wave, func(runner.Event)) (runner.Result, error) {
				return runner.Result{}, errSick
			})
		}, "controller", CauseUpgrade, 1, "is not known"},
		"stopped": {fine, func(f *fixture) {
			f.Progress = func(runner.Event) { f.Stop = stop }
			f.Orchestrator.Observe = func(_ context.Context, c Change) {
				if c.Host != "" {
					f.Stop = stop
				}
			}
		}, "db", CauseStopped, 0, "stopped after wave 0"},
		"engine": {func(context.Context, Wave, func(runner.Event)) (runner.Result, error) {
			return runner.Result{}, &runner.EngineError{Problem: "ansible-playbook was killed"}
		}, nil, "db", CauseEngine, 0, "ansible-playbook was killed"},
		"engine, its own wave": {func(context.Context, Wave, func(runner.Event)) (runner.Result, error) {
			return runner.Result{}, &runner.EngineError{Problem: "ansible-playbook could not begin"}
		}, nil, "canary", CauseEngine, -1, "could not begin"},
		"silence": {func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			r := allWell(w)
			r.Complete = false
			return r, nil
		}, nil, "db", CauseEngine, 0, "recap"},
		"no task":                {lost(runner.NotAttempted), nil, "canary", CausePlaybook, -1, "no task was run on it"},
		"no task, in the budget": {lost(runner.NotAttempted), func(f *fixture) { f.Policy.Budget = 1 }, "canary", CausePlaybook, -1, "no task was run on it"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.engine)
			if c.set != nil {
				c.set(f)
			}
			report, _ := f.do(t.Context())
			why, has := report.Why(c.host)
			wave := -1
			if why.Wave != nil {
				wave = *why.Wave
			}
			if !has || why.Cause != c.cause || wave != c.wave || !strings.Contains(why.Words, c.words) {
				t.Errorf("%q by wave %d, %q; want %q by %d, %q\nrun: %s", why.Cause, wave, why.Words, c.cause, c.wave, c.words, report.Reason)
			}
		})
	}
	if _, has := (Report{}).Why("nobody"); has {
		t.Error("a host that no wave has")
	}
}

// lost is an engine that loses the canary so.
func lost(o runner.Outcome) engineFunc {
	return func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
		return result(w, map[string]runner.Outcome{"canary": o}), nil
	}
}

// A run that is cut short, in each way.
func TestWhyInterrupted(t *testing.T) {
	hang := func(ctx context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
		<-ctx.Done()
		r := result(w, map[string]runner.Outcome{"canary": runner.Interrupted})
		r.Complete = false
		return r, ctx.Err()
	}
	for name, c := range map[string]struct {
		signal error
		set    func(f *fixture)
		cause  Cause
	}{
		"by a signal":     {&SignalError{Signal: syscall.SIGTERM}, nil, CauseStopped},
		"by the deadline": {nil, func(f *fixture) { f.Policy.WaveDeadline = time.Minute }, CauseDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, hang)
				if c.set != nil {
					c.set(f)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				if c.signal != nil {
					time.AfterFunc(time.Second, func() { cancel(c.signal) })
				}
				report, _ := f.do(ctx)
				cancel(nil)
				for host, outcome := range map[string]Outcome{"canary": HostInterrupted, "db": HostNotAttempted} {
					_, h, _ := find(report, host)
					if why, _ := report.Why(host); why.Cause != c.cause || h.Outcome != outcome || why.Words == "" {
						t.Errorf("%s, %s: %+v", host, h.Outcome, why)
					}
				}
			})
		})
	}
	for _, reason := range []string{
		"its process was ended by SIGKILL", "the kernel ended its process for lack of memory", "it was cut short 3h0m0s ago",
		"when it was cut short is not known: the clock says that this has yet to come", "the process that ran it ended, and the machine did not",
		"the process that ran it ended while the run was running; closed by run 20261122T040000Z-1a2b3c",
	} {
		r := Report{State: Interrupted, Reason: reason, Waves: []WaveReport{{Started: time.Now(), State: Interrupted, Reason: reason,
			Hosts: []HostReport{{Name: "a", Outcome: HostInterrupted, Message: reason}, {Name: "b", Outcome: HostNotAttempted, Message: reason}}}}}
		for _, host := range []string{"a", "b"} {
			if why, _ := r.Why(host); why.Cause != CauseDied || why.Words != reason {
				t.Errorf("%s, %s: %+v", reason, host, why)
			}
		}
	}
}

func find(r Report, host string) (w WaveReport, h HostReport, ok bool) {
	for _, w := range r.Waves {
		if h := w.byName()[host]; h != nil {
			return w, *h, true
		}
	}
	return w, h, false
}

// Each thing that the role, the runner and ssh say of a host that was lost, through the fold that makes the report.
func TestWhyLost(t *testing.T) {
	for _, c := range []struct {
		outcome       runner.Outcome
		phase, reason string // of the role; without a phase it is the engine's
		cause         Cause
	}{
		{runner.Failed, "", "broken on purpose", CauseTask},
		{runner.Failed, "ansible", "the field 'x' is undefined", CauseTask},
		{runner.Failed, "pull", "homelab-ansible-pull.service is still at work on the host after 300 s", CausePull},
		{runner.Failed, "lock", "/var/lib/dpkg/lock-frontend is still held by process 37 after 20 s: let it finish, or stop it", CauseLock},
		{runner.Failed, "dpkg", "dpkg is not in order and `dpkg --configure -a` does not mend it: package x fails: repair it by hand", CauseDpkg},
		{runner.Failed, "space", "/boot has 3 MiB free", CauseDisk},
		{runner.Failed, "upgrade", "apt-get failed: write: No space left on device", CauseDisk},
		{runner.Failed, "ansible", "no space is left on the host: make room there", CauseDisk},
		{runner.Failed, "lists", "the package lists are 99 hours old", CauseLists},
		{runner.Failed, "plan", "apt-get cannot plan the upgrade: unmet dependencies", CauseApt},
		{runner.Failed, "drift", "plan drift: openssl 2 is planned and cannot be had: run again, which makes a new plan", CauseDrift},
		{runner.Failed, "download", "what the upgrade needs cannot be downloaded: no route", CauseLists},
		{runner.Failed, "upgrade", "apt-get failed: Sub-process returned an error code", CauseApt},
		{runner.Failed, "upgrade", "package x failed: installed x package post-installation script subprocess returned error exit status 1", CausePostinst},
		{runner.Failed, "services", "failed since the upgrade began: nginx.service", CauseHealth},
		{runner.Failed, "upgrade", "the upgrade ended without a result: the host ran out of memory; the next run repairs and goes on", CauseMemory},
		{runner.Failed, "upgrade", "the upgrade ended without a result: it was killed; the next run repairs and goes on", CauseKilled},
		{runner.Failed, "upgrade", "the upgrade ended without a result: the host was switched off or restarted; the next run repairs and goes on", CausePower},
		{runner.Failed, "upgrade", "the upgrade is still running after 3600 s; it goes on by itself, and the next run waits for it", CauseSlow},
		{runner.Failed, "look", "sudo on the host asks for a password: let its user become root without one", CauseSudo},
		{runner.Failed, "ansible", "what Ansible runs on the host was killed there, as when memory runs out: look at `journalctl -k` there", CauseMemory},
		{runner.Failed, "connection", "the link was lost and the host did not come back within 30 s: its upgrade may still be running there", CauseLink},
		{runner.Failed, "reboot", "the host was told to restart and did not come back within 60 s: look at its console", CauseReboot},
		{runner.Failed, "reboot", "failed after the reboot: lab-fail.service", CauseHealth},
		{runner.Failed, "reboot", "the host is back, but after 300 s systemd still says starting", CauseHealth},
		{runner.Failed, "", "its worker of ansible-playbook, on the controller, was ended by SIGKILL: look at the memory there", CauseWorker},
		{runner.Unreachable, "", "Connection timed out during banner exchange", CauseSilent},
		{runner.Unreachable, "", "ssh: connect to host a port 22: Connection refused", CauseRefused},
		{runner.Unreachable, "", "ssh: connect to host a port 22: No route to host", CauseNoAnswer},
		{runner.Unreachable, "", "ssh: connect to host a port 22: Network is unreachable", CauseRoutes},
		{runner.Unreachable, "", "ssh: connect to host a port 22: Connection timed out", CauseNoAnswer},
		{runner.Unreachable, "", "Timeout, server a not responding.", CauseLink},
		{runner.Unreachable, "", "ssh: Could not resolve hostname a", CauseName},
		{runner.Unreachable, "", "Host key verification failed.", CauseHostKey},
		{runner.Unreachable, "", "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! Host key verification failed.", CauseHostKey},
		{runner.Unreachable, "", "root@a: Permission denied (publickey).", CauseLogin},
		{runner.Unreachable, "", `Data could not be sent to remote host "a"`, CauseSilent},
		{runner.Unreachable, "", "no progress for 15m0s; its ssh connection was ended", CauseStalled},
		{runner.Unreachable, "", "kex_exchange_identification: read", CauseSSH},
	} {
		h := HostReport{Name: "a"}
		var patch *Patch
		if c.phase != "" {
			patch = &Patch{Version: PatchVersion, Failure: &Failure{Phase: c.phase, Reason: c.reason}}
		}
		h.judge(runner.HostResult{Outcome: c.outcome, Msg: c.reason}, patch, false)
		why, _ := (Report{State: Halted, Waves: []WaveReport{{Hosts: []HostReport{h}}}}).Why("a")
		if why.Cause != c.cause || !strings.Contains(why.Words, c.reason) {
			t.Errorf("%s: %+v, want %q", c.reason, why, c.cause)
		}
	}
}

// The words by which a cause is known are still those that are said: each is in the role, in the runner, or here.
func TestWordsOfCauses(t *testing.T) {
	var said strings.Builder
	for _, dir := range []string{"../ansible/roles/patching", "../runner", "."} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "cause.go") {
				return err
			}
			text, err := os.ReadFile(path)
			said.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range append(append(wordsOf(failures), wordsOf(halts)...), wordsOf(ends)...) {
		// Some words come together when they are said.
		for _, part := range strings.Split(strings.Trim(f, ": "), "ended without a result: ") {
			if !strings.Contains(said.String(), part) {
				t.Errorf("nobody says %q", part)
			}
		}
	}
	role, err := os.ReadFile("../ansible/roles/patching/module_utils/homelab_upgrade.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []string{"lock", "dpkg", "space", "lists", "remove", "upgrade", "autoremove", "services"} {
		if !strings.Contains(string(role), "('"+phase+"', self.") || phases[phase] == "" {
			t.Errorf("phase %s", phase)
		}
	}
}

func wordsOf(s said) (words []string) {
	for _, c := range s {
		words = append(words, c.words)
	}
	return words
}

// A refusal is kept where there is a state directory, and the latest is the one.
func TestRefusal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := Refuse(dir, Refusal{Reason: "x"}); err != nil {
		t.Errorf("without a state directory: %v", err)
	}
	store, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := store.Refused(); r != nil || err != nil {
		t.Errorf("of none: %v, %v", r, err)
	}
	at := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	for _, reason := range []string{"held", "closed: it is Monday"} {
		if err := Refuse(dir, Refusal{Time: at, ExitCode: ExitHeld, Reason: reason}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := store.Refused(); err != nil || r.Reason != "closed: it is Monday" || !r.Time.Equal(at) || r.Version != Version {
		t.Errorf("%+v, %v", r, err)
	}
	if info, err := os.Stat(filepath.Join(dir, refusalFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	os.WriteFile(filepath.Join(dir, refusalFile), []byte("{"), 0o600)
	if _, err := store.Refused(); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a damaged one: %v", err)
	}
	os.Chmod(dir, 0o755) // an older one, opened again: it is ours
	if _, err := Open(dir); err != nil {
		t.Error(err)
	}
}

// Busy is asked by who looks, and keeps nobody out.
func TestBusy(t *testing.T) {
	store, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	busy := func() bool {
		holder, err := store.Holder()
		if err != nil {
			t.Fatal(err)
		}
		return holder != nil
	}
	if busy() {
		t.Error("busy before the first run")
	}
	lock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if !busy() {
		t.Error("the lock is held, and nobody sees it")
	}
	lock.Close()
	if busy() {
		t.Error("busy after the run")
	}
}
