//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Evidence is the record of what one suite of scenarios showed. With E2E_FULL=1 it becomes docs/evidence/SUITE.md when
// the test ends, whether it passed or not; otherwise nothing is written.
type Evidence struct {
	t            testing.TB
	suite, title string
	head         string
	calls        []string
	lines        []string
}

// Record starts the record of a suite. What it says of versions is the controller's of the lab; without a lab it is this
// machine's.
func Record(t testing.TB, lab *Lab, suite, title string) *Evidence {
	t.Helper()
	e := &Evidence{t: t, suite: suite, title: title}
	if os.Getenv("E2E_FULL") != "1" {
		return e
	}
	e.head = Stamp(lab)
	t.Cleanup(e.write)
	return e
}

// Stamp is what was tested, and with what: the commit, and the versions on the controller of the lab, or without one on
// this machine.
func Stamp(lab *Lab) string {
	const versions = `. /etc/os-release; echo "$PRETTY_NAME"; ansible --version | head -n 1; apt-get --version | head -n 1
		systemctl --version | head -n 1`
	said := ""
	if lab != nil {
		said = lab.Shell("infra-services", versions)
	} else if text, err := exec.Command("sh", "-c", versions).Output(); err == nil {
		said = string(text)
	}
	out := strings.Split(strings.TrimSpace(said), "\n")
	return fmt.Sprintf("commit %s, %s; %s; %s", commit(), time.Now().UTC().Format("2006-01-02 15:04 MST"),
		runtime.Version(), strings.Join(out, "; "))
}

// commit names what was tested.
func commit() string {
	hash, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(hash))
	// The records themselves do not count.
	changed, err := exec.Command("git", "status", "--porcelain", "--", ":/", ":(exclude,top)docs/evidence", ":(exclude,top)docs/faults.md").Output()
	if err != nil || len(changed) > 0 {
		name += ", with changes not committed"
	}
	return name
}

// Call records one call of the program: what was asked, how it ended, how long it took and what it said.
func (e *Evidence) Call(what string, out Output, took time.Duration, words string) {
	e.calls = append(e.calls, fmt.Sprintf("| %s | %d | %.1f | %s |", what, out.Code, took.Seconds(), Cell(words)))
}

// Cell is text as a cell of a table.
func Cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", "<br>").Replace(strings.TrimSpace(text))
}

// Lines records lines of a log or figures under a heading.
func (e *Evidence) Lines(heading string, lines ...string) {
	e.lines = append(e.lines, fmt.Sprintf("\n%s:\n\n    %s\n", heading, strings.Join(lines, "\n    ")))
}

func (e *Evidence) write() {
	result := "passed"
	switch {
	case e.t.Failed():
		result = "FAILED"
	case e.t.Skipped():
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nWritten by `make e2e-full`, not by hand. Test: %s, %s.\n\n%s\n\n", e.title, e.t.Name(), result, e.head)
	if len(e.calls) > 0 {
		b.WriteString("| what | exit code | seconds | in its words |\n|---|---|---|---|\n")
	}
	for _, line := range e.calls {
		b.WriteString(line + "\n")
	}
	for _, block := range e.lines {
		b.WriteString(block)
	}
	WritePage(e.t, filepath.Join("evidence", e.suite+".md"), b.String())
}

// WritePage writes a page of docs/, by its name there.
func WritePage(t testing.TB, name, text string) {
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "..", "docs", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Errorf("write %s: %v", name, err)
		return
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Errorf("write %s: %v", name, err)
	}
}
