//go:build e2e && e2efull

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// pane is a real terminal multiplexer's, with a command of the controller in it.
type pane struct {
	t      *testing.T
	name   string
	env    []string
	socket string
	frames int       // that were looked at
	wrong  []string  // of them, with why
	calm   time.Time // from when on pictures count
	seen   map[string]string
}

// watchIn starts args on the controller in a terminal of that size.
func watchIn(t *testing.T, lab *e2e.Lab, name string, width, height int, args ...string) *pane {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is not installed")
	}
	c := lab.Command(context.Background(), controller, append([]string{program}, args...)...)
	words := []string{"env", "TERM=screen"}
	for _, w := range append(words, c.Args...) {
		words = append(words, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	p := &pane{t: t, name: name, env: c.Env, socket: filepath.Join(t.TempDir(), "tmux"), seen: map[string]string{}}
	p.tmux("-f", "/dev/null", "new-session", "-d", "-s", "w", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height),
		strings.Join(words[4:], " ")+"; echo ended with $?; sleep 600")
	t.Cleanup(func() { p.tmux("kill-server") })
	return p
}

func (p *pane) tmux(args ...string) string {
	p.t.Helper()
	c := exec.Command("tmux", append([]string{"-S", p.socket}, args...)...)
	c.Env = append(os.Environ(), p.env...)
	out, err := c.CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// resize gives the program a second: until it has drawn, there is what the terminal has made of the lines.
func (p *pane) resize(width, height int) {
	p.calm = time.Now().Add(time.Second)
	p.tmux("resize-window", "-t", "w", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height))
}

// screen is what is to be seen now.
func (p *pane) screen() string { return p.tmux("capture-pane", "-p", "-t", "w") }

var (
	headLine = regexp.MustCompile(`^(wave \d+)  (running|soaking|passed|halted|failed|interrupted|awaiting-reboot)\b`)
	hostLine = regexp.MustCompile(`^  ([a-z][a-z0-9-]+)  +(\S.*)$`)
	footLine = regexp.MustCompile(`^(  … and \d+ more hosts?|(.*; )?\d+ of \d+ hosts? ended|before the first wave )`)
	// What the program prints besides; the last when the run is over.
	noteLine = regexp.MustCompile(`^(run \d{8}T|` + program + `: )`)
	ending   = regexp.MustCompile(`(?m)^(WAVE  HOST|PACKAGE |passed in|report: |ended with)`)
)

// look takes a picture and says what is wrong with it: each line is one of the view, and no wave and no host is there twice.
// What is printed after the run is
// not of the view.
func (p *pane) look() (screen string, err error) {
	calm := time.Now().After(p.calm)
	if screen = p.screen(); !calm {
		return screen, errors.New("resized a moment ago")
	}
	there := map[string]bool{}
	once := func(what string) {
		if there[what] {
			err = errors.Join(err, fmt.Errorf("%s is there twice", what))
		}
		there[what] = true
	}
	if ending.MatchString(screen) {
		return screen, nil
	}
	drawn, note := false, true // above it all may be the end of a line that was broken
	for line := range strings.Lines(screen) {
		line = strings.TrimRight(line, "\n ")
		switch m := headLine.FindStringSubmatch(line); {
		case m != nil:
			once(m[1])
			drawn, note = true, false
		case noteLine.MatchString(line):
			note = true
		case footLine.MatchString(line), line == "":
			note = false
		default:
			if h := hostLine.FindStringSubmatch(line); h != nil {
				once("host " + h[1])
				note = false
			} else if !note { // else the rest of one that was broken
				err = errors.Join(err, fmt.Errorf("%q is no line of the view", line))
			}
		}
	}
	if drawn {
		p.frames++
	}
	if err != nil {
		p.wrong = append(p.wrong, err.Error()+"\n"+screen)
	}
	return screen, err
}

// until looks again and again until a picture has the words, and keeps it by a name.
func (p *pane) until(name, words string, timeout time.Duration) string {
	p.t.Helper()
	e2e.Eventually(p.t, timeout, words+" is on the screen", func() error {
		screen, err := p.look()
		if err != nil {
			return err
		}
		if !regexp.MustCompile(words).MatchString(screen) {
			return errors.New(screen)
		}
		p.seen[name] = strings.TrimRight(screen, "\n")
		return nil
	})
	return p.seen[name]
}

// Twenty hosts, watched on a terminal that is resized in the middle, and beside it by somebody who has not started the run:
// no picture is garbled. Where there is no terminal, nothing of one is printed.
func TestWatchingAFleet(t *testing.T) {
	lab := up(t, e2e.Options{Extra: 17})
	ev := e2e.Record(t, lab, "watching", "A run of twenty hosts on a terminal that is resized in the middle")
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", "patching_reboot: never\n")
	write(lab, controller, settings, "forks: 20\n")
	for _, name := range []string{"saltierpoop", "node01", "node02"} { // long enough at it to tell how far they are
		lab.Fault("slow", name, "60")
	}

	began := time.Now()
	p := watchIn(t, lab, "run", 80, 24, "run")
	p.until("80×24, before the first wave", `before the first wave hosts plan and download, \d+ of 20 done`, time.Minute)
	p.until("80×24", `wave 0  running .* 0/18 `, 2*time.Minute)
	other := watchIn(t, lab, "status --follow", 200, 50, "status", "--follow")
	other.until("200×50", `wave 0  running .*/18 `, time.Minute)
	p.until("80×24, packages", `(?m)^  [a-z]+\d* .* \d+/\d+ +\d+:\d\d$`, 3*time.Minute)
	p.resize(200, 50)
	p.until("resized to 200×50", `wave 0  running .*\n(.*\n){18}.* hosts ended`, time.Minute)
	other.resize(80, 24)
	other.until("resized to 80×24", `wave [01]  running`, time.Minute)
	p.resize(40, 10)
	p.until("resized to 40×10", `more hosts? `, time.Minute)
	p.resize(80, 24)
	p.until("resized to 80×24", `hosts ended`, time.Minute)
	e2e.Eventually(t, 10*time.Minute, "both have ended", func() error {
		a, _ := p.look()
		b, _ := other.look()
		if !strings.Contains(a, "ended with 0") || !strings.Contains(b, "ended with 0") {
			return fmt.Errorf("%s\n%s", a, b)
		}
		return nil
	})
	took := time.Since(began)
	for _, w := range []*pane{p, other} {
		for _, why := range w.wrong {
			t.Errorf("%s: %s", w.name, why)
		}
		if w.frames < 20 {
			t.Errorf("%s: %d pictures", w.name, w.frames)
		}
		all := w.tmux("capture-pane", "-p", "-t", "w", "-S", "-1000")
		if !strings.Contains(all, "passed in") || !strings.Contains(all, "20 patched") {
			t.Errorf("%s: its end lacks the summary:\n%s", w.name, all)
		}
		ev.Lines(w.name, fmt.Sprintf("%d pictures in %.0f s, garbled: %d; none of the second after a resize", w.frames, took.Seconds(), len(w.wrong)))
	}
	for _, shot := range []struct {
		w    *pane
		name string
	}{{p, "80×24, before the first wave"}, {p, "80×24"}, {p, "80×24, packages"}, {other, "200×50"}, {p, "resized to 200×50"}, {p, "resized to 40×10"}, {other, "resized to 80×24"}} {
		ev.Lines("`"+shot.w.name+"`, "+shot.name, strings.Split(shot.w.seen[shot.name], "\n")...)
	}

	piped := run(t, lab, "run", "--wave", "1")
	ev.Call("`run --wave 1`, piped", piped.Output, piped.Took, last(piped.Stdout))
	status := lab.Run(t.Context(), controller, program, "status")
	ev.Call("`status`, piped", status, 0, last(status.Stdout))
	for what, text := range map[string]string{"run": piped.words(), "status": status.Stdout + status.Stderr} {
		if strings.Contains(text, "\x1b") {
			t.Errorf("%s, piped: an escape code:\n%q", what, text)
		}
	}
	if status.Code != 0 || !strings.Contains(status.Stdout, "passed in") {
		t.Errorf("status: %+v", status)
	}
}
