//go:build e2e && e2efull

package e2e_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

const (
	pullUnit = "homelab-ansible-pull.service"
	pullDir  = "/var/lib/homelab-ansible-pull"
	repo     = "git://198.51.100.10/homelab.git"
)

// serveRepository puts the content of ansible/ with an inventory of the lab into a Git repository on the controller, as an
// operator would, and serves it to all hosts.
func serveRepository(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	lab.Push(controller, path, "/root/program")
	lab.Push(controller, filepath.Join("..", "ansible"), "/root/homelab")
	inventory := regexp.MustCompile(`(?m)^    patch_controller_notify_env: .*\n`).ReplaceAllString(siteHosts(t, lab, "saltierpoop", "prox"), "")
	write(lab, controller, "/root/homelab/inventory/hosts.yml", inventory+"    ansible_pull_url: "+repo+"\n")
	serveGit(lab)
	lab.Shell(controller, `cd /root/homelab && rm -r inventory/host_vars
		git init -q -b main && git remote add origin /srv/git/homelab.git`)
	push(lab, "begin")
}

// serveGit has the controller serve an empty repository, as repo, to all hosts, and know who commits.
func serveGit(lab *e2e.Lab) {
	lab.Shell(controller, `git init -q --bare -b main /srv/git/homelab.git
		git config --system user.name op && git config --system user.email op@example.net`)
	write(lab, controller, "/etc/systemd/system/git-daemon.service", "[Service]\nExecStart=git daemon --export-all --base-path=/srv/git\n[Install]\nWantedBy=multi-user.target\n")
	lab.Exec(controller, "systemctl", "enable", "-q", "--now", "git-daemon")
}

// push commits and pushes what was changed in the operator's folder, and returns the commit.
func push(lab *e2e.Lab, message string) string {
	lab.Shell(controller, "cd /root/homelab && git add -A && git commit -qm '"+message+"' && git push -q origin HEAD:main")
	return strings.TrimSpace(lab.Exec(controller, "git", "-C", "/root/homelab", "rev-parse", "HEAD"))
}

// pulled starts a pull as the timer does and waits for its end; what it said, and its exit code as the metric has it.
func pulled(t *testing.T, lab *e2e.Lab, host string) e2e.Output {
	t.Helper()
	mark := strconv.FormatInt(time.Now().UnixNano(), 10)
	lab.Exec(host, "logger", "-t", "mark", mark)
	out := lab.Run(t.Context(), host, "systemctl", "start", pullUnit)
	lab.Exec(host, "journalctl", "--sync") // what short processes have said arrives a moment later
	// Not after a cursor: with a filter that leaves out a line, and over a boot it may leave out all.
	said := lab.Run(t.Context(), host, "sh", "-c", `journalctl -q -b -o short | sed "1,/ mark.*$0/d" | sed -n 's/^.* homelab-ansible-pull\[[0-9]*\]: //p'`, mark)
	return e2e.Output{Code: out.Code, Stdout: said.Stdout, Stderr: out.Stderr}
}

// wantPull checks how a pull ended: the code that the metric has, and words.
func wantPull(t *testing.T, lab *e2e.Lab, host string, out e2e.Output, ok bool, words ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(out.Stdout), " ")
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: not said: %s", host, w)
			ok = !ok
		}
	}
	if (out.Code == 0) != ok {
		journal := lab.Run(t.Context(), host, "journalctl", "-q", "-b", "-n", "80", "--no-pager")
		t.Fatalf("pull of %s: exit code %d\n%s%s\nits journal:\n%s", host, out.Code, out.Stdout, out.Stderr, journal.Stdout)
	}
}

// live is the commit that a host lives by.
func live(lab *e2e.Lab, host string) string {
	return strings.TrimSpace(lab.Exec(host, "git", "-C", pullDir+"/live", "rev-parse", "HEAD"))
}

// Three hosts converge themselves from a Git repository on the controller; a host that was bare joins by one command.
func TestPull(t *testing.T) {
	onEach(t, e2e.Options{}, "pull", "Hosts that converge themselves", pull)
}

func pull(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	serveRepository(t, lab)
	site := func(args ...string) site {
		return site{lab.Run(t.Context(), controller, append([]string{"sh", "-c", `cd /root/homelab && exec ansible-playbook -i inventory/hosts.yml playbooks/site.yml "$@"`, "sh"}, args...)...)}
	}
	settings := strings.Replace(lab.Exec(controller, "cat", "/root/homelab/inventory/hosts.yml"),
		"inventory: /etc/ansible/hosts.yml", "inventory: "+pullDir+"/live/inventory/hosts.yml", 1)

	// Bare hosts in check mode: nothing fails, nothing is changed.
	lab.Shell(controller, "mkdir -p /etc/ansible && cp /root/homelab/inventory/hosts.yml /etc/ansible/hosts.yml")
	before := lab.Hash("prox", "/etc", "/usr/local", "/var/lib/dpkg")
	began := time.Now()
	dry := site("--check", "--diff")
	dry.want(t, 0, "would install ansible-core, git")
	ev.Call("site.yml --check for bare hosts", dry.Output, time.Since(began), recap(dry.Stdout))
	if lab.Hash("prox", "/etc", "/usr/local", "/var/lib/dpkg") != before {
		t.Error("check mode changed prox")
	}

	// The controller by hand, then its key for all.
	began = time.Now()
	first := site("--limit", controller)
	first.want(t, 0)
	ev.Call("site.yml on the controller, by hand", first.Output, time.Since(began), recap(first.Stdout))
	key := strings.Fields(lab.Exec(controller, "cat", "/etc/homelab/patch-controller/id_ed25519.pub"))
	write(lab, controller, "/root/homelab/inventory/hosts.yml", settings+"    patching_ssh_public_key: "+key[0]+" "+key[1]+"\n")
	push(lab, "the key of the controller; it lives by its own checkout")

	// The others by the one documented command, each on itself.
	for _, host := range []string{"saltierpoop", "prox"} {
		began = time.Now()
		out := lab.Run(t.Context(), host, "sh", "-euc", join(t, host))
		ev.Call(host+" joins by the one command", out, time.Since(began), recap(out.Stdout))
		if out.Code != 0 {
			t.Fatalf("%s does not join: %s%s", host, out.Stdout, out.Stderr)
		}
	}
	for _, host := range hosts {
		began = time.Now()
		out := pulled(t, lab, host)
		wantPull(t, lab, host, out, true)
		ev.Call(host+" pulls", out, time.Since(began), recap(out.Stdout))
		began = time.Now()
		out = pulled(t, lab, host)
		wantPull(t, lab, host, out, true, " changed=0 unreachable=0 failed=0 ")
		ev.Call(host+" pulls again", out, time.Since(began), recap(out.Stdout))
		lab.Exec(host, "systemctl", "is-active", "homelab-ansible-pull.timer")
		lab.Exec(host, "systemctl", "is-enabled", "homelab-ansible-pull.timer")
		wantMetrics(t, lab, host, "ansible_pull.prom", map[string]float64{"last_exit_code": 0, `skipped{reason="hold"}`: 0, `skipped{reason="lease"}`: 0})
	}
	// and so does site.yml from the controller
	again := site()
	again.want(t, 0)
	for _, host := range hosts {
		if n := again.changed(t, host); n != "0" {
			t.Errorf("%s was changed %s times by what it had converged to\n%s", host, n, again.Stdout)
		}
	}
	line := `restrict,pty,from="198.51.100.10,192.0.2.0/24" ` + key[0] + " " + key[1] + " homelab-patch-orchestrate\n"
	if got := lab.Exec("saltierpoop", "cat", "/home/someone/.ssh/authorized_keys"); !strings.HasSuffix(got, line) {
		t.Errorf("keys on saltierpoop:\n%s", got)
	}
	if got := lab.Exec("saltierpoop", "stat", "-c", "%a %U:%G", "/home/someone/.ssh/authorized_keys"); got != "600 someone:someone\n" {
		t.Errorf("authorized_keys is %s", got)
	}
	if out := lab.Run(t.Context(), controller, program, "waves"); out.Code != 0 || !strings.Contains(out.Stdout, "saltierpoop") {
		t.Errorf("the program does not read the live inventory: %s%s", out.Stdout, out.Stderr)
	}

	broken(t, lab, ev)
	heldPull(t, lab, ev)
	pullAndRun(t, lab, ev)
}

// join is the command of docs/install.md that has a host converge itself from now on.
func join(t *testing.T, host string) string {
	t.Helper()
	return e2e.OpenPage(t, "install.md", "https://git.example.net/homelab.git", repo).Script("5. The targets", "-l prox", "-l "+host)
}

// recap is what Ansible says at the end.
func recap(text string) string {
	return strings.Join(strings.Fields(strings.Join(regexp.MustCompile(`(?m)^\S+ +: ok=.*$`).FindAllString(text, -1), " ")), " ")
}

// Whatever was pushed: a commit that cannot be used is not, and the last good one stays.
func broken(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	const host = "prox"
	good := live(lab, host)
	for _, c := range []struct{ what, change, words string }{
		{"a playbook that does not parse", "echo '- hosts: [' >>playbooks/site.yml", "is not used, ansible-playbook --syntax-check failed: the host stays as it is"},
		{"an inventory that does not parse", "echo '  - x' >>inventory/hosts.yml", "is not used, ansible-inventory --host failed"},
		{"an inventory without the host", "sed -i 's/prox/proxy/' inventory/hosts.yml", "is not used, ansible-inventory --host failed"},
		{"a role that is gone", "git rm -rq roles/patch-controller", "is not used, ansible-playbook --syntax-check failed"},
	} {
		lab.Shell(controller, "cd /root/homelab && "+c.change)
		commit := push(lab, c.what)
		before := lab.Hash(host, "/etc", "/usr/local", pullDir+"/live")
		began := time.Now()
		out := pulled(t, lab, host)
		ev.Call(c.what, out, time.Since(began), regexp.MustCompile(`(?m)^homelab-ansible-pull: .*not used.*$`).FindString(out.Stdout))
		wantPull(t, lab, host, out, false, "commit "+commit[:12], c.words)
		if live(lab, host) != good || lab.Hash(host, "/etc", "/usr/local", pullDir+"/live") != before {
			t.Errorf("%s changed the host", c.what)
		}
		if metrics(t, lab, host, "ansible_pull.prom")["homelab_ansible_pull_last_exit_code"] == 0 {
			t.Errorf("%s: the metric says that all is well", c.what)
		}
		lab.Shell(controller, "cd /root/homelab && git reset -q --hard HEAD~1 && git push -qf origin HEAD:main")
	}

	lab.Shell(controller, `cd /root/homelab && sed -i 's/ansible.builtin.ping:/ansible.builtin.command: "false"/' playbooks/site.yml`)
	push(lab, "fails on the host")
	began := time.Now()
	out := pulled(t, lab, host)
	wantPull(t, lab, host, out, false, "failed=1")
	ev.Call("a commit that fails on the host", out, time.Since(began), recap(out.Stdout))
	wantMetrics(t, lab, host, "ansible_pull.prom", map[string]float64{"last_exit_code": 2})

	lab.Fault("link-down", controller)
	out = pulled(t, lab, host)
	wantPull(t, lab, host, out, false, "git fetch failed: the host stays as it is")
	lab.Fault("link-up", controller)

	lab.Shell(controller, "cd /root/homelab && git revert --no-commit HEAD")
	mended := push(lab, "mended")
	out = pulled(t, lab, host)
	wantPull(t, lab, host, out, true, "changed=0")
	ev.Call("the commit that mends it", out, 0, recap(out.Stdout))
	wantMetrics(t, lab, host, "ansible_pull.prom", map[string]float64{"last_exit_code": 0})
	if got := live(lab, host); got != mended {
		t.Errorf("the host lives by %s, not by %s", got, mended)
	}
}

// A hold on a host holds its pull as well, and that is seen.
func heldPull(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	write(lab, "prox", "/etc/homelab/MAINTENANCE", "guests are being moved\n")
	lab.Shell(controller, "cd /root/homelab && touch inventory/new")
	push(lab, "something new")
	before := live(lab, "prox")
	out := pulled(t, lab, "prox")
	wantPull(t, lab, "prox", out, true, "skipped, nothing is changed", "guests are being moved")
	ev.Call("prox is held", out, 0, out.Stdout)
	wantMetrics(t, lab, "prox", "ansible_pull.prom", map[string]float64{"last_exit_code": 0, `skipped{reason="hold"}`: 1})
	if live(lab, "prox") != before {
		t.Error("prox is held, and changed")
	}
	if state := lab.Run(t.Context(), "prox", "systemctl", "is-failed", pullUnit).Stdout; state != "inactive\n" {
		t.Errorf("a skip is %q", state)
	}
	lab.Exec("prox", "rm", "/etc/homelab/MAINTENANCE")
	wantPull(t, lab, "prox", pulled(t, lab, "prox"), true, "changed=0")
}

// A pull that is at work on the controller is waited for; while a run goes on, its checkout does not change; while a host
// is patched, it is not converged.
func pullAndRun(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	lab.Shell(controller, `cd /root/homelab && sed -i '0,/^  roles:/s//  pre_tasks:\n    - {name: Wait, ansible.builtin.wait_for: {path: \/root\/go-on}}\n  roles:/' playbooks/site.yml`)
	push(lab, "a slow one")
	lab.Exec(controller, "systemctl", "start", "--no-block", pullUnit)
	e2e.Eventually(t, time.Minute, "the pull waits in its playbook", func() error {
		if out := lab.Run(t.Context(), controller, "pgrep", "-f", "playbooks/site.yml"); out.Code != 0 {
			return errors.New("it is not there yet")
		}
		return nil
	})
	lab.RepoState("old") // of all updates, only the slow one: nobody restarts
	lab.Fault("slow", "saltierpoop", "60")
	c := start(t, lab, "run")
	c.heard(t, "waiting for at most 35m0s: homelab-ansible-pull.service is at work")
	if n := len(runs(lab)); n != len(c.before) {
		t.Errorf("it has begun a run, while its checkout changes")
	}
	lab.Exec(controller, "touch", "/root/go-on")
	e2e.Eventually(t, 5*time.Minute, "the pull ends", func() error {
		if state := lab.Run(t.Context(), controller, "systemctl", "is-active", pullUnit).Stdout; state != "inactive\n" {
			if n := len(runs(lab)); n != len(c.before) {
				t.Fatalf("the run is begun, and the pull is %q", state)
			}
			return errors.New(state)
		}
		return nil
	})
	c.running(t)
	busy(t, lab, "saltierpoop")

	before := live(lab, controller)
	lab.Shell(controller, "cd /root/homelab && touch inventory/newer")
	push(lab, "under a run")
	out := pulled(t, lab, controller)
	wantPull(t, lab, controller, out, true, "skipped, nothing is changed: run ", " has the lease until")
	ev.Call("a pull on the controller, under the run", out, 0, out.Stdout)
	if live(lab, controller) != before {
		t.Error("the checkout of the controller changed under its run")
	}
	out = pulled(t, lab, "saltierpoop")
	wantPull(t, lab, "saltierpoop", out, true, "skipped, nothing is changed: homelab-patch.service is at work")
	ev.Call("a pull on the host that is being patched", out, 0, out.Stdout)
	wantMetrics(t, lab, "saltierpoop", "ansible_pull.prom", map[string]float64{`skipped{reason="lease"}`: 1})

	done := c.wait(t)
	ev.Call("the run", done.Output, done.Took, last(done.Stdout))
	done.want(t, 0, []string{"saltierpoop patched", "prox unchanged", "infra-services unchanged"})
	wantNoLease(t, lab)
	wantPull(t, lab, controller, pulled(t, lab, controller), true, "failed=0")
	if live(lab, controller) == before {
		t.Error("after the run the checkout of the controller is still the old one")
	}
	overReboot(t, lab, ev)
}

// wantNoLease checks that nobody has a lease, and that all may pull again.
func wantNoLease(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	for _, host := range hosts {
		if left := lab.Run(t.Context(), host, "ls", "/var/lib/homelab-patch/lease.json", stateDir+"/lease.json").Stdout; left != "" {
			t.Errorf("%s: leases are left: %s", host, left)
		}
	}
}

// The checkout of a controller that restarts itself at the end of its run stays the same over that boot.
func overReboot(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	lab.RepoState("new")
	keepJournals(lab, controller)
	before, n, boots := live(lab, controller), len(runs(lab)), lab.Boots(controller)
	lab.Exec(controller, "systemctl", "start", "--no-block", "homelab-patch-orchestrate.service")
	e2e.Eventually(t, 2*time.Minute, "the run takes its lease", func() error {
		if out := lab.Run(t.Context(), controller, "cat", stateDir+"/lease.json"); out.Code != 0 {
			return errors.New(out.Stderr)
		}
		return nil
	})
	lab.Shell(controller, "cd /root/homelab && touch inventory/newest")
	commit := push(lab, "under a run that restarts its controller")
	asked := 0
	e2e.Eventually(t, 15*time.Minute, "the end of the run", func() error {
		lab.Run(t.Context(), controller, "systemctl", "start", pullUnit)
		asked++
		ids := runs(lab)
		if len(ids) != n+1 {
			return errors.New("the run has not begun, or the controller is off")
		}
		out := lab.Run(t.Context(), controller, "cat", stateDir+"/runs/"+ids[n]+"/journal.json")
		if out.Code != 0 {
			return errors.New("the controller is off")
		}
		if strings.Contains(out.Stdout, `"exit_code":null`) {
			if at := lab.Run(t.Context(), controller, "git", "-C", pullDir+"/live", "rev-parse", "HEAD"); at.Code == 0 && strings.TrimSpace(at.Stdout) != before {
				t.Fatalf("the run goes on, and its checkout is %s", at.Stdout)
			}
			return errors.New("the run goes on")
		}
		return nil
	})
	r := ended(t, lab, n+1, time.Minute)
	ev.Lines("A run that restarts its controller, which meanwhile was asked to pull", fmt.Sprintf("%s, %d boots, asked %d times: %s", r.State, lab.Boots(controller)-boots, asked,
		strings.Join(strings.Fields(lab.Shell(controller, "journalctl -q -o cat -t homelab-ansible-pull | grep -c 'has the lease until'")), " ")+" times skipped for the lease"))
	if r.State != "passed" || lab.Boots(controller) != boots+1 {
		t.Errorf("run %s is %s: %s; %d boots", r.ID, r.State, r.Reason, lab.Boots(controller)-boots)
	}
	wantNoLease(t, lab)
	wantPull(t, lab, controller, pulled(t, lab, controller), true, "failed=0")
	if live(lab, controller) != commit {
		t.Error("after the run the checkout of the controller is still the old one")
	}
}
