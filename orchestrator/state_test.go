package orchestrator

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

var states = []State{Pending, Running, Soaking, Passed, Failed, Halted, Interrupted, AwaitingReboot}

// TestTransitions tries every pair. A capital letter allows it for runs and waves, r and w for one of them.
func TestTransitions(t *testing.T) {
	want := map[State]string{
		//               p r s P F H I a   (to)
		Pending:        "- A - - r - r -",
		Running:        "- - A A A A A A",
		Soaking:        "- r - A A A A -",
		Passed:         "- - - - - - - -",
		Failed:         "- - - - - - - -",
		Halted:         "- - - - - - - -",
		Interrupted:    "- - - - - - - -",
		AwaitingReboot: "- - - A A A A -",
	}
	for from, row := range want {
		for i, letter := range strings.Fields(row) {
			to := states[i]
			for what, letters := range map[subject]string{theRun: "Ar", theWave: "Aw"} {
				err := transit(what, from, to)
				if allowed := strings.Contains(letters, letter); allowed != (err == nil) {
					t.Errorf("%s from %s to %s: %v, allowed is %t", what, from, to, err, allowed)
				}
				if err != nil {
					e := asError[*TransitionError](t, err)
					words := fmt.Sprintf("a %s cannot go from %s to %s", what, from, to)
					if e.From != from || e.To != to || e.Subject != string(what) || !strings.HasPrefix(e.Error(), words) {
						t.Errorf("%s from %s to %s: error says %v", what, from, to, e)
					}
				}
			}
		}
	}
}

// TestEveryStateHasAWayOut walks from each state to a final one.
func TestEveryStateHasAWayOut(t *testing.T) {
	for _, from := range states {
		out := from.Final()
		for _, to := range states {
			if transit(theRun, from, to) != nil {
				continue
			}
			if from.Final() {
				t.Errorf("%s is final, and goes to %s", from, to)
			}
			out = out || to.Final()
		}
		if !out {
			t.Errorf("%s has no way to a final state", from)
		}
		if !from.known() {
			t.Errorf("%s would be refused in a journal", from)
		}
	}
	if State("asleep").known() || State("").known() {
		t.Error("a state that is none is known")
	}
}

// TestDocumentedTransitions compares docs/states.md with the table.
func TestDocumentedTransitions(t *testing.T) {
	page, err := os.ReadFile("../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `") && strings.Count(line, "|") == 6 {
			rows++
		}
	}
	if rows != len(moves()) {
		t.Errorf("docs/states.md has %d transitions, the table %d", rows, len(moves()))
	}
	mark := map[bool]string{true: "yes", false: "no"}
	for _, m := range moves() {
		row := fmt.Sprintf("| `%s` | `%s` | %s | %s | %s |\n", m.from, m.to, mark[m.run], mark[m.wave], m.when)
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/states.md lacks the row\n%s", row)
		}
	}
	for _, s := range states {
		if !strings.Contains(string(page), fmt.Sprintf("**%s**", s)) {
			t.Errorf("docs/states.md does not explain %s", s)
		}
	}
}
