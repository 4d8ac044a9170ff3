//go:build e2e

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"homelab-patch-orchestrate/orchestrator"
)

// Every run leaves its page and is in the index, however it ended; what is told of it nowhere has a secret in it.
func TestReport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	b.write("break-one", "")
	b.run(3)
	halted := b.journal()
	dir := b.path("state/runs/" + halted.ID)
	page := func(dir string) string {
		t.Helper()
		info, err := os.Stat(dir + "/report.html")
		if err != nil || info.Mode() != 0o600 {
			t.Fatalf("the page: %v, %v", info, err)
		}
		text, _ := os.ReadFile(dir + "/report.html")
		return string(text)
	}
	wants(t, "page", page(dir), "<h1>halted</h1>", "broken on purpose", "Break", "not-attempted", "<text", `class="k-failed"`)

	os.Remove(b.path("break-one"))
	b.run(0, "--check")
	check := b.journal()
	wants(t, "page of a dry run", page(b.path("state/runs/"+check.ID)), "<h1>passed</h1>", "dry run")
	index, err := os.ReadFile(b.path("state/runs/index.html"))
	if err != nil {
		t.Fatal(err)
	}
	first, second := strings.Index(string(index), check.ID+"/report.html"), strings.Index(string(index), halted.ID+"/report.html")
	if first < 0 || second < first {
		t.Errorf("the index has the runs at %d and %d:\n%s", first, second, index)
	}

	report := func(code int, args ...string) result {
		t.Helper()
		r := b.do(b.bare(append([]string{"report", "--state", b.path("state"), "--config", b.path("settings.yaml")}, args...)...))
		if r.code != code {
			t.Errorf("report %v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
		return r
	}
	if err := os.Remove(dir + "/report.html"); err != nil {
		t.Fatal(err)
	}
	if r := report(0, halted.ID); r.stdout != dir+"/report.html\n" {
		t.Errorf("report says %q", r.stdout)
	}
	old := page(dir)
	if r := report(0, "--html", "-", halted.ID); r.stdout != old {
		t.Errorf("--html - is another page, of %d bytes", len(r.stdout))
	}
	report(0, "--html", b.path("mine.html"), halted.ID)
	if text, _ := os.ReadFile(b.path("mine.html")); string(text) != old {
		t.Error("--html FILE is another page")
	}
	wants(t, "Markdown", report(0, halted.ID, "--markdown").stdout, "# Patching of the whole fleet: halted", "broken on purpose")
	var got struct {
		ID      string
		Derived struct {
			Lost  []string
			Hosts []struct {
				Work []struct{ Started, Ended time.Time }
			}
		}
	}
	text := report(0, halted.ID, "--json").stdout
	schema, err := jsonschema.NewCompiler().Compile("../../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{text, report(0, check.ID, "--json").stdout} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = schema.Validate(doc)
		}
		if err != nil {
			t.Errorf("a real report is not as the schema has it: %v", err)
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.ID != halted.ID || len(got.Derived.Lost) != 2 || len(got.Derived.Hosts[0].Work) != 1 {
		t.Errorf("--json: %v %+v", err, got)
	}
	wants(t, "both", report(2, "latest", "--json", "--markdown").stderr, "json markdown")
	wants(t, "nobody", report(2, "2025").stderr, "there is no run 2025")
	if r := b.do(b.bare("report", "latest", "--state", b.path("none"))); r.code != 2 || !strings.Contains(r.stderr, "there is no run in") || exists(b.path("none")) {
		t.Errorf("without a state directory: %+v", r)
	}
	wants(t, "a device", report(1, "latest", "--html", "/dev/null").stderr, "/dev/null is not a file")
	wants(t, "no folder", report(1, "latest", "--html", b.path("none/x.html")).stderr, "none")
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode().IsRegular() {
		t.Fatalf("/dev/null: %v %v", info, err)
	}
}

// A page that cannot be written is a warning; what a crash left without one gets it from the next run.
func TestPagesNeverFailARun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	if err := os.MkdirAll(b.path("state/runs/index.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r := b.run(0); !strings.Contains(r.stderr, "warning: write the page") || !strings.Contains(r.stderr, "the run is not affected") {
		t.Errorf("nothing was said:\n%s", r.stderr)
	}
	if err := os.Remove(b.path("state/runs/index.html")); err != nil {
		t.Fatal(err)
	}
	first := b.path("state/runs/" + b.journal().ID + "/report.html")
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	b.run(0)
	if !exists(first) || !exists(b.path("state/runs/index.html")) {
		t.Error("what was missing is still missing")
	}
}

// The setting keep bounds the runs; the last success stays, and what waits for ARA.
func TestKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("hosts.yml", twoHosts)
	b.write("settings.yaml", "keep: {runs: 1}\n")
	b.run(0)
	success := b.journal().ID
	b.write("break-one", "")
	var ids []string
	for i := range 3 {
		b.run(3)
		ids = append(ids, b.journal().ID)
		if i == 0 {
			if err := os.WriteFile(filepath.Join(b.path("state/runs"), ids[0], "ara.pending.json"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	store, err := orchestrator.Open(b.path("state"))
	if err != nil {
		t.Fatal(err)
	}
	left, err := store.IDs()
	if want := []string{success, ids[0], ids[2]}; err != nil || strings.Join(left, " ") != strings.Join(want, " ") {
		t.Errorf("%v stay, want %v; %v", left, want, err)
	}
}
