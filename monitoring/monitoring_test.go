package monitoring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"homelab-patch-orchestrate/monitoring"
)

const (
	rulesFile = "prometheus/alerts/patching.yml"
	testsFile = "prometheus/alerts/patching_test.yml"
	dashboard = "grafana/dashboards/patching.json"
	runbooks  = "../docs/runbooks"
)

// tool returns the path of a program; without it the test is skipped, or fails where E2E_REQUIRED=1.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// output runs a program that must end well, and returns what it printed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	c := exec.Command(tool(t, name), args...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func parse(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	parse(t, rulesFile, &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", rulesFile)
	}
	return all
}

func TestPromtool(t *testing.T) {
	t.Parallel()
	output(t, "promtool", "check", "rules", "--lint=all", "--lint-fatal", rulesFile)
	output(t, "promtool", "test", "rules", testsFile)
	output(t, "promtool", "check", "config", "prometheus/scrape.example.yml")
}

// What Alertmanager routes by and a person reads is in each alert, and each has its page.
func TestAlertsAndRunbooks(t *testing.T) {
	pages := map[string]bool{}
	for _, r := range rules(t) {
		if s := r.Labels["severity"]; s != "warning" && s != "critical" || r.Labels["component"] != "patching" {
			t.Errorf("%s: labels %v", r.Alert, r.Labels)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: no summary or no description", r.Alert)
		}
		page := r.Alert + ".md"
		if !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/runbooks/"+page) {
			t.Errorf("%s: runbook_url %s", r.Alert, r.Annotations["runbook_url"])
		}
		pages[page] = true
		at := -1
		text := "\n" + read(t, filepath.Join(runbooks, page))
		for _, heading := range []string{"# " + r.Alert, "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"} {
			next := strings.Index(text, "\n"+heading+"\n")
			if next <= at {
				t.Errorf("%s: %q is not there, or not in its place", page, heading)
			}
			at = next
		}
	}
	entries, err := os.ReadDir(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !pages[e.Name()] {
			t.Errorf("%s belongs to no alert", e.Name())
		}
	}
}

// promtool says nothing of an alert that has no test.
func TestEveryAlertFiresAndDoesNot(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Alertname string
				Expected  []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	parse(t, testsFile, &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Expected) > 0 {
				fires[c.Alertname] = true
			} else {
				quiet[c.Alertname] = true
			}
		}
	}
	known := map[string]bool{}
	for _, r := range rules(t) {
		known[r.Alert] = true
		if !fires[r.Alert] || !quiet[r.Alert] {
			t.Errorf("%s: shown firing %v, shown quiet %v", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
	for name := range quiet { // promtool takes an unknown name for one that is quiet
		if !known[name] {
			t.Errorf("%s tests %s, which is no alert", testsFile, name)
		}
	}
}

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	prefix = regexp.MustCompile("prefix `([a-z_]+)`")
	noise  = regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|on|without|ignoring)\s*\([^)]*\)|\b\d[\w.]*`)
	word   = regexp.MustCompile(`[a-zA-Z_:][\w:]*\s*\(?`)
)

// contract returns the metrics of docs/contracts.md: those of the tables, and of the lists behind a prefix.
func contract(t *testing.T) map[string]bool {
	t.Helper()
	_, text, ok := strings.Cut(read(t, "../docs/contracts.md"), "\n## Metrics\n")
	if !ok {
		t.Fatal("docs/contracts.md: no section Metrics")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	names, last := map[string]bool{}, ""
	add := func(name string) {
		name, _, _ = strings.Cut(name, "{")
		names[last+name] = true
	}
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(paragraph, "|") {
			for row := range strings.Lines(paragraph) {
				if m := quoted.FindStringSubmatch(strings.Split(row, "|")[1]); m != nil {
					add(m[1])
				}
			}
			continue
		}
		for _, at := range prefix.FindAllStringSubmatchIndex(paragraph, -1) {
			last = paragraph[at[2]:at[3]]
			rest, _, _ := strings.Cut(paragraph[at[1]:], "prefix `")
			for _, m := range quoted.FindAllStringSubmatch(rest, -1) {
				add(m[1])
			}
		}
	}
	return names
}

// metricsOf returns the metrics that PromQL reads.
func metricsOf(expr string) (names []string) {
	for _, w := range word.FindAllString(noise.ReplaceAllString(expr, " "), -1) {
		if !strings.HasSuffix(w, "(") {
			names = append(names, strings.TrimSpace(w))
		}
	}
	return slices.DeleteFunc(names, func(w string) bool {
		return slices.Contains([]string{"and", "or", "unless", "offset", "bool", "by", "on"}, w)
	})
}

// A metric that nobody writes makes an alert that never fires.
func TestMetricsAreThoseOfTheContract(t *testing.T) {
	known := contract(t)
	if !known["homelab_patch_orchestrate_wave_hosts"] || !known["homelab_patch_packages_pending"] {
		t.Fatalf("docs/contracts.md was not understood: %v", known)
	}
	for _, name := range []string{
		"up", "ALERTS", "node_textfile_scrape_error", // Prometheus', and node_exporter's
	} {
		known[name] = true
	}
	exprs := map[string]string{}
	for _, r := range rules(t) {
		exprs[r.Alert] = r.Expr
	}
	for _, q := range boardQueries(t) {
		exprs[q.Panel+" "+q.Ref] = q.Expr
	}
	for where, expr := range exprs {
		names := metricsOf(expr)
		if len(names) == 0 {
			t.Errorf("%s reads no metric: %s", where, expr)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s: %s is not in docs/contracts.md", where, name)
			}
		}
	}
}

func boardQueries(t *testing.T) []monitoring.Query {
	t.Helper()
	queries, err := monitoring.Queries([]byte(read(t, dashboard)), map[string]string{"host": ".*"})
	if err != nil {
		t.Fatal(err)
	}
	return queries
}
