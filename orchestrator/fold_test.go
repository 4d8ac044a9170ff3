package orchestrator

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"homelab-patch-orchestrate/runner"
)

// published is a homelab_patch with every field set.
const published = `{"version":1,"run":"20261122T040000Z-1a2b3c","check":false,"hold":null,
	"packages":[{"name":"openssl","from":"3.0.15","to":"3.0.17","security":true},{"name":"linux-image-6.1.0-41","from":"","to":"6.1.158-1","security":false}],
	"held_packages":[{"name":"docker-ce","installed":"27.0","candidate":"28.1"}],
	"kept_back":[{"name":"mesa","from":"1","to":"2","reason":"needs a removal"}],
	"excluded":[{"name":"pve-qemu-kvm","from":"8","to":"9"}],
	"conffiles":["/etc/ssh/sshd_config"],"lists_age_seconds":42,"warnings":["example.org does not answer"],
	"reboot_required":true,"reboot_reasons":["a newer kernel"],"reboot_futile":true,"reboot_due":true,"reboot_forecast":"yes","rebooted":true,
	"kernel":{"running":"6.1.0-40","installed":"6.1.0-41","state":"newer"},"services_restarted":["ssh.service"],
	"failed_units":{"before":["a.service"],"after":["a.service","b.service"]},"dpkg_audit":"half","reattached":true,
	"replaced":{"kept":[{"name":"openssl","version":"3.0.15","source":"cache"}],"missing":[{"name":"mesa","version":"1","reason":"no .deb"}]},
	"rollback":{"of":"20261121T040000Z-1a2b3c","packages":[{"name":"openssl","from":"3.0.17","to":"3.0.15","source":"kept"}],
		"stays":[{"name":"linux-image-6.1.0-41","version":"6.1.158-1","reason":"it runs"}]},
	"failure":{"phase":"upgrade","reason":"dpkg gave up on openssl","detail":"exit status 1"},
	"suite":"bookworm","architecture":"amd64","archives":{"Debian Debian oldstable 12":"ab12"},
	"conffile_prompts":[{"package":"ssh","path":"/etc/ssh/sshd_config","expected":"unknown"}],
	"services_forecast":[{"service":"ssh.service","packages":["libssl3"],"restarted":true}]}`

// word is the event in which the role publishes about a host.
func word(host, patch string) runner.Event {
	return runner.Event{
		Kind: runner.KindResult, Host: host, Action: "ansible.builtin.set_fact", Status: runner.StatusOK, Task: "Publish the result",
		Data: json.RawMessage(`{"ansible_facts":{"homelab_patch":` + patch + `},"changed":false}`),
	}
}

// TestPatchIsWhole keeps the type and the contract together: nothing that the role says is lost, and no field is extra.
func TestPatchIsWhole(t *testing.T) {
	patch, problem := decodePatch(word("db", published).Data)
	if problem != "" {
		t.Fatal(problem)
	}
	var want, got any
	if err := json.Unmarshal([]byte(published), &want); err != nil {
		t.Fatal(err)
	}
	for _, p := range want.(map[string]any)["excluded"].([]any) { // a Package like any other
		p.(map[string]any)["security"] = false
	}
	if err := json.Unmarshal([]byte(encode(t, patch)), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", encode(t, got), encode(t, want))
	}
}

func TestPatchGarbage(t *testing.T) {
	for name, test := range map[string]struct {
		events  []runner.Event
		version int // of what is kept; 0 is nothing
		note    string
	}{
		"none":            {nil, 0, ""},
		"another version": {[]runner.Event{word("db", `{"version":2,"packages":{"new":"shape"}}`)}, 0, "host db: its homelab_patch has version 2, and this program knows 1"},
		"no version":      {[]runner.Event{word("db", `{}`)}, 0, "version 0"},
		"a list":          {[]runner.Event{word("db", `[1]`)}, 0, "want an object, got array"},
		"text":            {[]runner.Event{word("db", `"{{ x }}"`)}, 0, "want an object, got string"},
		"null":            {[]runner.Event{word("db", `null`)}, 0, "version 0"},
		"a wrong field":   {[]runner.Event{word("db", `{"version":1,"lists_age_seconds":"12","rebooted":true}`)}, 1, "for lists_age_seconds, got string"},
		"facts a list":    {[]runner.Event{{Kind: runner.KindResult, Host: "db", Action: "set_fact", Data: json.RawMessage(`{"ansible_facts":["homelab_patch"]}`)}}, 0, "the facts are not an object"},
		"only in a value": {[]runner.Event{{Kind: runner.KindResult, Host: "db", Action: "set_fact", Data: json.RawMessage(`{"ansible_facts":{"x":"homelab_patch"},"y":{"homelab_patch":1}}`)}}, 0, ""},
		"too long":        {[]runner.Event{{Kind: runner.KindResult, Host: "db", Action: "set_fact", Task: "Publish", Cut: 2 << 20}}, 0, `task "Publish" was too long to keep (2097152 bytes`},
		"mended later":    {[]runner.Event{word("db", `[]`), word("db", `{"version":1}`)}, 1, ""},
		"broken later":    {[]runner.Event{word("db", `{"version":1}`), word("db", `[]`)}, 1, "want an object"},
		"another's":       {[]runner.Event{word("web", `{"version":1}`)}, 0, ""},
		"an item":         {[]runner.Event{{Kind: runner.KindItem, Host: "db", Action: "set_fact", Data: word("db", `{"version":1}`).Data}}, 0, ""},
		"in its task":     {[]runner.Event{{Kind: runner.KindResult, Host: "db", Action: "homelab_patch", Data: json.RawMessage(`{"state":"done","homelab_patch":{"version":1}}`)}}, 1, ""},
		"broken in it":    {[]runner.Event{{Kind: runner.KindResult, Host: "db", Action: "homelab_patch", Data: json.RawMessage(`{"state":"done","homelab_patch":[1]}`)}}, 0, "want an object, got array"},
		"not yet":         {[]runner.Event{{Kind: runner.KindResult, Host: "db", Action: "homelab_patch", Data: json.RawMessage(`{"result":{"version":1}}`)}}, 0, ""},
		"another module":  {[]runner.Event{{Kind: runner.KindResult, Host: "db", Action: "command", Data: word("db", `{"version":1}`).Data}}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFold()
			for _, e := range test.events {
				f.add(e)
			}
			version := 0
			if p := f.patches["db"]; p != nil {
				version = p.Version
			}
			if version != test.version {
				t.Errorf("version kept %d, want %d", version, test.version)
			}
			if note := f.notes["db"]; !strings.Contains(note, test.note) || (note == "") != (test.note == "") {
				t.Errorf("note %q, want %q", note, test.note)
			}
		})
	}
}

func TestOutcome(t *testing.T) {
	packages := []Package{{Name: "openssl"}}
	failure := &Failure{Reason: "dpkg gave up"}
	for name, test := range map[string]struct {
		engine  runner.Outcome
		patch   *Patch
		check   bool
		want    Outcome
		message string // the engine says "engine"
	}{
		"ok, foreign":             {runner.OK, nil, false, Unchanged, "engine"},
		"changed, foreign":        {runner.Changed, nil, false, Patched, "engine"},
		"changed, foreign, check": {runner.Changed, nil, true, Unchanged, "engine"},
		"changed, no packages":    {runner.Changed, &Patch{}, false, Unchanged, "engine"},
		"packages":                {runner.OK, &Patch{Packages: packages}, false, Patched, "engine"},
		"packages, check":         {runner.OK, &Patch{Packages: packages}, true, Unchanged, "engine"},
		"packages, role's check":  {runner.OK, &Patch{Packages: packages, Check: true}, false, Unchanged, "engine"},
		"rebooted":                {runner.OK, &Patch{Rebooted: true}, false, Patched, "engine"},
		"held":                    {runner.OK, &Patch{Hold: &HostHold{"disk"}, Packages: packages}, false, Held, "disk"},
		"held, check":             {runner.Changed, &Patch{Hold: &HostHold{}}, true, Held, ""},
		"role failed, engine ok":  {runner.OK, &Patch{Failure: failure, Packages: packages}, false, HostFailed, "dpkg gave up"},
		"both failed":             {runner.Failed, &Patch{Failure: failure}, false, HostFailed, "dpkg gave up"},
		"failure without words":   {runner.Failed, &Patch{Failure: &Failure{}}, false, HostFailed, "engine"},
		"failed after good word":  {runner.Failed, &Patch{Packages: packages}, false, HostFailed, "engine"},
		"failed while held":       {runner.Failed, &Patch{Hold: &HostHold{"disk"}}, false, HostFailed, "engine"},
		"failed in check":         {runner.Failed, nil, true, HostFailed, "engine"},
		"unreachable":             {runner.Unreachable, &Patch{Rebooted: true}, false, HostUnreachable, "engine"},
		"interrupted":             {runner.Interrupted, &Patch{}, false, HostInterrupted, "engine"},
		"not attempted":           {runner.NotAttempted, nil, false, HostNotAttempted, "engine"},
		"unknown":                 {"splendid", nil, false, HostInterrupted, `the engine gave an unknown outcome: "splendid"`},
	} {
		t.Run(name, func(t *testing.T) {
			h := HostReport{Name: "db"}
			h.judge(runner.HostResult{Outcome: test.engine, Msg: "engine", Task: "Upgrade", Path: "a.yml:3"}, test.patch, test.check)
			if h.Outcome != test.want || h.Message != test.message {
				t.Errorf("outcome %s, message %q, want %s, %q", h.Outcome, h.Message, test.want, test.message)
			}
			if h.Task != "Upgrade" || h.Path != "a.yml:3" || h.Patch != test.patch {
				t.Errorf("host %+v", h)
			}
			if h.Lost() == h.Outcome.Well() {
				t.Errorf("%s is lost %t, well %t", h.Outcome, h.Lost(), h.Outcome.Well())
			}
		})
	}
}

// Tasks that run on the controller, such as a role's check of its arguments, are no contact: an optional host that was
// off came out with one ok task, and halted the run.
func TestExcused(t *testing.T) {
	for name, test := range map[string]struct {
		optional bool
		outcome  runner.Outcome
		reached  bool
		want     bool
	}{
		"off":           {true, runner.Unreachable, false, true},
		"not optional":  {false, runner.Unreachable, false, false},
		"gone later":    {true, runner.Unreachable, true, false},
		"failed":        {true, runner.Failed, false, false},
		"not attempted": {true, runner.NotAttempted, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := HostReport{Optional: test.optional}
			h.judge(runner.HostResult{Outcome: test.outcome, Reached: test.reached, Stats: runner.Stats{OK: 1}}, nil, false)
			if h.Excused != test.want || h.Lost() == test.want {
				t.Errorf("excused %t, lost %t", h.Excused, h.Lost())
			}
		})
	}
}

// A host that was never reached is not well because the playbook does not mind.
func TestLostAndIgnored(t *testing.T) {
	h := HostReport{}
	h.judge(runner.HostResult{Outcome: runner.OK, Lost: true, Stats: runner.Stats{OK: 1, Ignored: 1}}, nil, false)
	if h.Outcome != HostUnreachable || !strings.Contains(h.Message, "ignore_unreachable") {
		t.Errorf("%s: %s", h.Outcome, h.Message)
	}
}

// Where the playbook is known to tell what it has done, silence is no success: no_log for all tasks hid what hosts said, and
// fleets with updates waiting came out with nothing to do.
func TestSilent(t *testing.T) {
	f := newFixture(t, func(_ context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		for _, h := range w.Hosts {
			if h.Name != "web" {
				emit(word(h.Name, `{"version":1,"packages":[]}`))
			}
		}
		return allWell(w), nil
	})
	f.Policy.Publishes = true
	report, err := f.do(t.Context())
	if err == nil {
		t.Error("it went well")
	}
	for _, h := range report.Waves[1].Hosts {
		if is := h.Outcome == HostFailed; is != (h.Name == "web") || is && !strings.Contains(h.Message, "no_log") {
			t.Errorf("%s: %s %s", h.Name, h.Outcome, h.Message)
		}
	}
}

// What the role said reaches the report through the engine's events, and Progress sees them all.
func TestPatchReachesTheReport(t *testing.T) {
	f := newFixture(t, func(_ context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		if w.Number == 1 {
			emit(word("db", `{"version":1,"packages":[{"name":"a"},{"name":"b"}]}`))
			emit(word("web", `[]`))
		}
		return allWell(w), nil
	})
	seen := 0
	f.Orchestrator.Progress = func(runner.Event) { seen++ }
	f.Policy.Check = true
	report, err := f.do(t.Context())
	f.ok(err)
	if db := report.Waves[1].Hosts[0]; seen != 2 || len(db.Patch.Packages) != 2 || db.Outcome != Unchanged {
		t.Errorf("%d events, db %s", seen, encode(t, db))
	}
	if web := report.Waves[1].Hosts[1]; web.Outcome != Unchanged || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "host web") {
		t.Errorf("web %s, notes %q", encode(t, web), report.Notes)
	}
	if want := "checked 4 hosts, changed nothing; packages that would change: 2 on 1 host"; report.Reason != want || report.Kind != Check {
		t.Errorf("reason %q, kind %s", report.Reason, report.Kind)
	}
}

// FuzzDecodePatch: nothing that a host publishes stops a run.
func FuzzDecodePatch(f *testing.F) {
	f.Add([]byte(word("db", published).Data))
	f.Add([]byte(word("db", `{"version":1,"hold":7}`).Data))
	f.Add([]byte(`{"ansible_facts":{"homelab_patch":`))
	f.Fuzz(func(t *testing.T, data []byte) {
		patch, problem := decodePatch(data)
		if patch == nil {
			return
		}
		if patch.Version != PatchVersion {
			t.Errorf("kept version %d (%s)", patch.Version, problem)
		}
		if _, err := json.Marshal(patch); err != nil {
			t.Errorf("the journal could not hold it: %v", err)
		}
	})
}
