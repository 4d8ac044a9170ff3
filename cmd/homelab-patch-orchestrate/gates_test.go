package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"homelab-patch-orchestrate/ansible"
	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// Which gates there are, and how long each may take.
func TestGatesOfAJob(t *testing.T) {
	settings := config.Config{FailedUnits: true, Gates: []config.Gate{
		{Name: "web", URL: "http://127.0.0.1:1/"}, {Name: "dns", Command: []string{"/bin/false"}, Timeout: time.Second},
		{Name: "alerts", Query: "up == 0", Server: "http://127.0.0.1:1"}, {Name: "soon", Query: "up == 0", Server: "http://127.0.0.1:1", For: time.Second},
	}}
	quiet := settings
	quiet.FailedUnits = false
	for name, test := range map[string]struct {
		job  job
		want []string
	}{
		"carried":    {job{Config: settings, carried: true}, []string{"failed-units 5m0s", "web 0s", "dns 1s", "alerts 6m0s", "soon 1m1s"}},
		"one's own":  {job{Config: settings}, []string{"web 0s", "dns 1s", "alerts 6m0s", "soon 1m1s"}},
		"turned off": {job{Config: quiet, carried: true}, []string{"web 0s", "dns 1s", "alerts 6m0s", "soon 1m1s"}},
		"check":      {job{Config: settings, carried: true, check: true}, nil},
	} {
		var got []string
		for _, g := range test.job.gates(runner.Playbook{}, t.TempDir()) {
			got = append(got, g.Name+" "+g.Timeout.String())
			if strings.HasPrefix(g.Name, "failed") || g.Name == "alerts" {
				continue
			}
			if err := g.Check(t.Context(), orchestrator.Question{}); err == nil {
				t.Errorf("%s: gate %s says yes", name, g.Name)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// The gate that is there unasked runs the carried playbook with what the waves run with, and its words are in the run's
// log.
func TestFailedUnitsOfAJob(t *testing.T) {
	t.Parallel()
	content, err := ansible.Unpack(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	hosts := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hosts, []byte("[patching_targets]\ngone ansible_host=127.0.0.1 ansible_port=1 ansible_python_interpreter=/usr/bin/python3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	j := job{Config: config.Config{FailedUnits: true, Project: content}, carried: true}
	gates := j.gates(runner.Playbook{
		Dir: content, Playbook: "patch.yml", Inventory: []string{hosts}, Env: []string{"ANSIBLE_ROLES_PATH=" + filepath.Join(content, "roles")},
	}, dir)
	q := orchestrator.Question{When: "before wave 1", Wave: orchestrator.WaveReport{Hosts: []orchestrator.HostReport{
		{Name: "gone", Outcome: orchestrator.Patched, Patch: &orchestrator.Patch{Version: 1}},
	}}}
	err = gates[0].Check(t.Context(), q)
	var broken *runner.EngineError
	if errors.As(err, &broken) || err == nil || !strings.HasPrefix(err.Error(), "gone: it cannot be asked for failed units: ") {
		t.Errorf("says %v", err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "ansible.log"))
	if err != nil || !strings.HasPrefix(string(log), "==== failed units before wave 1, ") || !strings.Contains(string(log), "Look for failed units") {
		t.Errorf("%v, log:\n%s", err, log)
	}
}

func TestOnceAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answer := 0, error(nil)
		check := onceAMoment(func(context.Context, orchestrator.Question) error { asked++; return answer })
		ask := func(wave, want int) {
			t.Helper()
			err := check(t.Context(), orchestrator.Question{Wave: orchestrator.WaveReport{Number: wave}})
			if !errors.Is(err, answer) || asked != want {
				t.Errorf("wave %d: %v, asked %d times, want %d", wave, err, asked, want)
			}
		}
		ask(0, 1)
		time.Sleep(aMoment - time.Millisecond)
		ask(0, 1)
		time.Sleep(time.Millisecond)
		ask(0, 2) // that yes is too old
		ask(1, 3) // and is of another wave
		answer = errors.New("no")
		ask(2, 4)
		ask(2, 5) // a no is asked again
	})
}
