//go:build e2e && e2efull

package e2e_test

import (
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// TestFromBare is the weekly run of a controller that had nothing but Debian: site.yml made it one.
func TestFromBare(t *testing.T) {
	lab := e2e.Up(t, e2e.Options{Hosts: "hosts-bare-watch.conf"})
	w := lab.StartWatch(soon)
	bare(t, lab)
	ev := e2e.Record(t, lab, "bare", "The weekly run of a controller that site.yml has made of a bare host")
	write(lab, controller, "/etc/ansible/hosts.yml", siteHosts(t, lab, "saltierpoop", "prox"))
	began := time.Now()
	made := converge(t, lab, heardBy(w)...)
	made.want(t, 0)
	ev.Call("`ansible-playbook site.yml`", made.Output, time.Since(began), "changed on "+controller+": "+made.changed(t, controller))
	lab.Exec(controller, "rm", "/root/.ssh/id_ed25519") // the admin's; the controller has its own now
	keepJournals(lab, controller)
	weeks(t, lab, w, ev)
}
