//go:build e2e && e2efull

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// packaged is where the package has its Ansible content.
const packaged = "/usr/share/" + program + "/ansible"

// ownProgram is the line of siteHosts that names a program of one's own.
const ownProgram = "    patch_controller_binary: /root/program\n"

var (
	packagedUnits = []string{"homelab-patch-orchestrate.timer", "homelab-patch-orchestrate.service", "homelab-patch-orchestrate-resume.service",
		"homelab-patch-notify.timer", "homelab-patch-notify.service"}
	enabledUnits = []string{"homelab-patch-orchestrate.timer", "homelab-patch-orchestrate-resume.service", "homelab-patch-notify.timer"}
)

// apt calls apt-get on the controller as `apt install ./FILE` does.
func apt(t *testing.T, lab *e2e.Lab, args ...string) e2e.Output {
	t.Helper()
	return lab.Run(t.Context(), controller, append([]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "--no-install-recommends"}, args...)...)
}

func mustApt(t *testing.T, lab *e2e.Lab, args ...string) {
	t.Helper()
	if out := apt(t, lab, args...); out.Code != 0 {
		t.Fatalf("apt-get %s: exit code %d\n%s%s", strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
}

// wantUnits checks what systemd says of units, asked by a verb.
func wantUnits(t *testing.T, lab *e2e.Lab, verb string, units []string, want ...string) {
	t.Helper()
	got := strings.Fields(lab.Run(t.Context(), controller, append([]string{"systemctl", verb}, units...)...).Stdout)
	if !slices.Equal(got, want) {
		t.Errorf("systemctl %s %s: %q, want %q", verb, strings.Join(units, " "), got, want)
	}
}

// wantPackaged checks that the package's program and units are the only ones.
func wantPackaged(t *testing.T, lab *e2e.Lab, version string) {
	t.Helper()
	if got := lab.Exec(controller, "sh", "-c", "command -v "+program); got != "/usr/bin/"+program+"\n" {
		t.Errorf("the program is %s", got)
	}
	if got := lab.Exec(controller, program, "version"); got != program+" "+version+"\n" {
		t.Errorf("it is %swant %s", got, version)
	}
	wantPackagedUnits(t, lab)
	if left := lab.Exec(controller, "sh", "-c", "ls -d /usr/local/bin/* /etc/systemd/system/homelab-patch-orchestrate* /etc/systemd/system/homelab-patch-notify* 2>/dev/null || true"); left != "" {
		t.Errorf("besides the package: %s", left)
	}
	if dangling := lab.Exec(controller, "find", "/etc/systemd/system", "-xtype", "l"); dangling != "" {
		t.Errorf("links to nothing: %s", dangling)
	}
}

// wantPackagedUnits checks that systemd reads the package's units.
func wantPackagedUnits(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	for _, unit := range packagedUnits {
		if got := lab.Exec(controller, "systemctl", "show", "-P", "FragmentPath", unit); strings.TrimPrefix(got, "/usr") != "/lib/systemd/system/"+unit+"\n" {
			t.Errorf("%s is %s", unit, got)
		}
	}
}

// TestPackage lives the life of the package on a host that has nothing but Debian, with a run that upgrades the package
// it is from.
func TestPackage(t *testing.T) {
	old, oldVersion := buildDeb(t)
	newer, newVersion := buildDeb(t, "-version", oldVersion+"+1")
	for _, g := range []struct{ debian, hosts, suffix string }{
		{"bookworm", "hosts-bare.conf", ""},
		{"trixie", "hosts-bare-trixie.conf", "-trixie"},
	} {
		t.Run(g.debian, func(t *testing.T) {
			lab := e2e.Up(t, e2e.Options{Hosts: g.hosts})
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(unitsSaid(lab), lab.Exec(controller, "systemctl", "--failed", "--no-legend"))
				}
			})
			keepJournals(lab, controller)
			lab.Exec(controller, "apt-get", "-qq", "update")
			lab.Push(controller, old, "/root/old.deb")
			lab.Push(controller, newer, "/root/newer.deb")
			lab.Push(controller, filepath.Join(lab.Dir(), "key"), "/root/.ssh/id_ed25519") // an admin's, for the first time
			inventory := siteHosts(t, lab, "saltierpoop", "prox")
			write(lab, controller, "/etc/ansible/hosts.yml", strings.Replace(inventory, ownProgram, "", 1))

			installed(t, lab, oldVersion)
			ev := e2e.Record(t, lab, "package"+g.suffix, "The Debian package, on a bare "+g.debian+" controller") // which has Ansible now
			convergedByPackage(t, lab, oldVersion)
			upgradesItself(t, lab, ev, newer, oldVersion, newVersion)
			removedUnderARun(t, lab, ev)
			takesOver(t, lab, inventory, newVersion)
		})
	}
}

// installed: nothing is enabled or started by installing it, and what it depends on comes with it.
func installed(t *testing.T, lab *e2e.Lab, version string) {
	mustApt(t, lab, "install", "/root/old.deb")
	if got := lab.Version(controller, program); got != version {
		t.Fatalf("version %q of the package is installed", got)
	}
	wantUnits(t, lab, "is-enabled", packagedUnits, "disabled", "static", "disabled", "disabled", "static")
	wantUnits(t, lab, "is-active", packagedUnits, "inactive", "inactive", "inactive", "inactive", "inactive")
	if out := lab.Run(t.Context(), controller, "sh", "-c", "systemd-analyze verify --man=no "+strings.Join(packagedUnits, " ")); out.Code != 0 || out.Stdout+out.Stderr != "" {
		t.Errorf("systemd-analyze verify: %s%s", out.Stdout, out.Stderr)
	}
	if got := lab.Exec(controller, "dpkg-query", "-W", "-f", "${Conffiles}", program); !strings.HasPrefix(got, " /etc/homelab/patch-orchestrate.yaml ") || len(strings.Fields(got)) != 2 {
		t.Errorf("conffiles: %q", got)
	}
	wantPackaged(t, lab, version)
	lab.Exec(controller, "ansible-playbook", "--version")
	if got := lab.Run(t.Context(), controller, "dpkg", "--verify", program); got.Code != 0 { // what the lab leaves out is man pages and docs
		for line := range strings.Lines(got.Stdout) {
			if !strings.Contains(line, "/usr/share/man/") && !strings.Contains(line, "/usr/share/doc/") {
				t.Errorf("dpkg --verify: %s", line)
			}
		}
	}
}

// convergedByPackage: site.yml out of the package makes the controller, with nothing beside it.
func convergedByPackage(t *testing.T, lab *e2e.Lab, version string) {
	convergeIn(t, lab, packaged, "--check", "--diff").want(t, 0)
	convergeIn(t, lab, packaged).want(t, 0)
	wantPackaged(t, lab, version)
	wantUnits(t, lab, "is-enabled", enabledUnits, "enabled", "enabled", "enabled")
	wantUnits(t, lab, "is-active", enabledUnits, "active", "inactive", "active")
	convergeIn(t, lab, packaged).unchanged(t, controller, "prox", "saltierpoop")
}

// upgradesItself: a run in its service upgrades the package that the run is from, and a kernel, after which it reboots
// its controller. The new program ends the run.
func upgradesItself(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence, newer, oldVersion, newVersion string) {
	offer := t.TempDir()
	deb, err := os.ReadFile(newer)
	if err == nil {
		err = os.WriteFile(filepath.Join(offer, "newer.deb"), deb, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	index := exec.Command("apt-ftparchive", "packages", ".")
	index.Dir = offer
	packages, err := index.Output()
	if err == nil {
		err = os.WriteFile(filepath.Join(offer, "Packages"), packages, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	lab.Push(controller, offer, "/srv/offer")
	lab.Exec(controller, "chmod", "755", "/srv/offer")
	write(lab, controller, "/etc/apt/sources.list.d/ours.list", "deb [trusted=yes] file:/srv/offer ./\n")

	began := time.Now()
	lab.Exec(controller, "systemctl", "start", "--no-block", "homelab-patch-orchestrate.service")
	r := ended(t, lab, 1, 8*time.Minute)
	out := r.outcome()
	ev.Call("the service, with a newer package of ours on offer", out.Output, time.Since(began), r.State+": "+r.Reason)
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	if r.State != "passed" {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	p := out.host(t, controller).Patch
	change := ""
	for _, k := range p.Packages {
		if k.Name == program {
			change = k.From + " -> " + k.To
		}
	}
	if change != oldVersion+" -> "+newVersion {
		t.Errorf("the report says of our package: %q", change)
	}
	if !p.Rebooted || lab.Boots(controller) != 2 {
		t.Errorf("the controller was not rebooted: %d boots", lab.Boots(controller))
	}
	// the preflight, in the sandbox of the service, planned with lists that are newer than the host's own
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, program+" "+change) {
		t.Errorf("nobody was told before: %s", notes)
	}
	ev.Lines("packages of the controller", p.names()...)
	ev.Lines("notes of the run", r.Notes...)
	wantPackaged(t, lab, newVersion)
	wantUnits(t, lab, "is-enabled", enabledUnits, "enabled", "enabled", "enabled")

	next := run(t, lab, "run")
	ev.Call("the next run, by the new program", next.Output, next.Took, last(next.Stdout))
	next.want(t, 0, []string{"saltierpoop unchanged", "prox unchanged", "infra-services unchanged"})
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0, `build_info{version="` + newVersion + `"}`: 1})
}

// removedUnderARun: a run goes on when its package is removed, and keeps its reports. They are purged when it has ended.
func removedUnderARun(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	settings := lab.Exec(controller, "cat", "/etc/homelab/patch-orchestrate.yaml")
	secrets := lab.Hash(controller, "/etc/homelab/patch-controller", "/etc/homelab/patching-notify.env")
	before := runs(lab)
	lab.Fault("slow", "prox", "40")
	c := start(t, lab, "run", "--wave", "1")
	c.running(t)
	mustApt(t, lab, "remove", program)
	wantUnits(t, lab, "is-active", enabledUnits[:1], "inactive")
	if lab.Run(t.Context(), controller, "which", program).Code == 0 {
		t.Error("removed, the program is still there")
	}
	if got := lab.Exec(controller, "cat", "/etc/homelab/patch-orchestrate.yaml"); got != settings {
		t.Errorf("removed, the settings are %s", got)
	}
	refused := apt(t, lab, "purge", program)
	if said := refused.Stdout + refused.Stderr; refused.Code == 0 || !strings.Contains(said, "a run is under way") {
		t.Errorf("purged under a run: exit code %d\n%s", refused.Code, said)
	}
	out := c.wait(t)
	ev.Call("a run whose package is removed meanwhile", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"prox patched"})
	if got := runs(lab); len(got) != len(before)+1 {
		t.Errorf("removed, its reports are %q", got)
	}

	mustApt(t, lab, "purge", program)
	for _, gone := range []string{stateDir, "/etc/homelab/patch-orchestrate.yaml", textfiles + "/patch_orchestrate.prom", "/usr/share/" + program} {
		if lab.Run(t.Context(), controller, "test", "-e", gone).Code == 0 {
			t.Errorf("purged, %s is still there", gone)
		}
	}
	if dangling := lab.Exec(controller, "find", "/etc/systemd/system", "-xtype", "l"); dangling != "" {
		t.Errorf("purged, these links lead to nothing: %s", dangling)
	}
	if lab.Hash(controller, "/etc/homelab/patch-controller", "/etc/homelab/patching-notify.env") != secrets {
		t.Error("purged, what the role wrote is gone or changed: keys and channels are not the package's")
	}
}

// takesOver: a controller that was made with a program of one's own gets the package. Two programs are refused, then the
// package's alone is there.
func takesOver(t *testing.T, lab *e2e.Lab, inventory, version string) {
	lab.Push(controller, filepath.Join("..", "ansible"), "/root/ansible")
	converge(t, lab).want(t, 2, "homelab-patch-orchestrate is not installed here: apt install ./homelab-patch-orchestrate_*.deb")
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	lab.Push(controller, path, "/root/program")
	write(lab, controller, "/etc/ansible/hosts.yml", inventory)
	converge(t, lab).want(t, 0)
	wantUnits(t, lab, "is-enabled", enabledUnits, "enabled", "enabled", "enabled")

	// the settings are there, and dpkg asks about them: yours stay
	mustApt(t, lab, "install", "-o", "Dpkg::Options::=--force-confold", "/root/newer.deb")
	before := lab.Hash(controller, "/etc", "/usr/local")
	converge(t, lab).want(t, 2, "patch_controller_binary names a program besides", "apt-get remove "+program)
	if lab.Hash(controller, "/etc", "/usr/local") != before {
		t.Error("two programs were refused, and something was changed")
	}
	write(lab, controller, "/etc/ansible/hosts.yml", strings.Replace(inventory, ownProgram, "", 1))
	convergeIn(t, lab, packaged).want(t, 0)
	wantPackaged(t, lab, version)
	wantUnits(t, lab, "is-enabled", enabledUnits, "enabled", "enabled", "enabled")
	wantUnits(t, lab, "is-active", enabledUnits, "active", "inactive", "active")
	convergeIn(t, lab, packaged).unchanged(t, controller)
}
