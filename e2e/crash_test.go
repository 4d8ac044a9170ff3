//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// crash is a moment of the weekly run at which the program ends.
type crash struct {
	point string // see internal/failpoint; none where apt is set
	power bool   // the power of the controller is cut there; else the program is killed
	apt   string // the host whose upgrade is in its middle
}

func (c crash) String() string {
	what, where := "killed", "at "+c.point
	if c.power {
		what = "power cut"
	}
	if c.apt != "" {
		where = "in mid-apt of " + c.apt
	}
	return what + " " + where
}

// small is a fleet of two: what matters here is the controller.
const small = `all:
  children:
    patch_controller: {hosts: {infra-services: {ansible_connection: local, patching_reboot: always}}}
    patching_targets: {hosts: {saltierpoop: {ansible_user: someone, ansible_become: true, patching_reboot: never}, infra-services: {}}}
    patching_wave0: {hosts: {saltierpoop: {}}}
    patching_wave1: {hosts: {infra-services: {}}}
`

// TestCrashes ends the program at moments with an effect on the world. What systemd starts then, or after the next boot,
// brings the run to an end; the run of the next week finds everything in order. In CI the next point is the next week; in
// the full suites each point has a lab of its own, with everything to upgrade.
func TestCrashes(t *testing.T) {
	points := []crash{ // one of each kind; the others in the full suites
		{point: "engine-before:1"}, {point: "engine-after:1", power: true}, {point: "reboot-before:1", power: true},
		{point: "reboot-after:1"}, {point: "message-before:1"}, {point: "metrics-after:1", power: true},
	}
	if os.Getenv("E2E_FULL") == "1" {
		points = nil
		for _, name := range []string{"engine-before:1", "engine-before:2", "engine-after:1", "engine-after:2", "reboot-before:1",
			"reboot-after:1", "message-before:1", "message-after:1", "metrics-after:1", "told-before:1", "told-after:3"} {
			points = append(points, crash{point: name}, crash{point: name, power: true})
		}
		for _, name := range []string{"saltierpoop", controller} {
			points = append(points, crash{apt: name}, crash{apt: name, power: true})
		}
	}
	lab := e2e.Up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "crashes", "The program ends where it hurts")
	path := filepath.Join(t.TempDir(), program)
	build := exec.Command("go", "build", "-tags", "failpoints", "-o", path, "../cmd/"+program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	well := 0
	for i, c := range points {
		t.Run(c.String(), func(t *testing.T) {
			lab := lab.For(t)
			alone := os.Getenv("E2E_FULL") == "1"
			if i > 0 && alone {
				lab.Reset()
			}
			if i == 0 || alone {
				lab.Push(controller, path, "/usr/local/bin/"+program)
				write(lab, controller, "/etc/homelab/hosts.yml", small)
				write(lab, controller, "/etc/homelab/patch-orchestrate.yaml", "inventory: /etc/homelab/hosts.yml\nfailed_units: false\n")
				service(t, lab)
			}
			tellUnits(t, lab)
			c.check(t, lab, ev)
			if alone || i == len(points)-1 {
				c.nextWeek(t, lab, ev)
			}
			if !t.Failed() {
				well++
			}
		})
	}
	ev.Lines("crash points that ended well", fmt.Sprintf("%d/%d", well, len(points)))
}

func (c crash) check(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	before, since := len(runs(lab)), time.Now().Format("15:04:05")
	if c.apt != "" {
		lab.Fault("slow", c.apt, "15")
	} else {
		c.arm(lab)
	}
	if c.power { // whoever goes down takes a while
		lab.Exec(controller, "systemd-run", "-q", "--unit", "lab-linger", "-p", "RemainAfterExit=yes", "-p", "ExecStop=sleep 10", "true")
	}
	began := time.Now()
	fire(lab)
	switch {
	case c.apt != "":
		busy(t, lab, c.apt)
		if c.power {
			lab.Fault("kill", controller)
			lab.Start(controller)
		} else {
			lab.Exec(controller, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", "homelab-patch-orchestrate")
		}
	case c.power:
		// Asked to reboot, the controller may be down before anybody has looked: then it is caught on its way.
		const stands = "ps -eo stat=,comm= | grep '^T.* homelab-patch-o' || systemctl is-system-running | grep -x stopping"
		e2e.Eventually(t, 3*time.Minute, "the program stands at "+c.point, func() error {
			if out := lab.Run(t.Context(), controller, "sh", "-c", stands); out.Code != 0 {
				return fmt.Errorf("it does not")
			}
			return nil
		})
		lab.Exec(controller, "sh", "-c", "rm -f "+crashConf) // read at the next boot
		lab.Fault("kill", controller)
		lab.Start(controller)
	default:
		e2e.Eventually(t, 3*time.Minute, "the program is killed at "+c.point, func() error {
			if said := lab.Run(t.Context(), controller, "journalctl", "--no-pager", "--since", since, "-o", "cat", "-u", "homelab-patch-orchestrate*").Stdout; !strings.Contains(said, "code=killed, status=9/KILL") && !strings.Contains(said, "result 'signal'") {
				return fmt.Errorf("%s", said)
			}
			return nil
		})
		if c.point == "reboot-before:1" {
			lab.Exec(controller, "systemctl", "reboot") // nobody else does
		}
		disarm(t, lab)
	}
	r := ended(t, lab, before+1, 3*time.Minute)
	ev.Call(c.String(), e2e.Output{Code: *r.ExitCode}, time.Since(began), r.State+": "+r.Reason)
	if len(runs(lab)) != before+1 {
		t.Errorf("%d runs, %d before", len(runs(lab)), before)
	}
}

// nextWeek is a run in which nothing ends before its time, and what must hold then.
func (c crash) nextWeek(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	before := len(runs(lab))
	fire(lab)
	r := ended(t, lab, before+1, 3*time.Minute)
	ev.Call("the next week", e2e.Output{Code: *r.ExitCode}, 0, r.State+": "+r.Reason)
	if r.State != "passed" || *r.ExitCode != 0 {
		t.Errorf("the next run is %s, %d: %s", r.State, *r.ExitCode, r.Reason)
	}
	for _, name := range []string{"saltierpoop", controller} {
		if n := transactions(lab, name); n != 1 && !(c.power && c.apt == name) { // one that was cut short has another for the rest
			t.Errorf("%s: %d transactions of apt", name, n)
		}
		wantNothingTwice(t, lab, name)
		if got := lab.Version(name, "lab-app"); got != "2.0-1" {
			t.Errorf("%s: lab-app %q", name, got)
		}
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, "running": 0})
	wantMetrics(t, lab, controller, "patch.prom", map[string]float64{"reboot_required": 0})
	wantEnded(t, lab)
}

// crashConf are the files by which arm has its way.
const crashConf = "/etc/systemd/system/homelab-patch-orchestrate*.service.d/crash.conf"

// arm has the program of the units, not that which finalizes, end at the point.
func (c crash) arm(lab *e2e.Lab) {
	env := c.point
	if c.power {
		env += ":stop"
	}
	for unit, args := range map[string]string{"": "run --wait 4h", "-resume": "resume --boot"} {
		write(lab, controller, "/etc/systemd/system/homelab-patch-orchestrate"+unit+".service.d/crash.conf",
			"[Service]\nExecStart=\nExecStart=env HOMELAB_PATCH_FAILPOINT="+env+" "+program+" "+args+"\n")
	}
	lab.Exec(controller, "systemctl", "daemon-reload")
}

// disarm has nothing end any more, as soon as the controller can be told.
func disarm(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	e2e.Eventually(t, time.Minute, "the program is left alone", func() error {
		out := lab.Run(t.Context(), controller, "sh", "-c", "rm -f "+crashConf+" && systemctl daemon-reload")
		if out.Code != 0 {
			return errors.New(out.Stderr)
		}
		return nil
	})
}
