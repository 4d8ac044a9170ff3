package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"homelab-patch-orchestrate/runner"
)

func TestPromises(t *testing.T) {
	for _, c := range []struct {
		median float64
		side   int
		bound  float64
		kept   bool
	}{
		{1.04, atMost, 1.05, true},
		{1.06, atMost, 1.05, false},
		{5.1, atLeast, 5, true},
		{4.9, atLeast, 5, false},
		{99, 0, 0, true}, // nothing was promised
	} {
		p := &page{}
		p.figure("it", "×", []float64{c.median - 1, c.median, c.median + 1}, c.side, c.bound, "")
		if kept := p.judge() == nil; kept != c.kept {
			t.Errorf("%+v: kept %t", c, kept)
		}
		if missed := strings.Contains(p.text(), "missed"); missed == c.kept {
			t.Errorf("%+v: the page says\n%s", c, p.text())
		}
	}
}

// A ratio is made of what was measured in the same round.
func TestOver(t *testing.T) {
	if got, want := over([]float64{1, 10, 4}, []float64{2, 10, 2}), (spread{1, 0.5, 2}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := spreadOf([]float64{4, 1}); got.median != 2.5 {
		t.Errorf("%v", got)
	}
}

// The stand-in writes what package runner takes for a whole run, its results
// as long as those of apt.
func TestStandIn(t *testing.T) {
	var stream bytes.Buffer
	hosts := manyHosts(25)
	if err := upgrade(&stream, hosts, 12); err != nil {
		t.Fatal(err)
	}
	kinds := map[runner.Kind]int{}
	for e, err := range runner.Decode(&stream) {
		if err != nil {
			t.Fatal(err)
		}
		kinds[e.Kind]++
		if n := len(e.Data); e.Kind == runner.KindResult && e.Host == hosts[0] && (n < 3700 || n > 4300) {
			t.Errorf("task %q: a result of %d bytes, want some 4 kB", e.Task, n)
		}
		if e.Kind == runner.KindStats && len(e.Stats) != len(hosts) {
			t.Errorf("the recap has %d hosts", len(e.Stats))
		}
	}
	for kind, want := range map[runner.Kind]int{
		runner.KindStart: 1, runner.KindPlay: 1, runner.KindTask: 12, runner.KindBegin: 300, runner.KindResult: 300, runner.KindStats: 1,
	} {
		if kinds[kind] != want {
			t.Errorf("%d events of kind %s, want %d", kinds[kind], kind, want)
		}
	}
}

// A part that is measured anew takes the place of what it measured before, and the rest of the page stays.
func TestParts(t *testing.T) {
	t.Chdir(t.TempDir())
	os.Mkdir("docs", 0o755)
	all := []part{{"one", nil}, {"two", nil}}
	write := func(name, what string, value float64) {
		t.Helper()
		p := &page{machine: []string{"Commit of " + name}}
		p.figure(what, "×", []float64{value}, atMost, 5, "It means "+what+".")
		p.cost(what, "peer", []cost{{cpu: 1}}, []cost{{cpu: 2}}, 1, "")
		if err := keep(all, name, p); err != nil {
			t.Fatal(err)
		}
	}
	write("two", "beta", 7)
	write("one", "alpha", 1)
	write("two", "gamma", 2)
	text, err := os.ReadFile("docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{"Commit of one", "Commit of two", "| alpha | **1.00** ×", "| gamma | **2.00** ×", "alpha ÷ peer", "It means gamma."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "beta") || strings.Index(page, "alpha") > strings.Index(page, "gamma") {
		t.Errorf("the page is\n%s", page)
	}
	if some, err := chosen(all, []string{"two"}); err != nil || len(some) != 1 {
		t.Errorf("%v, %v", some, err)
	}
	if _, err := chosen(all, []string{"three"}); err == nil || !strings.Contains(err.Error(), "one two") {
		t.Errorf("%v", err)
	}
}
