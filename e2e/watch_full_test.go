//go:build e2e && e2efull

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// publish is the role's own writer of patch.prom, called over and over with one number in several places.
const publish = `
import sys
sys.path.insert(0, '/srv/role')
from module_utils import homelab_metrics as m
for i in range(1, int(sys.argv[2]) + 1):
    kinds = {'security': i, 'other': i, 'held': i, 'kept_back': i}
    said = m.publish(sys.argv[1], upgraded=i, success=True, pending=kinds, reboot_required=False)
    if said:
        sys.exit(said)
`

// Textfiles are rewritten ten thousand times under a node_exporter that is scraped all the while: the node_exporter of
// Debian 12 on the controller, that of Debian 13 on the watch host.
func TestTextfileRewrites(t *testing.T) {
	lab := e2e.Up(t, e2e.Options{Hosts: "hosts-watch.conf"})
	w := lab.StartWatch(soon)
	ev := e2e.Record(t, lab, "textfiles", "Textfiles rewritten under a node_exporter that reads them")
	helper := filepath.Join(t.TempDir(), "rewrites")
	build := exec.Command("go", "build", "-trimpath", "-o", helper, "./rewrites")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	times := number(t, "REWRITES", 10000)
	for _, host := range []string{controller, e2e.WatchHost} {
		t.Run(host, func(t *testing.T) {
			lab, w := lab.For(t), w.For(t)
			lab.Push(host, helper, "/srv/rewrites")
			lab.Push(host, "../ansible/roles/patching/module_utils", "/srv/role/module_utils")
			write(lab, host, "/srv/publish.py", publish)
			lab.Exec(host, "python3", "/srv/publish.py", textfiles, "1")
			began := time.Now()
			out := lab.Run(t.Context(), host, "/srv/rewrites", "-n", fmt.Sprint(times), "-dir", textfiles,
				"python3", "/srv/publish.py", textfiles, fmt.Sprint(times))
			var got struct {
				Rewrites, Scrapes, Numbers, Wrong int
				Words                             []string
			}
			if err := json.Unmarshal([]byte(out.Stdout), &got); err != nil || out.Code != 0 {
				t.Fatalf("exit code %d, %v\n%s%s", out.Code, err, out.Stdout, out.Stderr)
			}
			exporter := strings.TrimSpace(lab.Shell(host, "prometheus-node-exporter --version 2>&1 | head -n 1"))
			figures := fmt.Sprintf("patch_orchestrate.prom written %d times, patch.prom %d times; %d scrapes, which saw %d different files; %d wrong",
				got.Rewrites, times, got.Scrapes, got.Numbers, got.Wrong)
			ev.Call(host+", "+exporter, out, time.Since(began), figures)
			t.Log(figures)
			if got.Rewrites < times || got.Wrong > 0 {
				t.Errorf("%s: %q", figures, got.Words)
			}
			// As many as happen on a slow machine; with fewer the test would show little.
			if got.Scrapes < 200 || got.Numbers < 100 {
				t.Errorf("too few scrapes to say anything: %s", figures)
			}
			// What Prometheus saw on the way, and in the end.
			e2e.Eventually(t, 20*time.Second, "Prometheus has the last number", func() error {
				s := w.Query(fmt.Sprintf(`homelab_patch_orchestrate_last_run_unixtime{instance=%q}`, host))
				if len(s) != 1 || s[0].Value != float64(got.Rewrites) {
					return fmt.Errorf("%v, want %d", s, got.Rewrites)
				}
				return nil
			})
			if s := w.Query(fmt.Sprintf(`max_over_time(node_textfile_scrape_error{instance=%q}[10m])`, host)); len(s) != 1 || s[0].Value != 0 {
				t.Errorf("node_textfile_scrape_error of Prometheus: %v", s)
			}
			for _, file := range []string{"patch.prom", "patch_orchestrate.prom"} {
				text := lab.Exec(host, "cat", textfiles+"/"+file)
				said := lab.Exec(e2e.WatchHost, "sh", "-euc", `printf %s "$1" | promtool check metrics 2>&1`, "sh", text)
				if strings.TrimSpace(said) != "" {
					t.Errorf("promtool check metrics, %s: %s", file, said)
				}
			}
			if left := lab.Shell(host, "cd "+textfiles+" && ls -A"); left != "patch.prom\npatch_orchestrate.prom\n" {
				t.Errorf("left in the folder: %q", left)
			}
		})
	}
}
