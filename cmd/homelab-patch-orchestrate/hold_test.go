package main

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/internal/message"
	"homelab-patch-orchestrate/notify"
	"homelab-patch-orchestrate/orchestrator"
)

// hold is `hold` with more arguments, on the bench.
func (b *bench) hold(code int, args ...string) result {
	b.t.Helper()
	r := b.do(b.bare(append([]string{"hold"}, append(args, "--config", b.path("settings.yaml"), "--state", b.path("state"),
		"--textfile", b.path("run.prom"))...)...))
	if r.code != code {
		b.t.Fatalf("hold %v: exit code %d, want %d\n%s\n%s", args, r.code, code, r.stdout, r.stderr)
	}
	return r
}

const holdSettings = "hold: etc/MAINTENANCE\nhost_holds: etc/holds\ninventory: hosts.yml\n"

// A run outside the window is told of as a hold is: once, until one is not
// refused.
func TestClosedIsToldOnce(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	p := &post{box: notify.Outbox{Dir: b.path("outbox"), Channels: []notify.Channel{{Name: message.Discord}}}, out: &printer{out: os.Stdout, err: os.Stderr}}
	waits := func(want int) {
		t.Helper()
		if c, err := p.box.Counts(); err != nil || c[message.Discord].Waiting != want {
			t.Errorf("%v wait, %v; want %d", c, err, want)
		}
	}
	first, second := &orchestrator.ClosedError{Reason: "a blackout"}, &orchestrator.ClosedError{Reason: "a blackout", Next: time.Now()}
	full := record{path: b.path("run.prom"), kind: orchestrator.Full, hold: b.path("held"), out: p.out, post: p}
	narrowed, check := full, full
	narrowed.kind, check.kind = orchestrator.Narrowed, orchestrator.Check
	check.closed(first)
	narrowed.closed(first) // whoever narrows it sees it
	waits(0)
	full.closed(first)
	full.closed(first)
	waits(1)
	full.closed(second)
	waits(2)
	check.begin()
	full.closed(second)
	waits(2)
	full.held("moving racks")
	full.closed(second)
	waits(4)
	narrowed.begin()
	full.closed(second)
	waits(5)
	full.neverBegan("", 1, errors.New("no Ansible"))
	waits(6)
	full.closed(second)
	waits(7)
	if m := b.metrics(); m.Held || m.Running || m.ExitCode != 1 {
		t.Errorf("metrics: %+v", m)
	}
}

func TestHoldSetAndClear(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "timezone: Asia/Kolkata\n"+holdSettings)
	status := func() (s statusJSON) {
		t.Helper()
		if err := json.Unmarshal([]byte(b.hold(0, "status", "--json").stdout), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	wants(t, "status", b.hold(0, "status").stdout, "nothing is held")
	if s := status(); s.Fleet != nil || s.Hosts == nil || len(s.Hosts) != 0 {
		t.Errorf("status: %+v", s)
	}
	wants(t, "clear", b.hold(0, "clear").stdout, "the fleet is not held")
	wants(t, "clear", b.hold(0, "clear", "--host", "one").stdout, "one is not held")

	wants(t, "set", b.hold(0, "set", "--reason", "new disks", "--until", "2099-12-01 18:00").stdout, "the fleet is held: new disks", "until ")
	first := status().Fleet
	if first == nil || first.Reason != "new disks" || first.Expired || !first.Until.Equal(time.Date(2099, 12, 1, 12, 30, 0, 0, time.UTC)) {
		t.Fatalf("status: %+v", first)
	}
	wants(t, "status", b.hold(0, "status").stdout, "the fleet", "2099-12-01 18:00 IST", "new disks")
	b.hold(0, "set", "--reason", "new disks, again")
	if s := status().Fleet; !s.Until.IsZero() || !s.Since.Equal(first.Since) || s.Reason != "new disks, again" {
		t.Errorf("set again: %+v, before %+v", s, first)
	}
	b.hold(0, "set", "--host", "one", "--reason", "guests", "--until", "90m")
	if m := b.metrics(); len(m.HostHoldsUntil) != 1 || time.Until(m.HostHoldsUntil["one"]).Round(time.Minute) != 90*time.Minute || !m.Held {
		t.Errorf("metrics: %+v", m)
	}
	held, reason, err := orchestrator.HostHolds(b.path("etc/holds"))("one")
	if !held || err != nil || !strings.HasPrefix(reason, "guests (") {
		t.Errorf("one: held %t, %q, %v", held, reason, err)
	}
	b.write("etc/holds/two", "by hand\nuntil: 2026-01-01\n")
	if s := status(); len(s.Hosts) != 2 || s.Hosts[1].Host != "two" || !s.Hosts[1].Expired {
		t.Errorf("status: %+v", s)
	}
	wants(t, "status", b.hold(0, "status").stdout, "one", "guests", "two", "expired on 20")
	wants(t, "clear", b.hold(0, "clear").stdout, "no longer held; it was: new disks, again")
	b.hold(0, "clear", "--host", "one")
	if s := status(); s.Fleet != nil || len(s.Hosts) != 1 {
		t.Errorf("status: %+v", s)
	}
	if m := b.metrics(); m.Held || m.HostHoldsUntil["one"] != (time.Time{}) || m.HostHoldsUntil["two"].IsZero() {
		t.Errorf("metrics: %+v", m)
	}

	for _, c := range []struct {
		words string
		args  []string
	}{
		{"--reason", nil},
		{"more than one line", []string{"--reason", "a\nb"}},
		{"bytes", []string{"--reason", strings.Repeat("x", 201)}},
		{"is no time", []string{"--reason", "x", "--until", "tomorrow"}},
		{"is no time", []string{"--reason", "x", "--until", ""}},
		{"not in the future", []string{"--reason", "x", "--until", "2026-01-01"}},
		{"not in the future", []string{"--reason", "x", "--until", "-3h"}},
		{"cannot be held", []string{"--reason", "x", "--host", "../MAINTENANCE"}},
		{"cannot be held", []string{"--reason", "x", "--host", ".."}},
		{"cannot be held", []string{"--reason", "x", "--host", ""}},
		{"has no host three", []string{"--reason", "x", "--host", "three"}},
	} {
		wants(t, "set", b.hold(2, append([]string{"set"}, c.args...)...).stderr, c.words)
	}
	if s := status(); s.Fleet != nil || len(s.Hosts) != 1 {
		t.Errorf("what was refused was set: %+v", s)
	}
	os.Remove(b.path("hosts.yml"))
	wants(t, "set", b.hold(0, "set", "--reason", "x", "--host", "three").stderr, "warning: the inventory cannot be read", "three")
	if s := status(); len(s.Hosts) != 2 {
		t.Errorf("status: %+v", s)
	}
}
