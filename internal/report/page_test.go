//go:build e2efull

package report

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// keep writes a picture for docs/, with E2E_FULL=1.
func keep(t *testing.T, name string, picture []byte) {
	t.Helper()
	if len(picture) < 10_000 || len(picture) > 300_000 {
		t.Errorf("the picture %s has %d bytes", name, len(picture))
	}
	if os.Getenv("E2E_FULL") != "1" {
		return
	}
	if err := os.WriteFile("../../docs/"+name, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPage opens pages in a real browser: of a run that was halted, on a telephone and on a desktop, by day and by night,
// and printed; and of one of 1,000 hosts. A page of a run on booted hosts is opened in e2e.
func TestPage(t *testing.T) {
	ev := e2e.Record(t, nil, "report", "The page of a run, in Chromium")
	phone, desktop := e2e.Screen{Width: 390, Height: 844, Phone: true}, e2e.Screen{Width: 1440, Height: 900}
	dark := func(s e2e.Screen) e2e.Screen { s.Dark = true; return s }
	for _, c := range []struct {
		name, picture string
		run           o.Report
		screen        e2e.Screen
	}{
		{"desktop", "report-desktop.png", halted(22), desktop}, {"desktop, dark", "", halted(22), dark(desktop)},
		{"phone", "", halted(22), phone}, {"phone, dark", "report-phone.png", halted(22), dark(phone)},
		{"phone, a run that passed", "", fleet(5), phone}, {"phone, hostile words", "", hostile(halted(22)), phone}, {"desktop, hostile words", "", hostile(halted(22)), desktop},
	} {
		v := open(t, c.run, c.screen)
		if c.picture != "" {
			keep(t, c.picture, v.Picture())
		}
		texts := v.Fine()
		pdf := v.PDF()
		if len(pdf) < 10_000 {
			t.Errorf("%s: the print has %d bytes", c.name, len(pdf))
		}
		ev.Call(c.name, e2e.Output{}, v.Took(), fmt.Sprintf("%d texts, all readable; no request, nothing in the console, nothing too wide; printed, %d kB", texts, len(pdf)/1000))
	}
	v := open(t, halted(22), desktop)
	shown := func() (n int) {
		v.Eval(`[...document.querySelectorAll(".hosts tbody tr")].filter(r => !r.hidden).length`, &n)
		return n
	}
	all := shown()
	v.Click(`[data-outcome="failed"]`)
	failed := shown()
	v.Click(`[data-outcome="held"]`)
	held := shown()
	v.Type(`input`, "RACK")
	if rack := shown(); all != 22 || failed != 1 || held != 2 || rack != 1 {
		t.Errorf("the filters show %d, %d, %d, %d hosts", all, failed, held, rack)
	}
	v.Fine()

	many := halted(1000)
	size := len(pageOf(t, many))
	var took []time.Duration
	for range 5 {
		v := open(t, many, desktop)
		took = append(took, v.Took())
		v.Fine()
	}
	slices.Sort(took)
	if took[4] > 2*time.Second || size > 5_000_000 {
		t.Errorf("1,000 hosts: %d bytes, open in %s", size, took)
	}
	ev.Call("1,000 hosts", e2e.Output{}, took[2], fmt.Sprintf("%d kB; the slowest of five %d ms", size/1000, took[4].Milliseconds()))
}
