package orchestrator

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Window is a time of the week, made by [ParseWindow]. The zero value is never open.
type Window struct {
	text     string
	days     [7]bool       // by [time.Weekday]: days that it begins on
	from, to time.Duration // since the midnight that its day begins with; to is at most 24 h after from
}

// String returns the window as it was written.
func (w Window) String() string { return w.text }

// ParseWindow reads a window: days, then the times at which it begins and ends, as a clock on the wall shows them.
//
//	Sun 03:00-08:00
//	Mon-Fri,Sun 22:00-02:00   across midnight; it belongs to the day it begins on
//	daily 01:00-05:00
//	Sat 00:00-24:00           a whole day
func ParseWindow(text string) (Window, error) {
	w := Window{text: strings.TrimSpace(text)}
	refuse := func(problem string) (Window, error) {
		return Window{}, fmt.Errorf("window %q: %s; write one such as \"Sun 03:00-08:00\", \"Mon-Fri 22:00-02:00\" or \"daily 01:00-05:00\"", text, problem)
	}
	days, times, ok := strings.Cut(w.text, " ")
	if !ok {
		return refuse("it is not days and times")
	}
	for part := range strings.SplitSeq(days, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, to := weekday(first), weekday(last)
		switch {
		case strings.EqualFold(part, "daily"):
			from, to = time.Sunday, time.Saturday
		case !isRange:
			to = from
		}
		if from < 0 || to < 0 {
			return refuse(strconv.Quote(part) + " is no day")
		}
		for d := from; ; d = (d + 1) % 7 { // Fri-Mon goes over the end of the week
			w.days[d] = true
			if d == to {
				break
			}
		}
	}
	begin, end, ok := strings.Cut(strings.TrimSpace(times), "-")
	if !ok {
		return refuse(strconv.Quote(times) + " is not two times of day")
	}
	for _, t := range []struct {
		text string
		into *time.Duration
	}{{begin, &w.from}, {end, &w.to}} {
		if *t.into, ok = clock(t.text); !ok {
			return refuse(strconv.Quote(t.text) + " is no time of day")
		}
	}
	const day = 24 * time.Hour
	switch {
	case w.from == day:
		return refuse("it begins at the end of a day")
	case w.from == w.to:
		return refuse("it is empty; a whole day is 00:00-24:00")
	case w.to < w.from:
		w.to += day
	}
	return w, nil
}

// weekday returns the day of a name such as Sun or Sunday, or -1.
func weekday(name string) time.Weekday {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if full := d.String(); strings.EqualFold(name, full) || strings.EqualFold(name, full[:3]) {
			return d
		}
	}
	return -1
}

// clock returns the time of day that hh:mm means; 24:00 is the end of the day.
func clock(text string) (time.Duration, bool) {
	if text == "24:00" {
		return 24 * time.Hour, true
	}
	t, err := time.Parse("15:04", text)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err == nil
}

// Blackout is days on which patching does not begin, made by [ParseBlackout]. The zero value is no day.
type Blackout struct {
	text       string
	begin, end time.Time // midnights on the wall, written as UTC; end is that of the day after
}

// String returns the blackout as it was written.
func (b Blackout) String() string { return b.text }

// ParseBlackout reads a day, 2026-12-24, or days from the first to the last, 2026-12-24..2027-01-02.
func ParseBlackout(text string) (Blackout, error) {
	b := Blackout{text: strings.TrimSpace(text)}
	first, last, isRange := strings.Cut(b.text, "..")
	if !isRange {
		last = first
	}
	var days []time.Time
	for _, day := range []string{first, last} {
		at, err := time.Parse(time.DateOnly, strings.TrimSpace(day))
		if err != nil || !sane(at) {
			return Blackout{}, fmt.Errorf("blackout %q: %q is no day; write one such as 2026-12-24, or 2026-12-24..2027-01-02", text, day)
		}
		days = append(days, at)
	}
	b.begin, b.end = days[0], days[1].AddDate(0, 0, 1)
	if !b.begin.Before(b.end) {
		return Blackout{}, fmt.Errorf("blackout %q: it ends before it begins; write the earlier day first", text)
	}
	return b, nil
}

// sane reports whether a time that somebody wrote is one that can be meant, and that every number of ours can hold.
func sane(t time.Time) bool { return t.Year() >= 2000 && t.Year() < 2200 }
