//go:build e2e && e2efull

package e2e_test

import (
	"slices"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// One SIGINT lets the wave finish; two, or SIGTERM, end it at once. Either way the next run goes on from there.
func TestSignals(t *testing.T) {
	onEach(t, e2e.Options{}, "signals", "Stopped by a person, or by the system", signalled)
}

func signalled(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	for i, c := range []struct {
		name     string
		signals  []string
		code     int
		wave0    string // outcome of saltierpoop
		words    []string
		next     string // outcome of saltierpoop in the next run
		reattach bool
	}{
		{"SIGINT once", []string{"INT"}, 130, "patched", []string{"no other wave begins", "stopped after wave 0"}, "unchanged", false},
		{"SIGINT twice", []string{"INT", "INT"}, 130, "interrupted",
			[]string{"interrupted in wave 0: SIGINT; interrupted: saltierpoop", "the next run finds it"}, "patched", true},
		{"SIGTERM", []string{"TERM"}, 143, "interrupted",
			[]string{"interrupted in wave 0: SIGTERM; interrupted: saltierpoop", "the next run finds it"}, "patched", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := lab.For(t)
			if i > 0 {
				lab.Reset()
				install(t, lab)
			}
			lab.Fault("slow", "saltierpoop", "30")
			same := untouched(lab, hosts[1:]...)
			call := start(t, lab, "run")
			busy(t, lab, "saltierpoop")
			for j, s := range c.signals {
				call.signal(t, s)
				if j < len(c.signals)-1 { // two at once are one to the kernel
					call.heard(t, "no other wave begins")
				}
			}
			out := call.wait(t)
			ev.Call(c.name, out.Output, out.Took, said(out))
			out.want(t, c.code, []string{"saltierpoop " + c.wave0, "prox not-attempted", "infra-services not-attempted"}, c.words...)
			if out.Report.State != "interrupted" {
				t.Errorf("the run is %s", out.Report.State)
			}
			same(t)
			wantQuiet(t, lab)
			wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{
				"last_exit_code": float64(c.code), "running": 0, "last_success_unixtime": 0,
				`wave_hosts{wave="0",outcome="` + c.wave0 + `"}`: 1,
			})

			next := run(t, lab, "run")
			ev.Call("the next run", next.Output, next.Took, last(next.Stdout))
			next.want(t, 0, []string{"saltierpoop " + c.next, "prox patched", "infra-services patched"})
			if p := next.host(t, "saltierpoop").Patch; p.Reattached != c.reattach || c.reattach && !slices.Equal(p.names(), withSlow()) {
				t.Errorf("saltierpoop: reattached %v, packages %v", p.Reattached, p.names())
			}
			wantOnce(t, lab, "saltierpoop", ev)
		})
	}
}
