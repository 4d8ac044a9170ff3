package main

import (
	"net"
	"os"
	"strings"
	"testing"
)

// A run does not care that ARA is away: its record waits, which is said, and the password is said nowhere.
func TestARAIsAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := "http://" + l.Addr().String()
	l.Close()
	b.write("env", "ARA_API_SERVER="+server+"\nARA_API_USERNAME=patcher\nARA_API_PASSWORD="+secret+"ara\n")
	if err := os.Chmod(b.path("env"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.write("settings.yaml", "notify_env: env\nara: {forward: true, keep: 2160h}\n")
	r := b.run(0, "--wave", "0")
	id := b.journal().ID
	wants(t, "stdout", r.stdout, "ARA: "+server+"/?label=run%3A"+id)
	wants(t, "stderr", r.stderr, "connection refused", "the run is not affected, and `ara forward` goes on with its record")
	b.search("stdout", r.stdout)
	b.search("stderr", r.stderr)
	events, _ := os.ReadFile(b.run0("events.jsonl"))
	wants(t, "events", string(events), `"labels":["homelab-patch","run:`+id+`","kind:narrowed","wave:0"]`, `"kind":"playbook"`)
	kept, _ := os.ReadFile(b.run0("ara.pending.json"))
	b.search("events.jsonl", string(events))
	b.search("ara.pending.json", string(kept))

	for _, c := range []struct {
		args  []string
		code  int
		words []string
	}{
		{[]string{"status"}, 1, []string{id, "waits", "0 %", "connection refused"}},
		{[]string{"status", "--json"}, 1, []string{`"state": "waiting"`}},
		{[]string{"forward"}, 1, []string{"run " + id, "connection refused"}},
		{[]string{"forward", "20261122T040000Z-1a2b3c"}, 2, []string{"there is no run 20261122T040000Z-1a2b3c"}},
		{[]string{"backfill"}, 2, []string{"--since"}},
		{[]string{"backfill", "--since", "2999-01-01"}, 0, []string{"runs to put on record: 0"}},
		{[]string{"prune"}, 1, []string{"connection refused"}}, // by ara.keep
		{[]string{"prune", "--older-than", "1h"}, 2, []string{"24h or more", "nothing was removed"}},
	} {
		r := b.do(b.bare(append(append([]string{"ara"}, c.args...), "--config", "settings.yaml", "--state", "state")...))
		if r.code != c.code {
			t.Errorf("ara %v: exit code %d, want %d", c.args, r.code, c.code)
		}
		wants(t, "ara "+strings.Join(c.args, " "), r.stdout+r.stderr, c.words...)
		b.search(strings.Join(c.args, " "), r.stdout+r.stderr)
	}
	b.write("settings.yaml", "ara: {forward: true}\nnotify_env: none\n")
	if r := b.do(b.bare("ara", "forward", "--config", "settings.yaml", "--state", "state")); r.code != 1 || !strings.Contains(r.stderr, "ARA_API_SERVER is not set") {
		t.Errorf("without a server: %+v", r)
	}
	if r := b.do(b.bare("ara", "forward", "--config", "settings.yaml", "--state", "empty")); r.code != 0 || r.stderr != "" {
		t.Errorf("with nothing to do: %+v", r)
	}
}
