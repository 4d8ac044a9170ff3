package message

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/notify"
	o "homelab-patch-orchestrate/orchestrator"
)

var update = flag.Bool("update", false, "rewrite testdata")

var links = Links{Grafana: "https://grafana.example/", Runbook: "https://git.example/runbooks", ARA: "https://ara.example"}

var began = time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)

// fleet is a report of a full run over n hosts in three waves that all ended well, one package more on each.
func fleet(n int) o.Report {
	code := 0
	r := o.Report{ID: "20261122T040000Z-1a2b3c", State: o.Passed, Kind: o.Full, Started: began, Ended: began.Add(252 * time.Second),
		ExitCode: &code, Controller: "infra-services"}
	names := []string{"saltierpoop", "prox", "infra-services"}
	for i := range 3 {
		w := o.WaveReport{Number: i, Group: fmt.Sprintf("patching_wave%d", i), State: o.Passed,
			Started: began.Add(time.Duration(i) * time.Minute), Ended: began.Add(time.Duration(i+1)*time.Minute + 2*time.Second)}
		many := 1
		if i == 0 {
			many = n - 2
		}
		for k := range many {
			name := names[i]
			if many > 1 {
				name = fmt.Sprintf("node%04d", k)
			}
			w.Hosts = append(w.Hosts, o.HostReport{Name: name, Outcome: o.Patched, Controller: i == 2, Patch: &o.Patch{Version: 1, Packages: []o.Package{
				{Name: "openssl", From: "3.0.11-1", To: "3.0.13-1", Security: true},
				{Name: fmt.Sprintf("lab-app%d", k%40), From: "1.0-1", To: "2.0-1"}, {Name: "linux-image-6.1.0-41-amd64", To: "6.1.99"},
			}}})
		}
		r.Waves = append(r.Waves, w)
	}
	r.Reason = fmt.Sprintf("%d patched", n)
	return r
}

func change(r o.Report, f func(*o.Report)) o.Report { f(&r); return r }

// failed is fleet with a package that breaks on the last host of the first wave, and all after it not attempted.
func failed(n int) o.Report {
	return change(fleet(n), func(r *o.Report) {
		code := o.ExitHalted
		r.ExitCode, r.State = &code, o.Halted
		hosts := r.Waves[0].Hosts
		h := &hosts[len(hosts)-1]
		h.Outcome, h.Task, h.Path, h.Message = o.HostFailed, "Fail with the reason", "main.yml:7", "package lab-broken failed: post-installation script returned 1"
		h.Patch = &o.Patch{Version: 1, Failure: &o.Failure{Phase: "upgrade", Reason: h.Message,
			Detail: strings.Repeat("Setting up something else ...\n", 40) + "Setting up lab-broken (2.0-1) ...\ndpkg: error processing package lab-broken (--configure)"}}
		for i := 1; i < 3; i++ {
			r.Waves[i].State, r.Waves[i].Started, r.Waves[i].Ended = o.Pending, time.Time{}, time.Time{}
			for k := range r.Waves[i].Hosts {
				r.Waves[i].Hosts[k].Outcome, r.Waves[i].Hosts[k].Patch = o.HostNotAttempted, nil
			}
		}
		r.Waves[0].State = o.Halted
		r.Reason = fmt.Sprintf("wave 0 lost 1 host, the budget is 0: %s (failed)", h.Name)
	})
}

// refused is a run that two gates stopped before its last wave.
func refused() o.Report {
	return change(fleet(3), func(r *o.Report) {
		code := o.ExitHalted
		r.ExitCode, r.State = &code, o.Halted
		r.Waves[2].State, r.Waves[2].Started, r.Waves[2].Ended = o.Pending, time.Time{}, time.Time{}
		r.Waves[2].Hosts[0].Outcome, r.Waves[2].Hosts[0].Patch = o.HostNotAttempted, nil
		answer := func(gate, when string, minute int, reason string) o.GateAnswer {
			return o.GateAnswer{Gate: gate, When: when, Time: began.Add(time.Duration(minute) * time.Minute), OK: reason == "", Reason: reason}
		}
		r.Waves[0].Gates = []o.GateAnswer{answer("failed-units", "after wave 0", 1, "x"), answer("failed-units", "before wave 1", 1, "")}
		why := "prox: nginx.service failed at 04:01:31 UTC; it had not before the host was patched"
		r.Waves[1].Gates = []o.GateAnswer{
			answer("failed-units", "after wave 1", 2, why), answer("grafana", "after wave 1", 2, "http://grafana:3000/api/health answered 503 Service Unavailable"),
		}
		r.Reason = "halted after wave 1: gate failed-units: " + why + "; it last said yes at 04:01:00 UTC, before wave 1; no was also said by: grafana"
	})
}

func nothing(n int) o.Report {
	return change(fleet(n), func(r *o.Report) {
		for i := range r.Waves {
			for k := range r.Waves[i].Hosts {
				r.Waves[i].Hosts[k].Outcome, r.Waves[i].Hosts[k].Patch = o.Unchanged, &o.Patch{Version: 1}
			}
		}
		r.Reason = "nothing to do on 3 hosts"
	})
}

func interrupted() o.Report {
	return change(failed(3), func(r *o.Report) {
		code := 143
		r.ExitCode, r.State, r.Reason = &code, o.Interrupted, "interrupted during wave 0: terminated"
		r.Waves[0].Hosts[0].Outcome, r.Waves[0].Hosts[0].Patch, r.Waves[0].Hosts[0].Message = o.HostInterrupted, nil, ""
	})
}

func attended() o.Report {
	return change(fleet(3), func(r *o.Report) {
		r.Waves[0].Hosts[0].Patch.Rebooted = true
		r.Waves[1].Hosts[0].Outcome, r.Waves[1].Hosts[0].Patch = o.Held, &o.Patch{Hold: &o.HostHold{Reason: "disk swap"}}
		c := &r.Waves[2].Hosts[0]
		c.Patch.RebootRequired, c.Patch.Warnings = true, []string{"the package lists are 30 hours old"}
		absent := o.HostReport{Name: "laptop", Outcome: o.HostUnreachable, Optional: true, Excused: true}
		r.Waves[1].Hosts = append(r.Waves[1].Hosts, absent)
	})
}

// undone is a rollback of prox that ended with an exit code.
func undone(code int) o.Report {
	return change(fleet(3), func(r *o.Report) {
		r.Kind, r.Of, r.ExitCode, r.Waves = o.Rollback, "20261115T040000Z-1a2b3c", &code, r.Waves[1:2]
		h := &r.Waves[0].Hosts[0]
		h.Patch.Packages = []o.Package{{Name: "openssl", From: "3.0.13-1", To: "3.0.11-1"}}
		r.Reason = "undid run 20261115T040000Z-1a2b3c on 1 host; packages changed back: 1"
		switch code {
		case o.ExitFailed:
			r.State, r.Waves[0].State, h.Outcome = o.Failed, o.Failed, o.HostFailed
			h.Message = "failed since the upgrade began: nginx.service"
			h.Patch.Failure = &o.Failure{Phase: "services", Reason: h.Message}
			r.Reason = "wave 1: prox: " + h.Message
		case o.ExitInterrupted:
			r.State, r.Waves[0].State, h.Outcome, h.Patch = o.Interrupted, o.Interrupted, o.HostInterrupted, nil
			r.Reason = "interrupted in wave 1: terminated; interrupted: prox"
		}
	})
}

func all() map[string]Notice {
	dead := &o.Patch{Failure: &o.Failure{Reason: "no space is left on the host: make room there"}}
	many := make([]Host, 500)
	for i := range many {
		many[i] = Host{Host: fmt.Sprintf("node%04d", i), Reasons: []string{"linux-image-6.1.0-41-amd64", "libc6", "dbus", "systemd"}, Packages: 12}
	}
	losses := change(failed(10), func(r *o.Report) { code := o.ExitLosses; r.ExitCode, r.State = &code, o.Passed })
	return map[string]Notice{
		"success":       Summary(fleet(3), false, links),
		"undone":        Summary(undone(o.ExitDone), true, links), // and it calls no failure off
		"undo-fails":    Summary(undone(o.ExitFailed), false, links),
		"undo-stopped":  Summary(undone(o.ExitInterrupted), false, links),
		"success-3000":  Summary(fleet(3000), false, links),
		"attended":      Summary(attended(), false, links),
		"failure":       Summary(failed(3), false, links),
		"failure-3000":  Summary(failed(3000), true, links),
		"gates":         Summary(refused(), false, links),
		"losses":        Summary(losses, false, links),
		"recovered":     Summary(fleet(3), true, links),
		"nothing":       Summary(nothing(3), false, links),
		"interrupted":   Summary(interrupted(), false, links),
		"resumed":       Resume(interrupted(), links),
		"refused":       Refused(Failure, "", "patching_wave1 and patching_wave2 both have prox", links),
		"unreadable":    Unreadable("journal /var/lib/x/runs/20261122T040000Z-1a2b3c/journal.json is damaged: unexpected end of JSON input (it is left as it is)", links),
		"held":          Refused(Nothing, "", "moving the rack", links),
		"closed":        Closed("closed: 2026-12-24 is in the blackout 2026-12-24", links),
		"stopped":       Refused(Interrupted, "", "stopped before the first wave: nothing was touched", links),
		"reboot":        Reboots("20261122T040000Z-1a2b3c", []Host{{"prox", []string{"linux-image-6.1.0-41-amd64"}, 1}}, links),
		"reboots-500":   Reboots("20261122T040000Z-1a2b3c", many, links),
		"reboot-hand":   Reboots("", []Host{{Host: "prox"}}, Links{}),
		"by-hand":       Summary(ByHand(map[string]*o.Patch{"prox": fleet(3).Waves[0].Hosts[0].Patch, "nas": {}}), false, links),
		"by-hand-fails": Summary(ByHand(map[string]*o.Patch{"prox": dead, "nas": nil, "db": {Hold: &o.HostHold{}}}), false, links),
		"test":          Test(links),
	}
}

// TestMessages holds every kind against testdata, as the words that people read, and as what each channel is sent.
func TestMessages(t *testing.T) {
	for name, n := range all() {
		if n.Message.Time.Year() > 2000 { // most are about now
			n.Message.Time = began
		}
		text, err := json.MarshalIndent(struct {
			Kind     Kind
			Channels []string
			Message  notify.Message
		}{n.Kind, n.Channels(), n.Message}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(text) {
			t.Errorf("%s is not as in testdata: go test -update shows the difference", name)
		}
	}
}

// A message about 3,000 hosts says all it has to in the room that there is: nothing of it is cut by a channel.
func TestThreeThousandHosts(t *testing.T) {
	for name, n := range all() {
		discord, err := (&notify.Discord{}).Payload(n.Message)
		if err != nil {
			t.Fatal(err)
		}
		ntfy, err := (&notify.Ntfy{}).Payload(n.Message)
		if err != nil {
			t.Fatal(err)
		}
		for channel, payload := range map[string][]byte{"discord": discord, "ntfy": ntfy} {
			if strings.Contains(string(payload), "(cut)") {
				t.Errorf("%s: %s had to cut it:\n%s", name, channel, payload)
			}
		}
	}
}

func TestWhoHears(t *testing.T) {
	wanted := map[Kind]map[Send]bool{
		Nothing:     {Always: true, Change: false, Failing: false},
		Success:     {Always: true, Change: true, Failing: false},
		Failure:     {Always: true, Change: true, Failing: true},
		Recovered:   {Always: true, Change: true, Failing: true},
		Interrupted: {Always: true, Change: true, Failing: true},
		Resumed:     {Always: true, Change: true, Failing: true},
		Reboot:      {Always: true, Change: true, Failing: true},
	}
	ntfy := map[Kind]bool{Failure: true, Recovered: true, Interrupted: true, Resumed: true, Reboot: true}
	for kind, by := range wanted {
		n := Notice{Kind: kind}
		for send, want := range by {
			if n.Wanted(send) != want {
				t.Errorf("%s with send: %s: %v", kind, send, !want)
			}
		}
		if (len(n.Channels()) == 2) != ntfy[kind] {
			t.Errorf("%s goes to %v", kind, n.Channels())
		}
	}
	if n := Summary(change(fleet(3), func(r *o.Report) { r.Kind = o.Narrowed }), true, links); n.Kind != Success {
		t.Errorf("a narrowed run is %s: it does not end a failure of the fleet", n.Kind)
	}
	if n := Summary(o.Report{}, false, links); n.Kind != Failure {
		t.Errorf("a report without an end is %s", n.Kind)
	}
}
