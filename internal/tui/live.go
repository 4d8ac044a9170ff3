// Package tui shows a run while it goes on: a section a wave, a line a host.
//
//	run := tui.NewRun(id, plan.Pending(), took)
//	live := tui.New(run, tui.Screen{Out: os.Stdout, Size: size, …})
//	o.Progress, o.Observe = live.Event, …live.Change…
//	live.Close()
//
// A [Run] is what is known, from events and changes; [Live] draws it. What has
// ended is printed once and scrolls away like any output; only the wave under
// way is redrawn in place. Nobody who tells it something waits for the terminal.
//
// Widths and keys are the business of charmbracelet/x/ansi. Its Bubble Tea was
// tried and not taken, see docs/design.md.
package tui

import (
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

const (
	refresh  = 250 * time.Millisecond // how often elapsed times are looked at
	frame    = 100 * time.Millisecond // at least, between two drawings
	patience = 2 * time.Second        // of Close, with a terminal that takes nothing
	overlaid = 15 * time.Second       // that a line is shown below for want of room above
	kept     = 500                    // lines and waves above the frame that a drawing anew may need
)

// Screen is a terminal.
type Screen struct {
	Out     io.Writer
	Size    func() (width, height int) // asked before each drawing
	Color   bool
	Keys    <-chan Key       // what is pressed; nil if nobody can
	Resized <-chan os.Signal // that the size may have changed, or that the terminal is ours again; may be nil
	Now     func() time.Time // nil is time.Now
}

// Live draws a run on a terminal. Its methods may be called from any goroutine.
type Live struct {
	*Run
	s     Screen
	wake  chan struct{} // has room for one
	stop  chan struct{}
	ended chan struct{}

	queue struct {
		sync.Mutex
		above []above // not on the screen yet
	}

	// The rest belongs to the goroutine that draws.
	width, height int
	past          []above  // what is on the screen above the frame, or has been
	drawn         bool     // anything was
	frame         []string // the lines that are redrawn in place; the cursor is below them
	from          int      // hosts of the wave shown that are scrolled over
	shown         *wave
	said          string // the line that was printed last
	saidAt        time.Time
}

// above is what was printed above the frame: a line, or a wave that has ended.
type above struct {
	line string
	wave *wave
}

// New begins to draw.
func New(run *Run, s Screen) *Live {
	if s.Now == nil {
		s.Now = time.Now
	}
	l := &Live{Run: run, s: s, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go l.draw()
	return l
}

// Close prints what is left to print. Nothing is drawn after it.
func (l *Live) Close() {
	close(l.stop)
	select {
	case <-l.ended:
	case <-time.After(patience):
	}
}

// Print prints a line above what is drawn.
func (l *Live) Print(line string) { l.put(above{line: line}) }

// Event follows the tasks of each host.
func (l *Live) Event(e runner.Event) {
	l.Run.Event(e)
	l.rouse()
}

// Change follows the states of run and waves, and the outcomes of hosts.
func (l *Live) Change(c orchestrator.Change) {
	if over := l.change(c); over != nil {
		l.put(above{wave: over})
	}
	l.rouse()
}

// Say sets in words what the run does besides patching.
func (l *Live) Say(words string) {
	l.Run.Say(words)
	l.rouse()
}

func (l *Live) put(a above) {
	l.queue.Lock()
	l.queue.above = append(l.queue.above, a)
	l.queue.Unlock()
	l.rouse()
}

func (l *Live) rouse() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
}

// draw draws when there is something new, and as time passes, until Close.
func (l *Live) draw() {
	defer close(l.ended)
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		l.paint(false)
		pause := time.NewTimer(frame)
		select {
		case <-l.stop:
		case <-pause.C:
		case s := <-l.s.Resized: // what is to be seen is broken: at once
			l.regain(s)
			continue
		}
		select {
		case <-l.stop:
			pause.Stop()
			l.paint(true)
			return
		case <-l.wake:
		case <-tick.C:
		case key, ok := <-l.s.Keys:
			if !ok {
				l.s.Keys = nil
			}
			l.press(key)
		case s := <-l.s.Resized:
			l.regain(s)
		}
	}
}

// regain has all drawn anew after a stop: others have written meanwhile.
func (l *Live) regain(s os.Signal) {
	if s == syscall.SIGCONT {
		l.width = 0
	}
}

// press scrolls.
func (l *Live) press(key Key) {
	page := max(1, l.height-4)
	switch key {
	case Up:
		l.from--
	case Down:
		l.from++
	case PageUp:
		l.from -= page
	case PageDown:
		l.from += page
	case Redraw:
		l.width = 0
	}
}

// scroll is how many hosts are scrolled over, where that many lines are for all:
// none of a wave that has just begun, and never beyond its end.
func (l *Live) scroll(room int) int {
	w := l.unfinished()
	if w != l.shown {
		l.shown, l.from = w, 0
	}
	most := 0
	if w != nil && len(w.hosts) > room-2 {
		most = len(w.hosts) - max(0, room-3)
	}
	l.from = min(max(0, l.from), most)
	return l.from
}

// paint brings the screen up to date, in one write.
func (l *Live) paint(last bool) {
	l.queue.Lock()
	news := l.queue.above
	l.queue.above = nil
	l.queue.Unlock()
	if over := l.unfinished(); last && over != nil {
		news = append(news, above{wave: over})
	}
	l.past = append(l.past, news...)
	if n := len(l.past); n > kept {
		l.past = l.past[n-kept:]
	}
	width, height := l.s.Size()
	look := look{width: width, room: max(1, height-1), color: l.s.Color, keys: l.s.Keys != nil, at: l.s.Now()}
	look.from = l.scroll(look.room)
	var lines []string
	if !last {
		lines = l.view(look)
	}
	l.overlay(news, look, lines)
	var b strings.Builder
	switch {
	case l.drawn && (width != l.width || height != l.height):
		l.anew(&b, look, lines)
	case len(news) > 0:
		b.WriteString(up(len(l.frame)))
		for _, a := range news {
			l.print(&b, a, look)
		}
		redraw(&b, nil, lines)
		b.WriteString(ansi.EraseScreenBelow)
	case !slices.Equal(l.frame, lines):
		b.WriteString(up(len(l.frame)))
		redraw(&b, l.frame, lines)
		if len(lines) < len(l.frame) {
			b.WriteString(ansi.EraseScreenBelow)
		}
	}
	l.width, l.height, l.frame, l.drawn = width, height, lines, true
	if b.Len() > 0 {
		io.WriteString(l.s.Out, b.String())
	}
}

// overlay shows what was printed last for a while where it can be seen, if the
// frame leaves no room for it above.
func (l *Live) overlay(news []above, look look, lines []string) {
	for _, a := range news {
		if a.wave == nil {
			l.said, l.saidAt = a.line, look.at
		}
	}
	if n := len(lines); n > 0 && l.said != "" && look.at.Sub(l.saidAt) < overlaid && look.room-n < len(l.rows(above{line: l.said}, look)) {
		lines[n-1] = cut(l.said, look.width)
	}
}

// anew clears the screen and draws all of it. A terminal that has become
// narrower has broken the lines that were there, or has not, and nobody can
// tell where what was drawn stands now.
func (l *Live) anew(b *strings.Builder, look look, lines []string) {
	for row := range look.room + 1 {
		b.WriteString(ansi.CursorPosition(1, row+1) + ansi.EraseEntireLine)
	}
	b.WriteString(ansi.CursorHomePosition)
	room := look.room - len(lines)
	var rows []string
	for i := len(l.past) - 1; i >= 0 && len(rows) < room; i-- {
		rows = append(l.rows(l.past[i], look), rows...)
	}
	redraw(b, nil, append(rows[max(0, len(rows)-room):], lines...))
}

// rows is what was printed above as the lines that it takes.
func (l *Live) rows(a above, look look) []string {
	if a.wave == nil {
		return strings.Split(ansi.HardwrapWc(a.line, max(1, look.width), true), "\n")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	look.room = 0
	return a.wave.section(look)
}

// print prints something for good. A line that is too long is left to the
// terminal, which knows then that it is one.
func (l *Live) print(b *strings.Builder, a above, look look) {
	if a.wave == nil {
		b.WriteString(ansi.EraseScreenBelow + a.line + "\r\n")
		return
	}
	redraw(b, nil, l.rows(a, look))
}

// redraw draws lines over old ones, from where the cursor is. Whatever a
// terminal takes for the width of a line, it takes one row.
func redraw(b *strings.Builder, old, lines []string) {
	b.WriteString(ansi.ResetModeAutoWrap)
	for i, line := range lines {
		if i < len(old) && old[i] == line {
			b.WriteString("\n")
			continue
		}
		b.WriteString(ansi.EraseEntireLine + line + "\r\n")
	}
	b.WriteString(ansi.SetModeAutoWrap)
}

// up moves to the first column n lines above.
func up(n int) string {
	if n == 0 {
		return "\r"
	}
	return "\r" + ansi.CursorUp(n)
}
