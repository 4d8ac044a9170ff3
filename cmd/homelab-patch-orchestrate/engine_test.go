package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// What had come to its end before the process died is taken from its events. One that had not, a recap that lacks a host, and
// events of something else are no such end.
func TestEnded(t *testing.T) {
	t.Parallel()
	const (
		wave0   = `{"kind":"start","time":1,"version":"2.14.18","labels":["homelab-patch","run:a","wave:0"]}` + "\n"
		ahead   = `{"kind":"start","time":1,"version":"2.14.18","labels":["homelab-patch","run:a","preflight"]}` + "\n"
		result  = `{"kind":"begin","time":2,"task":"t","id":"1","host":"one"}` + "\n" + `{"kind":"result","time":3,"task":"t","id":"1","host":"one","status":"changed","data":{}}` + "\n"
		recap   = `{"kind":"stats","time":4,"data":{"one":{"ok":1,"changed":1}}}` + "\n"
		half    = `{"kind":"resu`
		another = `{"kind":"stats","time":4,"data":{"two":{"ok":1,"changed":1}}}` + "\n"
	)
	for name, c := range map[string]struct {
		events string
		want   bool
	}{
		"it had":                     {wave0 + result + recap, true},
		"a preflight came before":    {ahead + recap + wave0 + result + recap, true},
		"a preflight came after":     {wave0 + result + recap + ahead + recap, true},
		"cut short first":            {wave0 + half + "\n" + wave0 + result + recap, true},
		"nothing":                    {"", false},
		"cut short":                  {wave0 + result, false},
		"cut short, then preflight":  {wave0 + result + ahead + recap, false},
		"a start that is damaged":    {wave0 + result + half + ahead + recap, false},
		"a recap without the host":   {wave0 + result + another, false},
		"a recap that is cut short":  {wave0 + result + recap[:len(recap)-9], false},
		"a preflight alone":          {ahead + result + recap, false},
		"the wave has another label": {strings.ReplaceAll(wave0, "wave:0", "wave:01") + result + recap, false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "events.jsonl"), []byte(c.events), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := (local{dir: dir}).events()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		told := 0
		res, err := local{dir: dir}.ended(f, orchestrator.Wave{Number: 0, Hosts: []orchestrator.Host{{Name: "one"}}}, func(runner.Event) {
			told++
		})
		if err != nil || res.Complete != c.want || c.want && (told != 4 || res.Hosts["one"].Outcome != runner.Changed) {
			t.Errorf("%s: %v, complete %t, %d events, %+v", name, err, res.Complete, told, res.Hosts)
		}
		if _, err := (local{dir: dir}).events(); err == nil {
			t.Errorf("%s: a second engine was let in", name)
		}
		text, _ := os.ReadFile(filepath.Join(dir, "events.jsonl"))
		if len(text) > 0 && text[len(text)-1] != '\n' {
			t.Errorf("%s: what comes next would be lost in half a line", name)
		}
	}
	left := orchestrator.Report{Boot: "this", Waves: []orchestrator.WaveReport{
		{Number: 0, State: orchestrator.Passed}, {Number: 1, State: orchestrator.Running},
		{Number: 2, State: orchestrator.Running, Hosts: []orchestrator.HostReport{{Name: "ctl", Controller: true}}}, {Number: 3, State: orchestrator.Pending},
	}}
	for boot, want := range map[string][]int{"this": {1, 2}, "another": {1}} {
		if got := (&work{left: &left}).unsure(boot); !slices.Equal(got, want) {
			t.Errorf("in %s boot: waves %v, want %v", boot, got, want)
		}
	}
	if got := (&work{}).unsure("this"); got != nil {
		t.Errorf("a run that begins: %v", got)
	}
	// A folder that cannot be written is an error, and no engine.
	if res, err := (local{dir: "/nonexistent", unsure: []int{0}}).Run(context.Background(), orchestrator.Wave{}, nil); err == nil || res.Complete {
		t.Errorf("no folder: %v", err)
	}
}
