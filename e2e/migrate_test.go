//go:build e2e && e2efull

package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// TestMigrate sets a controller up with the script that came before this program, has it patch once, and works through
// docs/migrate.md.
func TestMigrate(t *testing.T) {
	deb, _ := buildDeb(t)
	lab := e2e.Up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "migrate", "From the script: docs/migrate.md, worked through")
	var keys []string
	for _, host := range []string{"saltierpoop", "prox"} {
		keys = append(keys, "ssh-ed25519 AAAA… root@"+host, hostKey(t, lab, host))
	}
	page := e2e.OpenPage(t, "migrate.md", keys...)
	do := func(heading string) e2e.Output {
		t.Helper()
		began := time.Now()
		out := lab.Run(t.Context(), controller, "bash", "-euc", "cd; "+page.Script(heading))
		if out.Code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", heading, out.Code, out.Stdout, out.Stderr)
		}
		ev.Call(heading, out, time.Since(began), last(out.Stdout))
		return out
	}

	const old = "testdata/script"
	lab.Push(controller, old+"/homelab-patch-orchestrate.sh", "/usr/local/bin/homelab-patch-orchestrate.sh")
	for _, unit := range []string{"homelab-patch-orchestrate.service", "homelab-patch-orchestrate.timer"} {
		lab.Push(controller, old+"/"+unit, "/etc/systemd/system/"+unit)
	}
	lab.Push(controller, old+"/project", "/opt/homelab")
	lab.Shell(controller, "mv /etc/ansible/hosts.yml /opt/homelab/ && mkdir -p /etc/homelab")
	channels := "NTFY_URL=http://127.0.0.1:1\nNTFY_PATCH_TOPIC=patching\n"
	write(lab, controller, "/etc/homelab/patching-notify.env", channels)
	lab.Shell(controller, "systemctl daemon-reload && systemctl enable -q --now homelab-patch-orchestrate.timer")
	lab.RepoState("old")
	began := time.Now()
	out := lab.Run(t.Context(), controller, "systemctl", "start", "homelab-patch-orchestrate")
	ev.Call("the script", out, time.Since(began), "")
	if out.Code != 0 || metrics(t, lab, controller, "patch_orchestrate.prom")["homelab_patch_orchestrate_last_exit_code"] != 0 {
		t.Fatalf("the script does not work: %s", lab.Exec(controller, "journalctl", "-q", "-o", "cat", "-u", "homelab-patch-orchestrate"))
	}
	lab.RepoState("new")

	do("1. Stop the old one")
	lab.Push(controller, deb, "/root/"+filepath.Base(deb))
	if got := do("2. Install").Stdout; !strings.Contains(got, "prox") {
		t.Errorf("the waves of what was there:\n%s", got)
	}
	do("3. Converge")
	do("4. Look, and clear up")
	wantPackagedUnits(t, lab)
	wantUnits(t, lab, "is-enabled", enabledUnits, "enabled", "enabled", "enabled")
	if got := lab.Exec(controller, "cat", "/etc/homelab/patching-notify.env"); got != channels {
		t.Errorf("the file of channels is\n%s", got)
	}

	before := len(runs(lab))
	began = time.Now()
	fire(lab)
	r := ended(t, lab, before+1, 8*time.Minute)
	done := r.outcome()
	ev.Call("the timer", done.Output, time.Since(began), r.State+": "+r.Reason)
	done.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	for _, host := range hosts {
		if got := lab.Version(host, "lab-app"); got != "2.0-1" {
			t.Errorf("%s: lab-app %q", host, got)
		}
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, "running": 0})

	lab.Exec(controller, "touch", "/etc/homelab/MAINTENANCE") // as before
	lab.Run(t.Context(), controller, "systemctl", "start", "homelab-patch-orchestrate")
	if len(runs(lab)) != before+1 {
		t.Error("a hold does not hold any more")
	}
}
