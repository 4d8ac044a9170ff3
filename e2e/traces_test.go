//go:build e2e

package e2e_test

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// What a run leaves on hosts: packages, metrics, processes, files.

// metrics reads a textfile of host: values by name and labels. There is none if the file is missing.
func metrics(t *testing.T, lab *e2e.Lab, host, file string) map[string]float64 {
	t.Helper()
	out := lab.Run(t.Context(), host, "cat", textfiles+"/"+file)
	if out.Code != 0 {
		return nil
	}
	if !strings.HasSuffix(out.Stdout, "\n") {
		t.Errorf("%s on %s: the last line has no end: node_exporter skips the whole file", file, host)
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(out.Stdout)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s on %s: promtool: %v\n%s", file, host, err, said)
		}
	}
	values := map[string]float64{}
	for line := range strings.Lines(out.Stdout) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line) // a third field would be a timestamp
		if len(f) != 2 {
			t.Fatalf("%s on %s: line %q", file, host, line)
		}
		v, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			t.Fatalf("%s on %s: %v", file, host, err)
		}
		values[f[0]] = v
	}
	return values
}

// wantMetrics compares some of a textfile's values, by their names without prefix.
func wantMetrics(t *testing.T, lab *e2e.Lab, host, file string, want map[string]float64) {
	t.Helper()
	prefix := map[string]string{
		"patch.prom": "homelab_patch_", "patch_orchestrate.prom": "homelab_patch_orchestrate_", "ansible_pull.prom": "homelab_ansible_pull_",
	}[file]
	got := metrics(t, lab, host, file)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[prefix+name]; !ok || v != want[name] {
			t.Errorf("%s on %s: %s is %v (there: %v), want %v", file, host, name, v, ok, want[name])
		}
	}
}

// wantSame compares two readings of a textfile.
func wantSame(t *testing.T, before, after map[string]float64) {
	t.Helper()
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, there := before[name]
		is, still := after[name]
		if was != is || there != still {
			t.Errorf("metric %s changed: %v (there: %v), before %v (there: %v)", name, is, still, was, there)
		}
	}
}

// wantRecent checks that a metric is a time between then and now.
func wantRecent(t *testing.T, lab *e2e.Lab, host, file, name string, then time.Time) {
	t.Helper()
	at := int64(metrics(t, lab, host, file)[name])
	if at < then.Unix() || at > time.Now().Unix() {
		t.Errorf("%s on %s: %s is %d, want between %d and now", file, host, name, at, then.Unix())
	}
}

// wantQuiet checks that nothing of a run is left on the controller: no process, ssh master, lock or folder.
func wantQuiet(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	wantEnded(t, lab)
	if out := lab.Shell(controller, "ls -d /run/ansible-run-* 2>/dev/null || true"); out != "" {
		t.Errorf("left on the controller: %s", out)
	}
}

// wantEnded is wantQuiet after a run that was killed: its folder in /run stays.
func wantEnded(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	if left := leftovers(lab); len(left) > 0 {
		t.Errorf("left on the controller:\n%s", strings.Join(left, "\n"))
	}
	if out := lab.Run(t.Context(), controller, "flock", "-n", stateDir+"/lock", "true"); out.Code != 0 {
		t.Errorf("the lock is not free: exit code %d %s", out.Code, out.Stderr)
	}
}

// leftovers lists the processes of the controller that a run may have started, with their command lines.
func leftovers(lab *e2e.Lab) []string {
	var left []string
	for line := range strings.Lines(lab.Exec(controller, "ps", "-eo", "pid=,comm=,args=")) {
		f := strings.Fields(line)
		args := strings.Join(f[2:], " ")
		if strings.Contains(args, "ansible") || strings.Contains(args, program) || f[1] == "ssh" || strings.HasPrefix(args, "ssh: ") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	return left
}

// changes lists what dpkg.log has of packages: the lines that install, upgrade or remove one.
func changes(lab *e2e.Lab, host string) []string {
	var all []string
	for _, e := range lab.DpkgLog(host) {
		if slices.Contains([]string{"install", "upgrade", "remove", "purge"}, e.Action) {
			all = append(all, e.Action+" "+strings.Join(e.Args, " "))
		}
	}
	return all
}

// wantNothingTwice checks that dpkg made no change of packages a second time.
func wantNothingTwice(t *testing.T, lab *e2e.Lab, host string) {
	t.Helper()
	seen := map[string]int{}
	for _, line := range changes(lab, host) {
		if seen[line]++; seen[line] > 1 {
			t.Errorf("%s: twice in dpkg.log: %s", host, line)
		}
	}
}

// transactions counts the calls of apt that changed something, in its own history.
func transactions(lab *e2e.Lab, host string) int {
	return strings.Count(lab.Shell(host, "cat /var/log/apt/history.log 2>/dev/null || true"), "Start-Date: ")
}

// span is when dpkg was first and last at work on a host.
func span(t *testing.T, lab *e2e.Lab, host string) (first, last time.Time) {
	t.Helper()
	log := lab.DpkgLog(host)
	if len(log) == 0 {
		t.Fatalf("%s: dpkg.log is empty", host)
	}
	return log[0].Time, log[len(log)-1].Time
}

// untouched remembers packages, configuration and dpkg.log of hosts, and returns a function that compares.
func untouched(lab *e2e.Lab, names ...string) func(t *testing.T) {
	look := func(lab *e2e.Lab, host string) []string {
		return lab.Files(host, "/var/lib/dpkg", "/etc", "/var/log/dpkg.log")
	}
	before := map[string][]string{}
	for _, name := range names {
		before[name] = look(lab, name)
	}
	return func(t *testing.T) {
		t.Helper()
		for _, name := range names {
			if now := look(lab.For(t), name); !slices.Equal(now, before[name]) {
				lines := difference(before[name], now)
				t.Errorf("%s was touched: %d lines differ, such as %q", name, len(lines), lines[:min(5, len(lines))])
			}
		}
	}
}

// busy waits until the upgrade of lab-slow is in the middle of its postinst.
func busy(t *testing.T, lab *e2e.Lab, host string) {
	t.Helper()
	e2e.Eventually(t, 5*time.Minute, host+" is in mid-upgrade", func() error {
		out := lab.Run(t.Context(), host, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "lab-slow")
		if out.Stdout != "half-configured 2.0-1" {
			return fmt.Errorf("lab-slow: %q", out.Stdout)
		}
		return nil
	})
}

// write puts text into a file of host, 0644, with its folders.
func write(lab *e2e.Lab, host, path, text string) {
	lab.Exec(host, "sh", "-euc", `mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"`, path, text)
}
