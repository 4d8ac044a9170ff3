//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// TestVersions is what becomes of planned versions that the archive has changed under.
func TestVersions(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "versions", "The planned versions, or none")
	again := func(t *testing.T) *e2e.Lab {
		lab := lab.For(t)
		lab.Reset()
		install(t, lab)
		return lab
	}
	is := func(t *testing.T, lab *e2e.Lab, name, version string) {
		t.Helper()
		if got := lab.Version(name, "lab-app"); got != version {
			t.Errorf("%s: lab-app is %s, want %s", name, got, version)
		}
	}
	const gone = "plan drift: lab-app 2.0-1 is planned and apt would bring 3.0-1"

	t.Run("a host that was not prepared gets what the others got", func(t *testing.T) {
		lab := lab.For(t)
		lab.Fault("no-sshd", "prox")
		out := meanwhile(t, lab, func() {
			lab.Fault("sshd", "prox")
			lab.Packages([]string{"lab-app", "3.0-1"}, []string{"lab-orphan", "2.0-1"})
			lab.RepoState("new")
		})
		ev.Call("prox is not reached before wave 0; then the archive has lab-app 2.0-1 and 3.0-1", out.Output, out.Took, last(out.Stdout))
		out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"}, "prox could not be prepared", "nobody planned lab-orphan 2.0-1")
		is(t, lab, "prox", "2.0-1")
	})

	t.Run("and fails where they cannot be had", func(t *testing.T) {
		lab := again(t)
		lab.Fault("no-sshd", "prox")
		out := meanwhile(t, lab, func() {
			lab.Fault("sshd", "prox")
			lab.Packages([]string{"lab-app", "3.0-1"})
			lab.RepoState("old")
		})
		ev.Call("prox is not reached before wave 0; then the archive has lab-app 3.0-1 alone", out.Output, out.Took, last(out.Stdout))
		out.want(t, 3, []string{"saltierpoop patched", "prox failed", "infra-services not-attempted"}, gone)
		is(t, lab, "prox", "1.0-1")
		if n := transactions(lab, "prox"); n != 0 {
			t.Errorf("prox: %d transactions", n)
		}
		lab.RepoState("new") // which has lab-app 3.0-1 as well
		out = run(t, lab, "retry", "latest")
		ev.Call("`retry latest`, when the archive has both", out.Output, out.Took, last(out.Stdout))
		out.want(t, 0, []string{"prox patched", "infra-services patched"})
		for _, name := range hosts {
			is(t, lab, name, "2.0-1")
		}
	})

	t.Run("what was downloaded is installed when the archive has it no longer", func(t *testing.T) {
		lab := again(t)
		out := meanwhile(t, lab, func() {
			lab.Packages([]string{"lab-app", "3.0-1"})
			lab.RepoState("old")
			lab.Exec("infra-services", "rm", "-r", "/var/cache/homelab-patch")
		})
		ev.Call("after wave 0 the archive has lab-app 3.0-1 alone; what infra-services has downloaded is gone", out.Output, out.Took, last(out.Stdout))
		out.want(t, 3, []string{"saltierpoop patched", "prox patched", "infra-services failed"}, gone)
		is(t, lab, "prox", "2.0-1")
		is(t, lab, "infra-services", "1.0-1")
	})

	t.Run("a plan is kept and carried out", func(t *testing.T) {
		lab := again(t)
		out := run(t, lab, "plan", "--out", "/root/sunday.plan")
		ev.Call("`plan --out`", out.Output, out.Took, last(out.Stdout))
		out.want(t, 0, out.outcomes(), "planned 3 of 3 hosts")
		if mode := lab.Exec(controller, "stat", "-c", "%a", "/root/sunday.plan"); mode != "600\n" {
			t.Errorf("mode %s", mode)
		}
		lab.Packages([]string{"lab-app", "3.0-1"}, []string{"lab-orphan", "2.0-1"})
		lab.RepoState("new")
		out = run(t, lab, "run", "--plan", "/root/sunday.plan")
		ev.Call("`run --plan`, of an archive that has newer versions, too", out.Output, out.Took, last(out.Stdout))
		out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
		for _, name := range hosts {
			is(t, lab, name, "2.0-1")
			if v := lab.Version(name, "lab-orphan"); v != "1.0-1" {
				t.Errorf("%s: lab-orphan %s", name, v)
			}
			if got := strings.Join(out.host(t, name).Patch.names(), " "); got != strings.Join(updates, " ") {
				t.Errorf("%s: %s", name, got)
			}
		}
	})

	t.Run("or stops before it touches anything", func(t *testing.T) {
		lab := again(t)
		run(t, lab, "plan", "--out", "/root/sunday.plan")
		lab.Packages([]string{"lab-app", "3.0-1"})
		lab.RepoState("old")
		out := run(t, lab, "run", "--plan", "/root/sunday.plan")
		ev.Call("`run --plan`, of an archive that has newer versions alone", out.Output, out.Took, last(out.Stdout))
		out.want(t, 3, []string{"saltierpoop not-attempted", "prox not-attempted", "infra-services not-attempted"}, "nothing was patched", "plan drift")
		for _, name := range hosts {
			is(t, lab, name, "1.0-1")
		}
		lab.Shell(controller, "sed -i s/lab-app/lab-apq/ /root/sunday.plan")
		out = run(t, lab, "run", "--plan", "/root/sunday.plan")
		ev.Call("`run --plan`, of a file that somebody has edited", out.Output, out.Took, out.Stderr)
		out.want(t, 2, nil, "changed by hand")
	})

	t.Run("what it costs", func(t *testing.T) {
		lab := again(t)
		took := map[string][]float64{}
		lab.RepoState("old")
		run(t, lab, "run") // the program and its units come with the first one
		for range 3 {
			for _, how := range []string{"latest", "pinned"} {
				write(lab, controller, "/etc/homelab/patch-orchestrate.yaml", "versions: "+how+"\n")
				out := run(t, lab, "run")
				out.want(t, 0, out.outcomes(), "nothing to do on 3 hosts")
				took[how] = append(took[how], out.Took.Seconds())
			}
		}
		for how, s := range took {
			slices.Sort(s)
			ev.Lines("a run of 3 hosts in 3 waves with nothing to do, versions: "+how+", in seconds", fmt.Sprintf("%.1f", s))
		}
		extra := took["pinned"][1] - took["latest"][1]
		ev.Lines("more, at the median, in seconds", fmt.Sprintf("%.1f", extra))
		t.Logf("latest %.1f, pinned %.1f", took["latest"], took["pinned"])
		if extra > 20 {
			t.Errorf("%.1f s more", extra)
		}
	})
}
