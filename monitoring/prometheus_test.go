package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/metrics"
)

// patchProm is a host's patch.prom.
func patchProm(success time.Time, reboot, upgraded, security, held int) string {
	return fmt.Sprintf(`# TYPE homelab_patch_last_success_unixtime gauge
homelab_patch_last_success_unixtime %d
# TYPE homelab_patch_reboot_required gauge
homelab_patch_reboot_required %d
# TYPE homelab_patch_packages_upgraded gauge
homelab_patch_packages_upgraded %d
# TYPE homelab_patch_packages_pending gauge
homelab_patch_packages_pending{kind="held"} 0
homelab_patch_packages_pending{kind="kept_back"} 1
homelab_patch_packages_pending{kind="other"} 4
homelab_patch_packages_pending{kind="security"} %d
# TYPE homelab_patch_held gauge
homelab_patch_held %d
`, success.Unix(), reboot, upgraded, security, held)
}

func pullProm(success time.Time, code int) string {
	const text = "homelab_ansible_pull_last_success_unixtime %d\nhomelab_ansible_pull_last_exit_code %d\n"
	return fmt.Sprintf(text, success.Unix(), code)
}

// fleet is the textfiles of each host, put together as node_exporter does. The host "down" answers with an error.
func fleet(t *testing.T) map[string]string {
	t.Helper()
	now := time.Now()
	day := 24 * time.Hour
	var controller bytes.Buffer
	if err := (metrics.Run{
		ExitCode: 4, LastRun: now.Add(-time.Hour), LastSuccess: now.Add(-6 * day), Duration: 20 * time.Minute, Held: true,
		Waves: []metrics.Wave{
			{Number: 0, Hosts: map[string]int{"patched": 2, "held": 1}, Duration: 5 * time.Minute},
			{Number: 1, Hosts: map[string]int{"unreachable": 1, "failed": 1}, Duration: 12 * time.Minute},
		},
		Pending: map[string]int{"discord": 2, "ntfy": 1}, Dropped: map[string]int{"discord": 1, "ntfy": 0}, Version: "1.0.0",
	}).Encode(&controller); err != nil {
		t.Fatal(err)
	}
	const exporter = "node_textfile_scrape_error 0\n"
	return map[string]string{
		"infra-services": exporter + controller.String() + patchProm(now.Add(-time.Hour), 1, 3, 0, 0) + pullProm(now, 0),
		"prox":           exporter + patchProm(now.Add(-9*day), 1, 0, 2, 1) + pullProm(now.Add(-7*time.Hour), 0),
		"saltierpoop":    exporter + patchProm(now.Add(-time.Hour), 0, 7, 0, 0) + pullProm(now, 2),
		"new":            exporter,
		"zero":           exporter + patchProm(time.Unix(0, 0), 0, 0, 0, 0),
		"down":           "",
	}
}

// server is a running Prometheus.
type server struct{ url string }

// start starts a real Prometheus that scrapes hosts, and waits until it has.
func start(t *testing.T, hosts map[string]string) server {
	t.Helper()
	bin := tool(t, "prometheus")
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := hosts[strings.TrimPrefix(r.URL.Path, "/")]
		if text == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, text)
	}))
	t.Cleanup(far.Close)
	dir := t.TempDir()
	alerts, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := "global: {scrape_interval: 1s}\nrule_files: ['" + alerts + "']\n" +
		"scrape_configs:\n- job_name: node\n  static_configs:\n"
	for name := range hosts {
		config += fmt.Sprintf("  - {targets: ['%s'], labels: {instance: %[2]s, __metrics_path__: /%[2]s}}\n",
			far.Listener.Addr(), name)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	run(t, bin, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	s := server{"http://" + address}
	eventually(t, "all hosts are scraped", func() bool {
		up, err := s.query("count(up) == " + strconv.Itoa(len(hosts)) + " and count(up == 0) == 1")
		return err == nil && len(up) == 1
	})
	return s
}

// freeAddress is an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run starts a server that ends with the test; what it says is shown if the test fails.
func run(t *testing.T, bin string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	c := exec.Command(bin, args...)
	c.Stdout, c.Stderr = &said, &said
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", bin, said.String())
		}
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// sample is one series of an answer, and its latest value.
type sample struct {
	Metric map[string]string
	Value  [2]any
	Values [][2]any
}

func (s sample) number() string {
	if len(s.Values) > 0 {
		return s.Values[len(s.Values)-1][1].(string)
	}
	return s.Value[1].(string)
}

func (s server) query(expr string) ([]sample, error) {
	return s.get("query", url.Values{"query": {expr}})
}

func (s server) get(path string, args url.Values) ([]sample, error) {
	resp, err := http.Get(s.url + "/api/v1/" + path + "?" + args.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []sample }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return answer.Data.Result, nil
}

// Each panel shows something when there is something; what a number must be is said here for those where a slip would
// hide a host.
func TestPanelsOnARealPrometheus(t *testing.T) {
	t.Parallel()
	s := start(t, fleet(t))
	numbers := map[string]string{
		"Stale hosts": "4", "Hosts lost in the latest run": "2", "Reboot pending": "2", "Held hosts": "1",
		"Messages waiting": "3", "Alerts firing": "0", "Latest run": "4", "Controller": "2", "ansible-pull failing": "2",
	}
	nothing := map[string]string{
		"Stale hosts": "-1", "Hosts lost in the latest run": "-1", "Reboot pending": "-1", "Held hosts": "-1",
		"Messages waiting": "-1", "Alerts firing": "0", "Latest run": "-1", "Controller": "-1", "ansible-pull failing": "-1",
		"Latest run ended": "0", "Last good full run": "0", "Next full run due": "0",
	}
	lines := map[string]int{"success": 6, "up": 6, "reboot": 4, "held": 4, "upgraded": 4, "security": 4, "pending": 4}
	now := float64(time.Now().Unix())
	for _, q := range boardQueries(t) {
		where := fmt.Sprintf("panel %q, target %s", q.Panel, q.Ref)
		path, args := "query", url.Values{"query": {q.Expr}}
		if !q.Instant {
			path, args["step"] = "query_range", []string{"1"}
			args["start"], args["end"] = []string{fmt.Sprint(int(now) - 30)}, []string{fmt.Sprint(int(now) + 1)}
		}
		got, err := s.get(path, args)
		if err != nil || len(got) == 0 {
			t.Errorf("%s: %v, %v\n%s", where, got, err, q.Expr)
			continue
		}
		if want, ok := numbers[q.Panel]; ok && got[0].number() != want {
			t.Errorf("%s = %s, want %s", where, got[0].number(), want)
		}
		if q.Type == "table" && len(got) != lines[q.Ref] {
			t.Errorf("%s has %d lines, want %d", where, len(got), lines[q.Ref])
		}
		if q.Type != "stat" {
			continue
		}
		// An hour ago nobody had said anything: a number that is empty would look like one that loads.
		before, err := s.get("query", url.Values{"query": {q.Expr}, "time": {fmt.Sprint(int(now) - 3600)}})
		if want, ok := nothing[q.Panel]; err != nil || len(before) != 1 || !ok || before[0].number() != want {
			t.Errorf("%s, of nothing: %v, %v, want %q", where, before, err, want)
		}
	}
	for _, r := range rules(t) {
		if _, err := s.query(r.Expr); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
	stale, err := s.query(rules(t)[0].Expr)
	if err != nil || len(stale) != 4 {
		t.Errorf("the alert on stale hosts and the panel differ: %v, %v", stale, err)
	}
}
