//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

var hosts = []string{"saltierpoop", "prox", "infra-services"}

// updates is what the repository's state new offers to a host that just started.
var updates = []string{"lab-app", "lab-conf", "lab-sec", "linux-image-6.1.0-41-lab-amd64", "linux-image-lab-amd64"}

func TestLab(t *testing.T) {
	lab := e2e.Up(t, e2e.Options{})

	t.Run("controller reaches every host by ssh", func(t *testing.T) {
		lab := lab.For(t)
		lab.Exec("infra-services", "ansible", "all", "-m", "ansible.builtin.command", "-a", "id -u")
	})

	t.Run("repository offers updates in state new and none in state old", func(t *testing.T) {
		lab := lab.For(t)
		for _, host := range hosts {
			if got := lab.Pending(host); !slices.Equal(got, updates) {
				t.Errorf("%s, state new: %v, want %v", host, got, updates)
			}
		}
		lab.RepoState("old")
		for _, host := range hosts {
			if got := lab.Pending(host); len(got) > 0 {
				t.Errorf("%s, state old: %v", host, got)
			}
		}
	})

	t.Run("a state set within the second of the last is the younger one", func(t *testing.T) {
		lab := lab.For(t) // apt ignores a repository that is not younger than the one it knows
		last := time.Now().Add(5 * time.Second)
		lab.RepoStamp(last)
		lab.RepoState("new")
		release := lab.Exec("prox", "curl", "-sf", "http://198.51.100.1/bookworm/security/Release")
		want := "\nDate: " + last.Add(time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 MST") + "\n"
		if !strings.Contains(release, want) {
			t.Errorf("want%sin\n%s", want, release)
		}
		lab.Pending("prox")
	})

	t.Run("a kernel arrives as a new package and asks for a reboot", func(t *testing.T) {
		lab := lab.For(t)
		before := lab.Files("prox")
		lab.Exec("prox", "apt-get", "-qq", "update")
		if after := lab.Files("prox"); !slices.Equal(before, after) {
			t.Errorf("apt-get update changed files of dpkg or /etc")
		}
		lab.Exec("prox", "apt-get", "-y", "upgrade", "--with-new-pkgs")
		if slices.Equal(before, lab.Files("prox")) {
			t.Error("an upgrade changed no file of dpkg or /etc")
		}
		if got := lab.Exec("prox", "cat", "/run/reboot-required.pkgs"); got != "linux-image-6.1.0-41-lab-amd64\n" {
			t.Errorf("reboot-required.pkgs: %q", got)
		}
		if got := lab.Version("prox", "lab-app"); got != "2.0-1" {
			t.Errorf("lab-app: %q", got)
		}
		upgraded := func(e e2e.DpkgEntry) bool {
			return e.Action == "upgrade" && slices.Equal(e.Args, []string{"lab-app:all", "1.0-1", "2.0-1"})
		}
		if log := lab.DpkgLog("prox"); !slices.ContainsFunc(log, upgraded) {
			t.Errorf("dpkg.log does not have the upgrade of lab-app: %v", log)
		}
	})

	t.Run("a reboot is a new boot", func(t *testing.T) {
		lab := lab.For(t)
		before := lab.BootID("prox")
		if before == "" || lab.Boots("prox") != 1 {
			t.Fatalf("boot_id %q, %d boots before the reboot", before, lab.Boots("prox"))
		}
		lab.Exec("prox", "systemctl", "reboot")
		e2e.Eventually(t, time.Minute, "prox is back", func() error {
			if id := lab.BootID("prox"); id == "" || id == before {
				return fmt.Errorf("boot_id %q", id)
			}
			if state := lab.Run(t.Context(), "prox", "systemctl", "is-system-running").Stdout; state != "running\n" {
				return fmt.Errorf("systemd: %q", state)
			}
			return nil
		})
		if got := lab.Boots("prox"); got != 2 {
			t.Errorf("%d boots after one reboot", got)
		}
		if out := lab.Run(t.Context(), "prox", "test", "-e", "/run/reboot-required"); out.Code != 1 {
			t.Error("reboot-required outlived the reboot")
		}
	})

	t.Run("broken fails, slow takes as long as it is told", func(t *testing.T) {
		lab := lab.For(t)
		lab.Fault("broken", "saltierpoop")
		lab.Fault("slow", "saltierpoop", "2")
		lab.Exec("saltierpoop", "apt-get", "-qq", "update")
		if out := lab.Run(t.Context(), "saltierpoop", "apt-get", "-y", "install", "lab-broken"); out.Code != 100 {
			t.Errorf("lab-broken: exit code %d", out.Code)
		}
		start := time.Now()
		lab.Run(t.Context(), "saltierpoop", "apt-get", "-y", "install", "lab-slow")
		if d := time.Since(start); d < 2*time.Second {
			t.Errorf("lab-slow took %v", d)
		}
		if got := lab.Version("saltierpoop", "lab-slow"); got != "2.0-1" {
			t.Errorf("lab-slow: %q", got)
		}
	})

	t.Run("repository down, and up again", func(t *testing.T) {
		lab := lab.For(t)
		lab.Fault("repo-down", "")
		if out := lab.Run(t.Context(), "prox", "apt-get", "-o", "APT::Update::Error-Mode=any", "update"); out.Code == 0 {
			t.Error("apt-get update succeeded without a repository")
		}
		lab.Fault("repo-up", "")
		e2e.Eventually(t, 10*time.Second, "repository answers", func() error {
			if out := lab.Run(t.Context(), "prox", "apt-get", "-o", "APT::Update::Error-Mode=any", "update"); out.Code != 0 {
				return errors.New(out.Stderr)
			}
			return nil
		})
	})
}

// A host that has nothing but Debian installs the controller's packages from the lab's repository alone, also
// when it has taken Debian's security updates before.
func TestBareHostInstallsController(t *testing.T) {
	states := []string{"new"}
	if os.Getenv("E2E_FULL") == "1" {
		states = append(states, "real")
	}
	for _, state := range states {
		t.Run(state, func(t *testing.T) {
			lab := e2e.Up(t, e2e.Options{Hosts: "hosts-bare.conf"})
			const bare = "infra-services"
			if out := lab.Run(t.Context(), bare, "which", "ansible-playbook", "git"); out.Code == 0 {
				t.Fatalf("not a bare host: %s", out.Stdout)
			}
			sources := lab.Shell(bare, "cat /etc/apt/sources.list /etc/apt/sources.list.d/*")
			for line := range strings.Lines(sources) {
				if !strings.Contains(line, "http://198.51.100.1/") {
					t.Errorf("a source outside the lab: %s", line)
				}
			}
			lab.RepoState(state)
			if pending := lab.Pending(bare); state == "real" {
				if len(pending) <= len(updates) {
					t.Errorf("no updates of Debian's own: %v", pending)
				}
				lab.Exec(bare, "apt-get", "-y", "upgrade", "--with-new-pkgs")
			}
			lab.Exec(bare, "apt-get", "-y", "install", "ansible-core", "git", "prometheus-node-exporter")
			lab.Exec(bare, "ansible-playbook", "--version")
			e2e.Eventually(t, 10*time.Second, "node_exporter answers", func() error {
				if out := lab.Run(t.Context(), bare, "curl", "-sf", "http://127.0.0.1:9100/metrics"); out.Code != 0 {
					return fmt.Errorf("curl: exit code %d", out.Code)
				}
				return nil
			})
		})
	}
}

// Two labs at once share nothing: ending one leaves the other as it was.
func TestTwoLabs(t *testing.T) {
	one := e2e.Up(t, e2e.Options{Name: "a"})
	t.Run("second", func(t *testing.T) {
		two := e2e.Up(t, e2e.Options{Name: "b"})
		two.RepoState("old")
		two.Fault("link-down", "prox")
		if got := one.Pending("prox"); !slices.Equal(got, updates) {
			t.Errorf("state old of the second lab reached the first: %v", got)
		}
	})
	if got := one.Boots("prox"); got != 1 || one.BootID("prox") == "" {
		t.Errorf("prox of the first lab did not survive the end of the second: %d boots", got)
	}
}
