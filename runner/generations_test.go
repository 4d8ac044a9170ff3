//go:build e2e

package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is tested here Ansible decides, each generation for itself: it runs in
// the lab, on the controller of each.

// TestPlayShapes are the ways in which a play ends early or takes hosts apart.
func TestPlayShapes(t *testing.T) {
	t.Parallel()
	const (
		work = "- name: Work\n  ansible.builtin.debug:\n  changed_when: true\n"
		fail = "- name: Fail\n  ansible.builtin.fail:\n  when: inventory_hostname is match('.*1')\n"
	)
	shape := func(keys, tasks string) string {
		return strings.Replace(playOf(tasks), "  hosts: all\n", "  "+strings.ReplaceAll(keys, "; ", "\n  ")+"\n", 1)
	}
	// A play that is broken off ends its playbook: each has a run of its own.
	for name, c := range map[string]struct{ site, want string }{
		"each goes on to the next": {shape("hosts: free; strategy: free", fail+work) + shape("hosts: pinned; strategy: host_pinned", fail+work) +
			shape("hosts: played", work+"- ansible.builtin.meta: end_play\n"+fail) +
			shape("hosts: ended", work+"- ansible.builtin.meta: end_host\n  when: inventory_hostname == 'ended1'\n"+fail) +
			shape("hosts: missed1:missed3", work),
			"free: failed changed changed; pinned: failed changed changed; played: changed changed changed; " +
				"ended: changed changed changed; missed: changed not-attempted changed"},
		"serial and failure": {shape("hosts: free; serial: 1", fail+work), "free: failed not-attempted not-attempted"},
		"max_fail":           {shape("hosts: free; serial: 2; max_fail_percentage: 0", fail+work), "free: failed ok not-attempted"},
		"any_errors_fatal":   {shape("hosts: free; any_errors_fatal: true", fail+work), "free: failed ok ok"},
		"an empty group":     {shape("hosts: nobody", fail+work), "free: not-attempted not-attempted not-attempted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			groups := strings.Split(c.want, "; ")
			inventory, hosts := "", []string(nil)
			for _, g := range groups {
				g, _, _ = strings.Cut(g, ":")
				inventory += "[" + g + "]\n"
				for _, n := range []string{"1", "2", "3"} {
					hosts = append(hosts, g+n)
					inventory += g + n + "\n"
				}
			}
			_, vars, _ := strings.Cut(localHosts, "[all:vars]")
			r := localRun(t, c.site, map[string]string{"hosts": inventory + "[all:vars]" + vars})
			r.Hosts = hosts
			r.do(t.Context(), t)
			var got []string
			for _, g := range groups {
				g, _, _ = strings.Cut(g, ":")
				got = append(got, fmt.Sprintf("%s: %s %s %s", g, r.res.Hosts[g+"1"].Outcome, r.res.Hosts[g+"2"].Outcome, r.res.Hosts[g+"3"].Outcome))
			}
			if got := strings.Join(got, "; "); got != c.want || r.err != nil {
				t.Errorf("%s, %v; want %s", got, r.err, c.want)
			}
		})
	}
}

// TestMatch compares what a limit names.
func TestMatch(t *testing.T) {
	t.Parallel()
	need(t, "ansible")
	dir := project(t, map[string]string{
		"a": "[web]\nh1\nh2\n[db]\nh3\n", "some": "h1\n\n h3 \n", "empty": "\n",
	})
	for pattern, want := range map[string][]string{
		"web[0]:db": {"h1", "h3"}, "h?:&db": {"h3"}, "all,!h2": {"h1", "h3"}, "@some": {"h1", "h3"}, "nobody": nil, "web:&db": nil,
		// Ansible takes a limit without a pattern for no limit at all.
		",": nil, ":": nil, " ": nil, "": nil,
		// A port is no second pattern.
		"all:9": nil,
	} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			got, err := Match(t.Context(), dir, pattern, "a")
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%v %v, want %v", got, err, want)
			}
		})
	}
	for _, limit := range []string{"@empty", ",@empty, ", "@empty,!h1"} {
		if got, err := Match(t.Context(), dir, limit, "a"); err == nil {
			t.Errorf("limit %q names %v", limit, got)
		}
	}
	if got, err := Match(t.Context(), dir, "@gone", "a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing limit file: %v %v", got, err)
	}
	if got, err := Match(t.Context(), dir, "web", "gone"); err == nil {
		t.Errorf("a missing inventory has %v", got)
	}
}

// recorder is an operator's own callback.
const recorder = `
import os
from ansible.plugins.callback import CallbackBase
DOCUMENTATION = 'name: recorder\ntype: notification\nshort_description: x\ndescription: x\n'
class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'notification'
    CALLBACK_NAME = 'recorder'
    CALLBACK_NEEDS_ENABLED = NEEDS
    def v2_runner_on_ok(self, result):
        open(os.environ['RECORD'], 'a').write('seen ')
`

// TestOperatorCallback: wherever an operator keeps a callback, it goes on to
// run beside ours.
func TestOperatorCallback(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at  []string // folders; a callback in one named enabled has to be
		cfg string
		env string
	}{
		"named in ansible.cfg": {at: []string{"mine", "mine/enabled", "callback_plugins"},
			cfg: "[defaults]\ncallback_plugins = ./mine:mine/enabled\ncallbacks_enabled = enabled\nstdout_callback = minimal\n"},
		"in the environment": {at: []string{"env"}, env: "ANSIBLE_CALLBACK_PLUGINS=env"},
		"at home":            {at: []string{".ansible/plugins/callback"}, env: "HOME=."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, want := map[string]string{"hosts": oneHost}, ""
			for _, dir := range c.at {
				needs, as := "False", fmt.Sprintf("recorder%d", len(files))
				if filepath.Base(dir) == "enabled" {
					needs, as = "True", "enabled"
				}
				files[dir+"/"+as+".py"] = strings.NewReplacer("NEEDS", needs, "recorder", as).Replace(recorder)
				want += "seen "
			}
			if c.cfg != "" {
				files["ansible.cfg"] = c.cfg
			}
			r := localRun(t, playOf("- name: Speak\n  ansible.builtin.debug: {msg: hello}"), files)
			record := filepath.Join(r.Dir, "record")
			r.Hosts = r.Hosts[:1]
			r.Env = append(r.Env, "RECORD="+record)
			switch c.env {
			case "":
			case "HOME=.":
				r.Env = append(r.Env, "HOME="+r.Dir)
			default:
				r.Env = append(r.Env, c.env)
			}
			r.do(t.Context(), t)
			if seen, _ := os.ReadFile(record); string(seen) != want {
				t.Errorf("their callbacks recorded %q", seen)
			}
			if _, ok := r.find(KindResult, "h1", "Speak"); !ok || r.err != nil {
				t.Errorf("ours saw nothing: %v", r.err)
			}
			if strings.Contains(c.cfg, "stdout_callback") && strings.Contains(r.log.String(), "PLAY RECAP") {
				t.Error("their stdout callback was not used")
			}
		})
	}
}
