//go:build e2e && e2efull

package e2e_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// cutShort is a week in which the power of the controller is cut, as by cut.
func cutShort(what string) func(*testing.T, *e2e.Lab) outcome {
	return amidUpgrade("saltierpoop", "20", func(t *testing.T, lab *e2e.Lab) { cut(t, lab, what) })
}

// cut cuts the power of the controller when the program stands still and what has done something to the files of its run.
func cut(t *testing.T, lab *e2e.Lab, what string) {
	t.Helper()
	lab.Exec(controller, "pkill", "-STOP", "-x", program[:15])
	lab.Shell(controller, "cd "+stateDir+"/runs/$(ls "+stateDir+"/runs | tail -n 1)\n"+what)
	powerCut(t, lab)
}

// faultsOfState breaks what a run remembers, and where.
func faultsOfState(t *testing.T, m *matrix, on e2e.Options) {
	// fill leaves no room in the state directory, a disk of its own.
	const small, fill = "mkdir -p -m 700 " + stateDir + " && mount -t tmpfs -o size=4m,mode=700 tmpfs " + stateDir, "dd if=/dev/zero of=" + stateDir + "/content/ballast 2>/dev/null || true"
	const lessFull = "rm " + stateDir + "/content/ballast"
	then := func(script string) func(*e2e.Lab) { return func(lab *e2e.Lab) { lab.Shell(controller, script) } }
	// byHand is a run that a person starts, with what happens during it.
	byHand := func(t *testing.T, lab *e2e.Lab, during func()) outcome {
		c := start(t, lab, "run")
		if during != nil {
			during()
		}
		return c.wait(t)
	}
	// killed kills a run in mid-upgrade, does something to its journal, and calls the program.
	killed := func(what string, args ...string) func(*testing.T, *e2e.Lab) outcome {
		return func(t *testing.T, lab *e2e.Lab) outcome {
			lab.Fault("slow", "saltierpoop", "15")
			byHand(t, lab, func() {
				busy(t, lab, "saltierpoop")
				c := call{lab: lab}
				c.signal(t, "KILL")
			})
			e2e.Eventually(t, 30*time.Second, "its processes end", func() error {
				if left := leftovers(lab); len(left) > 0 {
					return errLeft(left)
				}
				return nil
			})
			dir := stateDir + "/runs/" + runs(lab)[0]
			lab.Shell(controller, "cd "+dir+"\n"+what)
			before := lab.Exec(controller, "sha256sum", dir+"/journal.json")
			out := run(t, lab, args...)
			if after := lab.Exec(controller, "sha256sum", dir+"/journal.json"); after != before {
				t.Errorf("the journal was written over")
			}
			return out
		}
	}
	const truncate, garbage, newer = "truncate -s 300 journal.json", "head -c 2000 /dev/urandom >journal.json", `sed -i 's/"version":1,/"version":9,/' journal.json`
	show(t, m, on, []one{
		{fault: fault{name: "full before the run", where: "state directory", code: 1, words: "no space left on device", cause: "disk", explain: "no space left for the journal", within: time.Minute, todo: "make room there"},
			meet: func(t *testing.T, lab *e2e.Lab) outcome {
				lab.Shell(controller, small+"\nmkdir -m 700 "+stateDir+"/content\n"+fill)
				return byHand(t, lab, nil)
			},
			mend: then(lessFull)},
		{fault: fault{name: "full in the middle of the run", where: "state directory", code: 1, words: "what it does could not be recorded", cause: "disk", explain: "no space left for the journal", within: 2 * time.Minute,
			todo: "make room there; run again"},
			meet: func(t *testing.T, lab *e2e.Lab) outcome {
				lab.Shell(controller, small)
				lab.Fault("slow", "saltierpoop", "15")
				return byHand(t, lab, func() { busy(t, lab, "saltierpoop"); lab.Shell(controller, fill) })
			},
			mend: then(lessFull)},
		{fault: fault{name: "full disk before the run", where: "controller", code: 1, words: "no space left on device", cause: "disk", explain: "no space left for the journal", within: time.Minute, todo: "make room there. The metrics are on that disk, too: PatchRunMissed tells"},
			stale: true,
			meet:  func(t *testing.T, lab *e2e.Lab) outcome { lab.Fault("fill", controller); return byHand(t, lab, nil) },
			mend:  func(lab *e2e.Lab) { lab.Fault("unfill", controller) }},
		{fault: fault{name: "journal truncated, then `resume`", where: "state directory", code: 1, cause: "journal", words: "is damaged: unexpected end of JSON input (it is left as it is)", within: time.Minute,
			todo: "`run` instead: it looks at what it finds on the hosts"},
			meet: killed(truncate, "resume")},
		{fault: fault{name: "journal full of garbage, then `retry latest`", where: "state directory", code: 1, cause: "journal", words: "is damaged: ", within: time.Minute,
			todo: "`run` instead"},
			meet: killed(garbage, "retry", "latest"), stale: true},
		{fault: fault{name: "journal truncated, then `run`", where: "state directory", host: "saltierpoop", outcome: "patched", code: 0, words: "", within: 2 * time.Minute,
			todo: "nothing; the report has a note that names the journal"},
			meet: killed(truncate, "run")},
		{fault: fault{name: "journal of a newer program, then `run`", where: "state directory", code: 1, cause: "journal", words: "has version 9, and this program knows 1: use the newer program that wrote it, or move the run's folder away", within: time.Minute,
			todo: "as it says"},
			meet: killed(newer, "run"), mend: then("rm -r " + stateDir + "/runs/*")},
		{fault: fault{name: "journal full of garbage, power cut in mid-run", where: "controller", code: 1, cause: "journal", words: "is damaged: ", within: 3 * time.Minute,
			todo: "run again"},
			meet: func(t *testing.T, lab *e2e.Lab) outcome { return damagedAtBoot(t, lab, garbage) }},
		{fault: fault{name: "clock set back by 3 hours, power cut in mid-run", where: "controller", host: "saltierpoop", outcome: "interrupted", code: 130,
			cause: "died", words: "when it was cut short is not known: the clock says that this has yet to come", within: 3 * time.Minute, todo: "`resume`, or run again"},
			meet: cutShort("touch -d '+3 hours' journal.json events.jsonl")},
		{fault: fault{name: "clock put forward by 3 hours, power cut in mid-run", where: "controller", host: "saltierpoop", outcome: "interrupted", code: 130,
			cause: "died", words: "it was cut short 3h", within: 3 * time.Minute, todo: "`resume`, or run again"},
			meet: cutShort("touch -d '-3 hours' journal.json events.jsonl")},
	})
	clock(t, m)
}

// damagedAtBoot has the journal be damaged when the power of the controller is cut: what is started after its boot must
// not be silent about it.
func damagedAtBoot(t *testing.T, lab *e2e.Lab, what string) outcome {
	t.Helper()
	lab.Fault("slow", "saltierpoop", "20")
	began := time.Now()
	fire(lab)
	busy(t, lab, "saltierpoop")
	cut(t, lab, what)
	out := outcome{}
	e2e.Eventually(t, 2*time.Minute, "the resume unit has ended", func() error {
		state := strings.TrimSpace(lab.Run(t.Context(), controller, "systemctl", "show", "-p", "ActiveState,ExecMainStatus,ExecMainStartTimestampMonotonic", "homelab-patch-orchestrate-resume").Stdout)
		if !strings.Contains(state, "ActiveState=failed") {
			return errLeft([]string{state})
		}
		return nil
	})
	out.Code, out.Took = 1, time.Since(began)
	out.Stderr = lab.Exec(controller, "journalctl", "-b", "--no-pager", "-o", "cat", "-u", "homelab-patch-orchestrate-resume")
	wantMetrics(t, lab, controller, "patch_orchestrate.prom", map[string]float64{"last_exit_code": 1, "running": 0, "last_success_unixtime": 0})
	return out
}

// clock has rows of an injected clock: unit tests, which run here as a part of the suite.
func clock(t *testing.T, m *matrix) {
	for _, c := range []struct{ name, test, see, todo string }{
		{"clock set back by a year between two runs", "TestIDsSort", "ids of runs still sort in the order in which they began", "nothing"},
		{"clocks change: summer time begins or ends in a window", "TestScheduleWhenClocksChange", "the window goes by the clock on the wall: configure.md", "nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			unit := exec.Command("go", "test", "-count=1", "-v", "-run", "^"+c.test+"$", "../orchestrator")
			unit.Env = append(os.Environ(), "E2E_FULL=") // the sample of the fast suite
			out, err := unit.CombinedOutput()
			ok := err == nil && strings.Contains(string(out), "--- PASS: "+c.test)
			if !ok {
				t.Errorf("%v\n%s", err, out)
			}
			m.row(ok, c.name, "controller", "`"+c.test+"`, a unit test with a clock of its own", c.see, "", "", "", c.todo)
		})
	}
}

// errLeft is what is still there.
type errLeft []string

func (e errLeft) Error() string { return strings.Join(e, "\n") }
