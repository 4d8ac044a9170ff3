//go:build e2e && e2efull

package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// dpkg is killed in the middle of configuring a package, with all of the upgrade, and the orchestrator was stopped. The
// next run says what `dpkg --audit` finds, and mends it once it can be mended.
func TestDpkgCut(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "dpkg", "dpkg killed in mid-configuration")
	lab.Fault("slow", "saltierpoop", "3600")

	c := start(t, lab, "run")
	busy(t, lab, "saltierpoop")
	c.signal(t, "TERM")
	out := c.wait(t)
	out.want(t, 143, []string{"saltierpoop interrupted", "prox not-attempted", "infra-services not-attempted"})
	ev.Call("SIGTERM in mid-upgrade; then all of the upgrade on saltierpoop killed", out.Output, out.Took, said(out))
	lab.Exec("saltierpoop", "systemctl", "kill", "--signal=KILL", "--kill-whom=all", "homelab-patch")
	audit := lab.Exec("saltierpoop", "dpkg", "--audit")
	if !strings.Contains(audit, "lab-slow") {
		t.Fatalf("nothing is wrong with dpkg: %q", audit)
	}
	ev.Lines("dpkg --audit of saltierpoop", strings.Split(strings.TrimSpace(audit), "\n")...)

	lab.Exec("saltierpoop", "sh", "-c", "echo never >/var/lib/lab/slow") // its postinst fails now
	out = run(t, lab, "run")
	ev.Call("the next run, while lab-slow cannot be configured", out.Output, out.Took, said(out))
	out.want(t, 3, []string{"saltierpoop failed", "prox not-attempted", "infra-services not-attempted"},
		"dpkg is not in order and `dpkg --configure -a` does not mend it: package lab-slow fails: repair it by hand")
	if p := out.host(t, "saltierpoop").Patch; !strings.Contains(p.DpkgAudit, "lab-slow") || p.Failure == nil || p.Failure.Phase != "dpkg" || !p.Reattached {
		t.Errorf("saltierpoop: %+v, failure %+v", p, p.Failure)
	}

	lab.Exec("saltierpoop", "sh", "-c", "echo 0 >/var/lib/lab/slow")
	out = run(t, lab, "run")
	p := out.host(t, "saltierpoop").Patch
	ev.Call("the run after that, when it can", out.Output, out.Took, strings.Join(append([]string{last(out.Stdout)}, p.Warnings...), "\n"))
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	if !slices.Contains(p.Warnings, "dpkg was interrupted earlier; `dpkg --configure -a` has mended it") || p.DpkgAudit != "" {
		t.Errorf("saltierpoop: %+v", p)
	}
	if audit := lab.Exec("saltierpoop", "dpkg", "--audit"); audit != "" || lab.Version("saltierpoop", "lab-slow") != "2.0-1" {
		t.Errorf("saltierpoop: lab-slow %q, dpkg --audit: %q", lab.Version("saltierpoop", "lab-slow"), audit)
	}
	wantQuiet(t, lab)
}
