//go:build e2e && e2efull

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// The page of a real run that was halted, by a package that breaks on the second of three booted hosts, in a real browser.
func TestReportPage(t *testing.T) {
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "report-real", "The page of a run that was halted, in Chromium")
	lab.Fault("broken", "prox")
	out := run(t, lab, "run")
	out.want(t, 3, []string{"saltierpoop patched", "prox failed", "infra-services not-attempted"})
	dir := stateDir + "/runs/" + out.Report.ID
	if got := strings.Fields(lab.Exec(controller, "stat", "-c", "%a %U", dir+"/report.html", stateDir+"/runs/index.html")); strings.Join(got, " ") != "600 root 600 root" {
		t.Errorf("the pages are %q", got)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	page := lab.Exec(controller, "cat", dir+"/report.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<h1>halted</h1>", "lab-broken", "not-attempted", "post-installation"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for name, s := range map[string]e2e.Screen{
		"desktop": {Width: 1440, Height: 900}, "phone": {Width: 390, Height: 844, Phone: true}, "phone, dark": {Width: 390, Height: 844, Phone: true, Dark: true},
	} {
		v := e2e.Open(t, "file://"+file, s)
		v.Fine()
		if pdf := v.PDF(); len(pdf) < 10_000 {
			t.Errorf("%s: the print has %d bytes", name, len(pdf))
		}
		ev.Call(name, out.Output, v.Took(), last(out.Stdout))
	}
}
