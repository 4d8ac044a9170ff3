//go:build e2e

package e2e_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// Secrets that runs are given, and where one could come to light.

// vaultedVars is "vaulted: hush-vaulted", encrypted with the password hush-vaultpass.
const vaultedVars = `$ANSIBLE_VAULT;1.1;AES256
61636636353162313435653561323631383239313663353434646332386265643064383035353165
3864646565346561336539663537646264336232623936620a306131613039306531303832363439
64623766396166643734313939663839323932326364356364663636643133363361623032623631
3132643530326639620a366338656230613766316134393466633861313262376263393066346461
34323536383030313135656335396236383862653437376362663037353030396635
`

// quietPlay fails with a secret.
const quietPlay = `- hosts: patching_targets
  gather_facts: false
  tasks:
    - name: Quiet
      ansible.builtin.command: "/gone/{{ vaulted }}"
      no_log: true
`

// watcher notes each command line that a host has, once.
const watcher = `
import os, time
seen = set()
out = open('/var/lib/lab-cmdlines', 'ab', buffering=0)
while True:
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/cmdline' % pid, 'rb') as f:
                line = f.read()
        except OSError:
            continue
        if line and line not in seen:
            seen.add(line)
            out.write(line.replace(b'\0', b' ').replace(b'\n', b' ') + b'\n')
    time.sleep(0.1) # few processes are that short
`

const watcherUnit = `[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/lab-cmdlines
[Install]
WantedBy=multi-user.target
`

// planted is the secrets of a test, by what they are, and what the program said.
type planted struct {
	secrets map[string]string
	said    strings.Builder
}

// plantSecrets gives Ansible secrets besides those of the channels, and from now on notes all command lines.
func plantSecrets(t *testing.T, lab *e2e.Lab, w *e2e.Watch) *planted {
	t.Helper()
	write(lab, controller, "/etc/ansible/group_vars/all/vaulted.yml", vaultedVars)
	write(lab, controller, "/etc/ansible/group_vars/all/become.yml", "ansible_become_password: hush-become\n")
	write(lab, controller, "/etc/ansible/pass", "hush-vaultpass\n")
	write(lab, controller, "/srv/project/patch.yml", quietPlay)
	lab.Shell(controller, "chmod 600 /etc/ansible/pass; echo 'vault_password_file = /etc/ansible/pass' >>/etc/ansible/ansible.cfg")
	for _, name := range hosts {
		write(lab, name, "/usr/local/lib/lab-cmdlines", watcher)
		write(lab, name, "/etc/systemd/system/lab-cmdlines.service", watcherUnit)
		lab.Exec(name, "systemctl", "-q", "enable", "--now", "lab-cmdlines")
	}
	_, beat, _ := strings.Cut(e2e.BeatURL, "heartbeat:8070")
	return &planted{secrets: map[string]string{
		"Discord's token": path.Base(e2e.WebhookURL), "ntfy's topic": e2e.NtfyTopic, "ntfy's token": w.Token,
		"the dead man's switch": beat, "what Ansible was given": "hush-",
	}}
}

// run is run, and keeps what the program said.
func (p *planted) run(t *testing.T, lab *e2e.Lab, args ...string) outcome {
	t.Helper()
	out := run(t, lab, args...)
	p.said.WriteString(out.words())
	return out
}

// search looks for the secrets in all that runs have left. run is the id of one of them: it shows that the search
// finds something where there is something.
func (p *planted) search(t *testing.T, lab *e2e.Lab, w *e2e.Watch, ev *e2e.Evidence, run string) {
	t.Helper()
	places := map[string]string{"what the program said": p.said.String()}
	for i, m := range w.Discord() {
		places[fmt.Sprintf("Discord, message %d", i)] = string(m.Raw)
	}
	for i, m := range w.Ntfy() { // its topic is where it is
		places[fmt.Sprintf("ntfy, message %d", i)] = fmt.Sprintf("%+v", m)
	}
	for _, name := range hosts {
		places["command lines of "+name] = lab.Exec(name, "cat", "/var/lib/lab-cmdlines")
		places["journal of "+name] = lab.Exec(name, "journalctl", "-q", "--no-pager", "-a", "-o", "export")
		for file, text := range files(t, lab, name, "/var/log", textfiles, "/tmp", "/var/tmp", "/run/homelab-patch", "/var/lib/homelab-patch", "/root/.ansible") {
			places[name+":"+file] = text
		}
	}
	for file, text := range files(t, lab, controller, stateDir) {
		places[controller+":"+file] = text
	}
	size, found := 0, map[string]bool{}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		text := places[place]
		size += len(text)
		kind, _, _ := strings.Cut(strings.TrimPrefix(place, controller+":"), ",")
		found[path.Base(kind)] = found[path.Base(kind)] || strings.Contains(text, run)
		for what, secret := range p.secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s is in %s: …%q…", what, place, text[max(0, i-200):min(len(text), i+len(secret)+100)])
			}
		}
	}
	for _, kind := range []string{"what the program said", "Discord", "ntfy", "journal.json"} {
		if !found[kind] {
			t.Errorf("%s: not even the run is named there: nothing was searched", kind)
		}
	}
	for place, words := range map[string]string{
		"command lines of " + controller: "ansible-playbook", "command lines of prox": "python3", "command lines of saltierpoop": "python3",
		"journal of prox": "System is rebooting", controller + ":" + textfiles + "/patch_orchestrate.prom": "notifications_pending",
		controller + ":" + stateDir + "/runs/" + run + "/ansible.log": "no_log", controller + ":" + stateDir + "/runs/" + run + "/events.jsonl": "no_log",
	} {
		if !strings.Contains(places[place], words) {
			t.Errorf("%s has no %q: nothing was searched", place, words)
		}
	}
	figures := fmt.Sprintf("%d kB in %d places; command lines noted: %d", size/1000, len(places), strings.Count(places["command lines of "+controller], "\n"))
	t.Log(figures)
	ev.Lines("searched for "+strings.Join(slices.Sorted(maps.Keys(p.secrets)), ", "), figures)
}

// files returns what is in the files below some folders of a host; those that are not there are left out.
func files(t *testing.T, lab *e2e.Lab, host string, dirs ...string) map[string]string {
	t.Helper()
	const script = `for d; do if [ -e "$d" ]; then echo "$d"; fi; done | tar -c -P --exclude=/var/log/journal --warning=no-file-changed --ignore-failed-read -T -`
	out := lab.For(t).Exec(host, append([]string{"sh", "-euc", script, "sh"}, dirs...)...)
	all := map[string]string{}
	for r := tar.NewReader(strings.NewReader(out)); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("files of %s: %v", host, err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("files of %s: %s: %v", host, head.Name, err)
		}
		all[head.Name] = string(text)
	}
}
