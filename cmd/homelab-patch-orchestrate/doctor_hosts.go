package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"homelab-patch-orchestrate/ansible"
	"homelab-patch-orchestrate/internal/doctor"
	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// How long the hosts may take to answer: one by itself, which is longer than its task may take, and all together.
const (
	hostPatience   = 150 * time.Second
	doctorPatience = 10 * time.Minute
)

// pinnedBySite is what site.yml has ssh accept.
const pinnedBySite = "/etc/ssh/ssh_config.d/homelab-patch.conf"

// hosts looks at each host by a new connection.
func (d *diagnosis) hosts(ctx context.Context, at func(string), inv *inventory.Inventory, hosts []orchestrator.Host) {
	at(fmt.Sprintf("the hosts: 0 of %d", len(hosts)))
	playbook, remove, err := d.playbook()
	defer remove()
	var reached []string
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, doctorPatience)
		defer cancel()
		var checks []doctor.Check
		checks, reached, err = doctor.Hosts{
			Playbook: playbook, Pinned: exists(pinnedBySite), Hold: d.Hold, EngineUpgrade: d.EngineUpgrade,
			Asked: func(done int) { at(fmt.Sprintf("the hosts: %d of %d", done, len(hosts))) },
		}.Look(ctx, hosts)
		d.sheet.Add(checks...)
	}
	if err != nil {
		d.sheet.Add(doctor.Problems(doctor.HostsArea, doctor.Error, err, "ansible -m ansible.builtin.ping -b patching_targets")...)
		return
	}
	for _, h := range hosts {
		if !h.Local && slices.Contains(reached, h.Name) {
			d.sheet.Add(doctor.Pinned(ctx, login(inv.Hosts[h.Name]))...)
		}
	}
}

// playbook is the carried one for this, in a folder that remove removes. Variables beside the playbook of the waves, such as
// how hosts are reached, count for it as well.
func (d *diagnosis) playbook() (p runner.Playbook, remove func(), err error) {
	dir, err := os.MkdirTemp("", name+"-doctor-")
	if err != nil {
		return p, func() {}, err
	}
	remove = func() { os.RemoveAll(dir) }
	content, err := ansible.Unpack(dir)
	if err != nil {
		return p, remove, err
	}
	if !d.carried {
		for _, vars := range []string{"group_vars", "host_vars"} {
			theirs := filepath.Join(filepath.Dir(d.Playbook), vars)
			if _, err := os.Stat(theirs); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := os.Symlink(theirs, filepath.Join(content, "playbooks", vars)); err != nil {
				return p, remove, err
			}
		}
	}
	return runner.Playbook{
		Dir: d.Project, Playbook: filepath.Join(content, "playbooks", "doctor.yml"), Inventory: d.Inventory, Forks: d.Forks,
		Env: append(slices.Clone(d.env), "ANSIBLE_ROLES_PATH="+filepath.Join(content, "roles")), PrivateKey: d.key(), HostDeadline: hostPatience,
	}, remove, nil
}

// login is how the inventory has ssh called for a host, as far as it is plain text.
func login(h inventory.Host) doctor.Login {
	text := func(names ...string) string {
		for _, n := range names {
			if v := strings.Trim(string(h.Vars[n]), `"`); v != "" && v != "null" && !strings.Contains(v, "{{") {
				return v
			}
		}
		return ""
	}
	l := doctor.Login{Host: h.Name, Address: h.Address(), Port: text("ansible_port", "ansible_ssh_port"), User: text("ansible_user", "ansible_ssh_user")}
	for _, n := range []string{"ansible_ssh_common_args", "ansible_ssh_extra_args"} {
		if args := text(n); !strings.ContainsAny(args, `'"\`) {
			l.Args = append(l.Args, strings.Fields(args)...)
		}
	}
	return l
}
