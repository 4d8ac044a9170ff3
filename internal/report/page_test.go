//go:build e2efull

package report

import (
	"os"
	"path/filepath"
	"testing"

	"homelab-patch-orchestrate/e2e"
	o "homelab-patch-orchestrate/orchestrator"
)

func open(t *testing.T, r o.Report, s e2e.Screen) *e2e.Visit {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(pageOf(t, r)), 0o600); err != nil {
		t.Fatal(err)
	}
	return e2e.Open(t, "file://"+file, s)
}

func TestPage(t *testing.T) {
	for name, s := range map[string]e2e.Screen{
		"desktop": {Width: 1440, Height: 900}, "phone-dark": {Width: 390, Height: 844, Phone: true, Dark: true},
	} {
		v := open(t, halted(22), s)
		os.WriteFile("/tmp/report-out/"+name+".png", v.Picture(), 0o644)
		t.Log(v.Requests(), v.Said())
		os.WriteFile("/tmp/report-out/"+name+".pdf", v.PDF(), 0o644)
	}
}
