package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// starterVar holds a [Playbook] as JSON. With it in its environment the test
// binary runs that, tells of each event, and is there to be killed.
const starterVar = "RUNNER_TEST_STARTER"

func starter() int {
	var p Playbook
	if err := json.Unmarshal([]byte(os.Getenv(starterVar)), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	os.Unsetenv(starterVar)
	p.Log = os.Stderr
	_, err := p.Run(context.Background(), func(e Event) { fmt.Println(e.Kind, e.Host, e.Task) })
	fmt.Println("end", err)
	return 0
}

// startIn has another process run r, and returns it once a line of its begins
// with until. prefix is put before the command, as in a shell.
func startIn(t *testing.T, r *run, prefix, until string) *exec.Cmd {
	t.Helper()
	p := r.Playbook
	p.Log, p.Events = nil, nil
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", prefix+" exec "+exe)
	cmd.Env = append(os.Environ(), starterVar+"="+string(text))
	cmd.Stderr = &r.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), until) {
			return cmd
		}
	}
	t.Fatalf("it ended before %q", until)
	return nil
}

// laterTask tells that something was begun after the task under way.
const laterTask = "\n- ansible.builtin.shell: date >> {{ playbook_dir }}/later.{{ inventory_hostname }}"

// TestStarterKilled: the engine, its workers, its ssh masters and the local
// task die with whoever started it, and no later task begins. Tag e2e has more
// kinds of tasks.
func TestStarterKilled(t *testing.T) {
	t.Parallel()
	t.Run("over ssh", func(t *testing.T) {
		t.Parallel()
		server := newSSHD(t)
		r := localRun(t, playOf("- name: Quick\n  ansible.builtin.ping:\n- name: Long\n  ansible.builtin.command: sleep 60"+laterTask),
			map[string]string{"hosts": server.hosts()})
		r.PrivateKey = server.key
		r.starterKilled(t, "", "begin h2 Long")
	})
	t.Run("with SIGINT ignored, deaf, with daemons left", func(t *testing.T) {
		t.Parallel()
		r := localRun(t, playOf("- name: Long\n  ansible.builtin.shell: trap '' INT TERM; setsid -f sleep 70; sleep 60; sleep 60"+laterTask), nil)
		r.starterKilled(t, "trap '' INT;", "begin h2 Long")
	})
}

// starterKilled has another process run r, as [startIn] does, and kills that.
func (r *run) starterKilled(t *testing.T, prefix, until string) {
	t.Helper()
	cmd := startIn(t, r, prefix, until)
	masters := filepath.Join(r.folder(), "cp") // ssh wipes their environment
	if r.PrivateKey != "" && len(mastersIn(masters)) == 0 {
		t.Error("no ssh master: nothing is tested")
	}
	cmd.Process.Kill()
	eventually(t, "nobody is left", func() bool { return len(r.alive())+len(mastersIn(masters)) == 0 })
	if found, _ := filepath.Glob(r.Dir + "/later*"); len(found) > 0 {
		t.Errorf("a later task ran: %v", found)
	}
}

// TestPipeBroken: nobody listens any more, though the starter lives.
func TestPipeBroken(t *testing.T) {
	t.Parallel()
	need(t, "bash")
	r := localRun(t, playOf(`
- name: First
  ansible.builtin.command: "true"
- name: Long
  ansible.builtin.command: sleep 60
- name: Later
  ansible.builtin.shell: touch {{ playbook_dir }}/later`), nil)
	r.Bin = filepath.Join(r.Dir, "engine")
	// Its reader ends with the first event that speaks of the second task.
	text := "#!/bin/bash\nexec 3> >(sed -u '/\"Long\"/q' >/dev/null)\nexec ansible-playbook \"$@\"\n"
	if err := os.WriteFile(r.Bin, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	r.do(t.Context(), t)
	if took := time.Since(begun); r.err == nil || took > 40*time.Second {
		t.Errorf("after %s: %v", took, r.err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "later")); err == nil {
		t.Error("a later task ran")
	}
	eventually(t, "nobody is left", func() bool { return len(r.alive()) == 0 })
}

// TestInherit: a lock outlives its holder for as long as ansible-playbook
// does, and none of the programs of the tasks holds it.
func TestInherit(t *testing.T) {
	t.Parallel()
	r := localRun(t, playOf(`
- name: Daemon
  ansible.builtin.shell: |
    ls -l /proc/self/fd > {{ playbook_dir }}/fds.{{ inventory_hostname }}
    setsid -f sleep 30 </dev/null >/dev/null 2>&1
- name: Hold
  ansible.builtin.command: "true"`), map[string]string{"hosts": oneHost})
	r.Hosts = r.Hosts[:1]
	path := filepath.Join(r.Dir, "lock")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	free := func() bool {
		g, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		return syscall.Flock(int(g.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	}
	r.Inherit = []*os.File{f}
	r.do(t.Context(), t, func(e Event) {
		if e.Kind == KindStart {
			f.Close() // as our death would
		}
		if e.Kind == KindBegin && free() {
			t.Errorf("the lock is free in task %s", e.Task)
		}
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
	if len(r.alive()) == 0 {
		t.Error("a daemon that a task left on purpose was ended")
	}
	if !free() {
		t.Error("the lock is held after the end, by a daemon of a task")
	}
	if fds, _ := os.ReadFile(filepath.Join(r.Dir, "fds.h1")); len(fds) == 0 || strings.Contains(string(fds), path) {
		t.Errorf("a task's program has it:\n%s", fds)
	}
	endAll(r.id)
}
