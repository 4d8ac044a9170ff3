//go:build e2e && e2efull

package e2e_test

import (
	"encoding/json"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// TestDoctorUser looks from a controller whose weekly run is another user's than root, and says what it cannot see as root.
func TestDoctorUser(t *testing.T) {
	lab := e2e.Up(t, e2e.Options{Hosts: "hosts-trixie.conf"})
	pushSite(t, lab)
	lab.Exec(controller, "rm", "-rf", "/etc/ansible/hosts.yml", "/etc/ansible/group_vars", "/etc/ansible/host_vars")
	write(lab, controller, "/etc/ansible/hosts.yml", siteHosts(t, lab, "saltierpoop", "prox"))
	write(lab, controller, "/etc/ansible/group_vars/patch_controller.yml", "patch_controller_user: "+patchUser+"\n")
	converge(t, lab).want(t, 0)
	// Nothing of what hears of a run is there.
	want := []finding{
		{"channels", "", "warning", "the name ntfy cannot be resolved", "notify test"},
		{"metrics", "", "warning", "no node_exporter runs here", "systemctl enable --now prometheus-node-exporter"},
	}
	out := lab.Run(t.Context(), controller, "sudo", "-H", "-u", patchUser, program, "doctor", "--json")
	var got struct{ Findings, OK []finding }
	if err := json.Unmarshal([]byte(out.Stdout), &got); err != nil || out.Code != 0 {
		t.Fatalf("exit code %d, %v: %s%s", out.Code, err, out.Stdout, out.Stderr)
	}
	wantFindings(t, got.Findings, want)
	reached := 0
	for _, c := range got.OK {
		if c.Area == "hosts" {
			reached++
		}
	}
	if reached != len(hosts) {
		t.Errorf("%d hosts are well, want %d: %+v", reached, len(hosts), got.OK)
	}
	_, found := look(t, lab)
	wantFindings(t, found, append(want, finding{"units", "", "warning", "the weekly run is " + patchUser + "'s", "sudo -H -u " + patchUser + " " + program + " doctor"}))
}
