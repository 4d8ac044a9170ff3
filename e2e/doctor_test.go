//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// finding is one of `doctor --json`. In what a test wants, text and fix are parts of it.
type finding struct{ Area, Host, Severity, Text, Fix string }

// trouble is something that the next run would stumble over.
type trouble struct {
	name        string
	host        string   // empty: the controller
	plant, mend string   // shell
	fault, undo []string // or a fault of the lab
	want        []finding
}

const journalID = "20260101T040000Z-1a2b3c"

// doctorFaults are those that go together, by how a test has little time for them.
func doctorFaults() [][]trouble {
	const (
		settings = "/etc/homelab/patch-orchestrate.yaml"
		env      = "/etc/homelab/patching-notify.env"
		hostsYML = "/etc/ansible/hosts.yml"
		exporter = "/etc/default/prometheus-node-exporter"
	)
	setting := func(line string) (plant, mend string) {
		return fmt.Sprintf("cp -a %s /root/settings; echo '%s' >>%[1]s", settings, line), "cp -a /root/settings " + settings
	}
	forks, forksBack := "echo 'forks: many' >>"+settings, "sed -i /^forks/d "+settings
	window, windowBack := setting("window: Wed 03:00-05:00")
	ara, araBack := setting("ara: {forward: true}")
	batches := [][]trouble{{
		{name: "a setting of the wrong type", plant: forks, mend: forksBack, want: []finding{
			{"settings", "", "error", `"forks" is not a whole number`, "write one such as 1"}}},
		{name: "others can read the channels", plant: "chmod 0644 " + env, mend: "chmod 0600 " + env, want: []finding{
			{"channels", "", "warning", "others can read it", "chmod 0600 " + env}}},
		{name: "a hold past its end", plant: "printf 'moving racks\\nuntil: 2026-01-02 03:04\\n' >/etc/homelab/MAINTENANCE", mend: "rm /etc/homelab/MAINTENANCE", want: []finding{
			{"schedule", "", "error", "moving racks (/etc/homelab/MAINTENANCE), expired on Fri 2026-01-02", program + " hold clear"}}},
		{name: "a damaged journal", plant: "install -d -m 0700 " + stateDir + "/runs/" + journalID + "; printf '{\"version\": 1, \"id\"' >" + stateDir + "/runs/" + journalID + "/journal.json",
			mend: "rm -r " + stateDir + "/runs/" + journalID, want: []finding{
				{"state", "", "warning", journalID + "/journal.json is damaged", "mv " + stateDir + "/runs/" + journalID + " /root/"}}},
		{name: "a lease that nobody gave up", plant: `printf '{"version": 1, "run": "` + journalID + `", "boot_id": "", "expires": %d}' $(($(date +%s) + 1800)) >` + stateDir + "/lease.json",
			mend: "rm " + stateDir + "/lease.json", want: []finding{
				{"state", "", "warning", "run " + journalID + " left its lease", "rm " + stateDir + "/lease.json"}}},
		{name: "node_exporter reads another folder", plant: "cp -a " + exporter + ` /root/exporter; echo 'ARGS="--collector.textfile.directory=/srv"' >` + exporter + "; systemctl restart prometheus-node-exporter",
			mend: "cp -a /root/exporter " + exporter + "; systemctl restart prometheus-node-exporter", want: []finding{
				{"metrics", "", "warning", "node_exporter reads /srv", "--collector.textfile.directory=" + textfiles}}},
		{name: "the resume unit is disabled", plant: "systemctl -q disable homelab-patch-orchestrate-resume.service", mend: "systemctl -q enable homelab-patch-orchestrate-resume.service", want: []finding{
			{"units", "", "warning", "homelab-patch-orchestrate-resume.service is not enabled", "systemctl enable homelab-patch-orchestrate-resume.service"}}},
		{name: "a host that is held", host: "prox", plant: "mkdir -p /etc/homelab; echo disks >/etc/homelab/MAINTENANCE", mend: "rm /etc/homelab/MAINTENANCE", want: []finding{
			{"hosts", "prox", "warning", "it is held, and not patched: disks", "on the host: rm /etc/homelab/MAINTENANCE"}}},
		{name: "a package that is half installed", host: "prox", plant: "cd /root; apt-get -qq update; apt-get -qq -o APT::Sandbox::User=root download lab-orphan; dpkg --unpack lab-orphan_*.deb", mend: "dpkg --configure -a", want: []finding{
			{"hosts", "prox", "warning", "dpkg is not in order", "on the host: dpkg --configure -a"}}},
		{name: "no folder for textfiles on a host", host: "prox", plant: "mv " + textfiles + " /root/textfiles", mend: "mv /root/textfiles " + textfiles, want: []finding{
			{"hosts", "prox", "warning", "the folder " + textfiles + " does not exist", "on the host: apt-get install prometheus-node-exporter"}}},
		{name: "another host key", host: "saltierpoop", plant: "mkdir -p /root/keys; mv /etc/ssh/ssh_host_* /root/keys; ssh-keygen -q -A; systemctl restart ssh",
			mend: "rm /etc/ssh/ssh_host_*; mv /root/keys/* /etc/ssh; systemctl restart ssh", want: []finding{
				{"hosts", "saltierpoop", "error", "its host key is not the known one", "that line into patching_ssh_host_keys of host_vars/saltierpoop.yml, then site.yml"}}},
	}, {
		{name: "the timer is disabled", plant: "systemctl -q disable --now homelab-patch-orchestrate.timer", mend: "systemctl -q enable --now homelab-patch-orchestrate.timer", want: []finding{
			{"units", "", "error", "homelab-patch-orchestrate.timer is not enabled and not active", "systemctl enable --now homelab-patch-orchestrate.timer"}}},
		{name: "the timer of the messages is disabled", plant: "systemctl -q disable --now homelab-patch-notify.timer", mend: "systemctl -q enable --now homelab-patch-notify.timer", want: []finding{
			{"units", "", "warning", "homelab-patch-notify.timer is not enabled and not active", "systemctl enable --now homelab-patch-notify.timer"}}},
		{name: "ARA is not there", plant: ara + "; cp -a " + env + " /root/env; echo ARA_API_SERVER=http://watch:8999 >>" + env, mend: araBack + "; cp -a /root/env " + env, want: []finding{
			{"ara", "", "warning", "connection refused", program + " ara status"}}},
		{name: "the state is another user's", plant: "chown nobody " + stateDir, mend: "chown root " + stateDir, want: []finding{
			{"state", "", "error", stateDir + " belongs to user 65534", "chown -R root: " + stateDir}}},
		{name: "a hold for a host that is not there", plant: "mkdir -p /etc/homelab/holds; echo disks >/etc/homelab/holds/proxx", mend: "rm /etc/homelab/holds/proxx", want: []finding{
			{"schedule", "proxx", "warning", "no such host", program + " hold clear --host proxx"}}},
		{name: "a host that is off the network", host: "prox", fault: []string{"link-down"}, undo: []string{"link-up"}, want: []finding{
			{"hosts", "prox", "error", "it does not answer", "it is off, "}}},
		{name: "nobody becomes root on a host", host: "saltierpoop", plant: "mv /etc/sudoers.d /root/sudoers.d; mkdir /etc/sudoers.d", mend: "rmdir /etc/sudoers.d; mv /root/sudoers.d /etc/sudoers.d", want: []finding{
			{"hosts", "saltierpoop", "error", "nobody becomes root on it", "NOPASSWD: ALL"}}},
	}, {
		{name: "a window that the timer misses", plant: window, mend: windowBack, want: []finding{
			{"schedule", "", "error", "outside the window Wed 03:00-05:00", "the setting window, or OnCalendar="}}},
		{name: "the disk of the state is full", plant: "mount -t tmpfs -o size=1m,mode=0700 state " + stateDir, mend: "umount " + stateDir, want: []finding{
			{"state", "", "error", "MiB are free in " + stateDir, "make room there: df -h " + stateDir}}},
		{name: "a target in no wave", plant: "cp -a " + hostsYML + " /root/hosts.yml; sed -i 's/patching_wave1: {hosts: {prox: }}/lonely: {hosts: {prox: }}/' " + hostsYML, mend: "cp -a /root/hosts.yml " + hostsYML, want: []finding{
			{"inventory", "prox", "error", "the host is in no wave", "add it to one patching_waveN"}}},
		{name: "python3-apt is missing on a host", host: "saltierpoop", plant: "mv /usr/lib/python3/dist-packages/apt /root/apt", mend: "mv /root/apt /usr/lib/python3/dist-packages/apt", want: []finding{
			{"hosts", "saltierpoop", "warning", "python3-apt is missing", "on the host: apt-get install python3-apt"}}},
		{name: "a unit of a host has failed", host: "saltierpoop", plant: "systemd-run -q --unit lab-fails false; while systemctl -q is-active lab-fails; do sleep 0.1; done", mend: "systemctl reset-failed lab-fails", want: []finding{
			{"hosts", "saltierpoop", "warning", "failed units: lab-fails.service", "on the host: systemctl status lab-fails.service"}}},
		{name: "little room on a host", host: "prox", fault: []string{"fill", "204800"}, undo: []string{"unfill"}, want: []finding{
			{"hosts", "prox", "error", "MiB are free in /", "on the host: apt-get clean"}}},
		{name: "a source of apt's that cannot be read", host: "prox", plant: "echo 'deb nonsense' >/etc/apt/sources.list.d/nonsense.list", mend: "rm /etc/apt/sources.list.d/nonsense.list", want: []finding{
			{"hosts", "prox", "error", "Malformed entry 1 in list file /etc/apt/sources.list.d/nonsense.list", "apt-get update tells"}}},
	}, {
		{name: "Ansible is not there", plant: "mkdir /root/bin; mv /usr/bin/ansible* /root/bin", mend: "mv /root/bin/ansible* /usr/bin", want: []finding{
			{"engine", "", "error", "ansible-playbook not found", "apt-get install ansible-core"}}},
	}, {
		{name: "others may write the inventory", plant: "chmod o+w " + hostsYML, mend: "chmod o-w " + hostsYML, want: []finding{
			{"inventory", "", "error", hostsYML + " can be written by everyone", "chmod go-w " + hostsYML}}},
	}}
	if os.Getenv("E2E_FULL") == "1" {
		batches = append(batches, []trouble{
			{name: "a host that stands still", host: "prox", fault: []string{"hang"}, undo: []string{"unhang"}, want: []finding{
				{"hosts", "prox", "error", "its sshd says nothing", "look at its console"}}},
			{name: "unattended-upgrades on a host", host: "saltierpoop", plant: "apt-get -qq update; apt-get -qq -y --no-install-recommends install unattended-upgrades >/dev/null", mend: "apt-get -qq -y purge unattended-upgrades >/dev/null", want: []finding{
				{"hosts", "saltierpoop", "warning", "unattended-upgrades patches it too", "on the host: apt-get remove unattended-upgrades"}}},
			{name: "another apt is at work on a host", host: "prox", fault: []string{"lock"}, undo: []string{"unlock"}, want: []finding{
				{"hosts", "prox", "warning", "another apt is at work: /var/lib/dpkg/lock-frontend is held by process", "a run waits patching_lock_timeout"}}},
			{name: "no node_exporter", plant: "systemctl -q stop prometheus-node-exporter", mend: "systemctl -q start prometheus-node-exporter", want: []finding{
				{"metrics", "", "warning", "no node_exporter runs here", "systemctl enable --now prometheus-node-exporter"}}},
			{name: "Discord's webhook is gone", plant: "cp -a " + env + " /root/env; sed -i 's/lab-3d89/lab-0000/' " + env, mend: "cp -a /root/env " + env, want: []finding{
				{"channels", "", "warning", "discord: the server answered 401", program + " notify test"}}},
		})
	}
	return batches
}

// look calls doctor, and returns what it found.
func look(t *testing.T, lab *e2e.Lab) (outcome, []finding) {
	t.Helper()
	out := run(t, lab, "doctor", "--json")
	var got struct {
		Errors   int
		Findings []finding
		OK       []finding
		Skipped  []struct{ Area, Reason string }
	}
	if err := json.Unmarshal([]byte(out.Stdout), &got); err != nil {
		t.Fatalf("doctor --json: exit code %d, %v\n%s", out.Code, err, out.words())
	}
	if code := min(got.Errors, 1); out.Code != code || got.Errors == 0 && (len(got.OK) < 15 || len(got.Skipped) > 0) {
		t.Errorf("exit code %d with %d errors, %d checks well, not looked at %v", out.Code, got.Errors, len(got.OK), got.Skipped)
	}
	return out, got.Findings
}

// wantFindings checks that each was found once, and nothing else.
func wantFindings(t *testing.T, got, want []finding) (words []string) {
	t.Helper()
	left := append([]finding{}, got...)
	for _, w := range want {
		found := -1
		for i, g := range left {
			if g.Area == w.Area && g.Host == w.Host && g.Severity == w.Severity && strings.Contains(g.Text, w.Text) && strings.Contains(g.Fix, w.Fix) {
				found = i
			}
		}
		if found < 0 {
			t.Errorf("not found: %+v", w)
			continue
		}
		words = append(words, fmt.Sprintf("%s; fix: %s", left[found].Text, left[found].Fix))
		left = append(left[:found], left[found+1:]...)
	}
	for _, g := range left {
		t.Errorf("found besides: %+v", g)
	}
	return words
}

// TestDoctor has a controller made by site.yml and all that hears of it. Nothing is wrong, doctor says so and changes
// nothing; then faults are planted, and each is found, with its fix, and nothing else. In the full suite each is alone.
func TestDoctor(t *testing.T) {
	lab := e2e.Up(t, e2e.Options{Hosts: "hosts-bare-watch.conf"})
	w := lab.StartWatch(soon)
	bare(t, lab)
	ev := e2e.Record(t, lab, "doctor", "What doctor finds, on a healthy fleet and with each fault planted")
	write(lab, controller, "/etc/ansible/hosts.yml", siteHosts(t, lab, "saltierpoop", "prox"))
	converge(t, lab, heardBy(w, `"HEARTBEAT_URL": "`+e2e.BeatURL+`"`)...).want(t, 0)
	lab.Exec(controller, "rm", "/root/.ssh/id_ed25519") // the admin's; the controller has its own now

	hashes := func() (all [4]string) {
		for i, host := range hosts {
			all[i] = lab.Hash(host, "/etc", "/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt")
		}
		all[3] = strings.Join(lab.Files(controller, "/var/lib", "/root", "/tmp"), "\n")
		return all
	}
	look(t, lab) // Ansible makes its folders
	before := hashes()
	w.Forget()
	out, found := look(t, lab)
	wantFindings(t, found, nil)
	ev.Call("a healthy fleet", out.Output, out.Took, fmt.Sprintf("%d findings", len(found)))
	if after := hashes(); after != before {
		t.Errorf("doctor changed something:\n%s\n\n%s", before, after)
	}
	if n := len(w.Discord()) + len(w.Ntfy()) + len(w.Requests("heartbeat")); n > 0 {
		t.Errorf("doctor sent %d messages", n)
	}
	people := run(t, lab, "doctor")
	ev.Lines("a healthy fleet, as a person sees it", strings.Split(strings.TrimSpace(people.Stdout), "\n")...)
	people.want(t, 0, nil, "nothing is wrong; it comes Sun ")

	for _, batch := range doctorFaults() {
		size := len(batch)
		if os.Getenv("E2E_FULL") == "1" {
			size = 1
		}
		for begin := 0; begin < len(batch); begin += size {
			plant(t, lab, ev, batch[begin:begin+size])
		}
	}
	if os.Getenv("E2E_FULL") == "1" {
		for _, batch := range doctorFaults()[:2] {
			mend := some(lab, batch)
			people := run(t, lab, "doctor")
			mend()
			ev.Lines(fmt.Sprintf("%d faults at once, as a person sees them", len(batch)), strings.Split(strings.TrimSpace(people.Stdout), "\n")...)
		}
	}
	_, found = look(t, lab)
	wantFindings(t, found, nil)
}

// some plants faults, and returns what mends them.
func some(lab *e2e.Lab, faults []trouble) (mend func()) {
	do := func(f trouble, script string, args []string) {
		host := f.host
		if host == "" {
			host = controller
		}
		if len(args) > 0 {
			lab.Fault(args[0], host, args[1:]...)
			return
		}
		lab.Shell(host, script)
	}
	for _, f := range faults {
		do(f, f.plant, f.fault)
	}
	return func() {
		for _, f := range slices.Backward(faults) {
			do(f, f.mend, f.undo)
		}
	}
}

// plant plants faults, looks, and mends them.
func plant(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence, faults []trouble) {
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	t.Run(strings.Join(names, ", "), func(t *testing.T) {
		lab := lab.For(t)
		mend := some(lab, faults)
		began := time.Now()
		out, found := look(t, lab)
		var want []finding
		for _, f := range faults {
			want = append(want, f.want...)
		}
		words := wantFindings(t, found, want)
		if len(faults) == 1 {
			ev.Call(faults[0].name, out.Output, time.Since(began), strings.Join(words, "\n"))
		}
		mend()
	})
}
