//go:build e2e

package e2e_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// stop is a way in which a run must not go on.
type stop struct {
	name     string
	before   func(lab *e2e.Lab) // breaks something
	after    func(lab *e2e.Lab) // mends it
	args     []string           // after `run`
	code     int
	outcomes []string // of the hosts; nil if no run may begin
	words    []string
	never    string // must not be said
	silent   bool   // the metrics of the last run stand
	metrics  map[string]float64
}

const cases = "/srv/cases" // on the controller

// fleet is an inventory of the lab's hosts, each wave a list of names.
func fleet(waves ...string) string {
	var b strings.Builder
	b.WriteString("all:\n  children:\n    patch_controller: {hosts: {infra-services: {ansible_connection: local}}}\n")
	b.WriteString("    patching_targets: {hosts: {saltierpoop: {ansible_user: someone, ansible_become: true}, prox: {ansible_user: root}, infra-services: {}}}\n")
	for i, names := range waves {
		if names != "" {
			fmt.Fprintf(&b, "    patching_wave%d: {hosts: {%s: {}}}\n", i, strings.ReplaceAll(names, " ", ": {}, "))
		}
	}
	return b.String()
}

// project is a playbook with one task.
func project(task string) string {
	return "- hosts: patching_targets\n  gather_facts: false\n  tasks:\n    - " + task + "\n"
}

var none = []string{"saltierpoop not-attempted", "prox not-attempted", "infra-services not-attempted"}

func stops() []stop {
	unreachable := []string{"saltierpoop unreachable", "prox not-attempted", "infra-services not-attempted"}
	lost := map[string]float64{
		`wave_hosts{wave="0",outcome="unreachable"}`: 1, `wave_hosts{wave="1",outcome="not-attempted"}`: 1,
		`wave_hosts{wave="2",outcome="not-attempted"}`: 1, `wave_hosts{wave="1",outcome="unreachable"}`: 0,
	}
	hold := "/etc/homelab/MAINTENANCE"
	return []stop{
		{name: "no targets", args: []string{"--inventory", cases + "/empty.yml"}, code: 2,
			words: []string{"group patching_targets", "there are no hosts to patch"}},
		{name: "missing inventory", args: []string{"--inventory", cases + "/missing.yml"}, code: 2, silent: true,
			words: []string{"inventory " + cases + "/missing.yml does not exist"}},
		{name: "inventory of the settings is missing", args: []string{"--config", cases + "/settings.yml"}, code: 2,
			words: []string{"inventory " + cases + "/gone.yml does not exist"}},
		{name: "inventory of broken YAML", args: []string{"--inventory", cases + "/broken.yml"}, code: 2,
			words: []string{cases + "/broken.yml", "YAML"}},
		{name: "host in two waves", args: []string{"--inventory", cases + "/twice.yml"}, code: 2,
			words: []string{"host prox: the host is in more than one wave: patching_wave0, patching_wave1"}},
		{name: "controller is not last", args: []string{"--inventory", cases + "/first.yml"}, code: 2,
			words: []string{"host infra-services", "the controller is patched before patching_wave2", "patching_wave3"}},
		{name: "tenth wave with the carried playbook", args: []string{"--inventory", cases + "/tenth.yml"}, code: 2,
			words: []string{"group patching_wave10: the playbook has waves up to 9 only"}},
		{name: "limit that matches nobody", args: []string{"--limit", "nobody"}, code: 2, silent: true,
			words: []string{"limit"}},
		{name: "limit that matches no host of the wave", args: []string{"--limit", "prox", "--wave", "0"}, code: 2, silent: true,
			words: []string{"limit"}},
		{name: "project that others may write", args: []string{"--project", cases + "/open"}, code: 2,
			words: []string{cases + "/open/patch.yml", "can be written by everyone", "chmod go-w"}},
		{name: "playbook that does not parse", args: []string{"--project", cases + "/unparsable"}, code: 1, outcomes: none, never: "unreachable",
			words:   []string{"wave 0: ansible-playbook could not begin", cases + "/unparsable/patch.yml"},
			metrics: map[string]float64{`wave_hosts{wave="0",outcome="not-attempted"}`: 1, `wave_hosts{wave="0",outcome="unreachable"}`: 0}},
		{name: "hold on the controller", code: 6, silent: true,
			before: func(lab *e2e.Lab) { write(lab, controller, hold, "backup runs, ask Ann\n") },
			after:  func(lab *e2e.Lab) { lab.Exec(controller, "rm", hold) },
			words:  []string{"held: backup runs, ask Ann (" + hold + ")"}, metrics: map[string]float64{"held": 1}},
		{name: "link of wave 0 is down", code: 3, outcomes: unreachable, metrics: lost,
			before: func(lab *e2e.Lab) { lab.Fault("link-down", "saltierpoop") },
			after:  func(lab *e2e.Lab) { lab.Fault("link-up", "saltierpoop") },
			words:  []string{"wave 0: 1 host did not come through, the budget is 0: saltierpoop (unreachable)"}},
		{name: "failing package in wave 0", code: 3,
			outcomes: []string{"saltierpoop failed", "prox not-attempted", "infra-services not-attempted"},
			before:   func(lab *e2e.Lab) { lab.Fault("broken", "saltierpoop") },
			words:    []string{"wave 0: 1 host did not come through, the budget is 0: saltierpoop (failed)", "package lab-broken failed"},
			metrics:  map[string]float64{`wave_hosts{wave="0",outcome="failed"}`: 1, `wave_hosts{wave="1",outcome="not-attempted"}`: 1}},
	}
}

// Each stop has its own words and exit code, and touches nothing on the hosts of later waves.
func TestStops(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "stops", "What stops a run, and that nothing is touched after it")
	for file, text := range map[string]string{
		"empty.yml":            "all: {children: {patch_controller: {hosts: {infra-services: {}}}, patching_targets: {hosts: {}}}}\n",
		"broken.yml":           "all:\n  children:\n    patching_targets: [\n",
		"twice.yml":            fleet("saltierpoop prox", "prox", "infra-services"),
		"first.yml":            fleet("saltierpoop", "infra-services", "prox"),
		"tenth.yml":            fleet("saltierpoop", "prox", "", "", "", "", "", "", "", "", "infra-services"),
		"settings.yml":         "inventory: " + cases + "/gone.yml\n",
		"open/patch.yml":       project("ansible.builtin.ping:"),
		"unparsable/patch.yml": "- hosts: patching_targets\n  tasks: [\n",
		"well/patch.yml":       project("ansible.builtin.ping:"),
		"slow/patch.yml":       project("ansible.builtin.wait_for: {path: /run/go-on}"),
	} {
		write(lab, controller, cases+"/"+file, text)
	}
	lab.Exec(controller, "chmod", "666", cases+"/open/patch.yml")
	// A success comes first: no stop may take it back, or claim another.
	if out := run(t, lab, "run", "--project", cases+"/well"); out.Code != 0 {
		t.Fatalf("a run that changes nothing: exit code %d\n%s", out.Code, out.words())
	}
	same := untouched(lab, hosts...)
	later := untouched(lab, hosts[1:]...)

	t.Run("second run at the same time", func(t *testing.T) {
		lab := lab.For(t)
		secondRun(t, lab, ev)
		same(t)
	})
	for _, s := range stops() {
		t.Run(s.name, func(t *testing.T) {
			lab := lab.For(t)
			if s.before != nil {
				s.before(lab)
			}
			before, began := metrics(t, lab, controller, "patch_orchestrate.prom"), time.Now()
			out := run(t, lab, append([]string{"run"}, s.args...)...)
			ev.Call(s.name, out.Output, out.Took, said(out))
			out.want(t, s.code, s.outcomes, s.words...)
			if s.never != "" && strings.Contains(out.words(), s.never) {
				t.Errorf("it says %q:\n%s", s.never, out.words())
			}
			if s.after != nil {
				s.after(lab)
			}
			wantStop(t, lab, s, before, began)
			if s.outcomes == nil || s.outcomes[0] != "saltierpoop failed" {
				same(t)
			} else {
				later(t)
			}
			wantQuiet(t, lab)
		})
	}
}

// wantStop checks the metrics after a stop.
func wantStop(t *testing.T, lab *e2e.Lab, s stop, before map[string]float64, began time.Time) {
	t.Helper()
	const prefix = "homelab_patch_orchestrate_"
	after := metrics(t, lab, controller, "patch_orchestrate.prom")
	if s.silent {
		held := prefix + "held"
		if _, ok := s.metrics["held"]; ok {
			before[held] = s.metrics["held"]
		}
		wantSame(t, before, after)
		return
	}
	want := maps.Clone(s.metrics)
	if want == nil {
		want = map[string]float64{}
	}
	want["last_exit_code"], want["running"], want["held"] = float64(s.code), 0, 0
	want["last_success_unixtime"] = before[prefix+"last_success_unixtime"]
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", want)
	wantRecent(t, lab, controller, "patch_orchestrate.prom", prefix+"last_run_unixtime", began)
}

// secondRun starts a run while another waits in its first wave.
func secondRun(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
	first := start(t, lab, "run", "--project", cases+"/slow")
	id := first.running(t)
	before := metrics(t, lab, controller, "patch_orchestrate.prom")
	if before["homelab_patch_orchestrate_running"] != 1 {
		t.Errorf("running is %v while a run goes on", before["homelab_patch_orchestrate_running"])
	}
	out := run(t, lab, "run")
	ev.Call("second run at the same time", out.Output, out.Took, said(out))
	out.want(t, 5, nil, "another run is under way: "+id, fmt.Sprintf("process %d", first.pid()))
	wantSame(t, before, metrics(t, lab, controller, "patch_orchestrate.prom"))
	for _, name := range hosts {
		lab.Exec(name, "touch", "/run/go-on")
	}
	if out := first.wait(t); out.Code != 0 || out.Report.ID != id {
		t.Errorf("the first run: exit code %d, run %s, want %s\n%s", out.Code, out.Report.ID, id, out.words())
	}
}

// said is what the program says of why it stopped, and of the hosts that it lost.
func said(o outcome) string {
	var lines []string
	for line := range strings.Lines(o.Stderr) {
		if why, ok := strings.CutPrefix(line, program+": "); ok {
			lines = append(lines, strings.TrimSpace(why))
		}
	}
	if o.Report == nil {
		return strings.Join(lines, "\n")
	}
	lines = []string{o.Report.Reason}
	for _, w := range o.Report.Waves {
		for _, h := range w.Hosts {
			if h.Message != "" && h.Outcome != "not-attempted" {
				lines = append(lines, h.Name+": "+h.Message)
			}
		}
	}
	return strings.Join(lines, "\n")
}
