package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"homelab-patch-orchestrate/internal/doctor"
	"homelab-patch-orchestrate/orchestrator"
)

var updateGolden = flag.Bool("update", false, "rewrite testdata")

// store writes runs into a state directory. Two of the three hosts have something to say; what one says is hostile.
func pastStore(t *testing.T) *orchestrator.Store {
	t.Helper()
	const week1 = `{"version": 1, "id": "ID", "state": "passed", "kind": "full", "started": "2026-11-15T04:00:00Z", "ended": "2026-11-15T04:12:30Z",
		"exit_code": 0, "reason": "3 patched", "controller": "ctl", "engine": "2.14.18", "budget": 0, "project": {"path": "/srv/patching", "commit": "aaaa", "hash": "11"},
		"waves": [{"number": 0, "group": "patching_wave0", "state": "passed", "started": "2026-11-15T04:00:05Z", "ended": "2026-11-15T04:05:05Z", "hosts": [
			{"name": "web", "outcome": "patched", "patch": {"version": 1, "rebooted": true, "packages": [{"name": "openssl", "from": "1", "to": "2", "security": true}]}}]},
		{"number": 1, "group": "patching_wave1", "state": "passed", "started": "2026-11-15T04:05:06Z", "ended": "2026-11-15T04:09:06Z", "hosts": [
			{"name": "db", "outcome": "patched", "patch": {"version": 1, "packages": [{"name": "openssl", "from": "1", "to": "2", "security": true}, {"name": "vim", "from": "8", "to": "9"}]}}]},
		{"number": 2, "group": "patching_wave2", "state": "passed", "started": "2026-11-15T04:09:07Z", "ended": "2026-11-15T04:12:07Z", "hosts": [
			{"name": "ctl", "outcome": "unchanged", "controller": true, "patch": {"version": 1}}]}]}`
	const week2 = `{"version": 1, "id": "ID", "state": "halted", "kind": "full", "started": "2026-11-22T04:00:00Z", "ended": "2026-11-22T04:10:00Z",
		"exit_code": 3, "reason": "wave 1: 1 host did not come through, the budget is 0: db (failed)", "controller": "ctl", "engine": "2.19.4", "budget": 0,
		"project": {"path": "/srv/patching", "commit": "bbbb", "hash": "22"}, "notes": ["host db: \u001b[2Jnote"],
		"waves": [{"number": 0, "group": "patching_wave0", "state": "passed", "started": "2026-11-22T04:00:05Z", "ended": "2026-11-22T04:04:05Z",
			"gates": [{"gate": "dns", "when": "after wave 0", "time": "2026-11-22T04:04:06Z", "ok": true}, {"gate": "dns", "when": "before wave 1", "time": "2026-11-22T04:04:07Z", "ok": true}],
			"hosts": [{"name": "web", "outcome": "patched", "patch": {"version": 1, "packages": [{"name": "openssl", "from": "2", "to": "3", "security": true}]}}]},
		{"number": 1, "group": "patching_wave1", "state": "halted", "started": "2026-11-22T04:05:00Z", "ended": "2026-11-22T04:10:00Z",
			"reason": "wave 1: 1 host did not come through, the budget is 0: db (failed)", "hosts": [
			{"name": "db", "outcome": "failed", "task": "Fail with the reason", "path": "roles/patching/tasks/publish.yml:23",
			"message": "package evil\u001b]0;pwned\u0007 failed: its script returned error exit status 1", "stats": {"ok": 12, "changed": 3, "failures": 1, "rescued": 1},
			"patch": {"version": 1, "packages": [{"name": "openssl", "from": "2", "to": "3", "security": true}], "kept_back": [{"name": "nginx", "to": "2", "reason": "phased"}],
				"warnings": ["the lists are old"], "reboot_required": true, "reboot_reasons": ["kernel 2 is installed, 1 is running"], "kernel": {"running": "1", "installed": "2"},
				"dpkg_audit": "evil is half configured", "failure": {"phase": "upgrade", "reason": "package evil\u001b]0;pwned\u0007 failed: its script returned error exit status 1",
				"detail": "Setting up evil\n\u001b[31merror\u001b[0m\ndpkg: error processing package evil"}}}]},
		{"number": 2, "group": "patching_wave2", "state": "pending", "hosts": [{"name": "ctl", "outcome": "not-attempted", "controller": true, "message": ""}]}]}`
	store := shelf(t, map[string]string{
		"20261108T040000Z-eeeeee": "",
		"20261115T040000Z-aaaaaa": week1,
		"20261118T100000Z-cccccc": "{",
		"20261119T100000Z-dddddd": `{"version": 9}`,
		"20261122T040000Z-bbbbbb": week2,
	})
	events := ""
	for _, e := range []struct {
		host, task string
		from, to   int
	}{{"web", "Watch the upgrade", 5, 200}, {"web", "Restart the host", 200, 230}, {"db", "Watch \x1b[2Jthe upgrade", 300, 590}, {"db", "Look at the host", 299, 300}} {
		line, err := json.Marshal(map[string]any{"kind": "result", "time": 1795320000 + e.to, "started": 1795320000 + e.from, "task": e.task, "host": e.host,
			"path": "roles/patching/tasks/x.yml:7", "status": "ok"})
		if err != nil {
			t.Fatal(err)
		}
		events += string(line[:len(line)-1]) + `,"data":{}}` + "\n"
	}
	if err := os.WriteFile(filepath.Join(runDir(store, "20261122T040000Z-bbbbbb"), "events.jsonl"), []byte(events), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := orchestrator.Refuse(store.Dir(), orchestrator.Refusal{Time: time.Date(2026, 11, 29, 4, 0, 0, 0, time.UTC), ExitCode: 6, Reason: "held: racks\x1b[2J"}); err != nil {
		t.Fatal(err)
	}
	return store
}

// back calls a command that looks back.
func (b *bench) back(code int, args ...string) result {
	b.t.Helper()
	c := b.bare(args...)
	c.Env = append(c.Env, "TZ=UTC")
	r := b.do(c)
	if r.code != code {
		b.t.Errorf("%s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

var ago = regexp.MustCompile(`\(\d+ (min|h|days) ago\)`)

// TestLookingBack holds what people read of three hosts against testdata. Nothing in it commands a terminal.
func TestLookingBack(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	store := pastStore(t)
	b.write("settings.yaml", "state: "+store.Dir()+"\nnotify_env: none\n")
	var all strings.Builder
	for _, line := range []string{"history", "history --limit 2", "show latest", "show 20261115", "show latest db", "show 20261115 web",
		"diff 20261115 latest", "diff 20261122 20261115"} {
		r := b.back(0, append(strings.Fields(line), "--config", "settings.yaml")...)
		if r.stderr != "" || strings.ContainsAny(r.stdout, "\x1b\a") {
			t.Errorf("%s: %q, %s", line, r.stdout, r.stderr)
		}
		text := ago.ReplaceAllString(strings.ReplaceAll(r.stdout, store.Dir(), "STATE"), "(… ago)")
		fmt.Fprintf(&all, "$ homelab-patch-orchestrate %s\n%s\n", line, text)
	}
	path := filepath.Join("testdata", "past.txt")
	if *updateGolden {
		if err := os.WriteFile(path, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != all.String() {
		t.Errorf("%v; %s is not as in testdata: go test -update shows the difference\n%s", err, path, all.String())
	}
	for line, word := range map[string]string{
		"show 20261122 dd":     "run 20261122T040000Z-bbbbbb has no host dd (did you mean db?)",
		"show 20261118":        "is damaged",
		"diff latest 20261122": "name two runs",
		"history --limit -1":   "how many runs",
		"show":                 "RUN is missing",
		"explain":              "HOST is missing",
	} {
		code := 2
		if word == "is damaged" {
			code = 1
		}
		wants(t, line, b.back(code, append(strings.Fields(line), "--config", "settings.yaml")...).stderr, word)
	}
	for _, line := range []string{"history", "show latest", "show latest db", "diff 20261115 latest"} {
		r := b.back(0, append(strings.Fields(line), "--json", "--config", "settings.yaml")...)
		if !json.Valid([]byte(r.stdout)) || strings.Contains(r.stdout, "\x1b") {
			t.Errorf("%s --json: %s", line, r.stdout)
		}
	}
	var h historyJSON
	if err := json.Unmarshal([]byte(b.back(0, "history", "--json", "--config", "settings.yaml").stdout), &h); err != nil || len(h.Runs) != 5 || h.Refused == nil || h.Runs[2].Error == "" {
		t.Errorf("%v, %+v", err, h)
	}
}

// Who looks back may be anybody who can read what is there, and leaves it as it is.
func TestLookingBackAtOthers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	b := &bench{t, t.TempDir()}
	store := pastStore(t)
	b.write("settings.yaml", "state: "+store.Dir()+"\nnotify_env: none\n")
	for _, dir := range []string{store.Dir(), filepath.Join(store.Dir(), "runs")} {
		if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"history", "show latest", "diff 20261115 latest", "status", "report latest --json", "__complete show"} {
		args := append(strings.Fields(line), "--config", "settings.yaml")
		if args[0] == "__complete" {
			args = append(args, "")
		}
		wants(t, line, b.back(0, args...).stdout, "20261122T040000Z-bbbbbb")
	}
	// Unlike the others it leaves something there.
	wants(t, "report", b.back(2, "report", "latest", "--config", "settings.yaml").stderr, "belongs to 12345: run this as that user")
	if info, err := os.Stat(store.Dir()); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
}

// Where nothing has run yet there is nothing to tell, and nothing is made.
func TestLookingBackAtNothing(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	state := b.path("state")
	wants(t, "history", b.back(0, "history", "--state", state).stdout, "there is no run yet in "+state)
	wants(t, "show", b.back(2, "show", "latest", "--state", state).stderr, "there is no run in "+state)
	if exists(state) {
		t.Error("a state directory was made")
	}
}

// 3,000 hosts are ten times as many lines as 300, and no more than ten times the work.
func TestLookingBackAtManyHosts(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	size := map[int]int{}
	for _, n := range []int{300, 3000} {
		var hosts []string
		for i := range n {
			hosts = append(hosts, fmt.Sprintf(`{"name": "host%04d", "outcome": "failed", "message": "broken", "patch": {"version": 1, "packages": [{"name": "p%d", "from": "1", "to": "2"}], "failure": {"phase": "lock", "reason": "broken", "detail": "a\nb"}}}`, i, i%7))
		}
		journal := `{"version": 1, "id": "ID", "state": "halted", "kind": "full", "started": "2026-11-15T04:00:00Z", "ended": "2026-11-15T04:12:30Z", "exit_code": 3,
			"waves": [{"number": 0, "state": "halted", "started": "2026-11-15T04:00:00Z", "hosts": [` + strings.Join(hosts, ",") + `]}]}`
		store := shelf(t, map[string]string{"20261115T040000Z-aaaaaa": journal, "20261122T040000Z-bbbbbb": strings.ReplaceAll(journal, `"to": "2"`, `"to": "3"`)})
		for _, line := range []string{"history", "show latest", "show latest host0007", "diff 20261115 latest"} {
			begin := time.Now()
			r := b.back(0, append(strings.Fields(line), "--state", store.Dir())...)
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("%s of %d hosts took %v", line, n, took)
			}
			if strings.HasPrefix(line, "show latest") && !strings.Contains(line, "host") {
				size[n] = strings.Count(r.stdout, "\n")
			}
			if strings.Contains(r.stdout, "\x1b") {
				t.Errorf("%s: an escape code in a pipe", line)
			}
		}
	}
	if more := size[3000] - size[300]; more != 2700 {
		t.Errorf("show has %d lines of 300 hosts and %d of 3,000", size[300], size[3000])
	}
}

// A table is never wider than the terminal where that can be, and cuts nothing in a pipe.
func TestTable(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 40)
	for _, width := range []int{0, 60, 80, 200} {
		table := table{}
		table.row("RUN", "STATE", "REASON")
		table.row("20261122T040000Z-bbbbbb", "halted", long)
		table.row("20261115T040000Z-äöüäöü", "passed\x1b[2J", "")
		var out strings.Builder
		table.print(&out, "  ", width)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); width > 0 && n > width {
				t.Errorf("%d characters at a width of %d: %q", n, width, line)
			}
		}
		if width == 0 && !strings.Contains(out.String(), strings.TrimSpace(long)) || strings.Contains(out.String(), "\x1b") {
			t.Errorf("at a width of %d:\n%s", width, out.String())
		}
		if narrow := width == 60; narrow != (len(lines) == 4) {
			t.Errorf("at a width of %d:\n%s", width, out.String())
		}
	}
	wide := table{}
	wide.row("RUN", "STATE", "HOSTS", "REASON")
	wide.row("20261122T040000Z-bbbbbb", "halted", "1 failed, 1 not-attempted, 1 patched", "broken")
	var out strings.Builder
	wide.print(&out, "", 40)
	if want := "RUN                      STATE\n20261122T040000Z-bbbbbb  halted\n  1 failed, 1 not-attempted, 1 patched …\n"; out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
}

// What systemctl 252 printed on a lab host with the timer, without it, and with a timer that counts from boot.
func TestElapse(t *testing.T) {
	t.Parallel()
	if at := doctor.Elapse("Sun 2026-11-29 12:01:09 UTC\n"); !at.Equal(time.Date(2026, 11, 29, 12, 1, 9, 0, time.UTC)) {
		t.Errorf("%v", at)
	}
	for _, none := range []string{"", "\n", "n/a\n", "infinity\n"} {
		if at := doctor.Elapse(none); !at.IsZero() {
			t.Errorf("%q is %v", none, at)
		}
	}
}
