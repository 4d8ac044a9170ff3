// Package tui draws a run while it goes on: a section a wave, a line a host.
//
//	live := tui.New(os.Stdout, size, color, run.ID, plan)
//	o.Progress, o.Observe = live.Event, …live.Change…
//	live.Close()
//
// What has ended is printed once and scrolls away like any output; only the
// wave under way is redrawn in place. A terminal that is too small for all
// hosts of a wave shows those that are busy, and counts the rest.
package tui

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// refresh is how often elapsed times move.
const refresh = 250 * time.Millisecond

// Live is a view of one run. Its methods may be called from any goroutine.
type Live struct {
	w     io.Writer
	size  func() (width, height int)
	color bool
	run   string // id; an earlier one that is being closed is not drawn

	mu    sync.Mutex
	waves map[int]*wave
	now   *wave // the one that is drawn; nil between waves
	drawn int   // lines of it on the screen
	stop  chan struct{}
	ended chan struct{}
}

type wave struct {
	number int
	state  string
	began  time.Time
	hosts  []*host
}

type host struct {
	name    string
	task    string
	since   time.Time
	outcome string
}

// New begins to draw on w. size is asked before each drawing.
func New(w io.Writer, size func() (width, height int), color bool, run string, plan *orchestrator.Plan) *Live {
	l := &Live{
		w: w, size: size, color: color, run: run, waves: map[int]*wave{},
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	for _, pw := range plan.Waves {
		lw := &wave{number: pw.Number, state: string(orchestrator.Pending)}
		for _, name := range pw.Names() {
			lw.hosts = append(lw.hosts, &host{name: name})
		}
		l.waves[pw.Number] = lw
	}
	go l.tick()
	return l
}

// tick redraws until Close.
func (l *Live) tick() {
	defer close(l.ended)
	t := time.NewTicker(refresh)
	defer t.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-t.C:
			l.mu.Lock()
			l.draw()
			l.mu.Unlock()
		}
	}
}

// Close prints what is left to print. Nothing is drawn after it.
func (l *Live) Close() {
	close(l.stop)
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
}

// Print prints a line above what is drawn.
func (l *Live) Print(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(line)
	l.drawn = 0
	l.draw()
}

// Event follows the tasks of each host. The next refresh shows them.
func (l *Live) Event(e runner.Event) {
	if e.Host == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		return
	}
	for _, h := range l.now.hosts {
		if h.name != e.Host {
			continue
		}
		switch e.Kind {
		case runner.KindBegin:
			h.task, h.since = e.Task, e.Time
		case runner.KindRetry: // how far it is, in its own words
			if h.task = e.Task; e.Msg != "" {
				h.task += ": " + e.Msg
			}
		case runner.KindResult:
			if !e.Ignored && (e.Status == runner.StatusFailed || e.Status == runner.StatusUnreachable) {
				h.task = string(e.Status) + " in " + e.Task
			}
		case runner.KindStall:
			h.task = "no progress in " + e.Task
		}
	}
}

// Change follows the states of waves and the outcomes of hosts.
func (l *Live) Change(c orchestrator.Change) {
	if c.Run != l.run || c.Wave == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waves[*c.Wave]
	if w == nil {
		return
	}
	if c.Host != "" {
		for _, h := range w.hosts {
			if h.name == c.Host {
				h.outcome, h.task = c.To, c.Reason
			}
		}
		return
	}
	if w.state = c.To; c.To == string(orchestrator.Running) {
		l.settle()
		w.began, l.now = c.Time, w
	}
	l.draw()
}

// settle leaves the wave on the screen for good.
func (l *Live) settle() {
	if l.now == nil {
		return
	}
	l.put(l.lines(len(l.now.hosts))...)
	l.now, l.drawn = nil, 0
}

// put replaces what is drawn by lines, in one write, so that nothing flickers.
func (l *Live) put(lines ...string) {
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", l.drawn)
	}
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	io.WriteString(l.w, b.String())
	l.drawn = len(lines)
}

func (l *Live) draw() {
	if l.now == nil {
		return
	}
	_, height := l.size()
	l.put(l.lines(max(3, height-4))...)
}

// lines draws the wave with at most room hosts, the busy ones first.
func (l *Live) lines(room int) []string {
	w := l.now
	width, _ := l.size()
	head := fmt.Sprintf("wave %d  %s", w.number, l.paint(w.state))
	if w.state == string(orchestrator.Running) {
		head += "  " + Elapsed(time.Since(w.began))
	}
	lines := []string{head}
	names := 8
	for _, h := range w.hosts {
		names = min(max(names, utf8.RuneCountInString(h.name)), 40)
	}
	shown := w.hosts
	if len(shown) > room {
		shown = nil
		for _, busy := range []bool{true, false} {
			for _, h := range w.hosts {
				if (h.outcome == "" && h.task != "") == busy && len(shown) < room {
					shown = append(shown, h)
				}
			}
		}
	}
	for _, h := range shown {
		line := fmt.Sprintf("  %-*s  ", names, cut(h.name, names))
		left := max(10, width-names-5)
		switch {
		case h.outcome != "":
			line += l.paint(h.outcome)
			if note := cut(oneLine(h.task), left-len(h.outcome)-2); h.task != "" && note != "" {
				line += "  " + note
			}
		case h.task != "":
			column := min(60, left-8)
			line += fmt.Sprintf("%-*s  %s", column, cut(oneLine(h.task), column), Elapsed(time.Since(h.since)))
		default:
			line += "waiting"
		}
		lines = append(lines, line)
	}
	if n := len(w.hosts) - len(shown); n > 0 {
		lines = append(lines, fmt.Sprintf("  … and %d more", n))
	}
	return lines
}

// paint colours a state or an outcome.
func (l *Live) paint(word string) string { return Paint(l.color, word) }

// Paint colours a state or an outcome: green is well, yellow wants a look, red
// is not well. Without color the word stays as it is.
func Paint(color bool, word string) string {
	code := ""
	switch word {
	case "passed", "patched", "unchanged":
		code = "32"
	case "held", "soaking", "interrupted", "not-attempted", "awaiting-reboot":
		code = "33"
	case "failed", "halted", "unreachable":
		code = "31"
	}
	if !color || code == "" {
		return word
	}
	return "\x1b[" + code + "m" + word + "\x1b[0m"
}

// Elapsed is a duration as a clock shows it: 0:07, 12:34, 1:02:03.
func Elapsed(d time.Duration) string {
	s := int(max(0, d).Seconds())
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// oneLine keeps a terminal safe from what a host printed.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
}

// cut shortens s to at most n characters and says that it did.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	if n < 2 {
		return ""
	}
	return string([]rune(s)[:n-1]) + "…"
}

// Line makes of s one line of at most n characters that a terminal can take.
func Line(s string, n int) string { return cut(oneLine(s), n) }
