//go:build e2e

package e2e_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// A project that was there before us, in testdata/foreign: own playbook, role, ansible.cfg, stdout callback and record.
func TestForeignPlaybook(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "foreign", "An operator's own project")
	lab.Push(controller, "testdata/foreign", "/srv/patching")

	out := run(t, lab, "run", "--project", "/srv/patching")
	ev.Call("`run --project /srv/patching`", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"}, "3 patched")
	for i, name := range hosts {
		if got := lab.Version(name, "lab-app"); got != "2.0-1" {
			t.Errorf("%s: lab-app is %q", name, got)
		}
		first, _ := span(t, lab, name)
		if i > 0 {
			if _, earlier := span(t, lab, hosts[i-1]); first.Before(earlier) {
				t.Errorf("wave %d began at %v, and wave %d ended at %v", i, first, i-1, earlier)
			}
		}
	}

	t.Run("their own record is complete", func(t *testing.T) {
		lab := lab.For(t)
		var want []string
		for _, name := range hosts {
			want = append(want, `["play", "Keep the fleet up to date"]`,
				`["ok", "`+name+`", "upkeep : Upgrade packages"`, `["ok", "`+name+`", "upkeep : Make noise", 2097152]`, `["recap", "`+name+`"]`)
		}
		got := strings.Split(strings.TrimSpace(lab.Exec(controller, "cat", "/root/ledger")), "\n")
		if !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("the record has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		ev.Lines("what their callback recorded", got...)
	})

	t.Run("their stdout callback wrote the log", func(t *testing.T) {
		lab := lab.For(t)
		log := stateDir + "/runs/" + out.Report.ID + "/ansible.log"
		if n := strings.TrimSpace(lab.Exec(controller, "grep", "-ac", "| CHANGED | rc=0 >>", log)); n != "3" {
			t.Errorf("%s results of the callback minimal in the log", n)
		}
		size, err := strconv.Atoi(strings.TrimSpace(lab.Exec(controller, "stat", "-c", "%s", log)))
		if err != nil || size < 3*2<<20 {
			t.Errorf("the log has %d bytes, and the tasks printed %d (%v)", size, 3*2<<20, err)
		}
	})
	wantQuiet(t, lab)
}
