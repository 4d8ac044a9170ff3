package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Hosts that a timeline has a row for: all of a small run, of a large one those that were lost.
const (
	fewHosts   = 60
	mostLosses = 40
)

// timeline is where what happened is drawn: in rows, by percent of the time that the run took.
type timeline struct {
	From, To time.Time
	Rows     []row
	Ticks    []tick
	Left     int // hosts without a row

	zone *time.Location
}

type row struct {
	Name  string
	Wave  bool // else a host
	Bars  []bar
	Marks []mark
}

// Short is the name as far as there is room for it.
func (r row) Short() string { return plainLine(r.Name, 18) }

// bar is a time with a kind: an outcome, the state of a wave, pause or reboot.
type bar struct {
	X, W  float64
	Kind  string
	Title string
}

// mark is a moment: yes or no of a gate, resumed.
type mark struct {
	X     float64
	Kind  string
	Title string
}

type tick struct {
	X    float64
	Text string
}

// timeline lays the run out, by the clock of a zone. It has no rows as long as no wave has begun.
func (r Report) timeline(zone *time.Location) timeline {
	t := timeline{From: r.Started, To: r.end(), zone: zone}
	for i, w := range r.Waves {
		if i == 0 && w.Started.IsZero() {
			return timeline{}
		}
		t.Rows = append(t.Rows, t.wave(r, i))
		t.hosts(r, i)
	}
	if len(r.Resumed) > 0 && len(t.Rows) > 0 {
		resumed := row{Name: "Run", Wave: true, Bars: t.bars(nil, r.Started, t.To, string(r.State), "")}
		for _, at := range r.Resumed {
			resumed.Marks = append(resumed.Marks, mark{t.x(at), "resumed", "gone on with at " + t.Clock(at)})
		}
		t.Rows = append([]row{resumed}, t.Rows...)
	}
	if len(t.Rows) > 0 {
		t.ticks()
	}
	return t
}

// end is the last moment that the report knows of.
func (r Report) end() time.Time {
	end := r.Started.Add(time.Second)
	later := func(at time.Time) {
		if at.After(end) {
			end = at
		}
	}
	later(r.Ended)
	for _, w := range r.Waves {
		later(w.Started)
		later(w.Ended)
		for _, g := range w.Gates {
			later(g.Time)
		}
	}
	for _, h := range r.Derived.Hosts {
		for _, s := range h.Work {
			later(s.Ended)
		}
	}
	return end
}

func (t timeline) x(at time.Time) float64 {
	x := 100 * float64(at.Sub(t.From)) / float64(t.To.Sub(t.From))
	return math.Round(min(100, max(0, x))*100) / 100
}

// bars adds one from a time to another. None is too short to be seen.
func (t timeline) bars(all []bar, from, to time.Time, kind, what string) []bar {
	const least = 0.4
	x := min(t.x(from), 100-least)
	title := kind
	if what != "" {
		title = what
	}
	return append(all, bar{x, max(least, math.Round((t.x(to)-x)*100)/100), kind,
		fmt.Sprintf("%s: %s to %s, %s", title, t.Clock(from), t.Clock(to), elapsed(to.Sub(from)))})
}

func (t timeline) wave(r Report, i int) row {
	w := r.Waves[i]
	line := row{Name: fmt.Sprintf("Wave %d", w.Number), Wave: true}
	if w.Started.IsZero() {
		return line
	}
	ended := w.Ended
	if ended.IsZero() {
		ended = t.To
	}
	line.Bars = t.bars(nil, w.Started, ended, string(w.State), "wave "+string(w.State))
	for _, p := range r.Derived.Pauses {
		if p.Wave == w.Number {
			line.Bars = t.bars(line.Bars, p.Started, p.Ended, "pause", "soak and gates")
		}
	}
	for _, g := range w.Gates {
		m := mark{t.x(g.Time), "yes", fmt.Sprintf("gate %s, %s, at %s: yes", g.Gate, g.When, t.Clock(g.Time))}
		if !g.OK {
			m.Kind, m.Title = "no", strings.TrimSuffix(m.Title, "yes")+"no, "+plainLine(g.Reason, 200)
		}
		line.Marks = append(line.Marks, m)
	}
	return line
}

// hosts adds a row for each host of a wave that is to have one.
func (t *timeline) hosts(r Report, i int) {
	before := 0
	for _, w := range r.Waves[:i] {
		before += len(w.Hosts)
	}
	rows := 0
	for _, line := range t.Rows {
		if !line.Wave {
			rows++
		}
	}
	for k, h := range r.Waves[i].Hosts {
		at := r.Derived.Hosts[before+k]
		tried := h.Lost() && h.Outcome != orchestrator.HostNotAttempted && h.Outcome != orchestrator.Undecided
		if r.Total() > fewHosts && (!tried || rows >= mostLosses) {
			t.Left++
			continue
		}
		line := row{Name: h.Name}
		for _, s := range at.Work {
			line.Bars = t.bars(line.Bars, s.Started, s.Ended, word(h.Outcome), "")
		}
		for _, s := range at.Reboots {
			line.Bars = t.bars(line.Bars, s.Started, s.Ended, "reboot", "")
		}
		t.Rows = append(t.Rows, line)
		rows++
	}
}

// ticks marks round times on the clock, at most five.
func (t *timeline) ticks() {
	all := t.To.Sub(t.From)
	step := 24 * time.Hour
	for _, s := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute,
		5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour} {
		if all <= 5*s {
			step = s
			break
		}
	}
	for all > 10*step { // gone on with after days
		step *= 2
	}
	layout := "15:04"
	if step < time.Minute {
		layout = time.TimeOnly
	}
	_, zone := t.From.In(t.zone).Zone()
	offset := time.Duration(zone) * time.Second // round on the clock on the wall
	for at := t.From.Add(offset).Truncate(step).Add(step - offset); !at.After(t.To); at = at.Add(step) {
		t.Ticks = append(t.Ticks, tick{t.x(at), at.In(t.zone).Format(layout)})
	}
}

// Clock is a time of day, by the timeline's clock.
func (t timeline) Clock(at time.Time) string { return at.In(t.zone).Format(time.TimeOnly) }

// The heights of a drawn timeline, in pixels.
const (
	axis     = 22
	waveRow  = 26
	hostRow  = 18
	thickest = 14
	thin     = 10
)

// Top is where the bars of row i begin.
func (t timeline) Top(i int) int {
	y := axis
	for _, r := range t.Rows[:i] {
		y += r.height()
	}
	return y + (t.Rows[i].height()-t.Thick(i)+2)/2
}

// Y is the middle of the bars of row i.
func (t timeline) Y(i int) int { return t.Top(i) + t.Thick(i)/2 }

// Thick is the height of the bars of row i.
func (t timeline) Thick(i int) int {
	if t.Rows[i].Wave {
		return thickest
	}
	return thin
}

// Height is that of all.
func (t timeline) Height() int {
	y := axis + 6
	for _, r := range t.Rows {
		y += r.height()
	}
	return y
}

func (r row) height() int {
	if r.Wave {
		return waveRow
	}
	return hostRow
}

// key explains a kind of bar or mark.
type key struct{ Kind, Text string }

// Legend explains the kinds that there are.
func (t timeline) Legend() (all []key) {
	there := map[string]bool{}
	for _, r := range t.Rows {
		for _, b := range r.Bars {
			there[b.Kind] = true
		}
		for _, m := range r.Marks {
			there[m.Kind] = true
		}
	}
	for _, k := range []key{
		{"failed", "failed"}, {"unreachable", "unreachable"}, {"interrupted", "interrupted"},
		{"held", "held"}, {"patched", "patched"}, {"unchanged", "unchanged"}, {"running", "running"}, {"undecided", "undecided"},
		{"awaiting-reboot", "awaiting reboot"}, {"reboot", "reboot"}, {"pause", "soak and gates"}, {"yes", "a gate said yes"}, {"no", "a gate said no"},
		{"resumed", "gone on with"},
	} {
		if there[k.Kind] {
			all = append(all, k)
		}
	}
	return all
}
