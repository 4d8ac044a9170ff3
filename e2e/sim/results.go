package sim

import (
	"encoding/json"
	"fmt"
	"strings"
)

// These are what the modules return, member by member, as the callback plugin leaves it: TestReal compares.

// command is what ansible.builtin.command returns.
func command(changed bool, stdout string, argv ...string) []byte {
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if stdout == "" {
		lines = []string{}
	}
	return mustJSON(map[string]any{
		"changed": changed, "stdout": strings.TrimSuffix(stdout, "\n"), "stdout_lines": lines, "stderr": "", "stderr_lines": []string{}, "rc": 0,
		"cmd": argv, "start": "2026-11-28 04:00:00.000000", "end": "2026-11-28 04:00:02.000000", "delta": "0:00:02.000000", "msg": "",
		"_ansible_no_log": false,
	})
}

// broken is what it returns of a command that failed, and the words that say why.
func broken(stderr string, argv ...string) (data []byte, msg string) {
	return mustJSON(map[string]any{
		"changed": true, "stdout": "", "stdout_lines": []string{}, "stderr": stderr, "stderr_lines": []string{stderr}, "rc": 1,
		"cmd": argv, "start": "2026-11-28 04:00:00.000000", "end": "2026-11-28 04:00:02.000000", "delta": "0:00:02.000000",
		"msg": "non-zero return code", "_ansible_no_log": false,
	}), "non-zero return code: " + stderr
}

func skipped() []byte {
	return mustJSON(map[string]any{"changed": false, "skip_reason": "Conditional result was False", "_ansible_no_log": false})
}

func unreachable(words string) []byte {
	return mustJSON(map[string]any{"changed": false, "unreachable": true, "msg": words})
}

func published(patch map[string]any) []byte {
	return mustJSON(map[string]any{"changed": false, "ansible_facts": map[string]any{"homelab_patch": patch}, "_ansible_no_log": false})
}

// healthy is what the role's module says of a host where no unit has failed.
func healthy() []byte {
	return mustJSON(map[string]any{"changed": false, "_ansible_no_log": false,
		"homelab_health": map[string]any{"version": 1, "state": "running", "failed_units": []any{}}})
}

// packages are the names of some that are often upgraded.
var packages = strings.Fields(`apt base-files bash bind9-host curl dbus dpkg e2fsprogs git gnupg libc6 libcurl4
	libexpat1 libgnutls30 libpam-modules libssl3 libsystemd0 libxml2 openssh-server openssl`)

// Package is the i-th package of any host, and the versions it goes from and to.
func Package(i int) (name, from, to string) {
	version := fmt.Sprintf("2.%d.%d-%d+deb12u", i%9, i%7, i%5+1)
	if name = packages[i%len(packages)]; i >= len(packages) {
		name = fmt.Sprintf("%s-%d", name, i/len(packages))
	}
	return name, version + "1", version + "2"
}

// patch is what the role publishes of a host that it upgraded, or in a plan would.
func (s Script) patch(check bool) map[string]any {
	list := []map[string]any{}
	for i := range s.Packages {
		name, from, to := Package(i)
		p := map[string]any{"name": name, "from": from, "to": to, "security": i%2 == 0}
		if check {
			p["origin"], p["size"] = "Debian-Security:12/oldstable-security", 100000+i
		}
		list = append(list, p)
	}
	patch := map[string]any{
		"version": 1, "packages": list, "check": check, "reboot_required": false, "rebooted": false,
		"kernel":       map[string]any{"running": "6.1.0-41-amd64", "installed": "6.1.0-41-amd64", "state": "current"},
		"failed_units": map[string]any{"before": []string{}, "after": []string{}},
	}
	if check {
		patch["suite"], patch["architecture"] = "bookworm", "amd64"
		patch["archives"] = map[string]any{"Debian bookworm": strings.Repeat("0a", 32), "Debian-Security bookworm": strings.Repeat("1b", 32)}
	}
	return patch
}

// Text is so many bytes of what apt prints, or somewhat less, in whole lines; part makes it another.
func Text(bytes, part int) string {
	var b strings.Builder
	for i := part * 7; ; i++ {
		name, from, to := Package(i % 400)
		line := fmt.Sprintf("Unpacking %s (%s) over (%s) ...\n", name, to, from)
		if b.Len()+len(line) > bytes {
			return b.String()
		}
		b.WriteString(line)
	}
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
