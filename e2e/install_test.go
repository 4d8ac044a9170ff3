//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// TestInstall works through docs/install.md: whatever is done to a host, but for its Git server, is a line of that page.
// Three bare hosts become a fleet that converges and patches itself, a hold holds, and a fourth host joins.
func TestInstall(t *testing.T) {
	deb, _ := buildDeb(t)
	lab := e2e.Up(t, e2e.Options{Hosts: "hosts-install.conf"})
	page := e2e.OpenPage(t, "install.md", "192.0.2.", "198.51.100.", "https://git.example.net/", "git://198.51.100.10/")
	tellUnits(t, lab)
	var ev *e2e.Evidence
	do := func(host, heading string, swap ...string) e2e.Output {
		t.Helper()
		began, script := time.Now(), page.Script(heading, swap...)
		out := lab.Run(t.Context(), host, "bash", "-euc", "cd; "+script)
		if out.Code != 0 {
			t.Fatalf("%s on %s: exit code %d\n%s\n%s%s", heading, host, out.Code, script, out.Stdout, out.Stderr)
		}
		if ev != nil {
			ev.Call(heading+", on "+host, out, time.Since(began), last(out.Stdout))
		}
		return out
	}

	lab.Push(controller, deb, "/root/"+filepath.Base(deb))
	do(controller, "1. The package")
	ev = e2e.Record(t, lab, "install", "docs/install.md, worked through on bare hosts")
	// Where the page has somebody's Git server: the controller's own.
	serveGit(lab)
	lab.Exec(controller, "git", "config", "--system", "url./srv/git/.pushInsteadOf", "git://198.51.100.10/")

	do(controller, "2. The repository")
	keys := []string{"ssh-ed25519 AAAA… root@saltierpoop", hostKey(t, lab, "saltierpoop"), "ssh-ed25519 AAAA… root@prox", hostKey(t, lab, "prox")}
	do(controller, "3. Host keys", keys...)
	do(controller, "4. The controller")
	for _, host := range []string{"saltierpoop", "prox"} {
		do(host, "5. The targets", "-l prox", "-l "+host)
	}
	wantPulling(t, lab, hosts)
	if got := do(controller, "6. Look").Stdout; !strings.Contains(got, "saltierpoop") || !strings.Contains(got, "would be patched") && !strings.Contains(got, "lab-app") {
		t.Errorf("a dry run does not say what would change:\n%s", got)
	}

	t.Run("the timer's service patches the fleet", func(t *testing.T) {
		lab := lab.For(t)
		began := time.Now()
		fire(lab)
		r := ended(t, lab, len(runs(lab))+1, 8*time.Minute)
		out := r.outcome()
		ev.Call("the timer", out.Output, time.Since(began), r.State+": "+r.Reason)
		out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
		for _, name := range hosts {
			if n := lab.Boots(name); n != 2 {
				t.Errorf("%s: %d boots", name, n)
			}
		}
	})
	t.Run("a second time nothing is changed", func(t *testing.T) { again(t, lab.For(t), ev, hosts) })
	t.Run("a hold holds the run, the patching of a host, and what a host pulls", func(t *testing.T) { holdsAll(t, lab.For(t), ev) })

	t.Run("a fourth host joins and is patched in its wave", func(t *testing.T) {
		lab := lab.For(t)
		do(controller, "Another host", "ssh-ed25519 AAAA… root@web", hostKey(t, lab, "web"))
		do("web", "5. The targets", "-l prox", "-l web")
		wantPulling(t, lab, []string{"web"})
		began := time.Now()
		before := len(runs(lab))
		fire(lab)
		r := ended(t, lab, before+1, 8*time.Minute)
		out := r.outcome()
		ev.Call("the timer, with web", out.Output, time.Since(began), r.State+": "+r.Reason)
		out.want(t, 0, []string{"saltierpoop unchanged", "prox unchanged", "web patched", "infra-services unchanged"})
	})
}

// wantPulling checks that hosts converge themselves from now on, and the controller patches.
func wantPulling(t *testing.T, lab *e2e.Lab, names []string) {
	t.Helper()
	for _, host := range names {
		lab.Exec(host, "systemctl", "is-active", "homelab-ansible-pull.timer")
		lab.Exec(host, "systemctl", "is-enabled", "homelab-ansible-pull.timer")
	}
	lab.Exec(controller, "systemctl", "is-active", "homelab-patch-orchestrate.timer", "homelab-patch-notify.timer")
	lab.Exec(controller, "systemctl", "is-enabled", "homelab-patch-orchestrate.timer", "homelab-patch-orchestrate-resume.service", "homelab-patch-notify.timer")
}

// again has each host pull twice: the second time all is as it should be.
func again(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence, names []string) {
	for _, host := range names {
		wantPull(t, lab, host, pulled(t, lab, host), true)
		out := pulled(t, lab, host)
		wantPull(t, lab, host, out, true, " changed=0 unreachable=0 failed=0 ")
		ev.Call(host+" pulls for the second time", out, 0, recap(out.Stdout))
	}
}

// holdsAll holds the fleet by the program, and prox by a file.
func holdsAll(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	before := len(runs(lab))
	lab.Exec(controller, program, "hold", "set", "--reason", "moving racks", "--until", "2d")
	out := lab.Run(t.Context(), controller, "systemctl", "start", "homelab-patch-orchestrate")
	if result := lab.Exec(controller, "systemctl", "show", "-P", "Result", "homelab-patch-orchestrate"); result != "exec-condition\n" || len(runs(lab)) != before {
		t.Errorf("the held run: exit code %d, %s, %d runs, %d before", out.Code, result, len(runs(lab)), before)
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"held": 1})
	skipped := pulled(t, lab, controller)
	wantPull(t, lab, controller, skipped, true, "skipped, nothing is changed: /etc/homelab/MAINTENANCE exists: moving racks")
	ev.Call("the weekly run and a pull of the controller, held", skipped, 0, strings.TrimSpace(skipped.Stdout))
	lab.Exec(controller, program, "hold", "clear")

	lab.Exec("prox", "sh", "-c", "mkdir -p /etc/homelab && echo disks >/etc/homelab/MAINTENANCE")
	skipped = pulled(t, lab, "prox")
	wantPull(t, lab, "prox", skipped, true, "skipped, nothing is changed: /etc/homelab/MAINTENANCE exists: disks")
	run := run(t, lab, "run")
	ev.Call("a run, with prox held", run.Output, run.Took, fmt.Sprint(run.outcomes()))
	run.want(t, 0, []string{"saltierpoop unchanged", "prox held", "infra-services unchanged"})
	lab.Exec("prox", "rm", "/etc/homelab/MAINTENANCE")
}
