package main

import (
	"slices"
	"strings"
	"testing"
)

// completed is what the shell is offered for the last of words, sorted, and the directive behind it.
func (b *bench) completed(words ...string) (offered []string, directive string) {
	b.t.Helper()
	r := b.back(0, append([]string{"__complete"}, words...)...)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	offered = lines[:len(lines)-1]
	slices.Sort(offered)
	return offered, lines[len(lines)-1]
}

// What the shell asks for, of runs that were; and of nobody, without a word and without a trace.
func TestComplete(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	store := pastStore(t)
	b.write("holds/db", "disks\x1b[2J\n")
	b.write("settings.yaml", "state: "+store.Dir()+"\ninventory: none.yml\nhost_holds: "+b.path("holds")+"\n")
	const (
		runs  = "20261108T040000Z-eeeeee 20261115T040000Z-aaaaaa 20261118T100000Z-cccccc 20261119T100000Z-dddddd 20261122T040000Z-bbbbbb latest"
		hosts = "ctl\twave 2 db\twave 1 web\twave 0" // the inventory is not there: those of the latest full run
	)
	for line, want := range map[string]string{
		"retry":                             runs,
		"retry latest":                      "",
		"diff 20261115":                     runs,
		"report":                            runs,
		"ara forward":                       runs,
		"show":                              runs,
		"show 20261115":                     "ctl\tunchanged db\tpatched web\tpatched",
		"show 20261115 web":                 "",
		"show 20261118":                     "", // damaged
		"rollback 20261115":                 "db\tpatched web\tpatched",
		"rollback latest":                   "db\tfailed web\tpatched",
		"explain":                           hosts,
		"explain web":                       "",
		"run --limit":                       hosts,
		"run --wave":                        "0\tweb 1\tdb 2\tctl",
		"plan --limit":                      hosts,
		"doctor --wave":                     "0\tweb 1\tdb 2\tctl",
		"hold set --host":                   hosts,
		"hold clear --host":                 "db\tdisks[2J",
		"history":                           "",
		"run":                               "",
		"resume":                            "",
		"explain --state " + b.path("none"): "",
		"retry --state " + b.path("none"):   "",
	} {
		words := strings.Fields(line)
		flags := []string{"--config", "settings.yaml"}
		if last := words[len(words)-1]; strings.HasPrefix(last, "--") { // its value is asked for
			words = append(append(words[:len(words)-1:len(words)-1], flags...), last, "")
		} else {
			words = append(append(words, flags...), "")
		}
		got, directive := b.completed(words...)
		if strings.Join(got, " ") != want || directive != ":4" && directive != ":36" {
			t.Errorf("%s: %q %s, want %q", line, got, directive, want)
		}
	}
	if got, _ := b.completed("run", "--config", "settings.yaml", "--limit", "web,!"); strings.Join(got, " ") != "web,!ctl\twave 2 web,!db\twave 1 web,!web\twave 0" {
		t.Errorf("a pattern: %q", got)
	}
	if got, directive := b.completed("run", "--config", ""); len(got) > 0 || directive != ":0" {
		t.Errorf("a file: %q %s", got, directive)
	}
	if exists(b.path("none")) {
		t.Error("it made a state directory")
	}
	r := b.back(0, "__complete", "explain", "--config", "gone.yaml", "")
	if strings.Count(r.stdout, "\n") != 1 || !strings.HasPrefix(r.stderr, "Completion ended") {
		t.Errorf("settings that cannot be read: %+v", r)
	}
}
