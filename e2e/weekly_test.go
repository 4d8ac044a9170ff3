//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

const unitFiles = "../ansible/roles/patch-controller/files"

// service installs the units of the controller as the role does.
func service(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	files, err := filepath.Glob(unitFiles + "/homelab-patch-*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", unitFiles, err)
	}
	for _, f := range files {
		lab.Push(controller, f, "/etc/systemd/system/"+filepath.Base(f))
	}
	lab.Shell(controller, "systemctl daemon-reload && systemctl enable -q homelab-patch-orchestrate-resume.service")
	keepJournals(lab, controller)
}

// fire has the timer of the weekly run start it now, instead of on Sunday: until the next boot, after which an enabled timer
// would start it again.
func fire(lab *e2e.Lab) {
	write(lab, controller, "/run/systemd/system/homelab-patch-orchestrate.timer.d/now.conf",
		"[Timer]\nOnCalendar=\nOnActiveSec=1\nRandomizedDelaySec=0\nAccuracySec=100ms\n")
	lab.Shell(controller, "systemctl daemon-reload && systemctl restart homelab-patch-orchestrate.timer")
}

// ended waits until the latest of at least n runs has ended, and returns it.
func ended(t *testing.T, lab *e2e.Lab, n int, timeout time.Duration) report {
	t.Helper()
	var r report
	e2e.Eventually(t, timeout, fmt.Sprintf("the end of run %d", n), func() error {
		ids := runs(lab)
		if len(ids) < n {
			return fmt.Errorf("%d runs", len(ids))
		}
		out := lab.Run(t.Context(), controller, "cat", stateDir+"/runs/"+ids[len(ids)-1]+"/journal.json")
		if out.Code != 0 {
			return errors.New("the controller is off")
		}
		r = report{}
		if err := json.Unmarshal([]byte(out.Stdout), &r); err != nil {
			return err
		}
		if r.ExitCode == nil {
			return fmt.Errorf("run %s is %s", r.ID, r.State)
		}
		return nil
	})
	e2e.Eventually(t, time.Minute, "its process has ended", func() error {
		// and finalize after it, which would wait for the lock that is tried here
		for state := range strings.Lines(lab.Run(t.Context(), controller, "systemctl", "is-active", "homelab-patch-orchestrate.service", "homelab-patch-orchestrate-resume.service").Stdout) {
			if state = strings.TrimSpace(state); state != "inactive" && state != "failed" {
				return fmt.Errorf("its unit is %s", state)
			}
		}
		if out := lab.Run(t.Context(), controller, "flock", "-n", stateDir+"/lock", "true"); out.Code != 0 {
			return errors.New("the lock is held")
		}
		return nil
	})
	return r
}

// outcome is how a run came out that nobody waited for at a terminal.
func (r report) outcome() outcome {
	o := outcome{Report: &r}
	o.Code = *r.ExitCode
	return o
}

// unitsSaid is what the units of the program have written into the journal, this boot and the one before. It may be asked
// after the test.
func unitsSaid(lab *e2e.Lab) string {
	return lab.Run(context.Background(), controller, "journalctl", "--no-pager", "-o", "cat", "-u", "homelab-patch-orchestrate*").Stdout
}

// tellUnits has a test that fails show what they said.
func tellUnits(t *testing.T, lab *e2e.Lab) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(unitsSaid(lab))
		}
	})
}

// TestWeekly goes the timer's own way: systemd starts the service, which patches the waves, and the controller last. That
// reboots itself, and what is started after its boot ends the run.
func TestWeekly(t *testing.T) {
	lab := up(t, e2e.Options{Hosts: "hosts-watch.conf"})
	w := lab.StartWatch(soon)
	ev := e2e.Record(t, lab, "weekly", "The weekly run, started by its timer, with the controller's own reboot")
	w.NotifyEnv(links)
	service(t, lab)
	weeks(t, lab, w, ev)
}

// weeks are two: one with everything to do, and one with nothing.
func weeks(t *testing.T, lab *e2e.Lab, w *e2e.Watch, ev *e2e.Evidence) {
	tellUnits(t, lab)
	before := map[string]int{}
	for _, name := range hosts {
		before[name] = transactions(lab, name)
	}
	began := time.Now()
	fire(lab)
	r := ended(t, lab, 1, 5*time.Minute)
	out := r.outcome()
	ev.Call("the timer", out.Output, time.Since(began), r.State+": "+r.Reason)
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	if p := out.host(t, controller).Patch; r.State != "passed" || p == nil || !p.Rebooted || p.RebootRequired {
		t.Errorf("run %s is %s; the controller: %+v", r.ID, r.State, p)
	}
	if n := lab.Boots(controller); n != 2 {
		t.Errorf("%d boots of the controller", n)
	}
	wantTitles(t, "Discord", discordTitles(w.Discord()), "Rebooting saltierpoop", "Rebooting prox", "Rebooting infra-services", "Patched 3 of 3 hosts in ")
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, "running": 0, "held": 0})
	wantMetrics(t, lab, controller, "patch.prom", map[string]float64{"reboot_required": 0})
	wantEnded(t, lab)
	for _, name := range hosts {
		if n := transactions(lab, name) - before[name]; n != 1 {
			t.Errorf("%s: %d transactions of apt", name, n)
		}
	}
	e2e.Eventually(t, time.Minute, "the controller runs", func() error {
		if state := lab.Run(t.Context(), controller, "systemctl", "is-system-running").Stdout; state != "running\n" {
			return fmt.Errorf("systemd: %q, %s", state, lab.Run(t.Context(), controller, "systemctl", "--failed", "--no-legend").Stdout)
		}
		return nil
	})

	began = time.Now()
	fire(lab)
	r = ended(t, lab, 2, 3*time.Minute)
	ev.Call("the timer, a week later", e2e.Output{Code: *r.ExitCode}, time.Since(began), r.State+": "+r.Reason)
	if r.State != "passed" || !strings.Contains(r.Reason, "nothing to do") || lab.Boots(controller) != 2 {
		t.Errorf("run %s is %s: %s; %d boots", r.ID, r.State, r.Reason, lab.Boots(controller))
	}
}
