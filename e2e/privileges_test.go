//go:build e2e && e2efull

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

const patchUser = "homelab-patch"

// sudone lists what sudo ran as root on a host, by its journal; what differs from one call to the next is left out.
func sudone(lab *e2e.Lab, host, user string) (commands []string) {
	volatile := regexp.MustCompile(`BECOME-SUCCESS-[a-z]+`)
	for line := range strings.Lines(lab.Exec(host, "journalctl", "-q", "--no-pager", "-o", "cat", "_COMM=sudo")) {
		who, command, ok := strings.Cut(strings.TrimSpace(line), "COMMAND=")
		if ok && strings.HasPrefix(strings.TrimSpace(who), user+" :") && strings.Contains(who, "USER=root") {
			commands = append(commands, volatile.ReplaceAllString(command, "BECOME-SUCCESS-…"))
		}
	}
	slices.Sort(commands)
	return slices.Compact(commands)
}

// TestPrivileges runs the fleet's patching as a user of the system's, reboot of the controller included, and shows what
// the controller's key cannot do. What root does on the controller is shown by TestSite and TestWeekly.
func TestPrivileges(t *testing.T) {
	onFull(t, e2e.Options{}, "privileges", "As little root as can be", privileges)
}

func privileges(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	pushSite(t, lab)
	lab.Exec(controller, "rm", "-rf", "/etc/ansible/hosts.yml", "/etc/ansible/group_vars", "/etc/ansible/host_vars")
	write(lab, controller, "/etc/ansible/hosts.yml", siteHosts(t, lab, "saltierpoop", "prox"))
	keepJournals(lab, controller, "saltierpoop")

	// From root to the user, as a controller would that has been at work for long.
	converge(t, lab).want(t, 0)
	run(t, lab, "run", "--check").want(t, 0, []string{"saltierpoop unchanged", "prox unchanged", "infra-services unchanged"})
	write(lab, controller, "/etc/ansible/group_vars/patch_controller.yml", "patch_controller_user: "+patchUser+"\n")
	before := lab.Hash(controller, "/etc", stateDir)
	converge(t, lab, "--check", "--diff").want(t, 0)
	if lab.Hash(controller, "/etc", stateDir) != before {
		t.Error("check mode changed something")
	}
	began := time.Now()
	first := converge(t, lab)
	first.want(t, 0)
	ev.Call("site.yml, patch_controller_user: "+patchUser, first.Output, time.Since(began), "changed="+first.changed(t, controller))
	converge(t, lab).unchanged(t, controller)
	verify := lab.Run(t.Context(), controller, "sh", "-c", "systemd-analyze verify homelab-patch-orchestrate.service homelab-patch-orchestrate-resume.service homelab-patch-notify.service")
	if verify.Code != 0 || verify.Stdout+verify.Stderr != "" {
		t.Errorf("systemd-analyze verify: %s%s", verify.Stdout, verify.Stderr)
	}

	t.Run("a run", func(t *testing.T) { userRuns(t, lab.For(t), ev) })
	t.Run("held", func(t *testing.T) { userIsHeld(t, lab.For(t), ev) })
	t.Run("what the user may", func(t *testing.T) { userMay(t, lab.For(t), ev) })
	t.Run("the key", func(t *testing.T) { keyIsLimited(t, lab.For(t), ev) })
	t.Run("back to root", func(t *testing.T) {
		lab := lab.For(t)
		write(lab, controller, "/etc/ansible/group_vars/patch_controller.yml", "patch_controller_user: root\n")
		converge(t, lab).want(t, 0)
		converge(t, lab).unchanged(t, controller)
		left := lab.Shell(controller, "find "+stateDir+" /etc/homelab /etc/sudoers.d -user "+patchUser+" -o -path /etc/sudoers.d/homelab-patch")
		if left != "" {
			t.Errorf("left: %s", left)
		}
		run(t, lab, "run", "--check").want(t, 0, []string{"saltierpoop unchanged", "prox unchanged", "infra-services unchanged"})
	})
}

// userRuns has the timer start the weekly run, which reboots all hosts, the controller last.
func userRuns(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	tellUnits(t, lab)
	show := lab.Exec(controller, "systemctl", "show", "homelab-patch-orchestrate.service", "homelab-patch-orchestrate-resume.service")
	for _, want := range []string{"\nUser=" + patchUser + "\n", "\nNoNewPrivileges=no\n", "\nProtectSystem=strict\n", "\nProtectHome=read-only\n", "\nDevicePolicy=closed\n"} {
		if strings.Count(show, want) != 2 {
			t.Errorf("not twice %q", want)
		}
	}
	began, before := time.Now(), len(runs(lab))
	fire(lab)
	var processes string
	e2e.Eventually(t, 2*time.Minute, "Ansible is at work", func() error {
		processes = lab.Run(t.Context(), controller, "ps", "-eo", "user:20,comm").Stdout
		for _, want := range []string{"homelab-patch-o", "ansible-playboo", "ssh"} {
			if !regexp.MustCompile(`(?m)^` + patchUser + ` +` + want).MatchString(processes) {
				return fmt.Errorf("no process %s of the user: %s", want, processes)
			}
		}
		return nil
	})
	r := ended(t, lab, before+1, 6*time.Minute)
	out := r.outcome()
	ev.Call("the timer", out.Output, time.Since(began), r.State+": "+r.Reason)
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	if n := lab.Boots(controller); n != 2 {
		t.Errorf("%d boots of the controller", n)
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, "running": 0, "held": 0})
	wantMetrics(t, lab, controller, "patch.prom", map[string]float64{"reboot_required": 0})
	ev.Lines("files in the state directory that are not the user's", owned(t, lab)...)

	commands := sudone(lab, controller, patchUser)
	for _, c := range commands {
		if !strings.HasPrefix(c, "/bin/sh -c ") && c != "/usr/bin/systemctl --no-block reboot" {
			t.Errorf("sudo ran %s", c)
		}
	}
	if !slices.Contains(commands, "/usr/bin/systemctl --no-block reboot") {
		t.Errorf("the controller did not reboot by sudo: %q", commands)
	}
	ev.Lines("what the user had sudo run on the controller", commands...)
	ev.Lines("what someone had sudo run on saltierpoop", sudone(lab, "saltierpoop", "someone")...)

	began = time.Now()
	fire(lab)
	r = ended(t, lab, before+2, 3*time.Minute)
	ev.Call("the timer, a week later", e2e.Output{Code: *r.ExitCode}, time.Since(began), r.State+": "+r.Reason)
	if r.State != "passed" || !strings.Contains(r.Reason, "nothing to do") || lab.Boots(controller) != 2 {
		t.Errorf("run %s is %s: %s; %d boots", r.ID, r.State, r.Reason, lab.Boots(controller))
	}
}

// owned lists what in the state directory is not the user's: nothing may be.
func owned(t *testing.T, lab *e2e.Lab) []string {
	t.Helper()
	left := lab.Shell(controller, "find "+stateDir+" ! -user "+patchUser)
	if left != "" {
		t.Errorf("not the user's: %s", left)
	}
	if got := lab.Exec(controller, "stat", "-c", "%U %a", stateDir, "/etc/homelab/patch-controller/id_ed25519", "/etc/homelab/patching-notify.env", "/etc/homelab", "/var/lib/homelab-patch"); got !=
		"homelab-patch 700\nhomelab-patch 600\nhomelab-patch 600\nroot 755\nroot 700\n" {
		t.Errorf("owners:\n%s", got)
	}
	return append(strings.Fields(left), fmt.Sprintf("%d", len(strings.Fields(left))))
}

// userIsHeld has root hold the fleet: the unit is skipped, and the metric, which the user writes, says so.
func userIsHeld(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	out := lab.Run(t.Context(), controller, program, "hold", "set", "--reason", "lab")
	ev.Call("hold set, as root", out, 0, out.Stdout+out.Stderr)
	if out.Code != 0 {
		t.Errorf("hold set: %+v", out)
	}
	before, metrics := len(runs(lab)), filepath.Join(textfiles, "patch_orchestrate.prom")
	e2e.Eventually(t, time.Minute, "the unit is done with the run before", func() error {
		if state := lab.Run(t.Context(), controller, "systemctl", "show", "-P", "ActiveState", "homelab-patch-orchestrate.service").Stdout; state != "inactive\n" {
			return errors.New(state)
		}
		return nil
	})
	lab.Exec(controller, "rm", metrics)
	lab.Exec(controller, "systemctl", "start", "homelab-patch-orchestrate.service")
	said := lab.Exec(controller, "journalctl", "-q", "--no-pager", "-o", "cat", "-n", "12", "-u", "homelab-patch-orchestrate.service")
	if len(runs(lab)) != before || !strings.Contains(said, "exec-condition") {
		t.Errorf("the fleet is held, and the unit was not skipped: %s", said)
	}
	if got := lab.Exec(controller, "stat", "-c", "%U %a", metrics); got != patchUser+" 644\n" {
		t.Errorf("metrics are %s", got)
	}
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"held": 1})
	ev.Lines("files in the state directory that are not the user's, after a hold", owned(t, lab)...)
	lab.Exec(controller, program, "hold", "clear")
}

// userMay shows where the user's rules end, and what is refused by whom.
func userMay(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	asUser := func(words string) []string {
		return []string{"sh", "-c", "cd / && exec sudo -H -u " + patchUser + " " + words}
	}
	for _, c := range []struct {
		what  string
		argv  []string
		code  int
		words string
	}{
		{"waves, as the user", asUser(program + " waves"), 0, "infra-services"},
		{"run --check, as the user", asUser(program + " run --check"), 0, ""},
		{"run, as root", []string{program, "run"}, 2, stateDir + " belongs to " + patchUser + ": run this as that user (sudo -H -u " + patchUser},
		{"a summary of patch.yml by hand, as root", []string{"sh", "-c", "echo '{\"hosts\": {\"prox\": {}}}' | " + program + " notify summary"}, 0, ""},
		{"sudo id", asUser("sudo -n id"), 1, "password is required"},
		{"sudo systemctl stop", asUser("sudo -n systemctl stop ssh"), 1, "password is required"},
		{"sudo systemctl reboot, with another word", asUser("sudo -n systemctl --no-block reboot --force"), 1, "password is required"},
		{"sudo /bin/sh, which is all of root", asUser("sudo -n /bin/sh -c id"), 0, "uid=0(root)"},
		{"an inventory that others may write", asUser("sh -c 'cp /etc/ansible/hosts.yml /tmp/open.yml && chmod 666 /tmp/open.yml && " + program + " run --check --inventory /tmp/open.yml'"), 2, "can be written by everyone"},
	} {
		began := time.Now()
		out := lab.Run(t.Context(), controller, c.argv...)
		if out.Code != c.code || !strings.Contains(out.Stdout+out.Stderr, c.words) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", c.what, out.Code, c.code, c.words, out.Stdout, out.Stderr)
		}
		lines := strings.Split(strings.TrimSpace(out.Stderr+out.Stdout), "\n")
		ev.Call(c.what, out, time.Since(began), lines[0])
	}
	ev.Lines("files in the state directory that are not the user's, after all this", owned(t, lab)...)
}

// keyIsLimited tries what the key is not for: each also with a key that is not limited, where it works.
func keyIsLimited(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	line := lab.Shell("prox", "grep homelab-patch-orchestrate /root/.ssh/authorized_keys")
	if !strings.HasPrefix(line, `restrict,pty,from="198.51.100.10,192.0.2.0/24" ssh-ed25519 `) {
		t.Errorf("on prox: %s", line)
	}
	// sshd offers X11 only where there is xauth, a client only where it has a display
	write(lab, "prox", "/usr/bin/xauth", "#!/bin/sh\ncat >/dev/null\n")
	lab.Exec("prox", "chmod", "755", "/usr/bin/xauth")
	lab.Shell(controller, "cp /etc/homelab/patch-controller/id_ed25519 /root/limited && chmod 600 /root/limited")
	limited := lab.Exec(controller, "cat", "/root/limited")
	lab.Shell("saltierpoop", "umask 077; cat >/root/limited <<'END'\n"+limited+"END")
	admin, err := os.ReadFile(filepath.Join(lab.Dir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{controller, "saltierpoop"} {
		lab.Shell(host, "umask 077; cat >/root/free <<'END'\n"+string(admin)+"END")
	}
	const ssh = "ssh -F /dev/null -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes -o ConnectTimeout=10 "
	for _, c := range []struct {
		what, host, script string // $KEY is the key
		works, refused     string // what is printed with a key that is free, and with ours
	}{
		{"a command, from the controller", controller, ssh + "-i $KEY root@198.51.100.12 echo came in", "came in", "came in"},
		{"a command, from another address", "saltierpoop", ssh + "-i $KEY root@198.51.100.12 echo came in", "came in", "Permission denied"},
		{"a port, there", controller, "timeout 20 " + ssh + "-i $KEY -W 127.0.0.1:22 root@198.51.100.12 </dev/null", "SSH-2.0", "forwarding failed"},
		{"a port, back", controller, ssh + "-i $KEY -o ExitOnForwardFailure=yes -R 9922:127.0.0.1:22 root@198.51.100.12 echo came in", "came in", "remote port forwarding failed"},
		{"a socket, back", controller, ssh + "-i $KEY -o ExitOnForwardFailure=yes -R /root/socket:127.0.0.1:22 root@198.51.100.12 'rm /root/socket; echo came in'", "came in", "remote port forwarding failed"},
		{"the agent", controller, "eval $(ssh-agent) >/dev/null; " + strings.Replace(ssh, "-o IdentityAgent=none ", "", 1) + "-A -i $KEY root@198.51.100.12 'echo agent=$SSH_AUTH_SOCK'; ssh-agent -k >/dev/null", "agent=/tmp/ssh-", "agent=\n"},
		{"X11", controller, "DISPLAY=:7 " + ssh + "-Y -i $KEY root@198.51.100.12 'echo display=$DISPLAY'", "display=localhost:", "display=\n"},
	} {
		for key, want := range map[string]string{"free": c.works, "limited": c.refused} {
			out := lab.Run(t.Context(), c.host, "sh", "-c", "KEY=/root/"+key+"; "+c.script)
			said := out.Stdout + out.Stderr
			if !strings.Contains(said, want) || want != "came in" && key == "limited" && strings.Contains(said, "came in") {
				t.Errorf("%s, %s key: not said: %q\n%s", c.what, key, want, said)
			}
			if key == "limited" {
				ev.Call("the key: "+c.what, out, 0, said)
			}
		}
	}
	lab.Shell(controller, "rm /root/limited /root/free")
	lab.Shell("saltierpoop", "rm /root/limited /root/free")
}
