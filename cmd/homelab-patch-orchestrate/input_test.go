package main

import (
	"os"
	"strings"
	"testing"
)

// Bad input, one row a kind of mistake: exit code 2, one line that says which file, which line and how to mend it, and
// nothing is written. The tables beside the parsers are longer; here it is the program that refuses.
func TestBadInput(t *testing.T) {
	t.Parallel()
	const hook = "DISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/1/abc\n"
	for file, c := range map[string]struct {
		args []string
		rows [][2]string // text, and "line: problem (fix"
	}{
		"fleet.yaml": {[]string{"inventory", "render", "--fleet", "fleet.yaml"}, [][2]string{
			{"", `1: there are no hosts (write hosts:`},
			{"hosts:\n- {name: a, wave: 0}\n- {name: a, wave: 1, controller: true}\n", `3: host a: the host on line 2 has this name (give one of them another`},
			{"hosts:\n- {name: a, wave: 0}\n- {name: b, address: a, wave: 1, controller: true}\n", `3: host b: is reached at a:22, as is host a on line 2 (give one of them another`},
			{"hosts:\n- name: a\n  name: b\n  wave: 0\n  controller: true\n", `3: host b: "name" is on line 2 already (keep one of them)`},
			{"hosts:\n- name: a\n  wave: 0\n  contoller: true\n", `4: host a: "contoller" is not a key (did you mean "controller"?)`},
			{"hosts:\n- {name: a, wave: -2, controller: true}\n", `2: host a: "wave" is not the number of a wave (write 0, 1`},
			{"hosts:\n- {name: a, controller: true}\n", `2: host a: is in no wave (add wave:`},
			{"hosts:\n- {name: a, wave: 0, controller: true}\n- {name: b, wave: 1, controller: true}\n", `3: group patch_controller: there is more than one controller: a, b (write controller: true at the one host`},
			{"hosts:\n- {name: a, wave: 0}\n- {name: b, wave: 1}\n", `2: group patch_controller: there is no controller (write controller: true`},
			{"hosts:\n- {name: a, wave: 0}\n- {name: b, wave: 0, controller: true}\n", `3: host b, group patching_wave0: the controller shares the last wave with a (move it to a wave of its own, such as wave: 1)`},
			{"hosts:\n- {name: 'web*', wave: 0, controller: true}\n", `2: "name" is not a name for a host (write letters`},
			{"hosts:\n- {name: all, wave: 0, controller: true}\n", `2: host all: the name is a group or a pattern to Ansible and could select other hosts (rename the host`},
			{"hosts:\n- {name: a, wave: 0\n", `2: did not find expected ',' or '}' (mend it there`},
		}},
		"settings.yaml": {[]string{"waves", "--config", "settings.yaml", "--state", "state"}, [][2]string{
			{"budgt: 1\n", `1: "budgt" is not a setting (did you mean "budget"?)`},
			{"a\n", `1: not a list of settings (write one`},
			{"forks: 1\nforks: 2\n", `2: "forks" is on line 1 already (keep one of them)`},
			{"forks: many\n", `1: "forks" is not a whole number (write one such as 1)`},
			{"\nbudget: -1\n", `2: "budget" is too small (write a number of 0 or more)`},
			{"soak: 15\n", `1: "soak" is not a duration (write a number with its unit`},
			{"state: ~/x\n", `1: "state" begins with ~, which only a shell knows (write a path)`},
			{"inventory: [a, 'b,c']\n", `1: "inventory" has a comma, which makes it a list of host names to Ansible (write a path`},
			{"window: Sun 3-8\n", `1: "window" cannot be used: window "Sun 3-8": "3" is no time of day; write one such as`},
			{"blackout: 2026-13-01\n", `1: "blackout" cannot be used: blackout "2026-13-01": "2026-13-01" is no day; write one such as`},
			{"timezone: Nowhere\n", `1: "timezone" is not a time zone (write a name`},
			{"send: often\n", `1: "send" is none of always, change, failure (write one of them)`},
			{"failed_units: maybe\n", `1: "failed_units" is neither true nor false (write one of them)`},
			{"gates:\n- name: x\n  http: planted\n", `3: "http" is not a URL (write one such as`},
			{"gates:\n- name: x\n  htpp: http://x/\n  http: http://x/\n", `3: "htpp" is not a setting of a gate (did you mean "http"?)`},
			{"forks: 1\n---\nforks: 1\n", `2: a second YAML document (keep one)`},
			{"\tforks: 1\n", `1: found character that cannot start any token (mend it there`},
			{"private_key: *planted\n", `1: a value begins with *, which makes it an alias (put it in quotes)`},
		}},
		"notify.env": {[]string{"notify", "test", "--dry-run", "--config", "good.yaml", "--state", "state"}, [][2]string{
			{"planted\n" + hook, `1: this is not KEY=VALUE (write one a line`},
			{"DISCORD_WEBHOOK_URL=planted\n", `1: "DISCORD_WEBHOOK_URL" cannot be used: it is not a URL like https://discord.com/api/webhooks/ID/TOKEN (Discord shows it`},
			{hook + "NTFY_URL=planted\nNTFY_PATCH_TOPIC=t\n", `2: "NTFY_URL" is not a URL (write one like`},
			{hook + "NTFY_URL=https://ntfy.example\n", `2: "NTFY_URL" is set and NTFY_PATCH_TOPIC is not: which topic? (add`},
			{hook + "\nNTFY_TOKEN=planted\n", `3: "NTFY_TOKEN" is set and NTFY_URL is not: which server? (add`},
			{hook + "HEARTBEAT_URL='planted\n", `2: "HEARTBEAT_URL" has a quote that is not closed (close it`},
			{hook + hook, `2: "DISCORD_WEBHOOK_URL" is on line 1 already (keep one of them`},
			{hook + "GRAFANA_URL=http://planted:planted@x/\n", `2: "GRAFANA_URL" has a password in it (take it out`},
			{hook + "RUNBOOK_URL_FILE=planted\n", `2: "RUNBOOK_URL_FILE" is not an absolute path (write one`},
		}},
	} {
		for _, row := range c.rows {
			b := &bench{t, t.TempDir()}
			b.write("good.yaml", "notify_env: notify.env\n")
			b.write(file, row[0])
			if err := os.Chmod(b.path(file), 0o600); err != nil {
				t.Fatal(err)
			}
			before := b.tree()
			r := b.do(b.bare(c.args...))
			if r.code != 2 {
				t.Errorf("%s %q: exit code %d", file, row[0], r.code)
			}
			if !strings.Contains(r.stderr, b.path(file)+":"+row[1]) || strings.Contains(r.stdout+r.stderr, "planted") {
				t.Errorf("%s %q:\n%swant …:%s", file, row[0], r.stderr, row[1])
			}
			if b.tree() != before {
				t.Errorf("%s %q: something was written", file, row[0])
			}
		}
	}
}
