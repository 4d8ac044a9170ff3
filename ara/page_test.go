//go:build e2efull

package ara

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// browser is Debian's chromium, without a screen.
func browser(t testing.TB, args ...string) string {
	t.Helper()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir(), "--virtual-time-budget=5000"}, args...)
	cmd := exec.Command("chromium", args...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

// TestPages opens what ARA shows of a run in a real browser. With E2E_FULL=1 the page of a playbook is kept as a picture.
func TestPages(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	server := newServer(t)
	ev := e2e.Record(t, nil, "ara-pages", "What ARA shows of a run")
	server.kill() // it looks for the files of its pages when it starts
	static := exec.Command(manage, "collectstatic", "--noinput")
	static.Env = append(os.Environ(), "ARA_BASE_DIR="+server.dir)
	if out, err := static.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server.start()
	s := newSite(t, server.url())
	out := s.do(s.run())
	if out.code != 0 {
		t.Fatalf("%+v", out)
	}
	run, dir := s.last()
	ev.Lines("The run", lines(out.stdout+out.stderr, "ARA: ")...)
	s.carriedOn(dir)
	s.exact(server, dir)
	if want := "ARA: " + LabelPage(server.url(), "run:"+run); !strings.Contains(out.stdout, want) {
		t.Errorf("the summary lacks %s:\n%s", want, out.stdout)
	}
	book := int64(server.labelled("run:" + run)[0]["id"].(float64))
	id := func(kind, name string) int64 {
		for _, r := range server.of(kind, book) {
			if name == "" || r["name"] == name || r["path"] == name || r["key"] == name {
				return int64(r["id"].(float64))
			}
		}
		t.Fatalf("no %s %s", kind, name)
		return 0
	}
	site := s.path("project/patch.yml")
	for _, page := range []struct {
		path  string
		words []string
	}{
		{LabelPage("", "run:"+run), []string{"patch.yml", "wave:0", "wave:1", "homelab-patch"}},
		{PlaybookPage("", book), []string{"Look", "Loop", "Handle", "one", "patch.yml", "2.14", "homelab-patch hosts", "changed"}},
		{fmt.Sprintf("/results/%d.html", id("results", "")), []string{"Look", "Patch", "one", "stdout"}},
		{fmt.Sprintf("/hosts/%d.html", id("hosts", "one")), []string{"one", "Hide"}},
		{fmt.Sprintf("/files/%d.html", id("files", site)), []string{"patching_targets", "ansible.builtin.command"}},
		{fmt.Sprintf("/records/%d.html", id("records", "homelab-patch")), []string{run, "exit code 0"}},
	} {
		start := time.Now()
		html := browser(t, "--dump-dom", server.url()+page.path)
		missing := slices.DeleteFunc(slices.Clone(page.words), func(w string) bool { return strings.Contains(html, w) })
		if len(missing) > 0 || strings.Contains(html, "hush-no-log") || strings.Contains(html, password) {
			t.Errorf("%s lacks %q\n%.3000s", page.path, missing, html)
		}
		ev.Call(page.path, e2e.Output{}, time.Since(start), "has: "+strings.Join(page.words, ", "))
	}
	picture := filepath.Join(t.TempDir(), "page.png")
	browser(t, "--window-size=1280,900", "--hide-scrollbars", "--screenshot="+picture, server.url()+PlaybookPage("", book))
	data, err := os.ReadFile(picture)
	if err != nil || len(data) < 10_000 {
		t.Fatalf("the picture has %d bytes: %v", len(data), err)
	}
	if os.Getenv("E2E_FULL") == "1" && len(data) < 300_000 {
		if err := os.WriteFile("../docs/evidence/ara.png", data, 0o644); err != nil {
			t.Fatal(err)
		}
		ev.Lines("The page of a playbook, as the browser drew it, is ara.png", fmt.Sprintf("%d bytes", len(data)))
	}
}
