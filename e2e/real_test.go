//go:build e2e && e2efull

package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// Debian's own updates, python3 among them, on which Ansible itself runs.
func TestRealUpdates(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "real", "Debian's own updates")
	lab.RepoState("real")
	want := map[string][]string{}
	for _, name := range hosts {
		want[name] = lab.Pending(name)
		python := slices.IndexFunc(want[name], func(p string) bool { return strings.HasPrefix(p, "python3.") })
		if python < 0 {
			t.Fatalf("%s: Debian has no update of python3 just now: nothing is tested: %v", name, want[name])
		}
	}
	out := run(t, lab, "run")
	ev.Call("state `real`", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	for _, name := range hosts {
		if left := lab.Pending(name); len(left) > 0 {
			t.Errorf("%s: still to come: %v", name, left)
		}
		if got := out.host(t, name).Patch.names(); !slices.Equal(got, want[name]) {
			t.Errorf("%s: the report has %v, apt would have made %v", name, got, want[name])
		}
		ev.Lines("dpkg.log of "+name, changes(lab, name)...)
	}
	wantQuiet(t, lab)
}
