//go:build e2e && e2efull

package e2e_test

import (
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// What is put in place while a run is in its first wave halts it before the second.
func TestChangedUnderRun(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "changed", "What changes under a run; runs that are narrowed")
	role := cases + "/slow/roles/upkeep/tasks/main.yml"
	write(lab, controller, cases+"/slow/patch.yml", "- hosts: patching_targets\n  gather_facts: false\n  roles: [upkeep]\n")
	write(lab, controller, cases+"/well/patch.yml", project("ansible.builtin.ping:"))
	write(lab, controller, cases+"/ill/patch.yml", project("ansible.builtin.fail: {msg: it is ill}"))
	const hold = "/etc/homelab/MAINTENANCE"

	for _, c := range []struct {
		name  string
		do    func(lab *e2e.Lab)
		words []string
	}{
		{"a role is edited", func(lab *e2e.Lab) { lab.Shell(controller, "echo '# more' >>"+role) },
			[]string{"halted before wave 1: the project changed during the run", "roles/upkeep/tasks/main.yml"}},
		{"a hold is put in place", func(lab *e2e.Lab) { write(lab, controller, hold, "backup runs\n") },
			[]string{"halted before wave 1: held: backup runs (" + hold + ")"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := lab.For(t)
			write(lab, controller, role, "- ansible.builtin.wait_for: {path: /run/go-on}\n")
			call := start(t, lab, "run", "--project", cases+"/slow")
			call.running(t)
			c.do(lab)
			lab.Exec("saltierpoop", "touch", "/run/go-on")
			out := call.wait(t)
			ev.Call(c.name, out.Output, out.Took, said(out))
			out.want(t, 3, []string{"saltierpoop unchanged", "prox not-attempted", "infra-services not-attempted"}, c.words...)
			wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 3, "last_success_unixtime": 0})
			lab.Exec("saltierpoop", "rm", "/run/go-on")
			lab.Exec(controller, "rm", "-f", hold)
		})
	}

	t.Run("a narrowed run clears no failure", func(t *testing.T) {
		lab := lab.For(t)
		before := metrics(t, lab, controller, "patch_orchestrate.prom")
		delete(before, "homelab_patch_orchestrate_held")
		for _, args := range [][]string{{"--limit", "saltierpoop"}, {"--wave", "1"}, {"--check"}} {
			out := run(t, lab, append([]string{"run", "--project", cases + "/well"}, args...)...)
			if out.Code != 0 {
				t.Errorf("%v: exit code %d\n%s", args, out.Code, out.words())
			}
			after := metrics(t, lab, controller, "patch_orchestrate.prom")
			delete(after, "homelab_patch_orchestrate_held") // it is of now
			wantSame(t, before, after)
		}
	})
	t.Run("a narrowed run sets a failure, and a full one clears it", func(t *testing.T) {
		lab := lab.For(t)
		full := func() float64 {
			if out := run(t, lab, "run", "--project", cases+"/well"); out.Code != 0 {
				t.Fatalf("a full run: exit code %d\n%s", out.Code, out.words())
			}
			wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 0})
			return metrics(t, lab, controller, "patch_orchestrate.prom")["homelab_patch_orchestrate_last_success_unixtime"]
		}
		success := full()
		out := run(t, lab, "run", "--project", cases+"/ill", "--limit", "prox")
		ev.Call("`run --limit prox` fails", out.Output, out.Took, said(out))
		out.want(t, 3, []string{"prox failed"}, "it is ill")
		wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 3, "last_success_unixtime": success})
		full()
	})
}
