//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// What the scenarios share that have a controller made by site.yml.

// siteSecret is the channel's token; it may be in its own file and nowhere else.
const siteSecret = "tk_planted$7#secret"

// hostKey is the ssh key of a host, as its console shows it.
func hostKey(t *testing.T, lab *e2e.Lab, host string) string {
	t.Helper()
	known, err := os.ReadFile(filepath.Join(lab.Dir(), "known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + host + `,\S+ (.*)$`).FindStringSubmatch(string(known))
	if m == nil {
		t.Fatalf("no host key of %s is known", host)
	}
	return m[1] + " root@" + host
}

// siteHosts is an inventory of the lab; pinned are the hosts whose keys are in it.
func siteHosts(t *testing.T, lab *e2e.Lab, pinned ...string) string {
	t.Helper()
	keys := func(host string) string {
		if !slices.Contains(pinned, host) {
			return ""
		}
		return fmt.Sprintf("\n      patching_ssh_host_keys: [%q]", hostKey(t, lab, host))
	}
	return `all:
  hosts:
    saltierpoop:
      ansible_host: 198.51.100.11
      ansible_user: someone
      ansible_become: true` + keys("saltierpoop") + `
    prox:
      ansible_host: 198.51.100.12
      ansible_user: root` + keys("prox") + `
    infra-services:
      ansible_host: 198.51.100.10
      ansible_connection: local
  children:
    patch_controller: {hosts: {infra-services: }, vars: {patch_controller_from: [198.51.100.10, 192.0.2.0/24]}}
    patching_targets:
      children:
        patching_wave0: {hosts: {saltierpoop: }}
        patching_wave1: {hosts: {prox: }}
        patching_wave2: {hosts: {infra-services: }}
  vars:
    patch_controller_binary: /root/program
    patch_controller_settings: {inventory: /etc/ansible/hosts.yml}
    patch_controller_notify_env: {NTFY_URL: "http://ntfy", NTFY_PATCH_TOPIC: topic, NTFY_TOKEN: "` + siteSecret + `"}
`
}

// site is what ansible-playbook said of site.yml.
type site struct{ e2e.Output }

// changed is the number of tasks that changed the host, by the recap.
func (s site) changed(t *testing.T, host string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + host + ` +: .*changed=(\d+) +unreachable=0 +failed=0`).FindStringSubmatch(s.Stdout)
	if m == nil {
		t.Fatalf("%s has no recap, or failed:\n%s%s", host, s.Stdout, s.Stderr)
	}
	return m[1]
}

// unchanged checks that converging again has changed nothing on hosts.
func (s site) unchanged(t *testing.T, hosts ...string) {
	t.Helper()
	s.want(t, 0)
	for _, host := range hosts {
		if got := s.changed(t, host); got != "0" {
			t.Errorf("converged twice, %s was changed %s times\n%s", host, got, s.Stdout)
		}
	}
}

func converge(t *testing.T, lab *e2e.Lab, args ...string) site {
	t.Helper()
	return convergeIn(t, lab, "/root/ansible", args...)
}

// heardBy has site.yml give the controller the channels of a watch; more are members of JSON.
func heardBy(w *e2e.Watch, more ...string) []string {
	channels := append([]string{`"DISCORD_WEBHOOK_URL": "` + e2e.WebhookURL + `"`, `"NTFY_URL": "` + e2e.NtfyURL + `"`,
		`"NTFY_PATCH_TOPIC": "` + e2e.NtfyTopic + `"`, `"NTFY_TOKEN": "` + w.Token + `"`}, more...)
	return []string{"-e", `{"patch_controller_notify_env": {` + strings.Join(channels, ", ") + `}}`}
}

// convergeIn converges with the content of a folder.
func convergeIn(t *testing.T, lab *e2e.Lab, folder string, args ...string) site {
	t.Helper()
	command := "cd " + folder + " && exec ansible-playbook -i /etc/ansible/hosts.yml playbooks/site.yml \"$@\""
	s := site{lab.Run(t.Context(), controller, append([]string{"sh", "-c", command, "sh"}, args...)...)}
	if strings.Contains(s.Stdout+s.Stderr, siteSecret) {
		t.Errorf("site.yml %q shows the token", args)
	}
	return s
}

func (s site) want(t *testing.T, code int, words ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(s.Stdout+s.Stderr), " ")
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("not said: %s", w)
			code = -1
		}
	}
	if s.Code != code {
		t.Fatalf("exit code %d\n%s%s", s.Code, s.Stdout, s.Stderr)
	}
}

// bare gives a bare controller what docs/install.md asks for: Ansible, the program, the playbooks, and a key of an admin's.
func bare(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	lab.Exec(controller, "apt-get", "-qq", "update")
	lab.Exec(controller, "apt-get", "-qq", "-y", "--no-install-recommends", "install", "ansible-core")
	pushSite(t, lab)
	lab.Push(controller, filepath.Join(lab.Dir(), "key"), "/root/.ssh/id_ed25519")
}

// pushSite brings the program and the playbooks to the controller, where siteHosts and converge look for them.
func pushSite(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	lab.Push(controller, path, "/root/program")
	lab.Push(controller, filepath.Join("..", "ansible"), "/root/ansible")
}
