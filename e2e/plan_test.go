//go:build e2e

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// planned is what `plan --json` prints, as far as scenarios look at it.
type planned struct {
	Waves []struct {
		Number int
		Hosts  []struct {
			Name    string
			Outcome string
			Problem string
			Size    int64 `json:"download_size"`
			Plan    *patch
		}
	}
}

// TestPlan looks ahead, and then installs the same versions in every wave although the archive changes between them.
func TestPlan(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "plan", "What will happen, and that it is that")
	dirs := []string{"/var/lib/apt", "/var/lib/dpkg", "/etc", "/usr/local", "/var/cache", "/var/lib/prometheus"}

	var seen planned
	ok := t.Run("a plan tells all and changes nothing", func(t *testing.T) {
		lab := lab.For(t)
		lab.Shell("saltierpoop", "echo mine >/etc/lab-conf.conf; apt-mark hold lab-sec")
		before := map[string][]string{}
		for _, name := range hosts {
			before[name] = lab.Files(name, dirs...)
		}
		out := run(t, lab, "plan", "--json")
		ev.Call("`plan --json`", out.Output, out.Took, out.Report.Reason)
		out.want(t, 0, []string{"saltierpoop unchanged", "prox unchanged", "infra-services unchanged"})
		for _, name := range hosts {
			after := lab.Files(name, dirs...)
			if !slices.Equal(before[name], after) {
				t.Errorf("%s: files changed: %v", name, difference(before[name], after))
			}
			ev.Lines("hash of "+fmt.Sprint(dirs)+" on "+name, "before and after "+lab.Hash(name, dirs...))
		}
		if err := json.Unmarshal([]byte(out.Stdout), &seen); err != nil || len(seen.Waves) != 3 {
			t.Fatalf("%v\n%s", err, out.Stdout)
		}
		t.Log(out.Stdout)
		lab.Exec("saltierpoop", "apt-mark", "unhold", "lab-sec")
	})
	if !ok {
		t.FailNow()
	}

	t.Run("every wave gets what the first one got", func(t *testing.T) {
		lab := lab.For(t)
		write(lab, controller, "/etc/homelab/patch-orchestrate.yaml", "gates:\n  - name: meanwhile\n    command: [/usr/local/bin/meanwhile]\n    timeout: 5m\n")
		write(lab, controller, "/usr/local/bin/meanwhile", "#!/bin/sh\ntouch /run/meanwhile; while [ ! -e /run/changed ]; do sleep 0.1; done\n")
		lab.Exec(controller, "chmod", "755", "/usr/local/bin/meanwhile")
		c := start(t, lab, "run")
		e2e.Eventually(t, 4*time.Minute, "wave 0 is done", func() error {
			if out := lab.Run(t.Context(), controller, "test", "-e", "/run/meanwhile"); out.Code != 0 {
				return errors.New(c.stderr.String())
			}
			return nil
		})
		lab.Packages([]string{"lab-app", "3.0-1"}, []string{"lab-orphan", "2.0-1"})
		lab.RepoState("new")
		lab.Exec(controller, "touch", "/run/changed")
		out := c.wait(t)
		ev.Call("`run`, the archive changes after wave 0", out.Output, out.Took, last(out.Stdout))
		out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"}, "3 patched")
		for _, name := range hosts {
			if v, w := lab.Version(name, "lab-app"), lab.Version(name, "lab-orphan"); v != "2.0-1" || w != "1.0-1" {
				t.Errorf("%s: lab-app %s, lab-orphan %s", name, v, w)
			}
			ev.Lines("lab-app on "+name+", of which the archive had 3.0-1 after wave 0", lab.Version(name, "lab-app"))
			if out := lab.Run(t.Context(), name, "ls", "-A", "/var/cache/homelab-patch"); out.Code == 0 {
				t.Errorf("%s: left in the cache: %s", name, out.Stdout)
			}
		}
		wantQuiet(t, lab)
	})
}
