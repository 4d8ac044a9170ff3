package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Ansible itself would need hours for ten thousand hosts. Where only our side
// is measured, this program takes its place: under the name of
// ansible-playbook it writes to descriptor 3 what the callback plugin writes
// in a run that upgrades every host.

// tasksVar says how many tasks the run has.
const tasksVar = "BENCH_TASKS"

// standIn plays ansible-playbook.
func standIn(args []string) error {
	tasks, err := strconv.Atoi(os.Getenv(tasksVar))
	if err != nil {
		return err
	}
	hosts, err := limit(args)
	if err != nil {
		return err
	}
	return upgrade(os.NewFile(3, "events"), hosts, tasks)
}

// upgrade writes the events of a run over hosts.
func upgrade(out io.Writer, hosts []string, tasks int) error {
	const forks = 10
	w := bufio.NewWriterSize(out, 64<<10)
	now := float64(time.Now().UnixMicro()) / 1e6
	fmt.Fprintf(w, `{"kind":"start","time":%f,"version":"2.14.18"}`+"\n", now)
	fmt.Fprintf(w, `{"kind":"play","time":%f,"play":"Patch","id":"%s"}`+"\n", now, id(0))
	for t := 1; t <= tasks; t++ {
		name, action, data := "Upgrade, part "+strconv.Itoa(t), "ansible.builtin.apt", upgraded(t)
		if t == tasks {
			name, action, data = "Publish the result", "ansible.builtin.set_fact", published()
		}
		head := fmt.Sprintf(`"play":"Patch","task":"%s","id":"%s"`, name, id(t))
		path := fmt.Sprintf(`"path":"/srv/ansible/patch.yml:%d","action":"%s"`, 7*t, action)
		fmt.Fprintf(w, `{"kind":"task","time":%f,%s,%s,"tags":[]}`+"\n", now, head, path)
		for first := 0; first < len(hosts); first += forks {
			some := hosts[first:min(first+forks, len(hosts))]
			for _, h := range some {
				fmt.Fprintf(w, `{"kind":"begin","time":%f,%s,"host":"%s"}`+"\n", now, head, h)
			}
			for _, h := range some {
				fmt.Fprintf(w, `{"kind":"result","time":%f,%s,%s,"host":"%s","status":"changed","started":%f,"data":%s}`+"\n",
					now, head, path, h, now, data)
			}
		}
	}
	fmt.Fprintf(w, `{"kind":"stats","time":%f,"data":{`, now)
	for i, h := range hosts {
		comma := ","
		if i == 0 {
			comma = ""
		}
		fmt.Fprintf(w, `%s"%s":{"ok":%d,"failures":0,"unreachable":0,"changed":%d,"skipped":0,"rescued":0,"ignored":0}`,
			comma, h, tasks, tasks)
	}
	w.WriteString("}}\n")
	return w.Flush()
}

// limit reads the hosts of --limit @FILE.
func limit(args []string) ([]string, error) {
	for _, a := range args {
		if _, file, ok := strings.Cut(a, "@"); ok && strings.Contains(a, "limit") {
			text, err := os.ReadFile(file)
			return strings.Fields(string(text)), err
		}
	}
	return nil, fmt.Errorf("no limit in %q", args)
}

func id(task int) string { return fmt.Sprintf("5254001a-2b3c-9f4e-6d10-%012d", task) }

// publishedPackages is how many packages each host got: 4 kB of them.
const publishedPackages = 45

// packages are the names of some that are often upgraded.
var packages = strings.Fields(`apt base-files bash bind9-host curl dbus dpkg e2fsprogs git gnupg libc6 libcurl4
	libexpat1 libgnutls30 libpam-modules libssl3 libsystemd0 libxml2 openssh-server openssl`)

func deb(i, revision int) (name, version string) {
	return packages[i%len(packages)], fmt.Sprintf("2.%d.%d-%d+deb12u%d", i%9, i%7, i%5+1, revision)
}

// upgraded is what the module apt returns of an upgrade: 4 kB.
func upgraded(task int) []byte {
	lines := []string{
		"Reading package lists...", "Building dependency tree...", "Reading state information...",
		"(Reading database ... 48216 files and directories currently installed.)",
	}
	for i := task * 6; i < task*6+10; i++ {
		name, from := deb(i, 1)
		_, to := deb(i, 2)
		lines = append(lines, fmt.Sprintf("Preparing to unpack .../%03d-%s_%s_amd64.deb ...", i%1000, name, to),
			fmt.Sprintf("Unpacking %s (%s) over (%s) ...", name, to, from), fmt.Sprintf("Setting up %s (%s) ...", name, to))
	}
	lines = append(lines, "Processing triggers for libc-bin (2.36-9+deb12u10) ...")
	return mustJSON(map[string]any{
		"cache_update_time": 1700000000, "cache_updated": false, "changed": true, "diff": map[string]any{},
		"stderr": "", "stderr_lines": []string{}, "stdout": strings.Join(lines, "\n") + "\n", "stdout_lines": lines,
	})
}

// published is what the role publishes of a host.
func published() []byte {
	var list []map[string]any
	for i := range publishedPackages {
		name, from := deb(i, 1)
		_, to := deb(i, 2)
		list = append(list, map[string]any{"name": name, "from": from, "to": to, "security": i%2 == 0})
	}
	return mustJSON(map[string]any{"changed": false, "ansible_facts": map[string]any{"homelab_patch": map[string]any{
		"version": 1, "packages": list, "reboot_required": false, "rebooted": true,
		"kernel":       map[string]any{"running": "6.1.0-41-amd64", "installed": "6.1.0-41-amd64", "state": "current"},
		"failed_units": map[string]any{"before": []string{}, "after": []string{}},
	}}})
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// manyHosts names n hosts.
func manyHosts(n int) []string {
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("node%05d.lab.example", i)
	}
	return hosts
}

// standInInventory plays ansible-inventory --list: many hosts in wave 0, the controller in wave 1.
func standInInventory() error {
	hosts := manyHosts(manyHostsN)
	vars := map[string]any{}
	for _, h := range hosts {
		vars[h] = map[string]any{"ansible_host": "192.0.2.1", "ansible_user": "root"}
	}
	last := len(hosts) - 1
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"_meta":            map[string]any{"hostvars": vars},
		"all":              map[string]any{"children": []string{"ungrouped", "patching_targets", "patch_controller"}},
		"patching_targets": map[string]any{"children": []string{"patching_wave0", "patching_wave1"}},
		"patching_wave0":   map[string]any{"hosts": hosts[:last]},
		"patching_wave1":   map[string]any{"hosts": hosts[last:]},
		"patch_controller": map[string]any{"hosts": hosts[last:]},
	})
}
