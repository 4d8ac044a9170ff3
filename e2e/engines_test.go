//go:build e2e

package e2e_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

var update = flag.Bool("update", false, "record the event streams in runner/testdata anew, on each generation's controller")

// TestEngines runs tests of the package runner where each generation of Ansible is at home.
// `go test -tags e2e -run '^TestEngines$' ./e2e -update` records the golden streams of both.
func TestEngines(t *testing.T) {
	onEach(t, e2e.Options{}, "engines", "The runner and Ansible agree", func(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
		if *update {
			engine(t, lab, "^TestRecorded$", "-update")
			fetch(t, lab, "testdata/outcomes-2.14.jsonl", "testdata/outcomes-2.14.json",
				"testdata/outcomes-2.19.jsonl", "testdata/outcomes-2.19.json", "testdata/outcomes-results.json")
			return
		}
		pattern := "^Test(Outcomes|Recorded|Names|PlayShapes|Match|OperatorCallback|Moments)$"
		with := []string{"MOMENTS=6"}
		if os.Getenv("E2E_FULL") == "1" { // all but those that take long and have a scenario of their own
			pattern = "."
			with = []string{"-peers", "-test.skip=^Test(Moments|ThousandRuns)$"}
		}
		start := time.Now()
		out := engine(t, lab, pattern, with...)
		ev.Call("`runner.test -test.run "+pattern+" "+strings.Join(with, " ")+"`", e2e.Output{}, time.Since(start), strings.Join(grep(out, "corpus: all: "), ""))
		ev.Lines("each playbook of the corpus", grep(out, "corpus: ")...)
		ev.Lines("each test", grep(out, "--- ")...)
	})
}

// engine compiles the tests of the package runner and runs those that match pattern on the controller of a lab, with
// the Ansible and the Python of its Debian, as a unit of its systemd. It returns what they printed. with is flags of the
// test binary and NAME=VALUE of its environment.
func engine(t *testing.T, lab *e2e.Lab, pattern string, with ...string) string {
	t.Helper()
	const dir = "/srv/runner"
	binary := filepath.Join(t.TempDir(), "runner.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-race", "-tags", "e2e e2efull", "-o", binary, "../runner")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lab.Exec(controller, "rm", "-rf", dir)
	lab.Push(controller, binary, dir+"/runner.test")
	lab.Push(controller, "../runner/testdata", dir+"/testdata")
	args := []string{"systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--working-directory=" + dir,
		"--setenv=E2E_REQUIRED=1", "--setenv=HOME=/root", "--setenv=LANG=C.UTF-8"}
	flags := []string{dir + "/runner.test", "-test.v", "-test.timeout=40m", "-test.run=" + pattern}
	for _, w := range with {
		if strings.HasPrefix(w, "-") {
			flags = append(flags, w)
		} else {
			args = append(args, "--setenv="+w)
		}
	}
	out := lab.Run(t.Context(), controller, append(args, flags...)...)
	if out.Code != 0 || strings.Contains(out.Stdout, "--- SKIP") {
		t.Errorf("%s on the controller: exit code %d\n%s%s", pattern, out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// fetch copies those of the files that the last tests of [engine] have on the controller into this checkout.
func fetch(t *testing.T, lab *e2e.Lab, names ...string) {
	t.Helper()
	for _, name := range names {
		text := lab.Exec(controller, "cat", "/srv/runner/"+name)
		if err := os.WriteFile(filepath.Join("..", "runner", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// grep returns what follows prefix in the lines that begin with it.
func grep(text, prefix string) (lines []string) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			lines = append(lines, strings.TrimRight(rest, "\n"))
		}
	}
	return lines
}
