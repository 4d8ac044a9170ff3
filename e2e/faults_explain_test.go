//go:build e2e && e2efull

package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// explained is what `explain HOST` said, on the controller and before anything was mended.
type explained struct {
	Host    string   `json:"host"`
	Outcome string   `json:"outcome"`
	Cause   string   `json:"cause"`
	Answer  string   `json:"answer"`
	Why     []string `json:"why"`
	Also    []string `json:"also"`
	Do      []struct {
		On      string `json:"on"`
		Command string `json:"command"`
		Say     string `json:"say"`
	} `json:"do"`
	Next time.Time `json:"next_run"`

	text string // for people
}

// explain asks why a host was not patched, as a script does and as a person does.
func explain(t *testing.T, lab *e2e.Lab, host string) (e explained) {
	t.Helper()
	for _, args := range [][]string{{program, "explain", host, "--json"}, {program, "explain", host}} {
		out := lab.Run(t.Context(), controller, args...)
		if out.Code != 0 || out.Stderr != "" {
			t.Errorf("%s: exit code %d\n%s%s", strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
		}
		e.text = out.Stdout
		if len(args) < 4 {
			continue
		}
		if err := json.Unmarshal([]byte(out.Stdout), &e); err != nil {
			t.Errorf("explain %s --json: %v\n%s", host, err, out.Stdout)
		}
	}
	return e
}

// want checks that the cause of a row was named, in one word and in words, and that there is something to do about it.
func (e explained) want(t *testing.T, f fault) {
	t.Helper()
	words := cmp.Or(f.explain, f.words)
	if f.cause == "" && f.explain == "" {
		words = e.Host + " is " // patched, or well
	}
	said := strings.Join(strings.Fields(e.text), " ")
	if e.Cause != f.cause || !strings.Contains(said, strings.Join(strings.Fields(words), " ")) || f.cause != "" && len(e.Do) == 0 {
		t.Errorf("%s, %s: explain %s says %q, want %q and the words %q\n%s", f.name, f.where, e.Host, e.Cause, f.cause, words, e.text)
	}
}

// wantNextRun checks that explain knows when the timer comes next.
func wantNextRun(t *testing.T, lab *e2e.Lab, host string) {
	t.Helper()
	if e := explain(t, lab, host); !e.Next.IsZero() {
		t.Errorf("without a timer the next run is %v", e.Next)
	}
	service(t, lab)
	lab.Exec(controller, "systemctl", "start", "homelab-patch-orchestrate.timer")
	// What comes next is begun by hand, and nothing would go on with it after a reboot of the controller.
	defer lab.Shell(controller, "systemctl stop homelab-patch-orchestrate.timer && systemctl disable -q homelab-patch-orchestrate-resume.service")
	e := explain(t, lab, host)
	if e.Next.Weekday() != time.Sunday || !e.Next.After(time.Now()) || !strings.Contains(e.text, "next   run by the timer: Sun ") {
		t.Errorf("the next run is %v\n%s", e.Next, e.text)
	}
}

// cell is the cause, and the first thing to do about it.
func (e explained) cell() string {
	if e.Host == "" {
		return ""
	}
	if e.Cause == "" {
		return e2e.Cell(e.Outcome)
	}
	text := fmt.Sprintf("`%s`", e.Cause)
	if len(e.Do) == 0 {
		return text
	}
	do := e.Do[0]
	where := ""
	if do.On != "" {
		where = "on it, "
	}
	switch {
	case do.Command == "":
		return text + ": " + e2e.Cell(where+do.Say)
	case do.Say == "":
		return text + ": " + e2e.Cell(where+"`"+do.Command+"`")
	}
	return text + ": " + e2e.Cell(where+"`"+do.Command+"`: "+do.Say)
}
