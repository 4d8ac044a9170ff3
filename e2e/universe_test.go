//go:build e2e && e2efull

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// universe is packages of one host, made up at random: what it has, and what the archive has then.
type universe struct {
	old, new      [][]string // as Lab.Packages takes them
	roots, holds  []string
	policy, words string // host_vars; and what is special, for people
}

// newUniverse makes one whose packages are all named after it.
func newUniverse(seed uint64, name string) universe {
	r := rand.New(rand.NewPCG(seed, 17))
	chance := func(percent int) bool { return r.IntN(100) < percent }
	var u universe
	const n = 12
	pkg := func(i int) string { return fmt.Sprintf("%s-p%d", name, i) }
	fresh := func(i int) string { return fmt.Sprintf("%s-n%d", name, i) }
	counts := map[string]int{}
	for i := range n {
		old, new := []string{pkg(i), "1.0-1"}, []string{pkg(i), fmt.Sprintf("%d.0-%d", 2+r.IntN(2), 1+r.IntN(3))}
		var deps []string
		for j := range i { // no circles
			if chance(18) {
				deps = append(deps, pkg(j))
			}
		}
		if len(deps) > 0 {
			old = append(old, "depends="+strings.Join(deps, ", "))
		}
		if chance(25) {
			old, new = append(old, "conffile=/etc/"+pkg(i)+".conf"), append(new, "conffile=/etc/"+pkg(i)+".conf")
			counts["conffiles"]++
		}
		u.old = append(u.old, old)
		if chance(35) { // no update of it
			continue
		}
		deps = slices.DeleteFunc(deps, func(string) bool { return chance(30) })
		for k := range deps {
			if chance(30) {
				deps[k] += " (>= 2)" // which there may not be, or be held
				counts["versioned dependencies"]++
			}
		}
		if chance(25) {
			deps = append(deps, fresh(r.IntN(4)))
			counts["new dependencies"]++
		}
		if len(deps) > 0 {
			new = append(new, "depends="+strings.Join(deps, ", "))
		}
		if chance(12) && i > 0 {
			new = append(new, "conflicts="+pkg(r.IntN(i)))
			counts["conflicts"]++
		}
		u.new = append(u.new, new)
		counts["updates"]++
	}
	for i := range 4 {
		p := []string{fresh(i), "1.0-1"}
		if i > 0 && chance(40) {
			p = append(p, "depends="+fresh(i-1))
		}
		u.new = append(u.new, p)
	}
	for i := range n {
		if chance(60) || i == n-1 {
			u.roots = append(u.roots, pkg(i))
		}
	}
	for _, p := range u.roots {
		if chance(10) {
			u.holds = append(u.holds, p)
			counts["holds"]++
		}
	}
	u.policy = "patching_upgrade_type: " + []string{"security", "security", "dist"}[r.IntN(3)] +
		"\npatching_autoremove: " + []string{"kernels", "all", "none"}[r.IntN(3)] + "\n"
	if chance(25) {
		u.policy += "patching_exclude: [" + u.roots[r.IntN(len(u.roots))] + "]\n"
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		u.words += fmt.Sprintf("%s %d; ", k, counts[k])
	}
	u.words += strings.ReplaceAll(strings.TrimSpace(u.policy), "\n", "; ")
	return u
}

// TestUniverses plans and patches thirty universes of packages: what is applied is what was planned.
func TestUniverses(t *testing.T) {
	lab := up(t, e2e.Options{Extra: 2})
	ev := e2e.Record(t, lab, "universes", "Applied is planned, in thirty universes of packages")
	fleet := []string{"saltierpoop", "node01", "node02", "prox", controller}
	write(lab, controller, "/etc/homelab/patch-orchestrate.yaml", "budget: 5\n")
	planned, applied, refused := 0, 0, 0
	for round := range 6 {
		universes := map[string]universe{}
		var old, new [][]string
		for i, host := range fleet {
			seed := round*len(fleet) + i
			u := newUniverse(uint64(seed), fmt.Sprintf("u%d", seed))
			universes[host] = u
			old, new = append(old, u.old...), append(new, u.new...)
			write(lab, controller, "/etc/ansible/host_vars/"+host+".yml", u.policy)
		}
		lab.Packages(old...)
		lab.RepoState("old")
		each(fleet, func(host string) {
			u := universes[host]
			script := "apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq -y install " + strings.Join(u.roots, " ")
			for _, c := range u.roots[:1] {
				script += fmt.Sprintf("; [ ! -e /etc/%s.conf ] || echo mine >/etc/%s.conf", c, c)
			}
			if len(u.holds) > 0 {
				script += "; apt-mark -qq hold " + strings.Join(u.holds, " ")
			}
			if out := lab.Run(t.Context(), host, "sh", "-euc", script); out.Code != 0 {
				t.Errorf("%s: %s%s", host, out.Stdout, out.Stderr)
			}
		})
		lab.Packages(new...)
		lab.RepoState("old")
		before := universeVersions(t, lab, fleet)
		out := run(t, lab, "plan", "--json", "--out", "/root/plan")
		if out.Code != 0 && out.Code != 4 {
			t.Fatalf("plan: %d\n%s", out.Code, out.words())
		}
		var plan ahead
		if err := json.Unmarshal([]byte(out.Stdout), &plan); err != nil {
			t.Fatalf("%v\n%s", err, out.Stdout)
		}
		args := []string{"run"}
		if round%2 == 1 {
			args = append(args, "--plan", "/root/plan")
		}
		done := run(t, lab, args...)
		ev.Call(fmt.Sprintf("round %d: `%s`", round, strings.Join(args, " ")), done.Output, done.Took, last(done.Stdout))
		after := universeVersions(t, lab, fleet)
		for _, w := range plan.Waves {
			for _, h := range w.Hosts {
				want, got := map[string]string{}, map[string]string{}
				for _, p := range h.Packages {
					want[p.Name] = p.To
				}
				for name := range merge(before[h.Name], after[h.Name]) {
					if before[h.Name][name] != after[h.Name][name] {
						got[name] = after[h.Name][name]
					}
				}
				planned, applied = planned+len(want), applied+len(got)
				came := done.host(t, h.Name)
				if h.Problem != "" {
					refused++
				}
				if !maps.Equal(want, got) || (h.Problem == "") != (came.Outcome == "patched" || came.Outcome == "unchanged") {
					t.Errorf("round %d, %s (%s): planned %v (%s), applied %v; the run says %s %s", round, h.Name, universes[h.Name].words, want, h.Problem, got, came.Outcome, came.Message)
				}
				ev.Lines(fmt.Sprintf("universe %d on %s", round*len(fleet)+slices.Index(fleet, h.Name), h.Name), universes[h.Name].words,
					fmt.Sprintf("planned %d, applied %d, kept back %d, held %d %s", len(want), len(got), len(h.KeptBack), len(h.Held), h.Problem))
			}
		}
	}
	ev.Lines("in all", fmt.Sprintf("changes planned %d, applied %d; hosts that could not be planned, and were not patched: %d", planned, applied, refused))
	t.Logf("changes planned %d, applied %d, hosts refused %d", planned, applied, refused)
	if planned < 100 || refused > 6 {
		t.Errorf("%d changes planned, %d hosts refused: these universes show little", planned, refused)
	}
}

// versions is what dpkg has installed, by host.
func universeVersions(t *testing.T, lab *e2e.Lab, fleet []string) map[string]map[string]string {
	t.Helper()
	var mu sync.Mutex
	all := map[string]map[string]string{}
	each(fleet, func(host string) {
		out := lab.Run(t.Context(), host, "dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n")
		found := map[string]string{}
		for line := range strings.Lines(out.Stdout) {
			if f := strings.Fields(line); len(f) == 3 && f[2] == "installed" {
				found[f[0]] = f[1]
			}
		}
		if len(found) == 0 {
			t.Errorf("%s: dpkg-query: %s", host, out.Stderr)
		}
		mu.Lock()
		defer mu.Unlock()
		all[host] = found
	})
	return all
}

// each calls do for all hosts at once.
func each(hosts []string, do func(host string)) {
	var wg sync.WaitGroup
	for _, host := range hosts {
		wg.Go(func() { do(host) })
	}
	wg.Wait()
}

func merge(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
