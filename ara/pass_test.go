//go:build e2efull

package ara

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// TestPassThrough: an operator's own callback of ARA goes on to work in every run, and its playbooks have the labels of the
// run besides those that the operator gives.
func TestPassThrough(t *testing.T) {
	server := newServer(t)
	ev := e2e.Record(t, nil, "ara-callback", "An operator's own callback of ARA, in our runs")
	s := newSite(t, server.url())
	s.settings("forward: false")
	callback := plugins(t)
	want := func(labels []string, run, wave string) {
		for _, l := range []string{"mine", "also mine", "homelab-patch", "run:" + run, "kind:full", wave} {
			if !slices.Contains(labels, l) {
				t.Errorf("labels %q lack %q", labels, l)
			}
		}
	}
	names := func(b thing) (names []string) {
		for _, l := range b["labels"].([]any) {
			names = append(names, l.(thing)["name"].(string))
		}
		return names
	}
	for _, c := range []struct {
		name, cfg string
		env       []string
	}{
		{name: "http, by its environment", env: []string{"ANSIBLE_CALLBACK_PLUGINS=" + callback, "ARA_API_CLIENT=http", "ARA_API_SERVER=" + server.url(),
			"ARA_API_USERNAME=" + user, "ARA_API_PASSWORD=" + password, "ARA_DEFAULT_LABELS=mine,also mine"}},
		{name: "http, by ansible.cfg", cfg: "[defaults]\ncallback_plugins = " + callback + "\n[ara]\napi_client = http\napi_server = " + server.url() +
			"\napi_username = " + user + "\napi_password = " + password + "\ndefault_labels = mine,also mine\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			if c.cfg != "" {
				s.write("project/ansible.cfg", c.cfg, 0o600)
			}
			out := s.do(s.run(c.env...))
			run, _ := s.last()
			books := server.labelled("run:" + run)
			if out.code != 0 || len(books) != 2 {
				t.Fatalf("%d playbooks, exit code %d\n%s", len(books), out.code, out.stderr)
			}
			want(names(books[0]), run, "wave:0")
			want(names(books[1]), run, "wave:1")
			ev.Call("`run`, callback: "+c.name, e2e.Output{Code: out.code}, 0, strings.Join(names(books[0]), ", ")+"\n"+strings.Join(names(books[1]), ", "))
			os.Remove(s.path("project/ansible.cfg"))
		})
	}
	t.Run("offline", func(t *testing.T) {
		s.t = t
		base := s.path("offline")
		start := time.Now()
		out := s.do(s.run("ANSIBLE_CALLBACK_PLUGINS="+callback, "ARA_API_CLIENT=offline", "ARA_BASE_DIR="+base, "ARA_DEFAULT_LABELS=mine,also mine"))
		run, _ := s.last()
		if out.code != 0 {
			t.Fatalf("exit code %d\n%s", out.code, out.stderr)
		}
		list := exec.Command("ara", "playbook", "list", "--client", "offline", "--label", "run:"+run, "--format", "json", "--long")
		list.Env = append(os.Environ(), "ARA_BASE_DIR="+base)
		said, err := list.Output()
		if err != nil || strings.Count(string(said), `"patch.yml"`)+strings.Count(string(said), "/patch.yml") < 2 || !strings.Contains(string(said), "wave:1") && !strings.Contains(string(said), "completed") {
			t.Fatalf("%v\n%s", err, said)
		}
		ev.Call("`run`, callback: offline", e2e.Output{Code: out.code}, time.Since(start), strings.Join(strings.Fields(string(said)), " "))
	})
}
