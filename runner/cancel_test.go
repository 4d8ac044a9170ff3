package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// longTask is a playbook that is in the middle of task for a minute. It has
// tasks before and after, and a host whose turn does not come.
func longTask(task string) string {
	site := playOf("- name: Quick\n  ansible.builtin.command: \"true\"\n- name: Long\n  " + task +
		"\n- name: Later\n  ansible.builtin.shell: touch {{ playbook_dir }}/later")
	return strings.Replace(site, "  tasks:", "  serial: 2\n  tasks:", 1)
}

// TestCancel ends a run in a task. Nobody of it is left, the error says why,
// and the hosts come out as far as they got. Tag e2e has more kinds of tasks.
func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("over ssh", func(t *testing.T) {
		t.Parallel()
		server := newSSHD(t)
		r := localRun(t, longTask("ansible.builtin.command: sleep 61"), map[string]string{"hosts": server.hosts()})
		r.PrivateKey = server.key
		r.cancelled(t, func() bool { return sleeping("sshd"+server.port) == 2 })
		for _, p := range r.alive() { // what runs on the other side is the host's
			t.Errorf("alive: %s", p)
		}
	})
	t.Run("deaf, with daemons", func(t *testing.T) {
		t.Parallel()
		r := localRun(t, longTask("ansible.builtin.shell: trap '' INT TERM HUP; setsid -f sleep 60; nohup sleep 60 & "+
			"setsid sh -c 'trap \"\" INT TERM; sleep 60' & sleep 60; sleep 60"), nil)
		r.cancelled(t, func() bool { return sleeping(r.id) == 2*4 })
		r.nobodyLeft(t)
	})
}

// lateExit is a callback of a project's own that has Ansible take its time to
// end, where Python no longer knows what to do with a signal.
const lateExit = `
import atexit, os, signal, time
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, 'aggregate', 'late'
    def v2_playbook_on_stats(self, stats):
        atexit.register(self.linger)
    def linger(self):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        open(os.environ['LATE'], 'w').close()
        time.sleep(60)
`

// A run that is stopped when Ansible has told its recap and not quite ended is
// complete. Regression: on 2.19 it was an EngineError, "was killed: signal:
// interrupt", found by TestMoments.
func TestCancelAfterTheRecap(t *testing.T) {
	t.Parallel()
	late := filepath.Join(t.TempDir(), "late")
	r := localRun(t, playOf("- name: Task\n  ansible.builtin.command: \"true\""), map[string]string{"callback_plugins/late.py": lateExit})
	r.Env = append(r.Env, "LATE="+late, "ANSIBLE_CALLBACKS_ENABLED=late")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // ends with the test, at the latest
		for ctx.Err() == nil {
			if _, err := os.Stat(late); err == nil {
				cancel()
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	res, err := r.Run(ctx, nil)
	if err != nil || !res.Complete || ctx.Err() == nil || res.ExitCode != -1 {
		t.Errorf("%v, exit code %d, %+v", err, res.ExitCode, res)
	}
	for _, h := range r.Hosts {
		if res.Hosts[h].Outcome != Changed {
			t.Errorf("%s: %+v", h, res.Hosts[h])
		}
	}
	r.nobodyLeft(t)
}

// sleeping counts the processes with TEST_RUN=id that sleep: a task that has
// only been begun has started nothing yet that could outlive it.
func sleeping(id string) (n int) {
	for _, p := range processesOf(id) {
		if strings.Contains(p, `["sleep"`) {
			n++
		}
	}
	return n
}

// cancelled runs r, whose playbook is a longTask, ends it there as soon as it
// is at work, and looks at what came out.
func (r *run) cancelled(t *testing.T, atWork func() bool) {
	t.Helper()
	hosts, err := os.ReadFile(filepath.Join(r.Dir, "hosts"))
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(hosts), "[all:vars]", "h3\n[all:vars]", 1)
	if err := os.WriteFile(filepath.Join(r.Dir, "hosts"), []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Hosts, r.Grace = []string{"h1", "h2", "h3"}, 2*time.Second
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("somebody said stop")
	var since time.Time
	looked := make(chan struct{})
	go func() { // ends with the run, at the latest
		defer close(looked)
		for ctx.Err() == nil && !atWork() {
			time.Sleep(50 * time.Millisecond)
		}
		since = time.Now()
		cancel(cause)
	}()
	time.AfterFunc(time.Minute, func() { cancel(errors.New("it was never at work")) })
	r.do(ctx, t)
	cancel(nil)
	<-looked
	if took := time.Since(since); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if !errors.Is(r.err, context.Canceled) || !errors.Is(r.err, cause) {
		t.Errorf("error %v", r.err)
	}
	for _, h := range []string{"h1", "h2"} {
		if got := r.res.Hosts[h]; got.Outcome != Interrupted || got.Task != "Long" {
			t.Errorf("%s: %+v", h, got)
		}
	}
	if got := r.res.Hosts["h3"].Outcome; got != NotAttempted {
		t.Errorf("h3: %s", got)
	}
	if r.res.Complete {
		t.Error("complete")
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "later")); err == nil {
		t.Error("a later task ran")
	}
}

// TestCancelEarly ends a run before its engine is up.
func TestCancelEarly(t *testing.T) {
	t.Parallel()
	t.Run("before", func(t *testing.T) {
		r := localRun(t, playOf("- ansible.builtin.ping:"), nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r.do(ctx, t); !errors.Is(r.err, context.Canceled) || len(r.events) > 0 {
			t.Errorf("error %v, events %v", r.err, r.events)
		}
		if got := r.res.Hosts["h1"].Outcome; got != NotAttempted {
			t.Errorf("h1: %s", got)
		}
	})
	t.Run("in the start", func(t *testing.T) {
		r := localRun(t, playOf("- ansible.builtin.ping:"), nil)
		script(`echo up; exec ansible-playbook "$@"`)(r)
		ctx, cancel := context.WithCancel(t.Context())
		r.Log = writer(func(p []byte) { cancel() })
		if r.do(ctx, t); !errors.Is(r.err, context.Canceled) {
			t.Errorf("error %v", r.err)
		}
		if got := r.res.Hosts["h1"].Outcome; got != NotAttempted {
			t.Errorf("h1: %s", got)
		}
		r.nobodyLeft(t)
	})
	t.Run("by deadline, deaf", func(t *testing.T) {
		r := localRun(t, "", nil)
		script(`trap "" INT TERM; while :; do sleep 1; done`)(r)
		r.Grace = 200 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if r.do(ctx, t); !errors.Is(r.err, context.DeadlineExceeded) {
			t.Errorf("error %v", r.err)
		}
		if r.res.ExitCode != -1 {
			t.Errorf("exit code %d", r.res.ExitCode)
		}
		r.nobodyLeft(t)
	})
}

// writer is a func as an io.Writer.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// TestEngineKilled: a killed engine's workers go on, unless somebody ends them.
func TestEngineKilled(t *testing.T) {
	t.Parallel()
	r := localRun(t, playOf("- name: Long\n  ansible.builtin.command: sleep 60"), nil)
	script(`echo $$ > pid; exec ansible-playbook "$@"`)(r)
	r.do(t.Context(), t, func(e Event) {
		if e.Kind == KindBegin && e.Host == "h2" {
			pid, _ := os.ReadFile(filepath.Join(r.Dir, "pid"))
			p, ok := readProcess(atoi(string(pid)))
			if !ok {
				t.Errorf("no process %q", pid)
			}
			p.kill()
		}
	})
	var engine *EngineError
	if !errors.As(r.err, &engine) || !strings.Contains(r.err.Error(), "was killed") {
		t.Errorf("error %v", r.err)
	}
	if got := r.res.Hosts["h1"].Outcome; got != Interrupted {
		t.Errorf("h1: %s", got)
	}
	r.nobodyLeft(t)
}

// TestWorkerKilled: a worker that is killed fails its task, and nothing else. Regression: under host_pinned and free the
// run waited for it for ever.
func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"host_pinned", "free"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			r := localRun(t, strings.Replace(playOf("- name: Long\n  ansible.builtin.shell: echo $$ > {{ inventory_hostname }}.pid; "+
				"{{ 'sleep 60' if inventory_hostname == 'h1' else 'sleep 2' }}\n  args: {chdir: '{{ playbook_dir }}'}\n"+
				"- name: Later\n  ansible.builtin.command: \"true\""), "  tasks:", "  strategy: "+strategy+"\n  tasks:", 1), nil)
			script(`echo $$ > pid; exec ansible-playbook "$@"`)(r)
			pid := func(name string) int {
				text, _ := os.ReadFile(filepath.Join(r.Dir, name))
				return atoi(strings.TrimSpace(string(text)))
			}
			go func() { // ends with the task, or the run
				for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
					p, ok := readProcess(pid("h1.pid"))
					for ok && p.ppid != pid("pid") {
						p, ok = readProcess(p.ppid)
					}
					if ok {
						p.kill()
						return
					}
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			defer cancel()
			r.do(ctx, t)
			h1, h2 := r.res.Hosts["h1"], r.res.Hosts["h2"]
			if r.err != nil || !r.res.Complete || h1.Outcome != Failed || h1.Task != "Long" || h2.Outcome != Changed {
				t.Errorf("%v; h1 %s in %q, h2 %s", r.err, h1.Outcome, h1.Task, h2.Outcome)
			}
			if want := "its worker of ansible-playbook, on the controller, was ended by SIGKILL"; !strings.Contains(h1.Msg, want) {
				t.Errorf("h1: %q, want %q", h1.Msg, want)
			}
		})
	}
}

// TestSlowReader: all that the engine wrote is read, however late.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	r := localRun(t, "", nil)
	script(`echo '{"kind":"start","version":"2.14.1"}' >&3
for i in $(seq 300); do echo '{"kind":"begin","host":"h1","id":"1"}' >&3; done
echo '{"kind":"stats","data":{"h1":{"ok":1},"h2":{"ok":1}}}' >&3
setsid -f sh -c 'echo $$ > daemon; while echo noise; do :; done'; until [ -s daemon ]; do :; done`)(r)
	first := true
	r.Log = writer(func([]byte) { time.Sleep(time.Millisecond) })
	r.do(t.Context(), t, func(Event) {
		if first { // the engine is long gone by then
			eventually(t, "the engine has ended", func() bool { return len(r.alive()) == 1 })
			time.Sleep(2 * drain)
		}
		first = false
	})
	if r.err != nil || !r.res.Complete || len(r.events) != 302 {
		t.Errorf("%d events, complete %t, %v", len(r.events), r.res.Complete, r.err)
	}
	pid, _ := os.ReadFile(filepath.Join(r.Dir, "daemon"))
	eventually(t, "a daemon that writes on is told that nobody reads", func() bool {
		_, ok := readProcess(atoi(string(pid)))
		return !ok
	})
}
