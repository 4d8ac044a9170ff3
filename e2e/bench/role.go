package main

import (
	"fmt"
	"strings"
)

// who patches the hosts of a lab.
type who int

const (
	floor who = iota
	usual
	ours
	staying // ours, without its restarts
)

func (w who) String() string {
	return [...]string{"plain ssh", "usual playbook", "run", "run, patching_reboot never"}[w]
}

// patch has all hosts of a lab patched once.
func (l *lab) patch(w who) (cost, error) {
	switch w {
	case floor:
		return l.measure(append([]string{"sh", "/root/floor.sh"}, l.hosts...)...)
	case usual:
		return l.measure(l.without("ansible-playbook usual.yml", "--limit patching_wave0")...)
	case staying:
		if err := l.do("exec", controller, "sh", "-euc", "mkdir -p /etc/ansible/group_vars; echo 'patching_reboot: never' > /etc/ansible/group_vars/all.yml"); err != nil {
			return cost{}, err
		}
	}
	return l.measure(l.without("homelab-patch-orchestrate run", "--wave 0")...)
}

// without is a command, with an option that leaves the controller out unless it is patched as well.
func (l *lab) without(command, option string) []string {
	if !l.last {
		command += " " + option
	}
	return strings.Fields(command)
}

// small has a host as it was before its made-up updates, without its lists. The kernel goes: it asks for a reboot, and plain
// ssh would not install it.
const small = `export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --allow-downgrades install lab-app=1.0-1 lab-conf=1.0-1 lab-sec=1.0-1 >/dev/null
apt-get -qq -y purge 'linux-image-*lab-amd64' >/dev/null
apt-get clean
rm -rf /var/lib/apt/lists/* /root/.ansible /tmp/floor.* /run/reboot-required* /var/lib/homelab-patch/replaced`

// patched returns an error if a host has something left to upgrade.
func (l *lab) patched() error {
	for _, h := range l.hosts {
		left, err := l.output(h, "apt-get -s upgrade | grep ^Inst || true")
		if err != nil {
			return err
		}
		if left != "" {
			return fmt.Errorf("%s was not patched: %s", h, left)
		}
	}
	return nil
}

// round has each do the work once on the same hosts, which before are as they were before, and returns what it cost. first is
// who begins.
func (l *lab) round(first int, before string, all ...who) (map[who]cost, error) {
	costs := map[who]cost{}
	for i := range all {
		w := all[(i+first)%len(all)]
		if err := l.do("repo-state", "new"); err != nil {
			return nil, err
		}
		if err := l.everywhere(before); err != nil {
			return nil, err
		}
		c, err := l.patch(w)
		if err == nil {
			err = l.patched()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
		progress("%2d hosts, %-14s %6.2f s of CPU, %6.2f s", len(l.hosts), w, c.cpu, c.wall)
		costs[w] = c
	}
	return costs, nil
}

// series is rounds of round, after one that does not count: what is done once in a host's life is not measured.
// profile is where the last run of ours has spent its time.
func (b *bench) series(hosts int, last bool, rounds int, before string, all ...who) (costs map[who][]cost, profile string, err error) {
	l, err := b.labUp(hosts, last)
	if err != nil {
		return nil, "", err
	}
	defer l.down()
	costs = map[who][]cost{}
	for i := range rounds + 1 {
		c, err := l.round(i, before, all...)
		if err != nil {
			return nil, "", err
		}
		for _, w := range all {
			if i > 0 {
				costs[w] = append(costs[w], c[w])
			}
		}
	}
	shown, err := l.output(controller, "homelab-patch-orchestrate show latest | sed -n '/^WAVE  STATE/,/^$/p; /^GATE/,/^$/p; /^slowest tasks/,/^$/p'")
	profile = fmt.Sprintf("%-15s wall    CPU of the controller, of the hosts (s)\n", "")
	for _, w := range all {
		c := costs[w][len(costs[w])-1]
		profile += fmt.Sprintf("%-15s %5.2f  %5.2f  %5.2f\n", w, c.wall, c.cpu, c.hosts)
	}
	return costs, profile + "\n" + shown, err
}

// role measures what a run of the carried role costs on booted hosts.
func (b *bench) role(p *page) error {
	for _, hosts := range []int{10, 20} {
		c, profile, err := b.series(hosts, false, rounds, small, floor, usual, ours)
		if err != nil {
			return err
		}
		p.profile(fmt.Sprintf("`run` on %d hosts, the last one", hosts), profile)
		p.fleet(fmt.Sprintf("`run` ÷ the usual playbook, wall, %d hosts, small packages", hosts), "s", wall(c[ours]), wall(c[usual]), 0.60,
			"Three small packages a host, lists that have changed, no reboot, hosts in one wave. `run --wave 0` as it ships: every check, failed units "+
				"asked for after it; versions are planned before a wave where there are others to come, which is in the row of the controller. The other is "+
				"[this playbook](../e2e/bench/testdata/lab/usual.yml) with Ansible's default settings: facts, `update_cache`, `upgrade`, stat, reboot.")
		p.fleet(fmt.Sprintf("`run` ÷ plain ssh, wall, %d hosts, small packages", hosts), "s", wall(c[ours]), wall(c[floor]), 2.5,
			"The same against [`apt-get update && apt-get -y upgrade`](../e2e/bench/testdata/lab/floor.sh) by ssh on all hosts at a time, "+
				"with no Ansible, no plan, no wave and no look at how it went.")
	}
	const hosts = 10
	c, _, err := b.series(hosts, true, 1, small, usual, ours)
	if err != nil {
		return err
	}
	p.fleet(fmt.Sprintf("`run` ÷ the usual playbook, wall, %d hosts, the controller last", hosts), "s", wall(c[ours]), wall(c[usual]), 0,
		"A full run. One of the hosts is the controller, which has a wave of its own: all plan and download, then nine hosts, a look at their units, the "+
			"controller, and a look at its own. The other does all ten at a time. What a second wave costs, and that it gets what the first one got.")
	return nil
}

// real measures Debian's own security updates. A host cannot be put back before them, and so each time is a new lab's.
func (b *bench) real(p *page) error {
	const hosts = 10
	costs := map[who][]cost{}
	for _, w := range []who{floor, staying, staying, floor, ours} {
		c, err := b.realOnce(hosts, w)
		if err != nil {
			return err
		}
		progress("%2d hosts, real updates, %-26s %6.2f s of CPU, %6.2f s", hosts, w, c.cpu, c.wall)
		costs[w] = append(costs[w], c)
	}
	p.fleet(fmt.Sprintf("`run` ÷ plain ssh, wall, %d hosts, Debian's security updates, no restarts", hosts), "s", wall(costs[staying]), wall(costs[floor]), 1.4,
		"As above, with all security updates that Debian has published for these hosts. They ask for a restart, which plain ssh does not make; here "+
			"`patching_reboot` is `never`.")
	p.fleet(fmt.Sprintf("`run` ÷ plain ssh, wall, %d hosts, the same, and `run` restarts and judges them", hosts), "s", wall(costs[ours]), wall(costs[floor][1:]), 0,
		"All else as it ships: ten restarts, announced, waited for and judged, are in it; plain ssh makes none.")
	return nil
}

// realOnce patches hosts once that have been patched before: what is done once in a host's life is not measured.
func (b *bench) realOnce(hosts int, w who) (cost, error) {
	l, err := b.labUp(hosts, false)
	if err != nil {
		return cost{}, err
	}
	defer l.down()
	if _, err := l.round(0, small, ours); err != nil {
		return cost{}, err
	}
	if err := l.do("repo-state", "real"); err != nil {
		return cost{}, err
	}
	if err := l.everywhere(small); err != nil {
		return cost{}, err
	}
	c, err := l.patch(w)
	if err == nil {
		err = l.patched()
	}
	return c, err
}

// idle measures what hosts with nothing to do cost the controller.
func (b *bench) idle(p *page) error {
	const hosts = 50
	c, profile, err := b.series(hosts, false, 2, "apt-get -qq update; apt-get -qq -y upgrade >/dev/null; rm -rf /var/lib/apt/lists/* /root/.ansible", usual, ours)
	if err != nil {
		return err
	}
	p.profile(fmt.Sprintf("`run` on %d hosts with nothing to do, the last one", hosts), profile)
	perHost := func(costs []cost) (s []float64) {
		for _, s1 := range cpu(costs) {
			s = append(s, s1*1000/hosts)
		}
		return s
	}
	p.fleet(fmt.Sprintf("controller CPU a host with nothing to do, %d hosts, `run` ÷ the usual playbook", hosts), "ms", perHost(c[ours]), perHost(c[usual]), 0.40,
		"All that ran on the controller for it, ssh included, and modules on the controller itself; not what apt did.")
	return nil
}
