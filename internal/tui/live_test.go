package tui

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

var update = flag.Bool("update", false, "rewrite testdata")

// scene is a Live without its goroutine, on a virtual terminal, with a clock of
// its own: each step of a story is drawn once.
type scene struct {
	*Live
	t             *testing.T
	term          *vt.Emulator
	width, height int
	now           time.Time
	written       int // bytes
}

var start = time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)

func newScene(t *testing.T, width, height int, plan *orchestrator.Plan, took orchestrator.Durations) *scene {
	s := &scene{t: t, term: vt.NewEmulator(width, height), width: width, height: height, now: start}
	s.term.SetScrollbackSize(2000)
	s.Live = &Live{Run: NewRun("r", plan.Pending(), took), wake: make(chan struct{}, 1), s: Screen{
		Out: s, Size: func() (int, int) { return s.width, s.height }, Keys: make(chan Key), Now: func() time.Time { return s.now },
	}}
	return s
}

// Write is the terminal's, which the kernel hands a line's end as it is.
func (s *scene) Write(p []byte) (int, error) {
	s.written += len(p)
	return s.term.Write(p)
}

// at lets time pass and draws.
func (s *scene) at(seconds int) {
	s.now = start.Add(time.Duration(seconds) * time.Second)
	s.paint(false)
}

// resize leaves on the screen whatever a terminal may make of what was there.
func (s *scene) resize(width, height int) {
	s.term.Resize(width, height)
	fmt.Fprintf(s.term, "\x1b[H%s\x1b[%d;%dH", strings.Repeat("junk of a line that was broken ", width*height/31), height/2, width/2)
	s.width, s.height = width, height
	s.paint(false)
}

// screen is what is to be seen.
func (s *scene) screen() string {
	lines := strings.Split(s.term.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// all is what is to be seen and what has scrolled away.
func (s *scene) all() string {
	var b strings.Builder
	for y := range s.term.ScrollbackLen() {
		line := ""
		for x := range s.term.Width() {
			if c := s.term.ScrollbackCellAt(x, y); c != nil {
				line += c.Content
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String() + s.screen()
}

func (s *scene) state(wave int, to orchestrator.State) {
	s.Change(orchestrator.Change{Run: "r", Time: s.now, Wave: &wave, To: string(to)})
}

func (s *scene) outcome(wave int, host string, to orchestrator.Outcome, reason string) {
	s.Change(orchestrator.Change{Run: "r", Time: s.now, Wave: &wave, Host: host, To: string(to), Reason: reason})
}

func (s *scene) event(kind runner.Kind, host, task, msg string) {
	s.Event(runner.Event{Kind: kind, Host: host, Task: task, Msg: msg, Time: s.now})
}

func (s *scene) progress(host string, done, total int) {
	s.Event(runner.Event{Kind: runner.KindRetry, Host: host, Task: "Watch the upgrade", Time: s.now, Msg: "still running",
		Data: fmt.Appendf(nil, `{"progress":{"phase":"installing","done":%d,"total":%d}}`, done, total)})
}

func (s *scene) published(host string, packages int, more string) {
	list := strings.TrimSuffix(strings.Repeat(`{"name":"p"},`, packages), ",")
	s.Event(runner.Event{Kind: runner.KindResult, Host: host, Task: "Publish the result", Action: "ansible.builtin.set_fact", Status: runner.StatusOK, Time: s.now,
		Data: fmt.Appendf(nil, `{"ansible_facts":{"homelab_patch":{"version":1,"packages":[%s]%s}}}`, list, more)})
}

// names are hosts as they should be, wide ones, and some that mean harm.
func names() []string {
	return []string{"web", "ホスト名前", "ünïcödé", "a-name-that-is-much-longer-than-there-is-room-for.example.org",
		"evil\x1b[2J\x1b[H", "rtl\u202e\u2066gnp", "zalgo" + strings.Repeat("\u0301", 30), "👩‍👩‍👧‍👦❤️", "tab\tnl\ncr\r", "\u009b31mcsi"}
}

func plan(waves ...[]string) *orchestrator.Plan {
	p := &orchestrator.Plan{}
	for number, hosts := range waves {
		w := orchestrator.Wave{Number: number, Group: fmt.Sprintf("patching_wave%d", number)}
		for _, name := range hosts {
			w.Hosts = append(w.Hosts, orchestrator.Host{Name: name})
		}
		p.Waves = append(p.Waves, w)
	}
	return p
}

func many(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%03d", prefix, i))
	}
	return names
}

// story is a run, a step at a time; drawn after each.
func story() (*orchestrator.Plan, []func(*scene)) {
	hosts := append(names(), many("node", 20)...)
	return plan(hosts, many("db", 3), []string{"ctl"}), []func(*scene){
		func(s *scene) { s.Say("asking Ansible for the inventory") },
		func(s *scene) { s.state(0, orchestrator.Running) },
		func(s *scene) {
			for _, h := range hosts[:14] {
				s.event(runner.KindBegin, h, "Watch the upgrade", "")
			}
			s.Print("homelab-patch-orchestrate: warning: " + strings.Repeat("a warning that is longer than a line; ", 4))
		},
		func(s *scene) {
			for i, h := range hosts[:12] {
				s.progress(h, i, 12)
			}
			s.event(runner.KindRetry, hosts[12], "Watch the upgrade", "still running\x1b[2J, begun by run X")
			s.event(runner.KindStall, hosts[13], "Watch the upgrade", "no progress for 1h")
		},
		func(s *scene) {
			s.published("web", 12, `,"rebooted":true`)
			s.event(runner.KindBegin, "web", "Record the result on the host", "")
			s.published("ホスト名前", 0, `,"failure":{"reason":"dpkg\u001b[2Jlock held by ホスト, process 1"}`)
			s.Event(runner.Event{Kind: runner.KindResult, Host: "ünïcödé", Status: runner.StatusUnreachable, Msg: "it does not answer", Task: "Look", Time: s.now})
		},
		func(s *scene) {
			for _, h := range hosts {
				s.event(runner.KindBegin, h, "Record the result on the host", "")
				s.published(h, 3, "")
			}
			s.outcome(0, "web", orchestrator.Patched, "")
			for _, h := range hosts[1:] {
				s.outcome(0, h, orchestrator.Unchanged, "")
			}
			s.outcome(0, hosts[2], orchestrator.HostUnreachable, "it does not answer\x1b]0;x\a: look at its network, or at its ssh, or at whatever else there is")
			s.state(0, orchestrator.Soaking)
		},
		func(s *scene) { s.Say("gate health is asked after wave 0") },
		func(s *scene) { s.state(0, orchestrator.Passed) },
		func(s *scene) { s.state(1, orchestrator.Running) },
		func(s *scene) { s.event(runner.KindBegin, "db001", "Look at the host", "") },
	}
}

var sizes = [][2]int{{80, 24}, {200, 50}, {40, 10}}

// tell draws the first steps of the story at a size.
func tell(t *testing.T, width, height, steps int) *scene {
	p, all := story()
	s := newScene(t, width, height, p, orchestrator.Durations{"patching_wave0": 4*time.Minute + 30*time.Second, "patching_wave1": time.Minute, "patching_wave2": 2 * time.Minute})
	for i, step := range all[:steps] {
		s.now = start.Add(time.Duration(i) * 10 * time.Second)
		step(s)
		s.paint(false)
	}
	return s
}

func TestLook(t *testing.T) {
	_, all := story()
	for _, size := range sizes {
		for _, steps := range []int{1, 4, 5, 7, len(all)} {
			name := fmt.Sprintf("%dx%d-%d.txt", size[0], size[1], steps)
			got := tell(t, size[0], size[1], steps).screen() + "\n"
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s: the screen is\n%s\nwant\n%s", name, got, want)
			}
		}
	}
}

// After a resize, whatever the terminal has made of what was there, the screen is the one that had that size from the
// start.
func TestResize(t *testing.T) {
	_, all := story()
	for steps := 1; steps <= len(all); steps++ {
		for _, from := range sizes {
			for _, to := range sizes {
				if from == to {
					continue
				}
				s := tell(t, from[0], from[1], steps)
				s.resize(to[0], to[1])
				if got, want := s.screen(), tell(t, to[0], to[1], steps).screen(); got != want {
					t.Fatalf("after step %d, resized from %v to %v:\n%s\nwant\n%s", steps, from, to, got, want)
				}
			}
		}
	}
}

// No line is wider than the screen, and nothing of a host gets through that a terminal would obey.
func TestHostileNames(t *testing.T) {
	_, all := story()
	for _, size := range sizes {
		s := tell(t, size[0], size[1], len(all))
		for _, w := range s.waves {
			for _, line := range w.section(look{width: size[0], at: s.now}) {
				if n := ansi.StringWidthWc(line); n > size[0] {
					t.Errorf("%d columns of %d: %q", n, size[0], line)
				}
				if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x2066 }) {
					t.Errorf("%q", line)
				}
			}
		}
	}
}

// What has ended is there once, in full, and what was redrawn in place leaves nothing behind.
func TestScrollsAway(t *testing.T) {
	_, all := story()
	s := tell(t, 80, 24, len(all))
	got := s.all()
	for _, words := range append(many("node", 20), "web ", "ホスト名前", "wave 0", "warning: a warning", "hosts ended") {
		if n := strings.Count(got, words); n != 1 {
			t.Errorf("%q is there %d times:\n%s", words, n, got)
		}
	}
	if !strings.Contains(got, "wave 0  passed") || !strings.Contains(got, "wave 1  running") {
		t.Errorf("%s", got)
	}
}

func TestScroll(t *testing.T) {
	s := newScene(t, 60, 10, plan(many("h", 100)), nil)
	s.state(0, orchestrator.Running)
	s.event(runner.KindBegin, "h050", "Look", "")
	s.Event(runner.Event{Kind: runner.KindResult, Host: "h070", Status: runner.StatusFailed, Task: "Look", Msg: "no", Time: s.now})
	shown := func() (names []string) {
		s.at(1)
		for line := range strings.Lines(s.screen()) {
			if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], "h") {
				names = append(names, f[0])
			}
		}
		return names
	}
	for _, step := range []struct {
		key         Key
		first, last string
	}{
		{0, "h050", "h003"}, // who is at work, then who was lost, then the others
		{Up, "h050", "h003"}, {Down, "h070", "h004"}, {PageDown, "h005", "h010"}, {Up, "h004", "h009"}, {PageUp, "h050", "h003"},
	} {
		s.press(step.key)
		if got := shown(); len(got) != 6 || got[0] != step.first || got[5] != step.last {
			t.Errorf("after key %d: %v", step.key, got)
		}
	}
	for range 30 {
		s.press(PageDown)
		s.at(1)
	}
	if got := shown(); len(got) != 6 || got[5] != "h099" {
		t.Errorf("at the end: %v", got)
	}
	if !strings.Contains(s.screen(), "and 94 more hosts") {
		t.Error(s.screen())
	}
	s.press(Redraw)
	before := s.screen()
	if s.at(1); s.screen() != before {
		t.Errorf("%s\nwas\n%s", s.screen(), before)
	}
}

// A terminal as small as can be, and one that says nonsense, get what they can take.
func TestTiny(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 2}, {10, 3}, {3, 40}} {
		s := tell(t, size[0], size[1], 5)
		for _, l := range s.frame {
			if n := ansi.StringWidthWc(l); n > size[0] {
				t.Errorf("%v: %q", size, l)
			}
		}
		if len(s.frame) > max(1, size[1]-1) {
			t.Errorf("%v: %d lines", size, len(s.frame))
		}
	}
}

// As long as nothing but time passes, little is written.
func TestLittleIsWritten(t *testing.T) {
	s := newScene(t, 200, 50, plan(many("h", 40)), nil)
	s.state(0, orchestrator.Running)
	for _, h := range many("h", 40)[:5] {
		s.event(runner.KindBegin, h, "Look", "")
	}
	s.at(1)
	s.written = 0
	s.at(1)
	if s.written != 0 {
		t.Errorf("%d bytes though nothing is new", s.written)
	}
	s.at(2)
	if s.written == 0 || s.written > 2000 {
		t.Errorf("%d bytes for a second and five hosts at work", s.written)
	}
}

// stuck is a terminal that takes nothing, as after Ctrl-S.
type stuck struct{ until chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.until
	return len(p), nil
}

// Nobody waits for a terminal that takes nothing: not the run, and its end only for a moment.
func TestStuckTerminal(t *testing.T) {
	t.Parallel()
	until := make(chan struct{})
	defer close(until)
	l := New(NewRun("r", plan(many("h", 5)).Pending(), nil), Screen{Out: stuck{until}, Size: func() (int, int) { return 80, 24 }})
	began := time.Now()
	for i := range 1000 {
		l.Event(runner.Event{Kind: runner.KindBegin, Host: "h001", Task: fmt.Sprint(i), Time: time.Now()})
		l.Print("a line")
		l.Change(orchestrator.Change{Run: "r", Wave: new(int), To: "running", Time: time.Now()})
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the run waited %s", took)
	}
	l.Close()
	if took := time.Since(began); took > patience+5*time.Second {
		t.Errorf("its end waited %s", took)
	}
}

// counted counts what is written at a time.
type counted struct {
	io.Writer
	n chan int
}

func (c counted) Write(p []byte) (int, error) {
	c.n <- len(p)
	return len(p), nil
}

// The goroutine that draws: everything arrives, in at most ten drawings a second.
func TestDraws(t *testing.T) {
	t.Parallel()
	term := vt.NewSafeEmulator(80, 24)
	writes := counted{n: make(chan int, 1000)}
	l := New(NewRun("r", plan(many("h", 5)).Pending(), nil), Screen{Out: io.MultiWriter(term, writes), Size: func() (int, int) { return 80, 24 }})
	began := time.Now()
	l.Change(orchestrator.Change{Run: "r", Wave: new(int), To: "running", Time: began})
	for time.Since(began) < 350*time.Millisecond {
		l.Event(runner.Event{Kind: runner.KindBegin, Host: "h001", Task: fmt.Sprint(time.Since(began)), Time: time.Now()})
	}
	l.Print("a warning")
	l.Close()
	most := int(time.Since(began)/frame) + 3
	if n := len(writes.n); n < 2 || n > most {
		t.Errorf("%d drawings, want at most %d", n, most)
	}
	got := term.String()
	if !strings.Contains(got, "a warning") || !strings.Contains(got, "wave 0  running") || strings.Count(got, "h001") != 1 || strings.Contains(got, "ended") {
		t.Errorf("%s", got)
	}
}

func TestDecode(t *testing.T) {
	for in, want := range map[string][]Key{
		"\x1b[A": {Up}, "\x1b[B\x1b[B": {Down, Down}, "\x1b[5~\x1b[6~": {PageUp, PageDown}, "kj b\x0c": {Up, Down, PageDown, PageUp, Redraw},
		"xyz\x1b[3~\x1b": nil, "\x1b[": nil, "\xff\xfe": nil,
	} {
		if got := decode([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}
