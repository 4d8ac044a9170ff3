package main

import (
	"fmt"
)

// The contestants of a patched fleet.
const (
	floor = iota
	usual
	ours
)

var names = []string{"plain ssh, all at a time", "the usual playbook", "homelab-patch-orchestrate run"}

func (l *lab) patch(who int) (cost, error) {
	switch who {
	case floor:
		return l.measure(append([]string{"sh", "/root/floor.sh"}, l.hosts...)...)
	case usual:
		return l.measure("ansible-playbook", "usual.yml")
	}
	return l.measure("homelab-patch-orchestrate", "run")
}

// small has the hosts as they were before their made-up updates. The kernel is taken away: it asks for a reboot, which the
// floor does not make, and does not install.
const small = `export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --allow-downgrades install lab-app=1.0-1 lab-conf=1.0-1 lab-sec=1.0-1 >/dev/null
apt-get -qq -y remove linux-image-lab-amd64 linux-image-6.1.0-41-lab-amd64- >/dev/null 2>&1 || true
apt-get clean
rm -rf /var/lib/apt/lists/* /root/.ansible /tmp/floor.* /var/lib/homelab-patch/replaced`

// patched says whether all hosts have what the archive has.
func (l *lab) patched() error {
	for _, h := range l.all() {
		left, err := l.output(h, "apt-get -s upgrade | grep ^Inst || true")
		if err != nil || left != "" {
			return fmt.Errorf("%s is not patched: %s %w", h, left, err)
		}
	}
	return nil
}

// fleetSmall measures small packages on booted hosts.
func (b *bench) fleetSmall(hosts, rounds int, whom ...int) ([][]cost, error) {
	l, err := b.labUp(hosts)
	if err != nil {
		return nil, err
	}
	defer l.down()
	costs := make([][]cost, 3)
	for round := range rounds + 1 { // the first is for what is done once in a host's life
		for i := range whom {
			who := whom[(i+round)%len(whom)]
			if err := l.do("repo-state", "new"); err != nil {
				return nil, err
			}
			if err := l.everywhere(small); err != nil {
				return nil, err
			}
			c, err := l.patch(who)
			if err == nil {
				err = l.patched()
			}
			if err != nil {
				return nil, err
			}
			progress("%d/%d %d hosts %-30s %6.2f s of CPU, %6.2f s", round, rounds, hosts, names[who], c.cpu, c.wall)
			if round > 0 {
				costs[who] = append(costs[who], c)
			}
		}
	}
	for _, c := range [][2]string{
		{controller, "homelab-patch-orchestrate show latest; cat /var/lib/homelab-patch-orchestrate/runs/*/events.jsonl | cut -c1-400 >/tmp/ev; D=$(ls -d /var/lib/homelab-patch-orchestrate/runs/2* | tail -1); cut -c1-300 $D/events.jsonl; cat $D/ansible.log | tail -80"},
		{controller, "journalctl -o short-precise --no-pager -u 'homelab-patch*' | tail -60"},
		{l.hosts[0], "journalctl -o short-precise --no-pager | tail -120"}} {
		said, err := l.output(c[0], c[1])
		progress("== %s\n%s %v", c[0], said, err)
	}
	return costs, err
}
