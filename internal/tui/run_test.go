package tui

import (
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// The line of systemctl status is true in each state.
func TestStatus(t *testing.T) {
	s := newScene(t, 80, 24, plan([]string{"a", "b"}, []string{"ctl"}), nil)
	run := func(to orchestrator.State) {
		s.Change(orchestrator.Change{Run: "r", Time: s.now, To: string(to)})
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "the run begins; hosts well so far: 0, lost: 0, of 3"},
		{func() { s.event(runner.KindBegin, "a", "Look", "") }, "before the first wave hosts plan and download, 0 of 3 done; hosts well so far: 0, lost: 0, of 3"},
		{func() {
			s.published("a", 2, "")
			s.Event(runner.Event{Kind: runner.KindResult, Host: "ctl", Task: "Look", Status: runner.StatusUnreachable, Msg: "no", Time: s.now})
			s.now = s.now.Add(time.Minute)
		}, "before the first wave hosts plan and download, 2 of 3 done; hosts well so far: 0, lost: 0, of 3"},
		{func() { run(orchestrator.Running); s.Say("gate g is asked, before wave 0") }, "gate g is asked, before wave 0; hosts well so far: 0, lost: 0, of 3"},
		{func() { s.state(0, orchestrator.Running) }, "wave 0 of 2 waves is running, 0 of 2 hosts ended; hosts well so far: 0, lost: 0, of 3"},
		{func() { s.event(runner.KindBegin, "a", "Look", ""); s.published("a", 2, "") }, "wave 0 of 2 waves is running, 1 of 2 hosts ended; hosts well so far: 1, lost: 0, of 3"},
		{func() { s.event(runner.KindBegin, "a", "Record", "") }, "wave 0 of 2 waves is running, 0 of 2 hosts ended; hosts well so far: 0, lost: 0, of 3"},
		{func() {
			s.event(runner.KindBegin, "b", "Look", "")
			s.Event(runner.Event{Kind: runner.KindResult, Host: "b", Task: "Look", Status: runner.StatusFailed, Msg: "no", Time: s.now})
		}, "wave 0 of 2 waves is running, 1 of 2 hosts ended; hosts well so far: 0, lost: 1, of 3"},
		{func() { s.event(runner.KindBegin, "b", "Rescue", "") }, "wave 0 of 2 waves is running, 0 of 2 hosts ended; hosts well so far: 0, lost: 0, of 3"},
		{func() {
			s.outcome(0, "a", orchestrator.Patched, "")
			s.outcome(0, "b", orchestrator.HostFailed, "no")
			s.state(0, orchestrator.Soaking)
		}, "wave 0 of 2 waves is soaking; hosts well so far: 1, lost: 1, of 3"},
		{func() { s.Say("wave 0 is soaking until 04:00:00") }, "wave 0 is soaking until 04:00:00; hosts well so far: 1, lost: 1, of 3"},
		{func() { s.state(0, orchestrator.Passed) }, "wave 0 of 2 waves is passed; hosts well so far: 1, lost: 1, of 3"},
		{func() { s.Change(orchestrator.Change{Run: "another", To: "interrupted"}) }, "wave 0 of 2 waves is passed; hosts well so far: 1, lost: 1, of 3"},
		{func() { s.state(1, orchestrator.Running); run(orchestrator.Running) }, "wave 1 of 2 waves is running, 0 of 1 host ended; hosts well so far: 1, lost: 1, of 3"},
		{func() {
			s.outcome(1, "ctl", orchestrator.Patched, "")
			s.state(1, orchestrator.AwaitingReboot)
			run(orchestrator.AwaitingReboot)
		}, "the controller is patched and restarts; after its boot the run is ended; hosts well so far: 2, lost: 1, of 3"},
		{func() { s.state(1, orchestrator.Passed); run(orchestrator.Passed) }, "the run is passed; hosts well so far: 2, lost: 1, of 3"},
	} {
		step.do()
		if got := s.Status(); got != step.want {
			t.Errorf("%q, want %q", got, step.want)
		}
	}
}

// What is left is known where each wave has been timed, and only then.
func TestLeft(t *testing.T) {
	took := orchestrator.Durations{"patching_wave0": 4 * time.Minute, "patching_wave1": time.Minute}
	s := newScene(t, 80, 24, plan([]string{"a"}, []string{"b"}), took)
	want := func(d time.Duration, known bool) {
		t.Helper()
		if left, ok := s.left(s.now); left != d || ok != known {
			t.Errorf("%v left, known: %v; want %v, %v", left, ok, d, known)
		}
	}
	want(5*time.Minute, true)
	s.state(0, orchestrator.Running)
	s.now = s.now.Add(time.Minute)
	want(4*time.Minute, true)
	s.now = s.now.Add(time.Hour) // longer than ever
	want(time.Minute, true)
	s.state(0, orchestrator.Passed)
	s.state(1, orchestrator.Running)
	s.now = s.now.Add(time.Hour)
	want(0, false)
	delete(took, "patching_wave1")
	s = newScene(t, 80, 24, plan([]string{"a"}, []string{"b"}), took)
	want(0, false)
}

// Of a run that is looked at from its middle, hosts of waves that have ended keep what the journal says.
func TestFromReport(t *testing.T) {
	waves := plan([]string{"a"}, []string{"b"}).Pending()
	waves[0].State, waves[0].Started, waves[0].Ended = orchestrator.Passed, start, start.Add(time.Minute)
	waves[0].Hosts[0].Outcome, waves[0].Hosts[0].Message = orchestrator.HostFailed, "no"
	waves[1].State, waves[1].Started = orchestrator.Running, start.Add(time.Minute)
	r := NewRun("r", waves, nil)
	r.Event(runner.Event{Kind: runner.KindBegin, Host: "a", Task: "Look", Time: start})
	r.Event(runner.Event{Kind: runner.KindResult, Host: "a", Task: "Look", Status: runner.StatusOK, Time: start.Add(30 * time.Second)})
	r.Event(runner.Event{Kind: runner.KindBegin, Host: "b", Task: "Plan", Time: start.Add(30 * time.Second)}) // it was prepared
	if b := r.Waves()[1].Hosts[0]; b.Busy || b.Task != "" || !b.Began.IsZero() {
		t.Errorf("before its wave: %+v", b)
	}
	r.Event(runner.Event{Kind: runner.KindBegin, Host: "b", Task: "Look", Time: start.Add(time.Minute)})
	r.Event(runner.Event{Kind: runner.KindBegin, Host: "stranger", Task: "Look", Time: start.Add(time.Minute)})
	known := r.Waves()
	if a, b := known[0].Hosts[0], known[1].Hosts[0]; a.Outcome != orchestrator.HostFailed || a.Note != "no" || a.Busy || !b.Busy || b.Task != "Look" {
		t.Errorf("%+v", known)
	}
	lines := r.Sections(80, false, start.Add(2*time.Minute))
	if len(lines) != 5 || lines[0] != "wave 0  passed  1/1  1:00" || !strings.HasPrefix(lines[1], "  a         failed  no ") || !strings.HasSuffix(lines[1], " 0:30") {
		t.Errorf("%q", lines)
	}
}
