//go:build e2e

package e2e_test

import (
	"slices"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// withSlow is updates when a host is also offered the update that takes its time.
func withSlow() []string {
	names := append([]string{"lab-slow"}, updates...)
	slices.Sort(names)
	return names
}

// A link that is down for a minute in mid-upgrade interrupts nothing.
func TestLinkDown(t *testing.T) {
	onFull(t, e2e.Options{}, "link", "A lost link in mid-upgrade", linkDown)
}

func linkDown(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	lab.Fault("slow", "saltierpoop", "40")

	c := start(t, lab, "run")
	busy(t, lab, "saltierpoop")
	lab.Fault("link-down", "saltierpoop")
	<-time.After(time.Minute) // the fault itself, not a wait for something
	if lab.Version("saltierpoop", "lab-slow") != "2.0-1" {
		t.Error("the upgrade did not go on without the link")
	}
	lab.Fault("link-up", "saltierpoop")
	out := c.wait(t)
	ev.Call("link of saltierpoop down for 60 s", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	if got := out.host(t, "saltierpoop").Patch; got == nil || !slices.Equal(got.names(), withSlow()) || !got.Rebooted {
		t.Errorf("saltierpoop: %+v, want the packages %v and a reboot", got, withSlow())
	}
	wantOnce(t, lab, "saltierpoop", ev)
	wantQuiet(t, lab)
}

// wantOnce checks that a host made all updates in one transaction.
func wantOnce(t *testing.T, lab *e2e.Lab, host string, ev *e2e.Evidence) {
	t.Helper()
	log := changes(lab, host)
	ev.Lines("dpkg.log of "+host, log...)
	if n := transactions(lab, host); n != 1 {
		t.Errorf("%s: %d transactions of apt, want 1", host, n)
	}
	want := []string{
		"upgrade lab-app:all 1.0-1 2.0-1", "upgrade lab-conf:all 1.0-1 2.0-1", "upgrade lab-sec:all 1.0-1 1.0-1+deb12u1",
		"upgrade lab-slow:all 1.0-1 2.0-1", "install linux-image-6.1.0-41-lab-amd64:all <none> 6.1.0-41-1",
		"upgrade linux-image-lab-amd64:all 1.0 1.1",
	}
	slices.Sort(want)
	slices.Sort(log)
	if !slices.Equal(log, want) {
		t.Errorf("%s: dpkg.log has\n%q, want\n%q", host, log, want)
	}
}
