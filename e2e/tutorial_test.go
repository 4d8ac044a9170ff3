//go:build e2e

package e2e_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// TestTutorial works through docs/tutorial.md on a fresh Debian 12: whatever is done is a line of that page.
func TestTutorial(t *testing.T) {
	deb, _ := buildDeb(t)
	lab := e2e.Up(t, e2e.Options{Hosts: "hosts-bare.conf"})
	page := e2e.OpenPage(t, "tutorial.md")
	ev := e2e.Record(t, lab, "tutorial", "docs/tutorial.md, worked through on a fresh Debian 12")
	lab.Push(controller, deb, "/root/"+filepath.Base(deb))
	do := func(heading string, wants ...string) {
		t.Helper()
		began := time.Now()
		out := lab.Run(t.Context(), controller, "bash", "-euc", "cd; "+page.Script(heading))
		if out.Code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", heading, out.Code, out.Stdout, out.Stderr)
		}
		t.Logf("%s\n%s", heading, out.Stdout)
		ev.Call(heading, out, time.Since(began), last(out.Stdout))
		for _, want := range wants {
			if !regexp.MustCompile(want).MatchString(out.Stdout + out.Stderr) {
				t.Errorf("%s: nothing of %q in\n%s%s", heading, want, out.Stdout, out.Stderr)
			}
		}
	}
	packages := func() string { return lab.Exec(controller, "dpkg-query", "-W") }

	do("1. Install")
	before := packages()
	do("2. A fleet of one", `1 +here +local +the controller, last`)
	do("3. Look, and change nothing", `here +unchanged`, `lab-app`)
	if now := packages(); now != before {
		t.Error("a dry run changed packages")
	}
	do("4. Patch", `here +patched`, `nothing to do on 1 host`)
	if now := packages(); now == before {
		t.Error("a run changed no package")
	}
	do("5. A host that is down", `ghost +unreachable`, `here +not-attempted`, `exit code 3`)
	do("6. What happened", `halted`, `report\.html`)
	do("7. Not tonight", `exit code 6`)
	do("8. Away with it")
	left := lab.Shell(controller, "ls -d /etc/ansible/* /etc/homelab /var/lib/homelab-patch-orchestrate 2>/dev/null || true")
	if strings.TrimSpace(left) != "" {
		t.Errorf("left behind: %s", left)
	}
}
