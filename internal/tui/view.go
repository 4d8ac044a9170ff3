package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"homelab-patch-orchestrate/orchestrator"
)

// look is how a run is drawn.
type look struct {
	width int // columns
	room  int // lines, for all there is; 0 is no bound
	color bool
	from  int  // hosts that are scrolled over
	keys  bool // somebody can scroll
	at    time.Time
}

// view draws the wave under way, and below it what the run does.
func (r *Run) view(l look) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	foot := cut(r.foot(l.at), l.width)
	if r.now == nil || r.now.state.Final() || l.room == 1 {
		return []string{foot}
	}
	below := l
	below.room = max(1, l.room-1)
	return append(r.now.section(below), foot)
}

// foot is what the run does, and what is still to come.
func (r *Run) foot(at time.Time) string {
	c := r.count()
	ended := c.Well + c.Lost
	words := fmt.Sprintf("%d of %s ended", ended, plural(c.Run, "host"))
	if r.now == nil || r.now.state != orchestrator.Running {
		words = r.words() + "; " + words
	}
	if left, ok := r.left(at); ok {
		words += ", at most " + Elapsed(left) + " left"
	}
	var next []string
	for _, w := range r.waves {
		if w.state == orchestrator.Pending && !r.state.Final() {
			next = append(next, fmt.Sprintf("wave %d (%s)", w.number, plural(len(w.hosts), "host")))
		}
	}
	if len(next) > 0 {
		words += "; then " + strings.Join(next, ", ")
	}
	return words
}

// Sections draws all waves of the run, and below them what it does.
func (r *Run) Sections(width int, color bool, at time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, w := range r.waves {
		lines = append(lines, w.section(look{width: width, color: color, at: at})...)
	}
	return append(lines, cut(r.foot(at), width))
}

// section draws the wave: a line, and one a host. Where there is no room for
// all, those at work come first, then those that were lost.
func (w *wave) section(l look) []string {
	lines := []string{w.head(l)}
	hosts, room := w.hosts, l.room-2 // the line itself, and that of how many more there are
	if l.room == 1 {
		return lines
	}
	if l.room > 0 && len(hosts) > l.room-1 {
		hosts = w.pick(min(max(0, l.from), len(hosts)-room), room)
	}
	names := min(max(8, w.names), max(8, l.width/3))
	for _, h := range hosts {
		lines = append(lines, h.line(names, l))
	}
	if n := len(w.hosts) - len(hosts); n > 0 {
		more := fmt.Sprintf("  … and %s", plural(n, "more host"))
		if l.keys {
			more += "   ↑ ↓ PgUp PgDn"
		}
		lines = append(lines, cut(more, l.width))
	}
	return lines
}

// pick returns some hosts of the wave in the order of their ranks. It sorts nobody: a frame is drawn ten times a second.
func (w *wave) pick(from, room int) []*host {
	var ranked [ranks][]*host
	for _, h := range w.hosts {
		r := h.rank()
		ranked[r] = append(ranked[r], h)
	}
	return slices.Concat(ranked[:]...)[from : from+room]
}

// head is the line of the wave itself.
func (w *wave) head(l look) string {
	head := fmt.Sprintf("wave %d  %s", w.number, w.state)
	n, all := w.over, len(w.hosts)
	if w.state == orchestrator.Pending {
		return cut(head+"  "+plural(all, "host"), l.width)
	}
	if room := min(30, l.width-52); room >= 8 && w.state == orchestrator.Running {
		full := room * n / max(1, all)
		head += "  [" + strings.Repeat("#", full) + strings.Repeat("-", room-full) + "]"
	}
	head += fmt.Sprintf("  %d/%d", n, all)
	took := w.ended.Sub(w.began)
	if w.ended.IsZero() {
		took = l.at.Sub(w.began)
	}
	head += "  " + Elapsed(took)
	if w.took > 0 {
		head += ", before at most " + Elapsed(w.took)
	}
	return strings.Replace(cut(head, l.width), string(w.state), Paint(l.color, string(w.state)), 1)
}

// ranks is how many there are.
const ranks = 4

// rank is the order of hosts where there is no room for all.
func (h *host) rank() int {
	switch {
	case h.busy:
		return 0
	case h.outcome == orchestrator.Undecided && h.began.IsZero():
		return 2
	case !h.outcome.Well():
		return 1
	}
	return 3
}

// line is a host: its name, what it is at or how it came out, its packages, and
// how long it has been at work.
func (h *host) line(names int, l look) string {
	const clock = 7
	packages := 9
	if l.width < 60 {
		packages = 5
	}
	left := min(96, l.width-2-names-2-2-clock) // what it does, and its packages
	count := ""
	if h.outcome == orchestrator.Undecided && h.total > 0 {
		count = h.packages()
		left -= 2 + packages
	}
	what, painted := oneLine(h.doing()), ""
	if h.outcome != orchestrator.Undecided && !h.busy {
		painted = string(h.outcome)
		what = painted
		if says := oneLine(h.says()); says != "" {
			what += "  " + says
		}
	}
	what = pad(what, max(1, left))
	if painted != "" && strings.HasPrefix(what, painted) {
		what = Paint(l.color, painted) + what[len(painted):]
	}
	line := "  " + pad(oneLine(h.name), names) + "  " + what
	if count != "" {
		line += fmt.Sprintf("  %*s", packages, count)
	}
	line += fmt.Sprintf("  %*s", clock, h.elapsed(l.at))
	return strings.TrimRight(ansi.TruncateWc(line, l.width, ""), " ")
}

// doing is what a host is at that has not ended.
func (h *host) doing() string {
	switch {
	case h.task == "" && h.began.IsZero():
		return "waiting"
	case h.words != "":
		return h.task + ": " + h.words
	}
	return h.task
}
