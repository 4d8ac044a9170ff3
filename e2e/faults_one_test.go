//go:build e2e && e2efull

package e2e_test

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// pair is a fleet of a target and the controller; reboot is the controller's policy.
func pair(t *testing.T, lab *e2e.Lab, reboot string) {
	t.Helper()
	install(t, lab)
	write(lab, controller, "/etc/homelab/hosts.yml", `all:
  vars: {patching_reboot: never, patching_lock_timeout: 10, patching_reconnect_timeout: 120}
  children:
    patch_controller: {hosts: {infra-services: {ansible_connection: local, patching_reboot: `+reboot+`}}}
    patching_targets: {hosts: {saltierpoop: {ansible_user: someone, ansible_become: true}, infra-services: {}}}
    patching_wave0: {hosts: {saltierpoop: {}}}
    patching_wave1: {hosts: {infra-services: {}}}
`)
	write(lab, controller, settings, "inventory: /etc/homelab/hosts.yml\nwave_deadline: 5m\nhost_deadline: 2m\n")
	service(t, lab)
	tellUnits(t, lab)
}

// week has the timer start a run, lets during happen to it, and returns how it ended.
func week(t *testing.T, lab *e2e.Lab, during func()) outcome {
	t.Helper()
	n, began := len(runs(lab)), time.Now()
	fire(lab)
	if during != nil {
		during()
	}
	r := ended(t, lab, n+1, 4*time.Minute)
	o := r.outcome()
	o.Took, o.Stdout = time.Since(began), r.State+": "+r.Reason
	if after := len(runs(lab)); after != n+1 {
		t.Errorf("%d runs, %d before", after, n)
	}
	return o
}

// amidUpgrade has something happen to a week when a host is in mid-upgrade for some seconds.
func amidUpgrade(host, seconds string, what func(*testing.T, *e2e.Lab)) func(*testing.T, *e2e.Lab) outcome {
	return func(t *testing.T, lab *e2e.Lab) outcome {
		lab.Fault("slow", host, seconds)
		return week(t, lab, func() { busy(t, lab, host); what(t, lab) })
	}
}

// one is a row about a fleet that pair has made: a run that meets the fault, and after mend the run of the next week.
type one struct {
	fault
	reboot string // of the controller; "" is never
	meet   func(t *testing.T, lab *e2e.Lab) outcome
	mend   func(lab *e2e.Lab) // nil is nothing
	stale  bool               // the metrics cannot be true before the next run
}

// show goes through rows, each on hosts as they were at first.
func show(t *testing.T, m *matrix, on e2e.Options, rows []one) {
	lab := e2e.Up(t, on)
	for _, o := range rows {
		t.Run(o.name, func(t *testing.T) {
			lab := lab.For(t)
			lab.Reset()
			pair(t, lab, cmp.Or(o.reboot, "never"))
			out := o.meet(t, lab)
			if !o.stale && out.Code != 5 {
				wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": float64(out.Code), "running": 0})
			}
			why := explain(t, lab, cmp.Or(o.host, "saltierpoop"))
			if o.mend != nil {
				o.mend(lab)
			}
			lab.Wait(controller, time.Minute)
			next := week(t, lab, nil)
			then := fmt.Sprintf("exit code %d: %s", next.Code, e2e.Cell(next.Report.Reason))
			if o.host != "" {
				then = told(t, next, o.host)
			}
			o.where = cmp.Or(o.where, "controller")
			m.saw(t, o.fault, out, why, out.Took, then)
			wantMended(t, lab, next, "saltierpoop", controller)
		})
	}
}

// faultsOfOne breaks what a host needs of the world.
func faultsOfOne(t *testing.T, m *matrix, on e2e.Options) {
	down := func(lab *e2e.Lab) { lab.Fault("repo-down", "") }
	ahead := func(lab *e2e.Lab) { stamp(lab, 24*time.Hour) }
	// alone is a run of one host, for what all of them meet.
	alone := func(name string, breaks func(*e2e.Lab)) func(*testing.T, *e2e.Lab) outcome {
		return func(t *testing.T, lab *e2e.Lab) outcome { breaks(lab); return run(t, lab, "run", "--limit", name) }
	}
	var rows []one
	for _, at := range [][2]string{{"target", "saltierpoop"}, {"controller", controller}} {
		where, name := at[0], at[1]
		rows = append(rows,
			one{fault: fault{name: "repository down", where: where, host: name, outcome: "failed", code: 3, cause: "lists", words: "cannot be refreshed: Could not connect to 198.51.100.1:80",
				within: time.Minute, todo: "look at that server, and at the network"},
				meet: alone(name, down), mend: func(lab *e2e.Lab) { lab.Fault("repo-up", "") }},
			one{fault: fault{name: "clock a day behind the repository's", where: where, host: name, outcome: "failed", code: 3, cause: "lists", words: "not valid yet",
				within: time.Minute, todo: "set the clock: `timedatectl`"},
				meet: alone(name, ahead), mend: func(lab *e2e.Lab) { stamp(lab, -2*time.Second) }})
	}
	rows = append(rows, one{fault: fault{name: "broken postinst, the run after that", where: "target", host: "saltierpoop", outcome: "failed", code: 3,
		cause:  "dpkg",
		words:  "dpkg is not in order and `dpkg --configure -a` does not mend it: package lab-broken fails: repair it by hand",
		within: time.Minute, todo: "`dpkg --audit` there; repair the package"},
		meet: func(t *testing.T, lab *e2e.Lab) outcome {
			lab.Fault("broken", "saltierpoop")
			if out := run(t, lab, "run"); out.Code != 3 {
				t.Errorf("exit code %d", out.Code)
			}
			return run(t, lab, "run")
		},
		mend: func(lab *e2e.Lab) { lab.Exec("saltierpoop", "rm", "/var/lib/dpkg/info/lab-broken.postinst") }})
	const setting = "/etc/apt/apt.conf.d/99-no-install"
	rows = append(rows, one{fault: fault{name: "apt is set to download only", where: "target", host: "saltierpoop", outcome: "failed", code: 3,
		cause: "apt", words: "apt-get reports success and has not touched lab-", within: time.Minute, todo: "take that setting out: `apt-config dump` there"},
		meet: func(t *testing.T, lab *e2e.Lab) outcome {
			write(lab, "saltierpoop", setting, "APT::Get::Download-Only \"true\";\nquiet \"2\";\nAPT::Get::Show-Versions \"true\";\n")
			return run(t, lab, "run")
		},
		mend: func(lab *e2e.Lab) { // what it says is as much as ever, and the run is not told less
			write(lab, "saltierpoop", setting, "quiet \"2\";\nAPT::Get::Show-Versions \"true\";\n")
		}})
	show(t, m, on, rows)
}

// stamp has the repository be of a time that is so far from now.
func stamp(lab *e2e.Lab, from time.Duration) {
	lab.RepoStamp(time.Now().Add(from))
	lab.RepoState("new")
}
