//go:build e2e && e2efull

package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// Fifty hosts in waves of 1, 9 and 40, and the controller: all are upgraded and restart, never more at once than the budget
// allows. What it takes is compared with plain ssh that does the same on all of them at a time.
func TestFiftyWaves(t *testing.T) {
	const atOnce = 6
	lab := up(t, e2e.Options{Extra: 48})
	ev := e2e.Record(t, lab, "fifty-waves", "Fifty hosts in waves of 1, 9 and 40, upgraded and restarted")

	floor := plainly(t, lab)
	ev.Lines("plain ssh: update, upgrade and reboot of all 50 at a time, until each answers again", fmt.Sprintf("%.0f s", floor.Seconds()))
	lab.Reset()
	install(t, lab)
	write(lab, controller, "/etc/ansible/hosts.yml", fifty())
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", fmt.Sprintf("patching_reboots_at_once: %d\n", atOnce))

	memory := lab.WatchMemory()
	out := run(t, lab, "run")
	peak := memory()
	ev.Call(fmt.Sprintf("`run`, patching_reboots_at_once: %d", atOnce), out.Output, out.Took, last(out.Stdout))
	if out.Code != 0 || len(out.outcomes()) != 51 {
		t.Fatalf("exit code %d, %d hosts\n%s", out.Code, len(out.outcomes()), out.words())
	}
	for _, w := range out.Report.Waves {
		ev.Lines(fmt.Sprintf("wave %d", w.Number), fmt.Sprintf("%d hosts, %.0f s", len(w.Hosts), w.Ended.Sub(w.Began).Seconds()))
		for _, h := range w.Hosts {
			if h.Outcome != "patched" || h.Name != controller && !h.Patch.Rebooted {
				t.Errorf("%s is %s, restarted: %v", h.Name, h.Outcome, h.Patch.Rebooted)
			}
			if n := lab.Boots(h.Name); h.Name != controller && n != 2 {
				t.Errorf("%s: %d boots", h.Name, n)
			}
		}
	}
	most := restarting(t, lab, out.Report.ID)
	ev.Lines("restarting at once, at most", fmt.Sprint(most))
	if most != atOnce {
		t.Errorf("%d hosts were restarting at once, the budget is %d", most, atOnce)
	}
	ev.Lines("run ÷ plain ssh", fmt.Sprintf("%.2f", out.Took.Seconds()/floor.Seconds()))
	for _, line := range peak {
		ev.Lines("memory, at most", line)
	}
	wantQuiet(t, lab)
}

// fifty is an inventory of the lab's hosts: saltierpoop, then prox and 8 others, then 40, then the controller.
func fifty() string {
	var b strings.Builder
	b.WriteString("all:\n  children:\n    patch_controller:\n      hosts:\n        " + controller + ":\n    patching_targets:\n      children:\n")
	wave := func(n int, hosts ...string) {
		fmt.Fprintf(&b, "        patching_wave%d:\n          hosts:\n%s", n, strings.Join(hosts, ""))
	}
	node := func(name string, address int) string {
		return fmt.Sprintf("            %s: {ansible_host: 198.51.100.%d, ansible_user: root}\n", name, address)
	}
	var nodes []string
	for i := range 48 {
		nodes = append(nodes, node(fmt.Sprintf("node%02d", i+1), 101+i))
	}
	wave(0, "            saltierpoop: {ansible_host: 198.51.100.11, ansible_user: someone, ansible_become: true}\n")
	wave(1, append([]string{node("prox", 12)}, nodes[:8]...)...)
	wave(2, nodes[8:]...)
	wave(3, "            "+controller+": {ansible_connection: local}\n")
	return b.String()
}

// plainly has the fifty upgraded and restarted by ssh alone, and returns what that took until each answers again.
func plainly(t *testing.T, lab *e2e.Lab) time.Duration {
	t.Helper()
	names := []string{"saltierpoop", "prox"}
	for i := range 48 {
		names = append(names, fmt.Sprintf("node%02d", i+1))
	}
	began := time.Now()
	lab.Shell(controller, `for h in `+strings.Join(names, " ")+`; do
		user=root; [ "$h" != saltierpoop ] || user=someone
		ssh -o BatchMode=yes "$user@$h" 'sudo sh -c "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -y upgrade --with-new-pkgs && systemctl reboot"' >/tmp/plain.$h 2>&1 &
	done; wait`)
	for _, name := range names {
		e2e.Eventually(t, 5*time.Minute, name+" has restarted", func() error {
			if n := lab.Boots(name); n != 2 {
				return fmt.Errorf("%d boots", n)
			}
			return nil
		})
		lab.Wait(name, 3*time.Minute)
	}
	took := time.Since(began)
	for _, name := range names {
		if v := lab.Version(name, "lab-app"); v != "2.0-1" {
			t.Fatalf("plain ssh left lab-app %s on %s", v, name)
		}
	}
	return took
}

// restarting is how many hosts of a run were in the middle of their restart at the same time, at most.
func restarting(t *testing.T, lab *e2e.Lab, id string) (most int) {
	t.Helper()
	type moment struct {
		at float64
		by int
	}
	var moments []moment
	began := map[string]float64{}
	for line := range strings.Lines(lab.Exec(controller, "cat", stateDir+"/runs/"+id+"/events.jsonl")) {
		var e struct {
			Kind, Task, Status, Host string
			Time                     float64
			Data                     struct{ Elapsed float64 } // whole seconds
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		switch {
		case !strings.HasSuffix(e.Task, "Restart the host"):
		case e.Kind == "begin":
			began[e.Host] = e.Time
		case e.Kind == "result" && e.Status != "skipped":
			if e.Data.Elapsed == 0 {
				t.Errorf("how long the restart of %s took is not known", e.Host)
			}
			// Ansible begins the next when a fork has ended, and comes to tell the result of that later: the module counted itself.
			moments = append(moments, moment{began[e.Host], 1}, moment{began[e.Host] + e.Data.Elapsed, -1})
		}
	}
	slices.SortFunc(moments, func(a, b moment) int { return cmp.Or(cmp.Compare(a.at, b.at), a.by-b.by) })
	if len(moments) != 100 {
		t.Errorf("%d hosts were restarted by the role", len(moments)/2)
	}
	now := 0
	for _, m := range moments {
		now += m.by
		most = max(most, now)
	}
	return most
}
