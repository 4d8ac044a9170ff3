//go:build e2e && e2efull

package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// A host that has nothing but Debian and Ansible becomes the controller, and its key gets to the targets it can reach.
func TestSite(t *testing.T) {
	lab := e2e.Up(t, e2e.Options{Hosts: "hosts-bare.conf"})
	bare(t, lab)
	lab.Shell("prox", "mkdir /root/keys && mv /root/.ssh/authorized_keys /root/keys && ln -s /root/keys/authorized_keys /root/.ssh/")

	write(lab, controller, "/etc/ansible/hosts.yml", siteHosts(t, lab, "saltierpoop"))
	before := lab.Hash(controller, "/etc", "/usr/local")
	converge(t, lab).want(t, 2, "the host key of prox is not pinned", "On the console of prox: cat /etc/ssh/ssh_host_ed25519_key.pub",
		"host_vars/prox.yml")
	if lab.Hash(controller, "/etc", "/usr/local") != before {
		t.Error("it was refused, and something was changed")
	}

	write(lab, controller, "/etc/ansible/hosts.yml", siteHosts(t, lab, "saltierpoop", "prox"))
	before = lab.Hash(controller, "/etc", "/usr/local")
	converge(t, lab, "--check", "--diff").want(t, 0)
	if lab.Hash(controller, "/etc", "/usr/local") != before {
		t.Error("check mode changed something")
	}

	lab.Fault("link-down", "saltierpoop")
	first := converge(t, lab, "--diff", "-c", "local") // -c is for the controller
	first.want(t, 0, "saltierpoop cannot be reached, so the controller's key was not put there")
	if first.changed(t, "prox") == "0" {
		t.Error("prox did not get the key")
	}
	public := strings.Fields(lab.Exec(controller, "cat", "/etc/homelab/patch-controller/id_ed25519.pub"))
	private := lab.Hash(controller, "/etc/homelab/patch-controller")
	line := `restrict,pty,from="198.51.100.10,192.0.2.0/24" ` + public[0] + " " + public[1] + " homelab-patch-orchestrate\n"
	admin, err := os.ReadFile(filepath.Join(lab.Dir(), "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if got := lab.Exec("prox", "cat", "/root/keys/authorized_keys"); got != string(admin)+line {
		t.Errorf("keys on prox:\n%s", got)
	}

	// the same key as somebody once put it there, and a host that is back
	lab.Shell("prox", "echo '"+public[0]+" "+public[1]+" by hand' >>/root/keys/authorized_keys")
	lab.Fault("link-up", "saltierpoop")
	second := converge(t, lab)
	second.want(t, 0)
	if got := second.changed(t, controller); got != "0" {
		t.Errorf("converged twice, the controller was changed %s times the second time\n%s", got, second.Stdout)
	}
	if got := second.changed(t, "saltierpoop"); got != "1" {
		t.Errorf("saltierpoop was changed %s times", got)
	}
	for host, file := range map[string]string{"prox": "/root/keys/authorized_keys", "saltierpoop": "/home/someone/.ssh/authorized_keys"} {
		if got := lab.Exec(host, "cat", file); got != string(admin)+line {
			t.Errorf("keys on %s:\n%s", host, got)
		}
	}
	if got := lab.Exec("saltierpoop", "stat", "-c", "%a %U:%G", "/home/someone/.ssh/authorized_keys"); got != "600 someone:someone\n" {
		t.Errorf("authorized_keys is %s", got)
	}
	if got := lab.Exec("prox", "readlink", "/root/.ssh/authorized_keys"); got != "/root/keys/authorized_keys\n" {
		t.Errorf("the link leads to %s", got)
	}

	// as each host's own converge does it, without the controller's play
	alone := converge(t, lab, "--limit", "saltierpoop,prox", "-e", "patching_ssh_public_key='"+public[0]+" "+public[1]+"'")
	alone.want(t, 0)
	for _, host := range []string{"saltierpoop", "prox"} {
		if got := alone.changed(t, host); got != "0" {
			t.Errorf("%s was changed %s times, though it had the key", host, got)
		}
	}

	t.Run("files", func(t *testing.T) {
		lab := lab.For(t)
		if lab.Hash(controller, "/etc/homelab/patch-controller") != private {
			t.Error("the key or the pinned host keys changed")
		}
		got := lab.Exec(controller, "stat", "-c", "%a %n", "/etc/homelab", "/etc/homelab/patch-controller", "/etc/homelab/patch-controller/id_ed25519",
			"/etc/homelab/patch-orchestrate.yaml", "/etc/homelab/patching-notify.env", "/usr/local/bin/"+program)
		want := "755 /etc/homelab\n700 /etc/homelab/patch-controller\n600 /etc/homelab/patch-controller/id_ed25519\n" +
			"644 /etc/homelab/patch-orchestrate.yaml\n600 /etc/homelab/patching-notify.env\n755 /usr/local/bin/" + program + "\n"
		if got != want {
			t.Errorf("modes:\n%s", got)
		}
		lab.Exec(controller, program, "notify", "test", "--dry-run") // it reads the channels, with a $ and a # in the token
		if got := lab.Exec(controller, "cat", "/etc/homelab/patching-notify.env"); !strings.Contains(got, "\nNTFY_TOKEN="+siteSecret+"\n") {
			t.Error("the token is not in its file as it was given")
		}
	})

	t.Run("units", func(t *testing.T) {
		lab := lab.For(t)
		if out := lab.Run(t.Context(), controller, "sh", "-c", "systemd-analyze verify /etc/systemd/system/homelab-patch-*"); out.Code != 0 || out.Stdout+out.Stderr != "" {
			t.Errorf("systemd-analyze verify: %s%s", out.Stdout, out.Stderr)
		}
		lab.Exec(controller, "systemctl", "is-enabled", "homelab-patch-orchestrate.timer", "homelab-patch-orchestrate-resume.service", "homelab-patch-notify.timer")
		lab.Exec(controller, "systemctl", "is-active", "homelab-patch-orchestrate.timer", "homelab-patch-notify.timer")
		for _, name := range []string{"homelab-patch-orchestrate.service", "homelab-patch-orchestrate-resume.service"} {
			if got := lab.Exec(controller, "systemctl", "show", "-P", "InactiveExitTimestampMonotonic", name); got != "0\n" {
				t.Errorf("%s was started, at %s", name, got)
			}
		}
		if out := lab.Run(t.Context(), controller, "systemctl", "is-enabled", "homelab-patch-orchestrate.service"); out.Stdout != "static\n" {
			t.Errorf("the weekly service is %s: it would be started at boot", out.Stdout)
		}
		zone, err := time.LoadLocation("America/Los_Angeles")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSpace(lab.Exec(controller, "systemctl", "show", "-P", "NextElapseUSecRealtime", "homelab-patch-orchestrate.timer"))
		next, err := time.Parse("Mon 2006-01-02 15:04:05 MST", text)
		if err != nil {
			t.Fatal(err)
		}
		if in := next.In(zone); in.Weekday() != time.Sunday || in.Hour() != 4 || in.Minute() > 2 || time.Until(next) > 8*24*time.Hour {
			t.Errorf("the next run is at %s", in)
		}
	})

	t.Run("the key is enough, and good from the controller alone", func(t *testing.T) {
		lab := lab.For(t)
		lab.Exec(controller, "rm", "/root/.ssh/id_ed25519")
		boot := lab.BootID("prox")
		// without pipelining Ansible asks for terminals, and the module reboot always does
		lab.Shell(controller, "cd /root/ansible && ANSIBLE_PIPELINING=False ansible -i /etc/ansible/hosts.yml prox -m ansible.builtin.reboot")
		if now := lab.BootID("prox"); now == "" || now == boot {
			t.Error("prox was not rebooted")
		}
		key := lab.Exec(controller, "cat", "/etc/homelab/patch-controller/id_ed25519")
		lab.Shell("saltierpoop", "umask 077; cat >/root/stolen <<'END'\n"+key+"END")
		out := lab.Run(t.Context(), "saltierpoop", "ssh", "-i", "/root/stolen", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", "root@198.51.100.12", "true")
		if out.Code != 255 || !strings.Contains(out.Stderr, "Permission denied") {
			t.Errorf("the key from elsewhere: exit code %d, %s", out.Code, out.Stderr)
		}
	})

	t.Run("what differs here is beside the units", func(t *testing.T) {
		lab := lab.For(t)
		other := converge(t, lab, "--limit", controller, "-e", "patch_controller_on_calendar='Tue 05:00 UTC'", "-e",
			`{"patch_controller_settings": {"inventory": "/etc/ansible/hosts.yml", "project": "/root/ansible", "state": "/srv/state", "textfile": "/srv/none/p.prom"}}`)
		other.want(t, 0, "WARNING: /srv/none does not exist")
		show := lab.Exec(controller, "systemctl", "show", "homelab-patch-orchestrate.service", "homelab-patch-orchestrate-resume.service")
		for _, want := range []string{"\nProtectSystem=no\n", "\nNoNewPrivileges=no\n", "\nDevicePolicy=auto\n", " cap_sys_admin "} {
			if strings.Count(show, want) != 2 {
				t.Errorf("a playbook of one's own is still in the sandbox: not twice %q", want)
			}
		}
		if left := regexp.MustCompile(`(?m)^(SystemCallFilter|SystemCallArchitectures|RestrictAddressFamilies)=.+$`).FindAllString(show, -1); left != nil {
			t.Errorf("a playbook of one's own is still in the sandbox: %q", left)
		}
		show = lab.Exec(controller, "systemctl", "cat", "homelab-patch-notify.service", "homelab-patch-orchestrate.timer")
		for _, want := range []string{"\nReadWritePaths=-/srv/state -/srv/none\n", "\nConditionPathExistsGlob=|/srv/state/outbox/*/*\nConditionPathExistsGlob=|/srv/state/runs/*/ara.pending.json\n", "\nOnCalendar=Tue 05:00 UTC\n"} {
			if !strings.Contains(show, want) {
				t.Errorf("not there: %q", want)
			}
		}
		if out := lab.Run(t.Context(), controller, "sh", "-c", "systemd-analyze verify homelab-patch-orchestrate.service homelab-patch-orchestrate.timer homelab-patch-notify.service"); out.Stdout+out.Stderr != "" {
			t.Errorf("systemd-analyze verify: %s%s", out.Stdout, out.Stderr)
		}
		if got := lab.Exec(controller, "systemctl", "show", "-P", "NextElapseUSecRealtime", "homelab-patch-orchestrate.timer"); !strings.HasPrefix(got, "Tue ") || !strings.Contains(got, " 05:0") {
			t.Errorf("the next run is at %s", got)
		}
	})
}
