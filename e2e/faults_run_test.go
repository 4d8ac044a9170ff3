//go:build e2e && e2efull

package e2e_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// enginePIDs returns the processes of ansible-playbook on the controller: the first, and the workers.
func enginePIDs(t *testing.T, lab *e2e.Lab) (first string, workers []string) {
	first = strings.TrimSpace(lab.Exec(controller, "pgrep", "-o", "-f", "/ansible-playbook "))
	return first, strings.Fields(lab.Run(t.Context(), controller, "pgrep", "-P", first, "-f", "/ansible-playbook ").Stdout)
}

// faultsOfRun ends processes of a run, and has two of them.
func faultsOfRun(t *testing.T, m *matrix, on e2e.Options) {
	amid := func(what func(*testing.T, *e2e.Lab)) func(*testing.T, *e2e.Lab) outcome {
		return amidUpgrade("saltierpoop", "20", what)
	}
	show(t, m, on, []one{
		{fault: fault{name: "ansible-playbook is killed", where: "controller", host: "saltierpoop", outcome: "interrupted", code: 1, cause: "engine", words: "wave 0: ansible-playbook was killed", within: time.Minute,
			todo: "look at who killed it: `journalctl -k`; run again"},
			meet: amid(func(t *testing.T, lab *e2e.Lab) {
				first, _ := enginePIDs(t, lab)
				lab.Exec(controller, "kill", "-KILL", first)
			})},
		{fault: fault{name: "a worker of ansible-playbook is killed", where: "controller", host: "saltierpoop", outcome: "failed", code: 3,
			cause: "worker", words: "its worker of ansible-playbook, on the controller, was ended by SIGKILL", within: time.Minute, todo: "look at who killed it: `journalctl -k`; run again"},
			meet: amid(func(t *testing.T, lab *e2e.Lab) {
				_, workers := enginePIDs(t, lab)
				if len(workers) != 1 {
					t.Fatalf("%d workers", len(workers))
				}
				lab.Exec(controller, "kill", "-KILL", workers[0])
			})},
		{fault: fault{name: "the program is killed", where: "controller", host: "saltierpoop", outcome: "interrupted", code: 130,
			cause: "died", words: "its process was ended by SIGKILL", within: time.Minute, todo: "look at who killed it: `journalctl -k`; `resume`, or run again"},
			meet: amid(func(t *testing.T, lab *e2e.Lab) { (&call{lab: lab}).signal(t, "KILL") })},
		{fault: fault{name: "a second run at the same time", where: "controller", code: 5, words: "another run is under way: ", explain: "did not begin: another run is under way: ", within: time.Minute,
			todo: "wait, or `--wait 1h`"},
			meet: func(t *testing.T, lab *e2e.Lab) (second outcome) {
				first := amid(func(t *testing.T, lab *e2e.Lab) {
					pid := (&call{lab: lab}).pid()
					second = run(t, lab, "run")
					if !strings.Contains(second.words(), "(process "+strconv.Itoa(pid)+")") {
						t.Errorf("it does not name process %d: %s", pid, second.words())
					}
				})(t, lab)
				if first.Code != 0 {
					t.Errorf("the first run: exit code %d\n%s", first.Code, said(first))
				}
				return second
			}},
		{fault: fault{name: "a second run at the same time, `--wait 10m`", where: "controller", host: "saltierpoop", outcome: "unchanged", code: 0, within: 3 * time.Minute,
			bound: "`--wait`", todo: "nothing"},
			meet: func(t *testing.T, lab *e2e.Lab) outcome {
				lab.Fault("slow", "saltierpoop", "20")
				first := start(t, lab, "run")
				busy(t, lab, "saltierpoop")
				second := start(t, lab, "run", "--wait", "10m")
				second.heard(t, "waiting for at most 10m0s: another run is under way")
				if out := first.wait(t); out.Code != 0 {
					t.Errorf("the first run: exit code %d\n%s", out.Code, out.words())
				}
				return second.wait(t)
			}},
	})
}
