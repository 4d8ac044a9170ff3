package runner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func atoi(s string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(s))
	return n
}

// mastersIn lists the ssh masters whose socket is in dir.
func mastersIn(dir string) (found []process) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if p, ok := readProcess(atoi(filepath.Base(d))); ok && filepath.Dir(p.master()) == dir {
			found = append(found, p)
		}
	}
	return found
}

// TestMasters: the run's own ssh masters live in a folder of its own and
// end with it. (A test called after the option would end up in the path of the
// key, and Ansible takes any argument with that word for the option.)
func TestMasters(t *testing.T) {
	t.Parallel()
	server := newSSHD(t)
	r := localRun(t, playOf("- name: Ping\n  ansible.builtin.ping:"), map[string]string{"hosts": server.hosts()})
	r.PrivateKey = server.key
	folder := ""
	r.do(t.Context(), t, func(e Event) {
		if e.Kind != KindResult || folder != "" {
			return
		}
		folder = r.folder()
		fi, err := os.Stat(filepath.Join(folder, "cp"))
		if err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("control path: %v %v", fi, err)
		}
		for _, m := range mastersIn(filepath.Join(folder, "cp")) {
			if n := len(m.master()); n == 0 || n > 107 {
				t.Errorf("socket %q of %d bytes", m.master(), n)
			}
		}
		if len(mastersIn(filepath.Join(folder, "cp"))) == 0 {
			t.Error("no master: nothing is tested")
		}
	})
	if r.err != nil || r.res.Hosts["h1"].Outcome != OK {
		t.Errorf("%v %+v", r.err, r.res.Hosts)
	}
	if m := mastersIn(filepath.Join(folder, "cp")); len(m) > 0 {
		t.Errorf("masters left: %v", m)
	}
	if _, err := os.Stat(folder); folder == "" || !os.IsNotExist(err) {
		t.Errorf("folder %q is left: %v", folder, err)
	}
	r.nobodyLeft(t)
}

// TestOperatorMasters: masters on an operator's own control path are left
// alone, also those that the run began.
func TestOperatorMasters(t *testing.T) {
	t.Parallel()
	server := newSSHD(t)
	own, err := os.MkdirTemp("/tmp", "cp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(own)
	r := localRun(t, playOf("- ansible.builtin.ping:"), map[string]string{
		"hosts": server.hosts(),
		"ansible.cfg": fmt.Sprintf("[defaults]\nprivate_key_file = %s\n[ssh_connection]\ncontrol_path_dir = %s\n",
			server.key, own),
	})
	r.PrivateKey = "/no/such/key" // theirs is used
	r.do(t.Context(), t)
	if r.err != nil || r.res.Hosts["h2"].Outcome != OK {
		t.Errorf("%v %+v", r.err, r.res.Hosts)
	}
	found := mastersIn(own)
	if len(found) != 2 {
		t.Errorf("masters: %v", found)
	}
	for _, m := range found {
		m.kill()
	}
}

// TestConnections: masters that runs share are those of the first in the second,
// end with one that is cut short, and with Close.
func TestConnections(t *testing.T) {
	t.Parallel()
	server := newSSHD(t)
	shared, err := NewConnections()
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	run := func(ctx context.Context, emit func(Event)) []int {
		r := localRun(t, playOf("- name: Ping\n  ansible.builtin.ping:\n- ansible.builtin.command: sleep 0.1"), map[string]string{"hosts": server.hosts()})
		r.PrivateKey, r.Connections = server.key, shared
		r.do(ctx, t, emit)
		var pids []int
		for _, m := range mastersIn(shared.control) {
			pids = append(pids, m.pid)
		}
		slices.Sort(pids)
		return pids
	}
	first := run(t.Context(), func(Event) {})
	if second := run(t.Context(), func(Event) {}); len(first) != 2 || !slices.Equal(first, second) {
		t.Errorf("masters of one run %v, of the next %v", first, second)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if left := run(ctx, func(e Event) {
		if e.Kind == KindResult {
			cancel()
		}
	}); len(left) > 0 {
		t.Errorf("masters left of a run that was cut short: %v", left)
	}
	if again := run(t.Context(), func(Event) {}); len(again) != 2 {
		t.Errorf("masters after one that was cut short: %v", again)
	}
	shared.Close()
	if left := mastersIn(shared.control); len(left) > 0 {
		t.Errorf("masters left: %v", left)
	}
	if _, err := os.Stat(shared.dir); !os.IsNotExist(err) {
		t.Errorf("folder %q is left: %v", shared.dir, err)
	}
}

// TestHostDeadline: a host that hangs holds up nobody for longer than that.
func TestHostDeadline(t *testing.T) {
	t.Parallel()
	server := newSSHD(t)
	r := localRun(t, playOf(`
- name: Hang
  ansible.builtin.shell: "{{ 'sleep 300' if inventory_hostname == 'h1' else 'true' }}"
  changed_when: false
- name: After
  ansible.builtin.ping:`), map[string]string{"hosts": server.hosts()})
	r.PrivateKey, r.HostDeadline = server.key, 10*time.Second
	r.Addresses = map[string]string{"h1": "127.0.0.1", "h2": "127.0.0.2"}
	begun := time.Now()
	r.do(t.Context(), t)
	if took := time.Since(begun); r.err != nil || took > time.Minute {
		t.Errorf("after %s: %v", took, r.err)
	}
	h1, h2 := r.res.Hosts["h1"], r.res.Hosts["h2"]
	if h1.Outcome != Failed && h1.Outcome != Unreachable || h1.Task != "Hang" || !strings.Contains(h1.Msg, "no progress for 10s") {
		t.Errorf("h1: %+v", h1)
	}
	if h2.Outcome != OK || h2.Stats.OK != 2 {
		t.Errorf("h2: %+v", h2)
	}
	if e, ok := r.find(KindStall, "h1", "Hang"); !ok || !strings.Contains(e.Msg, "connection was ended") {
		t.Errorf("no stall event: %+v", e)
	}
	r.nobodyLeft(t)
}

// TestNoPrompt: whoever asks gets no answer, at once.
func TestNoPrompt(t *testing.T) {
	t.Parallel()
	server := newSSHD(t)
	r := localRun(t, `
- name: Test
  hosts: all
  gather_facts: false
  vars_prompt:
    - name: answer
      prompt: Really?
      default: none
  tasks:
    - name: Pause
      ansible.builtin.pause:
        prompt: Press a key
    - name: Password
      ansible.builtin.ping:
`, map[string]string{"hosts": server.hosts(), "askpass": "#!/bin/sh\ntouch " + t.Name() + "\n"})
	r.Env = append(r.Env, "SSH_ASKPASS="+filepath.Join(r.Dir, "askpass"), "DISPLAY=:0", "SSH_AUTH_SOCK=")
	r.PrivateKey = filepath.Join(r.Dir, "askpass") // no key: the server asks for a password
	begun := time.Now()
	r.do(t.Context(), t)
	if took := time.Since(begun); took > 90*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := r.res.Hosts["h1"]; r.err != nil || got.Outcome != Unreachable || got.Task != "Password" {
		t.Errorf("%v %+v", r.err, got)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, t.Name())); err == nil {
		t.Error("ssh asked a person")
	}
}

// TestSecrets plants secrets wherever they may be given, looks at every
// command line while the run lives, and at all it leaves.
func TestSecrets(t *testing.T) {
	t.Parallel()
	r := localRun(t, playOf(`
- name: Use
  ansible.builtin.assert:
    that: token == 'S3CRET-vars' and lookup('env', 'TOKEN') == 'S3CRET-env'
- name: Hidden
  ansible.builtin.stat:
    path: /{{ token }}/{{ item }}
  loop: ["{{ ansible_become_password }}"]
  no_log: true
- name: Hidden failure
  ansible.builtin.command: "false {{ token }}"
  args: {chdir: "/no/{{ token }}"}
  no_log: true`), map[string]string{"hosts": oneHost + "ansible_become_password=S3CRET-inventory\n"})
	script(`for a; do case $a in *@/*) stat -c '%a %n' "${a#*@}" >> modes;; esac; done; exec ansible-playbook "$@"`)(r)
	r.Hosts = r.Hosts[:1]
	r.Env = append(r.Env, "TOKEN=S3CRET-env")
	r.Vars = map[string]any{"token": "S3CRET-vars"}
	r.Verbosity = 3
	folder, lines := "", 0
	r.do(t.Context(), t, func(e Event) {
		if folder == "" {
			folder = r.folder()
		}
		for _, p := range r.alive() {
			lines++
			if strings.Contains(p, "S3CRET") || strings.Contains(p, "h1") {
				t.Errorf("a command line tells: %s", p)
			}
		}
	})
	if got := r.res.Hosts["h1"]; got.Outcome != Failed || got.Task != "Hidden failure" || lines == 0 {
		t.Errorf("%+v, %d command lines seen", got, lines)
	}
	modes, _ := os.ReadFile(filepath.Join(r.Dir, "modes"))
	if s := string(modes); strings.Count(s, "600 /") != 2 || strings.Count(s, "\n") != 2 {
		t.Errorf("modes of the files that are passed:\n%s", s)
	}
	if left, err := os.Stat(folder); folder == "" || err == nil {
		t.Errorf("folder %q is left: %v", folder, left)
	}
	for what, text := range map[string]string{
		"events": r.raw.String(), "log": r.log.String(), "error": fmt.Sprint(r.err), "result": fmt.Sprintf("%+v", r.res),
	} {
		if strings.Contains(text, "S3CRET") {
			t.Errorf("the %s tell", what)
		}
	}
	// An engine that does not start has them in its hands as well.
	r.Bin = "/no/such/engine"
	if _, err := r.Run(t.Context(), nil); err == nil || strings.Contains(err.Error(), "S3CRET") {
		t.Errorf("error %v", err)
	}
	r.Bin = "" // a bad playbook is quoted by Ansible
	r.Playbook.Playbook = "gone.yml"
	if _, err := r.Run(t.Context(), nil); err == nil || strings.Contains(err.Error(), "S3CRET") {
		t.Errorf("error %v", err)
	}
}
