//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// A bad upgrade is undone on one host, and where that cannot be done it is refused before anything is touched.
func TestRollback(t *testing.T) {
	onFull(t, e2e.Options{}, "rollback", "A bad upgrade undone", func(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
		const host = "prox"
		shop := newShop(t, lab, host)
		before := versions(lab, host)

		// The new version's service does not come up; an update of lab-broken cannot even be configured.
		shop.offer("2.0-1")
		lab.Fault("broken", host)
		bad := run(t, lab, "run", "--limit", host)
		ev.Call("a bad upgrade: `run --limit prox`", bad.Output, bad.Took, said(bad))
		bad.want(t, 3, []string{"prox failed"}, "package lab-broken failed")
		if audit := lab.Exec(host, "dpkg", "--audit"); !strings.Contains(audit, "lab-broken") {
			t.Fatalf("dpkg --audit after the bad upgrade:\n%s", audit)
		}
		if lab.Version(host, "shop-app") == "1.0-1" {
			t.Fatal("shop-app was not upgraded")
		}
		ev.Lines("`dpkg --audit` after it", strings.Split(strings.TrimSpace(lab.Exec(host, "dpkg", "--audit")), "\n")...)
		kept := strings.Fields(lab.Shell(host, "ls /var/lib/homelab-patch/replaced/"+bad.Report.ID))
		if want := []string{"shop-app_1.0-1_all.deb", "shop-lib_1%3a1.0-1_all.deb"}; !slices.Equal(kept, want) {
			t.Errorf("kept are %q, want %q", kept, want)
		}

		// Looking and refusing touch nothing.
		lab.Exec(host, "mkdir", "-p", "/etc/homelab")
		same := untouched(lab, host)
		look := run(t, lab, "rollback", "latest", host, "--check")
		ev.Call("`rollback latest prox --check`", look.Output, look.Took, "")
		ev.Lines("what it shows", strings.Split(strings.TrimSpace(look.Stdout), "\n")...)
		look.want(t, 0, nil, "shop-app", "1:1.0-1", "kept on the host", "from the archive", "shop-new", "(removed)")
		no := run(t, lab, "rollback", bad.Report.ID, host)
		ev.Call("the same without `--check`, and nobody at a terminal", no.Output, no.Took, said(no))
		no.want(t, 2, nil, "nobody is there to be asked: add --yes")
		for args, words := range map[string]string{
			"latest infra-services":                 "not in run",
			"latest proxx":                          "did you mean prox?",
			"20200101 prox":                         "there is no run 20200101",
			"latest prox --yes --package shop-appp": "did you mean shop-app?",
		} {
			run(t, lab, append([]string{"rollback"}, strings.Fields(args)...)...).want(t, 2, nil, words)
		}
		write(lab, host, "/etc/homelab/MAINTENANCE", "guests are being moved\n")
		held := run(t, lab, "rollback", "latest", host, "--yes")
		ev.Call("the host has a MAINTENANCE file", held.Output, held.Took, said(held))
		held.want(t, 6, nil, "guests are being moved")
		lab.Exec(host, "rm", "/etc/homelab/MAINTENANCE")
		lab.Exec(controller, program, "hold", "set", "--host", host, "--reason", "mine")
		run(t, lab, "rollback", "latest", host, "--yes").want(t, 6, nil, "mine")
		lab.Exec(controller, program, "hold", "clear", "--host", host)
		same(t)

		back := run(t, lab, "rollback", "latest", host, "--yes")
		ev.Call("`rollback latest prox --yes`", back.Output, back.Took, said(back))
		ev.Lines("what it prints", strings.Split(strings.TrimSpace(back.Stdout), "\n")...)
		back.want(t, 0, []string{"prox patched"}, "undid run "+bad.Report.ID, "patching_exclude: [")
		if back.Report.Kind != "rollback" {
			t.Errorf("kind %q", back.Report.Kind)
		}
		wantBefore(t, lab, host, before)
		ev.Lines("versions on the host before the upgrade, and after the rollback, of "+fmt.Sprint(len(before))+" packages", slices.DeleteFunc(versions(lab, host), func(v string) bool {
			return !regexp.MustCompile("^ *(lab|shop|linux)-").MatchString(v)
		})...)
		ev.Lines("`dpkg --audit`, and the service", "(nothing)", lab.Exec(host, "systemctl", "is-active", "shop"))
		// It speaks for nobody: the failure stands, and no success is claimed.
		wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 3, "last_success_unixtime": 0, "running": 0})
		wantMetrics(t, lab, host, "patch.prom", map[string]float64{"last_success_unixtime": 0})
		again := run(t, lab, "rollback", bad.Report.ID, host, "--yes")
		ev.Call("the same again", again.Output, again.Took, said(again))
		again.want(t, 0, nil, "nothing to do")
		run(t, lab, "retry", back.Report.ID).want(t, 2, nil, "was a rollback")
		run(t, lab, "rollback", back.Report.ID, host).want(t, 2, nil, "was a rollback itself")
		run(t, lab, "resume").want(t, 2, nil, bad.Report.ID+" (halted) has no host left") // of the run, not of the rollback
		lab.Fault("unbroken", host)
		shop.offer("3.0-1")

		refusals(t, lab, ev, shop)
		t.Run("by dpkg-repack", func(t *testing.T) { repacked(t, lab.For(t), ev) })
	})
}

// repacked has what is not in apt's cache kept by dpkg-repack, which is Debian's own and of the machine that tests: the
// host is of the same Debian.
func repacked(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	const host = "saltierpoop"
	dir := t.TempDir()
	get := exec.Command("apt-get", "-o", "APT::Sandbox::User=root", "download", "dpkg-repack", "libdpkg-perl")
	get.Dir = dir
	if out, err := get.CombinedOutput(); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatalf("no dpkg-repack: %v\n%s", err, out)
		}
		t.Skipf("no dpkg-repack: %v\n%s", err, out)
	}
	lab.Push(host, dir, "/root/debs")
	lab.Shell(host, "dpkg -i /root/debs/*.deb >/dev/null")
	before := versions(lab, host)
	out := run(t, lab, "run", "--limit", host)
	out.want(t, 0, []string{"saltierpoop patched"})
	kept := strings.Fields(lab.Shell(host, "ls /var/lib/homelab-patch/replaced/"+out.Report.ID))
	ev.Lines("kept by dpkg-repack", kept...)
	if want := []string{"lab-app_1.0-1_all.deb", "lab-conf_1.0-1_all.deb", "lab-sec_1.0-1_all.deb", "linux-image-lab-amd64_1.0_all.deb"}; !slices.Equal(kept, want) {
		t.Errorf("kept are %q, want %q", kept, want)
	}
	back := run(t, lab, "rollback", out.Report.ID, host, "--yes")
	ev.Call("back to what dpkg-repack has made", back.Output, back.Took, said(back))
	back.want(t, 0, []string{"saltierpoop patched"}, "kept on the host")
	if now := versions(lab, host); !slices.Equal(now, before) {
		t.Errorf("%s is not as it was:\n%s", host, strings.Join(difference(before, now), "\n"))
	}
}

// refusals are the ways in which it cannot be done.
func refusals(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence, shop *shop) {
	host := shop.host
	out := run(t, lab, "run", "--limit", host)
	out.want(t, 0, []string{"prox patched"})
	id := out.Report.ID
	refused := func(what string, code int, words string, more ...string) {
		t.Helper()
		same := untouched(lab, host)
		r := run(t, lab, append([]string{"rollback", id, host, "--yes"}, more...)...)
		ev.Call(what, r.Output, r.Took, said(r))
		var outcomes []string
		if code == 1 {
			outcomes = []string{"prox failed"}
		}
		r.want(t, code, outcomes, words)
		same(t)
	}
	lab.Exec(host, "apt-mark", "hold", "shop-lib")
	refused("a package is held", 2, "shop-lib is on hold: apt-mark unhold shop-lib")
	lab.Exec(host, "apt-mark", "unhold", "shop-lib")

	shop.install("shop-user", "1.0-1", "Depends: shop-lib (>= 1:3.0)")
	refused("something installed since needs the new version", 2, "shop-user would be removed: what is installed there needs what the run brought")
	lab.Exec(host, "dpkg", "-P", "shop-user")

	folder := "/var/lib/homelab-patch/replaced/" + id
	lab.Shell(host, "cp -a "+folder+" /root/kept; for f in "+folder+"/shop-app*; do rm $f; cp /root/kept/${f##*/} $f; printf ruined | dd of=$f bs=1 seek=$(($(stat -c %s $f) - 100)) conv=notrunc status=none; done")
	refused("a .deb that is kept is damaged", 1, "is damaged: nothing was changed")

	lab.Shell(host, "mv /var/lib/homelab-patch/replaced /root/all && apt-get clean")
	refused("no .deb of the old version is left", 2, "there is no .deb of shop-app 1.0-1")
	lab.Shell(host, "mv /root/all /var/lib/homelab-patch/replaced && rm -r "+folder+" && mv /root/kept "+folder)

	shop.install("shop-lib", "1:3.1-1")
	refused("somebody has changed a package since", 2, "shop-lib is 1:3.1-1 now: neither what the run made of it (1:3.0-1) nor what it was before (1:1.0-1)")

	// The others can still go back, by name.
	one := run(t, lab, "rollback", id, host, "--package", "shop-app", "--yes")
	ev.Call("`--package shop-app`", one.Output, one.Took, said(one))
	one.want(t, 0, []string{"prox patched"})
	for name, want := range map[string]string{"shop-app": "1.0-1", "shop-lib": "1:3.1-1", "lab-app": "2.0-1"} {
		if got := lab.Version(host, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// wantBefore wants all packages of the host at their versions, and dpkg and the service in order.
func wantBefore(t *testing.T, lab *e2e.Lab, host string, before []string) {
	t.Helper()
	if now := versions(lab, host); !slices.Equal(now, before) {
		t.Errorf("%s is not as it was:\n%s", host, strings.Join(difference(before, now), "\n"))
	}
	if audit := lab.Exec(host, "dpkg", "--audit"); audit != "" {
		t.Errorf("dpkg --audit of %s:\n%s", host, audit)
	}
	if out := lab.Run(t.Context(), host, "systemctl", "is-active", "shop"); out.Code != 0 {
		t.Errorf("the service is %s", out.Stdout)
	}
}

// versions lists what is installed.
func versions(lab *e2e.Lab, host string) []string {
	out := lab.Shell(host, `dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' | grep '^.i'`)
	return strings.Split(strings.TrimSpace(regexp.MustCompile(`(?m)^(..) `).ReplaceAllString(out, "")), "\n")
}

// shop is a source of a third party on one host, with a service in it. Old versions are not offered any more.
type shop struct {
	t    *testing.T
	lab  *e2e.Lab
	host string
}

// newShop installs version 1.0-1 of it, by apt from the source: the .debs are in apt's cache then.
func newShop(t *testing.T, lab *e2e.Lab, host string) *shop {
	s := &shop{t, lab, host}
	write(lab, host, "/etc/apt/sources.list.d/shop.list", "deb [trusted=yes] copy:/srv/shop ./\n")
	s.offer("1.0-1")
	lab.Shell(host, "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install shop-app >/dev/null && systemctl is-active shop")
	return s
}

// offer has the source offer this version alone. That of 2.0-1 has a service that fails, and needs a package more.
func (s *shop) offer(version string) {
	s.t.Helper()
	dir := s.t.TempDir()
	start, needs := "true", "shop-lib"
	if version == "2.0-1" {
		start, needs = "false", "shop-lib, shop-new"
		s.build(dir, "shop-new", version, "", "")
	}
	s.build(dir, "shop-lib", "1:"+version, "", "")
	s.build(dir, "shop-app", version, "Depends: "+needs, "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/"+start+"\n")
	index := exec.Command("apt-ftparchive", "packages", ".")
	index.Dir = dir
	list, err := index.Output()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Packages"), list, 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.lab.Exec(s.host, "rm", "-rf", "/srv/shop")
	s.lab.Push(s.host, dir, "/srv/shop")
	s.lab.Exec(s.host, "chmod", "755", "/srv/shop")
}

// install installs a package by hand, as somebody would.
func (s *shop) install(name, version string, fields ...string) {
	s.t.Helper()
	dir := s.t.TempDir()
	path := s.build(dir, name, version, strings.Join(fields, "\n"), "")
	s.lab.Push(s.host, path, "/root/new.deb")
	s.lab.Exec(s.host, "dpkg", "-i", "/root/new.deb")
}

// build makes a .deb; unit, if it is not empty, becomes shop.service, which is started anew.
func (s *shop) build(dir, name, version, fields, unit string) string {
	s.t.Helper()
	tree := s.t.TempDir()
	files := map[string]string{
		"DEBIAN/control": fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: shop <shop@lab.invalid>\nDescription: made up\n", name, version) + fields,
	}
	if !strings.HasSuffix(files["DEBIAN/control"], "\n") {
		files["DEBIAN/control"] += "\n"
	}
	if unit != "" {
		files["lib/systemd/system/shop.service"] = unit
		files["DEBIAN/postinst"] = "#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl restart shop || true\n"
	}
	for file, text := range files {
		path := filepath.Join(tree, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	deb := filepath.Join(dir, fmt.Sprintf("%s_%s_all.deb", name, strings.ReplaceAll(version, ":", "%3a")))
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", tree, deb).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return deb
}
