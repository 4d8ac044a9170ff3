package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e/discord"
)

// world is whom the program tells: Discord's stand-in, an ntfy server as far as
// its address goes (the real one is in e2e), and a dead man's switch.
type world struct {
	*discord.Server
	front *discord.Front
	ntfy  *httptest.Server
	hang  chan struct{} // ntfy answers when it is closed; nil: at once

	mu    sync.Mutex
	said  []ntfyMessage
	beats int
}

type ntfyMessage struct {
	Topic, Title, Message string
	Priority              int
}

const onlyController = `all:
  vars: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
  children:
    patch_controller: {hosts: {ctl: {}}}
    patching_targets: {hosts: {ctl: {}}}
    patching_wave0: {hosts: {ctl: {}}}
`

const (
	plantedHook  = "planted-hook-7d1f"
	plantedTopic = "homelab-patch-critical-planted-2b"
	plantedToken = "tk_planted9c"
)

func newWorld(t *testing.T, b *bench, more string) *world {
	t.Helper()
	w := &world{Server: &discord.Server{ID: "4711", Token: plantedHook, NoChannelRate: true}}
	w.front = &discord.Front{Address: "127.0.0.1:0", Handler: w.Server, Answer: discord.Answer}
	if err := w.front.Open(); err != nil {
		t.Fatal(err)
	}
	w.ntfy = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		hang := w.hang
		w.mu.Unlock()
		if hang != nil {
			<-hang
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if r.URL.Path == "/beat" {
			w.beats++
			return
		}
		var m ntfyMessage
		if json.NewDecoder(r.Body).Decode(&m) != nil || r.Header.Get("Authorization") != "Bearer "+plantedToken {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		w.said = append(w.said, m)
	}))
	t.Cleanup(func() { w.front.Close(); w.ntfy.Close() })
	b.write("hosts.yml", onlyController) // one ansible-playbook a run: time is short, and messages are the same
	w.settings(b, more)
	return w
}

// setHang lets ntfy answer only when c is closed, or at once if it is nil.
func (w *world) setHang(c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hang = c
}

func (w *world) settings(b *bench, more string) {
	b.write("settings.yaml", "notify_env: notify.env\n"+more)
	b.write("notify.env", "DISCORD_WEBHOOK_URL=http://"+w.front.Address+"/api/webhooks/4711/"+plantedHook+"\nNTFY_URL="+w.ntfy.URL+
		"\nNTFY_PATCH_TOPIC="+plantedTopic+"\nNTFY_TOKEN="+plantedToken+"\nHEARTBEAT_URL="+w.ntfy.URL+"/beat\nRUNBOOK_URL=https://git.example/runbooks\n")
	os.Chmod(b.path("notify.env"), 0o600)
}

// heard returns the titles on both channels, oldest first, and forgets them.
func (w *world) heard() (discord, ntfy string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var d, n []string
	for _, m := range w.Messages() {
		d = append(d, m.Embeds[0].Title)
	}
	for _, m := range w.said {
		n = append(n, m.Title)
	}
	w.Forget()
	w.said = nil
	return strings.Join(d, "; "), strings.Join(n, "; ")
}

// TestMessages is a month: it fails while nobody can be told, a narrowed run
// does not end that, it works again while the channels may not be used, and then
// it is a success like any other. Nothing outside decides a run, and whatever
// could not be delivered is, when the channels are back.
func TestMessages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := newWorld(t, b, "")
	heard := func(wantDiscord, wantNtfy string, beats int) {
		t.Helper()
		d, n := w.heard()
		if !strings.HasPrefix(d, wantDiscord) || (wantDiscord == "") != (d == "") || !strings.HasPrefix(n, wantNtfy) || (wantNtfy == "") != (n == "") {
			t.Errorf("Discord heard %q, ntfy %q", d, n)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.beats != beats {
			t.Errorf("%d signs of life, want %d", w.beats, beats)
		}
	}
	waits := func(code, discord, ntfy int) {
		t.Helper()
		if m := b.metrics(); m.ExitCode != code || m.Pending["discord"] != discord || m.Pending["ntfy"] != ntfy {
			t.Errorf("exit code %d, waiting: %v", m.ExitCode, m.Pending)
		}
	}
	flush := func() result {
		t.Helper()
		r := b.do(b.bare("notify", "flush", "--config", b.path("settings.yaml"), "--state", b.path("state")))
		if r.code != 0 {
			t.Errorf("flush: %d %s", r.code, r.stderr)
		}
		return r
	}

	b.write("break-ctl", "")
	w.front.Set(discord.Fault{Kind: "refuse"})
	hang := make(chan struct{})
	w.setHang(hang)
	r := b.run(3)
	wants(t, "stderr", r.stderr, "discord: ", "connection refused", "ntfy: no answer in time", "messages: delivered 0, waiting 2, in ")
	waits(3, 1, 1)
	heard("", "", 0)
	w.settings(b, "textfile: run.prom\n")
	w.front.Set(discord.Fault{})
	w.setHang(nil)
	close(hang)
	flush()
	if all := w.Messages(); len(all) != 1 || !slices.Equal(all[0].Files, []string{"timeline.png"}) || all[0].Embeds[0].Image != "attachment://timeline.png" {
		t.Errorf("what waited came without the picture of its timeline: %+v", all)
	}
	heard("Patching was halted by ctl", "Patching was halted by ctl", 0)
	waits(3, 0, 0)
	if r := flush(); r.stdout+r.stderr != "" {
		t.Errorf("an empty outbox is not silent: %q", r.stdout+r.stderr)
	}

	before, _ := os.ReadFile(b.path("run.prom"))
	b.run(3, "--check")
	if after, _ := os.ReadFile(b.path("run.prom")); !bytes.Equal(before, after) {
		t.Error("a dry run wrote metrics")
	}
	heard("", "", 0)
	os.Remove(b.path("break-ctl"))
	b.run(0, "--limit", "ctl")
	heard("Patched 1 of 1 host", "", 0)

	// An env file that others can read is not used, and affects no run.
	os.Chmod(b.path("notify.env"), 0o644)
	r = b.run(0)
	wants(t, "stderr", r.stderr, "refused: others can read", "chmod 0600", "the run is not affected", "discord: its settings cannot be used")
	heard("", "", 0)
	waits(0, 1, 1)
	os.Chmod(b.path("notify.env"), 0o600)
	flush()
	heard("Patching works again: 1 host well", "Patching works again", 0)

	// As if that one had been killed after its journal and before its message.
	if err := os.WriteFile(b.path("state/outbox/.told"), []byte("20261122T040000Z-000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = b.run(0)
	wants(t, "stderr", r.stderr, "messages: delivered 3, waiting 0, in ")
	if d, n := w.heard(); strings.Count(d, "Patched 1 of 1 host in") != 2 || n != "" {
		t.Errorf("Discord heard %q, ntfy %q; want the run before as well", d, n)
	}
	waits(0, 0, 0)
	b.write("held", "moving\n")
	w.settings(b, "hold: held\n")
	b.run(6)
	heard("Not patched: held", "", 1)
	w.settings(b, "inventory: missing.yml\n")
	r = b.do(b.bare("run", "--state", b.path("state"), "--textfile", b.path("run.prom"), "--config", b.path("settings.yaml"), "--project", b.path("project")))
	if d, n := w.heard(); r.code != 2 || d != "Patching did not begin" || n != d {
		t.Errorf("exit %d, Discord heard %q, ntfy %q", r.code, d, n)
	}
	w.settings(b, "budgett: 1\n")
	if r := b.do(b.command()); r.code != 2 {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	heard("", "", 1) // a settings file that was named on the command line is somebody's slip
	b.noSecrets()
}

// noSecrets searches all that the program left behind.
func (b *bench) noSecrets() {
	b.t.Helper()
	err := filepath.WalkDir(b.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "notify.env" || e.Type()&fs.ModeSocket != 0 {
			return err
		}
		text, err := os.ReadFile(path)
		for _, s := range []string{plantedHook, plantedTopic, plantedToken} {
			if bytes.Contains(text, []byte(s)) {
				b.t.Errorf("%s holds %s", path, s)
			}
		}
		return err
	})
	if err != nil {
		b.t.Error(err)
	}
}

// announcing is a playbook with the role's announce step: what comes after it
// must come after the message, or after five seconds.
const announcing = `- hosts: patching_targets
  gather_facts: false
  vars: {bench: "{{ playbook_dir | dirname }}"}
  tasks:
    - name: Announce
      ansible.builtin.command:
        argv: ["{{ homelab_patch_command }}", notify, announce, --socket, "{{ homelab_patch_announce }}"]
        stdin: "{{ {'host': inventory_hostname, 'reasons': ['linux-image-lab'], 'packages': 3} | to_json }}"
      register: asked
    - name: Restart
      ansible.builtin.shell: date +%s.%N >{{ bench }}/restarted-{{ inventory_hostname }}
`

func TestAnnounce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("project/patch.yml", announcing)
	w := newWorld(t, b, "")
	w.front.Set(discord.Fault{Kind: "slow", Delay: 0.5})
	r := b.run(0)
	wants(t, "stderr", r.stderr, "messages: reboots announced 1, longest wait ")
	for _, m := range w.Messages() {
		name, rebooting := strings.CutPrefix(m.Embeds[0].Title, "Rebooting ")
		if !rebooting {
			continue
		}
		text, err := os.ReadFile(b.path("restarted-" + name))
		if err != nil {
			t.Fatal(err)
		}
		seconds, fraction, _ := strings.Cut(strings.TrimSpace(string(text)), ".")
		at, err := time.ParseDuration(seconds + "." + fraction + "s")
		if err != nil || !m.Time.Before(time.Unix(0, at.Nanoseconds())) {
			t.Errorf("%s was told at %v and restarted at %s (%v)", name, m.Time, text, err)
		}
		wants(t, "message", m.Embeds[0].Description, "3 packages upgraded", "linux-image-lab")
	}
	if d, n := w.heard(); strings.Count(d, "Rebooting ") != 1 || strings.Count(n, "Rebooting ") != 1 {
		t.Errorf("Discord heard %q, ntfy %q", d, n)
	}
	b.noSecrets()
}

// What a person does to see whether the channels work, and what the role does
// in a run by hand.
func TestNotifyByHand(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := newWorld(t, b, "")
	notify := func(code int, stdin string, args ...string) result {
		t.Helper()
		c := b.bare(append([]string{"notify"}, append(args, "--config", b.path("settings.yaml"), "--state", b.path("state"))...)...)
		c.Stdin = strings.NewReader(stdin)
		r := b.do(c)
		if r.code != code || strings.Contains(r.stdout+r.stderr, "planted") {
			t.Errorf("%v: exit %d\n%s\n%s", args, r.code, r.stdout, r.stderr)
		}
		return r
	}
	r := notify(0, "", "test")
	wants(t, "stdout", r.stdout, "discord: delivered in ", "ntfy: delivered in ", "heartbeat: not tested")
	if d, n := w.heard(); d != "Test message" || n != d || w.beats != 0 {
		t.Errorf("Discord heard %q, ntfy %q, beats %d", d, n, w.beats)
	}
	r = notify(0, "", "test", "--dry-run")
	wants(t, "stdout", r.stdout, `discord: {"components":`, `"topic":"<redacted>"`, "git.example/runbooks")
	if d, n := w.heard(); d+n != "" {
		t.Errorf("a dry run was heard: %q %q", d, n)
	}
	w.front.Set(discord.Fault{Kind: "401"})
	r = notify(1, "", "test")
	wants(t, "output", r.stdout+r.stderr, "discord: the server answered 401", "look at the settings", "ntfy: delivered", "not every channel works")
	w.front.Set(discord.Fault{})
	w.heard()

	notify(0, `{"host": "prox", "reasons": ["asked for by linux-image-lab"], "packages": 2}`, "announce")
	notify(0, `{"hosts": {"prox": {"version": 1, "packages": [{"name": "apt", "from": "1", "to": "2"}], "rebooted": true, "more": 1}}}`, "summary")
	if d, n := w.heard(); d != "Rebooting prox; Patched 1 of 1 host" || n != "Rebooting prox" {
		t.Errorf("Discord heard %q, ntfy %q", d, n)
	}
	notify(1, `{"hosts": {}}`, "summary")
	notify(1, "nonsense", "announce")
	notify(0, `{"host": "late"}`, "announce", "--socket", b.path("nobody")) // its run is over
	if d, n := w.heard(); d != "Rebooting late" || n != d {
		t.Errorf("Discord heard %q, ntfy %q", d, n)
	}

	b.write("settings.yaml", "notify_env: nothing.env\n")
	wants(t, "stderr", notify(1, "", "test").stderr, "no channel is configured")
	notify(0, "", "flush")
	notify(0, `{"host": "prox"}`, "announce")
}
