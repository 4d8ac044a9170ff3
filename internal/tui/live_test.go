package tui

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// screen is as much of a terminal as the live view uses: lines, moving up, and
// clearing to the end.
type screen struct {
	mu    sync.Mutex
	lines []string
	row   int
}

var control = regexp.MustCompile(`\x1b\[(\d+)A\x1b\[J`)

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := string(p)
	for text != "" {
		if m := control.FindStringSubmatch(text); m != nil && strings.HasPrefix(text, m[0]) {
			up, _ := strconv.Atoi(m[1])
			if s.row -= up; s.row < 0 {
				s.row = 0 // what has scrolled away is out of reach
			}
			s.lines = s.lines[:s.row]
			text = text[len(m[0]):]
			continue
		}
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return len(p), nil
		}
		s.lines = append(s.lines[:s.row], line)
		s.row++
		text = rest
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func plan(hosts ...int) *orchestrator.Plan {
	p := &orchestrator.Plan{}
	for number, n := range hosts {
		w := orchestrator.Wave{Number: number}
		for i := range n {
			w.Hosts = append(w.Hosts, orchestrator.Host{Name: fmt.Sprintf("w%dh%03d", number, i)})
		}
		p.Waves = append(p.Waves, w)
	}
	return p
}

func state(l *Live, wave int, to orchestrator.State) {
	l.Change(orchestrator.Change{Run: "r", Time: time.Now(), Wave: &wave, To: string(to)})
}

func outcome(l *Live, wave int, host string, to orchestrator.Outcome, reason string) {
	l.Change(orchestrator.Change{Run: "r", Time: time.Now(), Wave: &wave, Host: host, To: string(to), Reason: reason})
}

func size(w, h int) func() (int, int) { return func() (int, int) { return w, h } }

func TestLiveLeavesEachWaveOnce(t *testing.T) {
	s := &screen{}
	l := New(s, size(80, 24), false, "r", plan(2, 1))
	state(l, 0, orchestrator.Running)
	l.Event(runner.Event{Kind: runner.KindBegin, Host: "w0h000", Task: "Watch the upgrade", Time: time.Now()})
	l.Event(runner.Event{Kind: runner.KindRetry, Host: "w0h000", Task: "Watch the upgrade", Msg: "3 of 5 packages", Time: time.Now()})
	l.Print("a warning")
	if got := s.String(); !strings.Contains(got, "a warning\nwave 0  running") || !strings.Contains(got, "Watch the upgrade: 3 of 5 packages") {
		t.Errorf("while wave 0 runs:\n%s", got)
	}
	outcome(l, 0, "w0h000", orchestrator.Patched, "")
	outcome(l, 0, "w0h001", orchestrator.HostFailed, "dpkg\x1b[2Jlock\nheld")
	state(l, 0, orchestrator.Passed)
	state(l, 1, orchestrator.Running)
	// An earlier run that is being closed is none of ours.
	l.Change(orchestrator.Change{Run: "other", Wave: new(int), To: string(orchestrator.Interrupted)})
	outcome(l, 1, "w1h000", orchestrator.Unchanged, "")
	state(l, 1, orchestrator.Passed)
	l.Close()
	want := `a warning
wave 0  passed
  w0h000    patched
  w0h001    failed  dpkg [2Jlock held
wave 1  passed
  w1h000    unchanged`
	if got := s.String(); got != want {
		t.Errorf("on the screen:\n%s\nwant:\n%s", got, want)
	}
}

// A wave larger than the terminal is never drawn over its top: what has
// scrolled away cannot be redrawn, and would be left there again and again.
func TestLiveFitsTheTerminal(t *testing.T) {
	s := &screen{}
	l := New(s, size(40, 10), false, "r", plan(300))
	state(l, 0, orchestrator.Running)
	l.Event(runner.Event{Kind: runner.KindBegin, Host: "w0h250", Task: strings.Repeat("long ", 40), Time: time.Now()})
	l.Print("x")
	got := strings.Split(s.String(), "\n")
	if len(got) > 10 {
		t.Errorf("%d lines on a terminal of 10:\n%s", len(got), s)
	}
	if !strings.Contains(s.String(), "w0h250") || !strings.Contains(s.String(), "and 294 more") {
		t.Errorf("the busy host comes first, the rest is counted:\n%s", s)
	}
	for _, line := range got {
		if n := len([]rune(line)); n > 40 {
			t.Errorf("a line of %d on a terminal of 40 would wrap: %q", n, line)
		}
	}
	l.Close()
}

func TestPaint(t *testing.T) {
	if got := Paint(true, "failed"); got != "\x1b[31mfailed\x1b[0m" {
		t.Errorf("%q", got)
	}
	if got := Paint(false, "failed"); got != "failed" {
		t.Errorf("%q", got)
	}
	if got := Paint(true, "running"); got != "running" {
		t.Errorf("%q", got)
	}
}

func TestElapsed(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0:00": -time.Second, "0:07": 7500 * time.Millisecond, "12:34": 754 * time.Second, "1:02:03": 3723 * time.Second,
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("Elapsed(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"}, {"a\nb\x1b[1mc\u009bd", "a b [1mc d"}, {"ääääääääääää", "äääääääää…"},
	} {
		if got := Line(c.in, 10); got != c.want {
			t.Errorf("Line(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}
