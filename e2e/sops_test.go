//go:build e2e && e2efull

package e2e_test

import (
	"encoding/base64"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// sopsVersion is what is built and kept in the user's cache folder: its first build takes minutes.
const sopsVersion = "v3.13.3"

func sopsBinary(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, program, "sops-"+sopsVersion)
	path := filepath.Join(dir, "sops")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.CommandContext(t.Context(), "go", "install", "-ldflags=-s -w", "github.com/getsops/sops/v3/cmd/sops@"+sopsVersion)
	cmd.Dir, cmd.Env = "/", append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build sops: %v\n%s", err, out)
	}
	return path
}

// All secrets of this test have "hush-" in them. What is in the sops file is no template, whatever it looks like.
const (
	hushDiscord = "https://discord.com/api/webhooks/223704706495545344/hush-discord"
	hushToken   = "tk_hush-{{7*7}}$x#y"
	hushTopic   = "hush-topic"

	hushVars = `patch_controller_notify_sops: /etc/ansible/secrets/notify.sops.yaml
patch_controller_channels: [discord, ntfy]
patch_controller_notify_env:
  HEARTBEAT_URL: "http://{{ vaulted }}.example.net/"
`
	notifyFile   = "/etc/homelab/patching-notify.env"
	alertmanager = "/etc/prometheus/alertmanager.yml"
)

// sopsHost is the controller with sops, an age key, and the example files as docs/configure.md has them made.
func sopsHost(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	keygen, err := exec.LookPath("age-keygen")
	if err != nil {
		t.Fatal("this needs Debian's package age")
	}
	lab.Push(controller, sopsBinary(t), "/usr/local/bin/sops")
	lab.Push(controller, keygen, "/usr/local/bin/age-keygen")
	pushSite(t, lab)
	lab.Push(controller, filepath.Join("..", "monitoring"), "/root/monitoring")
	lab.Shell(controller, `cp -r /root/ansible/secrets /etc/ansible/
		umask 077
		mkdir -p ~/.config/sops/age
		age-keygen -o ~/.config/sops/age/keys.txt
		cd /etc/ansible/secrets
		sed -i "s/age1-replace.*/$(age-keygen -y ~/.config/sops/age/keys.txt)/" .sops.yaml
		sops encrypt --filename-override notify.sops.yaml notify.sops.yaml.example >notify.sops.yaml
		sops encrypt --filename-override .env.sops.yaml .env.sops.yaml.example >.env.sops.yaml
		sops unset notify.sops.yaml '["HEARTBEAT_URL"]'`)
	for _, file := range []string{"notify.sops.yaml", ".env.sops.yaml"} {
		for key, value := range map[string]string{"DISCORD_WEBHOOK_URL": hushDiscord, "NTFY_TOKEN": hushToken, "NTFY_PATCH_TOPIC": hushTopic} {
			lab.Shell(controller, `cd /etc/ansible/secrets && printf '"%s"' '`+value+`' | sops set --value-stdin `+file+` '["`+key+`"]'`)
		}
	}
	lab.Exec(controller, "rm", "-rf", "/etc/ansible/hosts.yml", "/etc/ansible/group_vars", "/etc/ansible/host_vars")
	write(lab, controller, "/etc/ansible/hosts.yml", siteHosts(t, lab, "saltierpoop", "prox"))
	write(lab, controller, "/etc/ansible/group_vars/patch_controller.yml", hushVars)
	write(lab, controller, "/etc/ansible/group_vars/all/vaulted.yml", vaultedVars)
	write(lab, controller, "/etc/ansible/pass", "hush-vaultpass\n")
}

// sopsSite converges the controller.
func sopsSite(t *testing.T, lab *e2e.Lab, env string, args ...string) site {
	t.Helper()
	const command = `cd /root/ansible && exec env $0 ansible-playbook -i /etc/ansible/hosts.yml --limit infra-services playbooks/site.yml "$@"`
	s := site{lab.Run(t.Context(), controller, append([]string{"sh", "-c", command, env}, args...)...)}
	quiet(t, "site.yml "+strings.Join(args, " "), s.Stdout+s.Stderr)
	return s
}

// quiet looks for a secret in what was said, and shows what is around it.
func quiet(t *testing.T, who, text string) {
	t.Helper()
	if at := regexp.MustCompile(needles()).FindStringIndex(text); at != nil {
		t.Errorf("%s shows a secret: …%s…", who, text[max(0, at[0]-1500):min(len(text), at[1]+300)])
	}
}

// TestSecretsFile has the channels' secrets in files of sops and age, and in a vault. They come to light in the two files
// they are for and in no other, not for a moment; what cannot be opened stops site.yml before it changes anything.
func TestSecretsFile(t *testing.T) {
	onFull(t, e2e.Options{}, "secrets", "Secrets encrypted by sops and age", func(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
		sopsHost(t, lab)
		const vault = "ANSIBLE_VAULT_PASSWORD_FILE=/etc/ansible/pass"
		t.Run("refused", func(t *testing.T) { secretsRefused(t, lab.For(t), ev, vault) })
		t.Run("written", func(t *testing.T) { secretsWritten(t, lab.For(t), ev, vault) })
		t.Run("alertmanager", func(t *testing.T) { secretsForAlertmanager(t, lab.For(t), ev) })
		secretsSearched(t, lab, ev)
	})
}

func secretsRefused(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence, vault string) {
	const file = "/etc/ansible/secrets/notify.sops.yaml"
	edit := func(how string) string { return "cp " + file + " /root/good && cd /etc/ansible/secrets && " + how }
	const restore = "mv /root/good " + file
	for _, c := range []struct{ what, before, after, env, words string }{
		{"sops is missing", "mv /usr/local/bin/sops /root/", "mv /root/sops /usr/local/bin/", vault, "sops is not installed"},
		{"the age key is missing", "mv /root/.config /root/away", "mv /root/away /root/.config", vault, "no key there opens it. The age key belongs into"},
		{"another age key", "cp -r /root/.config /root/away && cd /root/.config/sops/age && rm keys.txt && age-keygen -o keys.txt",
			"rm -r /root/.config && mv /root/away /root/.config", vault, "no key there opens it"},
		{"the file is missing", edit("rm " + file), restore, vault, file + ", cannot be opened where Ansible runs: there is no such file"},
		{"never encrypted", edit("echo 'NTFY_TOKEN: hush-plain' >" + file), restore, vault, "was never encrypted"},
		{"changed by hand", edit("sed -i 's/^NTFY_TOKEN: .*/NTFY_TOKEN: hush-plain/' " + file), restore, vault, "changed it without sops"},
		{"the demanded channel is missing", edit(`sops unset notify.sops.yaml '["DISCORD_WEBHOOK_URL"]'`), restore, vault,
			"lack DISCORD_WEBHOOK_URL. Add it by `sops edit " + file + "`, or take out what asks for it: patch_controller_channels: discord"},
		{"half a channel", edit(`sops unset notify.sops.yaml '["NTFY_URL"]'`), restore, vault, "lack NTFY_URL"},
		{"a key twice", edit(`sops set notify.sops.yaml '["HEARTBEAT_URL"]' '"http://hush-twice"'`), restore, vault, "HEARTBEAT_URL: both in"},
		{"keys below a key", edit(`sops set notify.sops.yaml '["NTFY_TOKEN"]' '{"a": "hush-"}'`), restore, vault, "NTFY_TOKEN is not one line"},
		{"a value with a space", edit(`sops set notify.sops.yaml '["NTFY_TOKEN"]' '"hush- hush-"'`), restore, vault, "NTFY_TOKEN is no name in capital letters, or its value, which is not shown"},
		{"Ansible keeps its files", "", "", vault + " ANSIBLE_KEEP_REMOTE_FILES=1", "take out ANSIBLE_KEEP_REMOTE_FILES"},
		{"no password for the vault", "", "", "A=", "vault secrets"},
	} {
		if c.before != "" {
			lab.Shell(controller, c.before)
		}
		before, began := lab.Hash(controller, "/etc", "/usr/local"), time.Now()
		s := sopsSite(t, lab, c.env, "-vvv")
		if lab.Hash(controller, "/etc", "/usr/local") != before {
			t.Errorf("%s: it was refused, and something was changed", c.what)
		}
		if words := strings.Join(strings.Fields(s.Stdout+s.Stderr), " "); s.Code == 0 || !strings.Contains(words, c.words) {
			t.Errorf("%s: exit code %d, not said: %s\n%s%s", c.what, s.Code, c.words, s.Stdout, s.Stderr)
		}
		said := c.words
		if all := regexp.MustCompile(`"msg": "(.*?)"[,}\n]`).FindAllStringSubmatch(s.Stdout, -1); len(all) > 0 {
			said = all[len(all)-1][1]
		}
		ev.Call(c.what, s.Output, time.Since(began), said)
		if c.after != "" {
			lab.Shell(controller, c.after)
		}
	}
}

// needles are what is looked for: the word that each secret has, and what base64 makes of it.
func needles() string {
	all := []string{"hush-"}
	for _, before := range []string{"", "x", "xx"} {
		text := base64.StdEncoding.EncodeToString([]byte(before + "hush-discord"))
		all = append(all, text[4:len(text)-4])
	}
	return strings.Join(all, "|")
}

// traced runs a script on the controller, and returns the files that a secret was written to, "argv" where it was in a
// command line or an environment, and how often it went through a pipe or a socket. strace shows all of it: each write,
// of each process, and the file that it goes to.
func traced(t *testing.T, lab *e2e.Lab, script string) (e2e.Output, []string, int) {
	t.Helper()
	out := lab.Run(t.Context(), controller, "strace", "-f", "--seccomp-bpf", "-y", "-v", "-s", "10000000", "-e", "signal=none", "-o", "/run/trace",
		"-e", "trace=execve,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendfile,copy_file_range,splice,tee,vmsplice", "sh", "-c", script)
	found := lab.Shell(controller, `grep -E '`+needles()+`' /run/trace | grep -oE '^[0-9]+ +(execve|[a-z0-9_]+\([0-9]+<[^>]*>)' | sed -E 's/^[0-9]+ +//'
		grep -oE '(sendfile|copy_file_range|splice)\([0-9]+<[^>]*>.*' /run/trace | cut -c1-1000 || true
		rm /run/trace`)
	files, pipes := map[string]bool{}, 0
	for line := range strings.Lines(found) {
		call, rest, _ := strings.Cut(line, "(")
		var ends []string
		for _, m := range regexp.MustCompile(`[0-9]<([^>]*)>`).FindAllStringSubmatch(rest, 2) {
			ends = append(ends, m[1])
		}
		if len(ends) == 2 && call == "sendfile" {
			slices.Reverse(ends)
		}
		switch {
		case strings.TrimSpace(call) == "execve":
			files["argv"] = true
		case len(ends) == 2: // a copy, in the order of time: what is copied was written before
			if files[ends[0]] || ends[0] == notifyFile || ends[0] == alertmanager {
				files[ends[1]] = true
			}
		case strings.HasPrefix(ends[0], "/") && ends[0] != "/dev/null": // where Ansible's log of an inventory goes
			files[ends[0]] = true
		default:
			pipes++
		}
	}
	return out, slices.Sorted(maps.Keys(files)), pipes
}

func secretsWritten(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence, vault string) {
	// what this is for: Ansible's own way, and that it would be seen
	_, files, _ := traced(t, lab, `cd /root/ansible && ansible -i localhost, -c local localhost -m copy -a 'content={{ lookup("ansible.builtin.file", "/etc/ansible/pass") }} dest=/root/control mode=0600'`)
	if !slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, "/.ansible/tmp/") }) {
		t.Errorf("the module copy leaves nothing on the way, or it is not seen: %q", files)
	}
	volatile := regexp.MustCompile(`/ansible-[^/]*[0-9]{4}[^/]*`)
	ev.Lines("the module copy, for comparison, writes to", volatile.ReplaceAllString(strings.Join(files, "\n    "), "/…"))
	lab.Exec(controller, "rm", "/root/control")

	began := time.Now()
	const play = `cd /root/ansible && ANSIBLE_LOG_PATH=/var/log/ansible.log ansible-playbook -vvv -i /etc/ansible/hosts.yml --limit infra-services playbooks/site.yml`
	out, files, pipes := traced(t, lab, "export "+vault+"; "+play)
	s := site{out}
	quiet(t, "site.yml", s.Stdout+s.Stderr)
	quiet(t, "ansible.log", lab.Exec(controller, "cat", "/var/log/ansible.log"))
	if s.changed(t, controller) == "0" {
		t.Error("nothing was changed")
	}
	ev.Call("site.yml, each write looked at", out, time.Since(began), "changed="+s.changed(t, controller))
	if want := []string{"/etc/homelab/.patching-notify.env.new"}; !slices.Equal(files, want) || pipes < 3 {
		t.Errorf("secrets were written to %q, and to pipes %d times; want %q alone, and pipes", files, pipes, want)
	}
	ev.Lines("files that a secret was written to; the first takes the place of "+notifyFile, files...)

	if got := lab.Exec(controller, "stat", "-c", "%a %U:%G", notifyFile); got != "600 root:root\n" {
		t.Errorf("%s is %s", notifyFile, got)
	}
	text := lab.Exec(controller, "cat", notifyFile)
	for _, want := range []string{"DISCORD_WEBHOOK_URL=" + hushDiscord, "NTFY_TOKEN=" + hushToken, "NTFY_PATCH_TOPIC=" + hushTopic, "HEARTBEAT_URL=http://hush-vaulted.example.net/"} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%s has no line %s", notifyFile, want)
		}
	}
	lab.Exec(controller, program, "notify", "test", "--dry-run")
	if left := lab.Exec(controller, "ls", "-A", "/etc/homelab"); strings.Contains(left, ".new") {
		t.Errorf("left: %s", left)
	}

	second := sopsSite(t, lab, vault)
	second.want(t, 0)
	if got := second.changed(t, controller); got != "0" {
		t.Errorf("changed %s times the second time", got)
	}
	third := sopsSite(t, lab, vault, "--check", "--diff", "-e", `{"patch_controller_notify_sops": "", "patch_controller_channels": []}`)
	if got := third.changed(t, controller); got != "1" {
		t.Errorf("check mode with fewer keys: changed=%s", got)
	}
	if lab.Exec(controller, "cat", notifyFile) != text {
		t.Error("check mode wrote the channels")
	}
}

// secretsForAlertmanager goes the way that the head of alertmanager.yml tells.
func secretsForAlertmanager(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	lab.Shell(controller, "groupadd prometheus; mkdir -p /etc/prometheus")
	const render = `cd /root/monitoring/alertmanager && sops --decrypt --output-type dotenv /etc/ansible/secrets/.env.sops.yaml |
		./render - alertmanager.yml ` + alertmanager + ` prometheus`
	began := time.Now()
	out, files, pipes := traced(t, lab, render)
	ev.Call("sops --decrypt … \\| render - …", out, time.Since(began), out.Stdout+out.Stderr)
	if out.Code != 0 || len(files) != 1 || !strings.HasPrefix(files[0], alertmanager+".") || pipes == 0 {
		t.Errorf("exit code %d, secrets were written to %q, and to pipes %d times\n%s%s", out.Code, files, pipes, out.Stdout, out.Stderr)
	}
	if got := lab.Exec(controller, "stat", "-c", "%a %U:%G", alertmanager); got != "640 root:prometheus\n" {
		t.Errorf("%s is %s", alertmanager, got)
	}
	text := lab.Exec(controller, "cat", alertmanager)
	for _, want := range []string{"webhook_url: " + hushDiscord + "\n", "https://ntfy.example.net/" + hushTopic + "?", `credentials: "` + hushToken + `"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s has no %s", alertmanager, want)
		}
	}
	began = time.Now()
	out = lab.Run(t.Context(), controller, "sh", "-c", "SOPS_AGE_KEY_FILE=/none HOME=/ && export SOPS_AGE_KEY_FILE HOME && "+render)
	ev.Call("the same without the age key", out, time.Since(began), "render: "+after(out.Stderr, "render: "))
	if out.Code == 0 || !strings.Contains(out.Stderr, "Failed to get the data key") || !strings.Contains(out.Stderr, "DISCORD_WEBHOOK_URL is not set in standard input") {
		t.Errorf("without a key: exit code %d\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
	if lab.Exec(controller, "cat", alertmanager) != text || lab.Exec(controller, "ls", "/etc/prometheus") != "alertmanager.yml\n" {
		t.Error("what could not be opened changed something")
	}
}

func after(text, mark string) string {
	_, rest, _ := strings.Cut(text, mark)
	return strings.TrimSpace(rest)
}

// secretsSearched looks for what is left anywhere on the disk and in the journal, when all is done.
func secretsSearched(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	// tmpfs are disks of their own
	found := strings.Fields(lab.Shell(controller, `grep -rlsaE '`+needles()+`' / /tmp /run /dev/shm --exclude-dir=proc --exclude-dir=sys --exclude-dir=journal || true`))
	slices.Sort(found)
	found = slices.Compact(found)
	// the vault's password is the test's own, and not the controller's business
	want := []string{"/etc/ansible/pass", notifyFile, alertmanager}
	if !slices.Equal(found, want) {
		t.Errorf("secrets are in %q, want %q", found, want)
	}
	journal := lab.Exec(controller, "journalctl", "-q", "--no-pager", "-a", "-o", "export")
	if !strings.Contains(journal, "ansible-") {
		t.Error("the journal has nothing of Ansible: nothing was searched")
	}
	quiet(t, "the journal", journal)
	if !strings.Contains(lab.Exec(controller, "cat", "/var/log/ansible.log"), "Write the channels") {
		t.Error("ansible.log has nothing of it")
	}
	ev.Lines("files with a secret in them at the end (the first is the vault's password), of the whole disk", found...)
}
