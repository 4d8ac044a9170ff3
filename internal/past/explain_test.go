package past

import (
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	o "homelab-patch-orchestrate/orchestrator"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestMain has one clock on the wall.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

var (
	start = time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	now   = start.Add(28 * time.Hour)
)

const id = "20261122T040000Z-1a2b3c"

// one is a run of a target in wave 0, another in wave 1, and the controller in wave 2.
func one(state o.State, code int, reason string, h o.HostReport) o.Report {
	h.Name = "web"
	r := o.Report{Version: 1, ID: id, State: state, Kind: o.Full, Started: start, Ended: start.Add(10 * time.Minute), ExitCode: &code, Reason: reason, Controller: "ctl"}
	r.Waves = []o.WaveReport{
		{Number: 0, State: state, Started: start, Ended: start.Add(5 * time.Minute), Reason: reason, Hosts: []o.HostReport{h}},
		{Number: 1, State: o.Pending, Hosts: []o.HostReport{{Name: "db", Outcome: o.HostNotAttempted}}},
		{Number: 2, State: o.Pending, Hosts: []o.HostReport{{Name: "ctl", Outcome: o.HostNotAttempted, Controller: true}}},
	}
	if state == o.Passed {
		for i := range r.Waves {
			r.Waves[i].State, r.Waves[i].Started = o.Passed, start
			for j := range r.Waves[i].Hosts {
				if h := &r.Waves[i].Hosts[j]; h.Name != "web" {
					h.Outcome = o.Unchanged
				}
			}
		}
	}
	return r
}

func failed(phase, reason string) o.HostReport {
	return o.HostReport{Outcome: o.HostFailed, Message: reason, Patch: &o.Patch{Version: 1, Failure: &o.Failure{Phase: phase, Reason: reason}}}
}

// budget is a run that lost the host, and so was halted.
func budget(h o.HostReport) o.Report {
	return one(o.Halted, 3, "wave 0: 1 host did not come through, the budget is 0: web (lost)", h)
}

// old is a run of a week before that patched every host.
func old() o.Report {
	r := one(o.Passed, 0, "3 patched", o.HostReport{Outcome: o.Patched, Patch: &o.Patch{Version: 1, Packages: make([]o.Package, 7)}})
	r.ID, r.Started, r.Ended = "20261115T040000Z-aaaaaa", start.AddDate(0, 0, -7), start.AddDate(0, 0, -7).Add(time.Minute)
	return r
}

// runs yields reports; an error stands for one that cannot be read.
func runs(all ...any) iter.Seq2[o.Report, error] {
	return func(yield func(o.Report, error) bool) {
		for _, r := range all {
			report, _ := r.(o.Report)
			err, _ := r.(error)
			if err != nil {
				report.ID = "20261122T050000Z-bbbbbb"
			}
			if !yield(report, err) {
				return
			}
		}
	}
}

func plan() *o.Plan {
	return &o.Plan{Controller: "ctl", Unpatched: []o.Unpatched{{Name: "nas", Reason: "not in patching_targets"}}, Waves: []o.Wave{
		{Number: 0, Hosts: []o.Host{{Name: "web"}}}, {Number: 1, Hosts: []o.Host{{Name: "db"}}}, {Number: 2, Hosts: []o.Host{{Name: "ctl", Controller: true}}},
	}}
}

// each is every class of an answer and every cause, as a question about web unless it says another host.
func each() map[string]Facts {
	gate := one(o.Halted, 3, "halted after wave 0: gate dns: no answer", o.HostReport{Outcome: o.Patched})
	cut := one(o.Interrupted, 130, "its process was ended by SIGKILL", o.HostReport{Outcome: o.HostInterrupted, Message: "its process was ended by SIGKILL"})
	unbegun := o.Report{ID: id, Kind: o.Full, State: o.Failed, Started: start, Ended: start, Reason: "ansible-inventory: not found", ExitCode: new(int)}
	*unbegun.ExitCode = 1
	dead := one(o.Running, 0, "", o.HostReport{})
	dead.ExitCode, dead.Ended = nil, time.Time{}
	waits := one(o.AwaitingReboot, 0, "", o.HostReport{Outcome: o.Patched})
	waits.ExitCode = nil
	dry := one(o.Passed, 0, "", o.HostReport{Outcome: o.Unchanged})
	dry.Kind = o.Check
	absent := o.HostReport{Outcome: o.HostUnreachable, Message: "it does not answer: it is off, or its network is down (ssh: No route to host)"}
	excused := absent
	excused.Optional, excused.Excused = true, true
	refusal := func(code int, reason string) *o.Refusal {
		return &o.Refusal{Time: now.Add(-time.Hour), ExitCode: code, Reason: reason}
	}
	damaged := &o.JournalError{Path: "/state/runs/x/journal.json", Err: errors.New("unexpected end of JSON input")}
	newer := &o.JournalError{Path: "/state/runs/x/journal.json", Version: 9}
	all := map[string]Facts{
		"patched": {Runs: runs(one(o.Passed, 0, "", o.HostReport{Outcome: o.Patched, Patch: &o.Patch{Version: 1, Rebooted: true, Packages: make([]o.Package, 3)}}))},
		"patched, left something": {Runs: runs(one(o.Passed, 0, "", o.HostReport{Outcome: o.Patched, Patch: &o.Patch{Version: 1, Packages: make([]o.Package, 1),
			RebootRequired: true, RebootReasons: []string{"kernel 2 is installed, 1 is running"}, KeptBack: []o.KeptBack{{Name: "a", Reason: "phased"}},
			HeldPackages: []o.HeldPackage{{Name: "b"}}, Excluded: []o.Package{{Name: "c"}}, Warnings: []string{"dpkg was interrupted earlier"}}}))},
		"patched by another playbook": {Runs: runs(one(o.Passed, 0, "", o.HostReport{Outcome: o.Patched}))},
		"unchanged":                   {Runs: runs(one(o.Passed, 0, "", o.HostReport{Outcome: o.Unchanged}), old())},
		"dry run since":               {Runs: runs(dry, old())},
		"held there":                  {Runs: runs(one(o.Passed, 0, "", o.HostReport{Outcome: o.Held, Message: "restore", Patch: &o.Patch{Version: 1, Hold: &o.HostHold{Reason: "restore"}}}), old())},
		"held here": {Runs: runs(one(o.Passed, 0, "", o.HostReport{Outcome: o.Held, Message: "racks (/etc/homelab/holds/web)"}), old()),
			HostHold: &o.Hold{Path: "/etc/homelab/holds/web", Reason: "racks", Until: now.Add(-time.Hour)}},
		"optional":    {Runs: runs(one(o.Passed, 0, "", excused), old())},
		"interrupted": {Runs: runs(cut, old())},
		"interrupted later": {Runs: runs(func() o.Report {
			r := old()
			r.Waves = r.Waves[1:]
			r.ID, r.Kind = "20261123T040000Z-cccccc", o.Narrowed
			return r
		}(), cut)},
		"deadline":                {Runs: runs(one(o.Halted, 3, "wave 0: the deadline of 3h0m0s has passed; interrupted: web", o.HostReport{Outcome: o.HostInterrupted}))},
		"not attempted, gate":     {Host: "db", Runs: runs(gate, old())},
		"not attempted, budget":   {Host: "db", Runs: runs(budget(failed("lock", "held")), old())},
		"not attempted, killed":   {Host: "db", Runs: runs(cut)},
		"no task":                 {Runs: runs(budget(o.HostReport{Outcome: o.HostNotAttempted, Message: "no task was run on it"}))},
		"never":                   {Runs: runs()},
		"never, plan refused":     {Runs: runs(), Refused: errors.New("group patch_controller: there is no controller")},
		"no target":               {Host: "nas", Runs: runs(old())},
		"gone":                    {Host: "gone", Runs: runs(func() o.Report { r := old(); r.Waves[0].Hosts[0].Name = "gone"; return r }())},
		"new":                     {Runs: runs(func() o.Report { r := old(); r.Waves[0].Hosts[0].Name = "x"; return r }(), func() o.Report { r := old(); r.ID = "20261108T040000Z-dddddd"; return r }())},
		"not begun":               {Runs: runs(unbegun, old())},
		"locked":                  {Runs: runs(old()), Refusal: refusal(5, "another run is under way: x (process 9)")},
		"locked, later done":      {Runs: runs(func() o.Report { r := old(); r.Started, r.Ended = now.Add(-2*time.Hour), now; return r }()), Refusal: refusal(5, "another run is under way: x (process 9)")},
		"locked, after a failure": {Runs: runs(budget(failed("lock", "held"))), Refusal: refusal(5, "another run is under way: x (process 9)")},
		"fleet held":              {Runs: runs(old()), Refusal: refusal(6, "held: racks (/etc/homelab/MAINTENANCE)"), FleetHold: &o.Hold{Path: "/etc/homelab/MAINTENANCE", Reason: "racks"}},
		"window":                  {Runs: runs(old()), Refusal: refusal(6, "closed: it is Monday; it opens Sun"), Closed: errors.New("closed: it is Monday still"), Next: now.Add(24 * time.Hour)},
		"settings":                {Runs: runs(old()), Refusal: refusal(2, "patch-orchestrate.yaml:1: budgt"), Refused: errors.New("patch-orchestrate.yaml:1: budgt")},
		"disk full, never":        {Runs: runs(), Full: "/var/lib/x has 0 KiB free: no space left for the journal of a run"},
		"disk full, cut":          {Runs: runs(dead), Full: "/var/lib/x has 0 KiB free: no space left for the journal of a run"},
		"died":                    {Runs: runs(dead, old())},
		"under way":               {Runs: runs(dead, old()), Busy: true},
		"awaiting reboot":         {Runs: runs(waits)},
		"damaged":                 {Runs: runs(damaged, old())},
		"newer":                   {Runs: runs(newer, old())},
		"damaged, nothing else":   {Runs: runs(damaged)},
		"hostile":                 {Runs: runs(budget(failed("x", "bad\x1b[2J\nPASSED")))},
	}
	for name, h := range map[string]o.HostReport{
		"failed, task":      {Outcome: o.HostFailed, Task: "Break", Path: "/p/patch.yml:7", Message: "broken on purpose"},
		"failed, lock":      failed("lock", "/var/lib/dpkg/lock-frontend is still held by process 37 after 20 s: let it finish, or stop it"),
		"failed, dpkg":      failed("dpkg", "dpkg is not in order and `dpkg --configure -a` does not mend it: repair it by hand"),
		"failed, postinst":  failed("upgrade", "package x failed: installed x package post-installation script subprocess returned error exit status 1"),
		"failed, apt":       failed("plan", "apt-get cannot plan the upgrade: unmet dependencies"),
		"failed, lists":     failed("lists", "the source http://x cannot be refreshed: Could not connect"),
		"failed, disk":      failed("ansible", "no space is left on the host: make room there"),
		"failed, memory":    failed("ansible", "what Ansible runs on the host was killed there, as when memory runs out: look at `journalctl -k` there"),
		"failed, killed":    failed("upgrade", "the upgrade ended without a result: it was killed; the next run repairs and goes on"),
		"failed, power":     failed("upgrade", "the upgrade ended without a result: the host was switched off or restarted; the next run repairs and goes on"),
		"failed, reboot":    failed("reboot", "the host was told to restart and did not come back within 600 s: look at its console"),
		"failed, health":    failed("reboot", "failed after the reboot: x.service"),
		"failed, link":      failed("connection", "the link was lost and the host did not come back within 30 s: its upgrade may still be running there"),
		"failed, slow":      failed("upgrade", "the upgrade is still running after 3600 s; it goes on by itself, and the next run waits for it"),
		"failed, pull":      failed("pull", "homelab-ansible-pull.service is still at work on the host after 300 s"),
		"failed, sudo":      failed("look", "sudo on the host asks for a password: let its user become root without one"),
		"failed, worker":    {Outcome: o.HostFailed, Message: "its worker of ansible-playbook, on the controller, was ended by SIGKILL: look at the memory there"},
		"unreachable":       absent,
		"unreachable, here": {Outcome: o.HostUnreachable, Message: "this machine has no way to its network: look at the routes and the address here (ssh: Network is unreachable)"},
		"unreachable, ssh":  {Outcome: o.HostUnreachable, Message: "kex_exchange_identification: read: reset"},
		"unreachable, key":  {Outcome: o.HostUnreachable, Message: "its host key is not known: log in once by hand, or add it to known_hosts (Host key verification failed.)"},
		"unreachable, auth": {Outcome: o.HostUnreachable, Message: "it does not let us in: look at the user, the key, and its authorized_keys (Permission denied)"},
	} {
		all[name] = Facts{Runs: runs(budget(h), old())}
	}
	for name, f := range all {
		if f.Host == "" {
			f.Host = "web"
		}
		f.Now = now
		if f.Refused == nil {
			f.Plan = plan()
		}
		all[name] = f
	}
	return all
}

// TestExplain holds each answer against testdata, as people read it.
func TestExplain(t *testing.T) {
	var all strings.Builder
	facts := each()
	outcomes := map[string]bool{}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range facts {
			if !yield(name) {
				return
			}
		}
	}) {
		a, known := Explain(facts[name])
		if !known {
			t.Errorf("%s: nobody knows the host", name)
		}
		outcomes[a.Outcome] = true
		fmt.Fprintf(&all, "== %s\n%s %s\n%s\n", name, a.Outcome, a.Cause, a.Answer)
		for _, w := range a.Why {
			fmt.Fprintf(&all, "why:  %q\n", w)
		}
		for _, w := range a.Also {
			fmt.Fprintf(&all, "also: %s\n", w)
		}
		if a.Last != nil {
			fmt.Fprintf(&all, "last: %s, %d\n", a.Last.ID, a.Last.Packages)
		}
		for _, s := range a.Do {
			fmt.Fprintf(&all, "do:   [%s] %s # %s\n", s.On, s.Command, s.Say)
		}
		if a.Cause != "" && len(a.Do) == 0 {
			t.Errorf("%s: there is nothing to do about it", name)
		}
	}
	for _, outcome := range []string{"patched", "unchanged", "held", "failed", "unreachable", "interrupted", "not-attempted",
		NoTarget, Never, NotBegun, UnderWay, CutShort, Unknown} {
		if !outcomes[outcome] {
			t.Errorf("no case of %s", outcome)
		}
	}
	golden(t, "explain.txt", all.String())
}

// A host that nobody knows is no answer, unless nobody could look it up.
func TestExplainUnknown(t *testing.T) {
	if a, known := Explain(Facts{Host: "wbe", Now: now, Plan: plan(), Runs: runs(old())}); known {
		t.Errorf("%+v", a)
	}
	if a, known := Explain(Facts{Host: "wbe", Now: now, Refused: errors.New("no inventory"), Runs: runs(old())}); !known || a.Outcome != Never || !strings.Contains(strings.Join(a.Also, ""), "no inventory") {
		t.Errorf("%v, %+v", known, a)
	}
}

// It goes back no further than it has to.
func TestExplainLooksNoFurther(t *testing.T) {
	read := 0
	all := func(yield func(o.Report, error) bool) {
		for i := range 1000 {
			r := old()
			if i == 0 {
				r = budget(failed("lock", "held"))
			}
			read++
			if !yield(r, nil) {
				return
			}
		}
	}
	if _, known := Explain(Facts{Host: "web", Now: now, Plan: plan(), Runs: all}); !known || read != 2 {
		t.Errorf("%d journals were read", read)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not as in testdata: go test -update shows the difference\n%s", name, got)
	}
}
