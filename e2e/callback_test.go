//go:build e2e && e2efull

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// Results can come from the document that a pipeline already reads. Tried where the document's callback and Ansible are
// the newest.
func TestStockCallback(t *testing.T) {
	lab := up(t, e2e.Options{Hosts: "hosts-trixie.conf"})
	ev := e2e.Record(t, lab, "callback", "Results from the document of ansible.posix.json")
	out := run(t, lab, "run", "--callback", "json")
	ev.Call("`run --callback json`", out.Output, out.Took, last(out.Stdout))
	out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"}, "3 patched")
	for i, name := range hosts {
		if p := out.host(t, name).Patch; p == nil || len(p.Packages) == 0 || p.Rebooted != (name != controller) {
			t.Errorf("%s: the report has %+v", name, p)
		}
		// What their pipeline would read.
		var doc struct {
			Plays []any
			Stats map[string]map[string]int
		}
		text := lab.Exec(controller, "cat", fmt.Sprintf("%s/runs/%s/wave-%d.json", stateDir, out.Report.ID, i))
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("wave %d: the document: %v", i, err)
		}
		if seen := slices.Collect(maps.Keys(doc.Stats)); len(doc.Plays) == 0 || !slices.Equal(seen, []string{name}) {
			t.Errorf("wave %d: %d plays, recap of %v", i, len(doc.Plays), seen)
		}
		ev.Lines("recap of wave "+fmt.Sprint(i), fmt.Sprint(doc.Stats))
	}
	wantQuiet(t, lab)

	t.Run("missing", func(t *testing.T) {
		lab := lab.For(t)
		lab.Shell(controller, "rm -r /usr/share/ansible/collections")
		out := run(t, lab, "run", "--callback", "json")
		ev.Call("without the collection", out.Output, out.Took, said(out))
		out.want(t, 1, []string{"saltierpoop not-attempted", "prox not-attempted", "infra-services not-attempted"},
			"install the collection ansible.posix")
	})
}
