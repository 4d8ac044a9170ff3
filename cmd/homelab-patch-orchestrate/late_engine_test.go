//go:build e2e

package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/orchestrator/enginetest"
	"homelab-patch-orchestrate/runner"
)

// TestEngine has the engine that runs ship with, ansible-playbook on this machine, do all that an engine must.
func TestEngine(t *testing.T) {
	enginetest.Test(t, newLocalWorld)
}

// worldPlay is what the hosts of that test do. Each says in a file what it has done in which run.
const worldPlay = `- hosts: patching_targets
  gather_facts: false
  vars: {world: "{{ playbook_dir | dirname }}", line: "{{ homelab_patch_run_id }} {{ inventory_hostname }}"}
  tasks:
    - name: Begin
      ansible.builtin.shell: echo {{ line }} >>{{ world }}/begun
    - name: Work
      ansible.builtin.shell: "{{ {'held': 'while [ -e hold ]; do sleep 0.05; done', 'failing': 'exit 1'}[inventory_hostname] | default('true') }}"
      args: {chdir: "{{ world }}"}
    - name: End
      ansible.builtin.shell: echo {{ line }} >>{{ world }}/done
`

const worldHosts = `[patching_targets:vars]
ansible_connection=local
ansible_python_interpreter=/usr/bin/python3
[patching_targets]
failing
held
unreachable ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1
well
`

// localWorld is the engine that runs ship with.
type localWorld struct {
	*bench
	mark string // in the environment of each process of it
}

func newLocalWorld(t *testing.T) enginetest.World {
	w := localWorld{newBench(t), rand.Text()}
	w.write("project/patch.yml", worldPlay)
	w.write("hosts.ini", worldHosts)
	t.Cleanup(func() { w.signal(syscall.SIGKILL) })
	return enginetest.World{
		Wave: worldWave(), Well: "well", Held: "held", Failing: "failing", Unreachable: "unreachable", Deadline: 20 * time.Second,
		Engine: w.engine,
		Hold: func() func() {
			w.write("hold", "")
			return func() { os.Remove(w.path("hold")) }
		},
		Begun: func(run, host string) int { return w.count("begun", run, host) },
		Done:  func(run, host string) int { return w.count("done", run, host) },
		Busy:  func() bool { return len(w.processes()) > 0 },
		Controller: func(run string) *exec.Cmd {
			c := exec.Command(os.Args[0], "-test.run=^TestController$")
			c.Env = append(os.Environ(), controllerVar+"="+strings.Join([]string{w.dir, w.mark, run}, "\n"))
			return c
		},
		Kill: func() {
			for _, pid := range w.processes() {
				if sid, err := sessionOf(pid); err == nil && sid == pid {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		},
		Freeze: func() { w.signal(syscall.SIGSTOP) },
	}
}

func worldWave() orchestrator.Wave {
	wave := orchestrator.Wave{Number: 0, Group: "patching_wave0"}
	for _, h := range []string{"failing", "held", "unreachable", "well"} {
		wave.Hosts = append(wave.Hosts, orchestrator.Host{Name: h})
	}
	return wave
}

// controllerVar has TestController be a controller that is killed: of which world, its mark, and which run.
const controllerVar = "TEST_CONTROLLER"

func TestController(t *testing.T) {
	of := strings.Split(os.Getenv(controllerVar), "\n")
	if len(of) != 3 {
		return // it is no test, but a process of TestEngine's
	}
	w := localWorld{&bench{t, of[0]}, of[1]}
	if err := enginetest.Control(os.Stdout, w.engine(of[2], false), worldWave()); err != nil {
		t.Error(err)
	}
}

func (w localWorld) engine(run string, again bool) orchestrator.Engine {
	dir := w.path(run)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	l := local{dir: dir, wave: true, playbook: runner.Playbook{
		Dir: w.path("project"), Playbook: w.path("project/patch.yml"), Inventory: []string{w.path("hosts.ini")}, Forks: 4,
		Vars: map[string]any{"homelab_patch_run_id": run}, Labels: labels(run, orchestrator.Full),
		Env: []string{"TEST_WORLD=" + w.mark}, Grace: time.Second,
	}}
	if again {
		l.unsure = []int{0, 1}
	}
	return l
}

func (w localWorld) count(file, run, host string) (n int) {
	text, _ := os.ReadFile(w.path(file))
	return strings.Count("\n"+string(text), "\n"+run+" "+host+"\n")
}

// processes are those of the engines of this world.
func (w localWorld) processes() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		env, _ := os.ReadFile(d + "/environ")
		if bytes.Contains(env, []byte("TEST_WORLD="+w.mark)) {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (w localWorld) signal(s syscall.Signal) {
	for _, pid := range w.processes() {
		syscall.Kill(pid, s)
	}
}

func sessionOf(pid int) (int, error) {
	sid, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sid), nil
}
