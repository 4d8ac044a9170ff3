//go:build e2e

package runner

import (
	"strings"
	"testing"
)

// TestCancelInTasks is TestCancel in one kind of task at a time.
func TestCancelInTasks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		task   string
		sleeps int // on a host, when it is at work
	}{
		"local":                {"ansible.builtin.command: sleep 60", 1},
		"deaf":                 {"ansible.builtin.shell: trap '' INT TERM HUP; sleep 60; sleep 60", 1},
		"with daemons":         {"ansible.builtin.shell: setsid -f sleep 60; nohup sleep 60 & setsid sh -c 'trap \"\" INT TERM; sleep 60' & sleep 60", 4},
		"with a job polled":    {"ansible.builtin.command: sleep 60\n  async: 100\n  poll: 1", 1},
		"in a loop of retries": {"ansible.builtin.shell: sleep 0.5; false\n  retries: 100\n  delay: 1\n  register: r\n  until: r.rc == 0", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := localRun(t, longTask(c.task), nil)
			r.cancelled(t, func() bool { return sleeping(r.id) == 2*c.sleeps })
			r.nobodyLeft(t)
		})
	}
}

// TestCancelWithJobLeft: a job that a task left on purpose does not outlive a
// run that is cut short.
func TestCancelWithJobLeft(t *testing.T) {
	t.Parallel()
	site := strings.Replace(longTask("ansible.builtin.command: sleep 60"), `command: "true"`, "command: sleep 60\n      async: 100\n      poll: 0", 1)
	r := localRun(t, site, nil)
	r.cancelled(t, func() bool { return sleeping(r.id) == 2*2 })
	r.nobodyLeft(t)
}

// TestStarterKilledInTasks is TestStarterKilled in one kind of task at a time.
func TestStarterKilledInTasks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ task, prefix, until string }{
		"local":                 {"command: sleep 60", "", "begin h2 Long"},
		"with SIGINT ignored":   {"command: sleep 60", "trap '' INT;", "begin h2 Long"},
		"at the start, ignored": {"command: sleep 60", "trap '' INT;", "start"},
		"deaf":                  {"shell: trap '' INT TERM; sleep 60; sleep 60", "", "begin h2 Long"},
		"with daemons left":     {"shell: setsid -f sleep 70; sleep 60", "", "begin h2 Long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			localRun(t, playOf("- name: Long\n  ansible.builtin."+c.task+laterTask), nil).starterKilled(t, c.prefix, c.until)
		})
	}
}
