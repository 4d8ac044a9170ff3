//go:build e2e

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// ahead is what `plan --json` prints, as far as scenarios look at it.
type ahead struct {
	Waves []struct {
		Number int
		Hosts  []struct {
			Name, Problem, Reboot, Suite string
			Download                     int64   `json:"download_size"`
			ListsAge                     float64 `json:"lists_age_seconds"`
			Packages                     []struct {
				Name, From, To, Origin string
				Security               bool
				Size                   int64
				Advisories             []string
			}
			Held      []struct{ Name string }           `json:"held_packages"`
			KeptBack  []struct{ Name, Reason string }   `json:"kept_back"`
			Conffiles []struct{ Path, Expected string } `json:"conffile_prompts"`
			Services  []struct{ Service string }        `json:"services_forecast"`
		}
	}
}

// TestPlan looks ahead, and then installs the same versions in every wave although the archive changes between them.
func TestPlan(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "plan", "What will happen, and that it is that")
	dirs := []string{"/var/lib/apt", "/var/lib/dpkg", "/etc", "/usr/local", "/var/cache", "/var/lib/prometheus"}

	var seen ahead
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
		first := seen.Waves[0].Hosts[0]
		if first.Suite != "bookworm" || first.Download < 1000 || len(first.Packages) != 4 || first.Packages[0].Origin != "Debian:12/oldstable" ||
			first.Packages[0].Size == 0 || !first.Packages[2].Security || first.ListsAge > 60 {
			t.Errorf("plan of %s: %+v", first.Name, first)
		}
		if len(first.Held) != 1 || first.Held[0].Name != "lab-sec" || len(first.Conffiles) != 1 || first.Conffiles[0].Expected != "unknown" ||
			first.Reboot != "linux-image-6.1.0-41-lab-amd64 is a new kernel" {
			t.Errorf("plan of %s: held %+v, conffiles %+v, reboot %q", first.Name, first.Held, first.Conffiles, first.Reboot)
		}
		for _, how := range []string{"", "--markdown"} {
			out := run(t, lab, strings.Fields("plan "+how)...)
			out.want(t, 0, out.outcomes(), "lab-app", "2.0-1", "Debian:12/oldstable", "apt-mark unhold lab-sec", "/etc/lab-conf.conf", "planned 3 of 3 hosts")
			ev.Lines("`plan "+how+"`", strings.Split(out.Stdout, "\n")...)
			t.Log(out.Stdout)
		}
		lab.Exec("saltierpoop", "apt-mark", "unhold", "lab-sec")
	})
	if !ok {
		t.FailNow()
	}

	t.Run("every wave gets what the first one got", func(t *testing.T) {
		lab := lab.For(t)
		out := meanwhile(t, lab, func() {
			lab.Packages([]string{"lab-app", "3.0-1"}, []string{"lab-orphan", "2.0-1"})
			lab.RepoState("new")
		})
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

// meanwhile runs the program, has something happen between wave 0 and wave 1, and returns how it ended.
func meanwhile(t *testing.T, lab *e2e.Lab, happen func(), args ...string) outcome {
	t.Helper()
	write(lab, controller, "/etc/homelab/patch-orchestrate.yaml", "gates:\n  - name: meanwhile\n    command: [/usr/local/bin/meanwhile]\n    timeout: 5m\n")
	write(lab, controller, "/usr/local/bin/meanwhile", "#!/bin/sh\ntouch /run/meanwhile; while [ ! -e /run/changed ]; do sleep 0.1; done\n")
	lab.Shell(controller, "chmod 755 /usr/local/bin/meanwhile; rm -f /run/meanwhile /run/changed")
	c := start(t, lab, append([]string{"run"}, args...)...)
	e2e.Eventually(t, 4*time.Minute, "wave 0 is done", func() error {
		if out := lab.Run(t.Context(), controller, "test", "-e", "/run/meanwhile"); out.Code != 0 {
			return errors.New(c.stderr.String())
		}
		return nil
	})
	happen()
	lab.Exec(controller, "touch", "/run/changed")
	return c.wait(t)
}
