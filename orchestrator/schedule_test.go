package orchestrator

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// schedule makes one of texts: those with a letter are windows.
func schedule(t testing.TB, loc *time.Location, texts ...string) Schedule {
	t.Helper()
	s := Schedule{Location: loc}
	for _, text := range texts {
		if text[0] < 'A' {
			b, err := ParseBlackout(text)
			if err != nil {
				t.Fatal(err)
			}
			s.Blackouts = append(s.Blackouts, b)
			continue
		}
		w, err := ParseWindow(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Windows = append(s.Windows, w)
	}
	return s
}

func TestSchedule(t *testing.T) {
	const (
		la     = "America/Los_Angeles" // 2026: forward on March 8, back on November 1, at 02:00
		berlin = "Europe/Berlin"
		howe   = "Australia/Lord_Howe" // 2026: back by half an hour on April 5, forward on October 4, at 02:00
	)
	for _, c := range []struct {
		zone   string
		texts  string // split at ;
		at     string // with the offset, where a clock shows it twice
		open   bool
		until  string // empty: never
		reason string
	}{
		{la, "", "2026-11-29T04:00:00-08:00", true, "", ""},
		{la, "Sun 03:00-08:00", "2026-11-29T04:00:00-08:00", true, "2026-11-29T08:00:00-08:00", ""},
		{la, "Sun 03:00-08:00", "2026-11-29T03:00:00-08:00", true, "2026-11-29T08:00:00-08:00", ""},
		{la, "Sun 03:00-08:00", "2026-11-29T08:00:00-08:00", false, "2026-12-06T03:00:00-08:00", "is outside the window Sun 03:00-08:00"},
		{la, "Sun 03:00-08:00", "2026-11-29T02:59:59-08:00", false, "2026-11-29T03:00:00-08:00", "Sun 2026-11-29 02:59 PST is outside"},
		{la, "Sun 03:00-08:00", "2026-11-29T12:00:00Z", true, "2026-11-29T16:00:00Z", ""}, // asked in another zone
		{la, "sunday 03:00-08:00; WED 20:00-21:00", "2026-11-29T09:00:00-08:00", false, "2026-12-02T20:00:00-08:00", "window sunday 03:00-08:00 or WED 20:00-21:00"},

		// Across midnight it belongs to the day it begins on.
		{berlin, "Mon-Fri 22:00-02:00", "2026-11-28T01:00:00+01:00", true, "2026-11-28T02:00:00+01:00", ""}, // of Friday
		{berlin, "Mon-Fri 22:00-02:00", "2026-11-28T22:30:00+01:00", false, "2026-11-30T22:00:00+01:00", "outside"},
		{berlin, "Mon-Fri 22:00-02:00", "2026-11-30T01:00:00+01:00", false, "2026-11-30T22:00:00+01:00", "outside"}, // of Sunday
		{berlin, "Fri-Mon 22:00-00:00", "2026-11-30T23:00:00+01:00", true, "2026-12-01T00:00:00+01:00", ""},
		{berlin, "Sat,Sun 00:00-24:00", "2026-11-28T00:00:00+01:00", true, "2026-11-30T00:00:00+01:00", ""}, // two that touch
		{berlin, "daily 00:00-24:00", "2026-11-28T00:00:00+01:00", true, "", ""},
		{berlin, "Sun 01:00-05:00; Sun 04:00-06:00", "2026-11-29T02:00:00+01:00", true, "2026-11-29T06:00:00+01:00", ""},

		// Blackouts are whole days, and win.
		{berlin, "2026-12-24..2027-01-02", "2026-12-23T23:59:59+01:00", true, "2026-12-24T00:00:00+01:00", ""},
		{berlin, "2026-12-24..2027-01-02", "2027-01-02T23:59:59+01:00", false, "2027-01-03T00:00:00+01:00", "2027-01-02 is in the blackout 2026-12-24..2027-01-02"},
		{berlin, "daily 22:00-02:00; 2026-12-24", "2026-12-23T23:00:00+01:00", true, "2026-12-24T00:00:00+01:00", ""},
		{berlin, "daily 22:00-02:00; 2026-12-24", "2026-12-24T23:00:00+01:00", false, "2026-12-25T00:00:00+01:00", "blackout 2026-12-24"},
		{berlin, "Sun 03:00-08:00; 2026-12-24..2026-12-26; 2026-12-26..2027-01-04", "2026-12-24T00:00:00+01:00", false, "2027-01-10T03:00:00+01:00", "blackout"},
		{berlin, "Sun 03:00-08:00; 2026-12-24..2199-12-31", "2026-12-24T00:00:00+01:00", false, "2200-01-05T03:00:00+01:00", "blackout"},

		// An hour that is left out opens nothing, and is not waited for.
		{la, "Sun 02:00-03:00", "2026-03-08T01:59:00-08:00", false, "2026-03-15T02:00:00-07:00", "outside"},
		{la, "Sun 02:15-04:00", "2026-03-08T01:59:00-08:00", false, "2026-03-08T03:00:00-07:00", "outside"},
		{la, "Sun 01:00-02:30", "2026-03-08T01:00:00-08:00", true, "2026-03-08T03:00:00-07:00", ""}, // one hour long
		{la, "Sun 01:00-05:00", "2026-03-08T01:00:00-08:00", true, "2026-03-08T05:00:00-07:00", ""}, // three
		// One that comes twice is in its window both times.
		{la, "Sun 01:00-02:00", "2026-11-01T01:00:00-07:00", true, "2026-11-01T02:00:00-08:00", ""}, // two hours long
		{la, "Sun 01:00-05:00", "2026-11-01T01:00:00-07:00", true, "2026-11-01T05:00:00-08:00", ""}, // five
		{la, "Sun 00:30-01:30", "2026-11-01T00:30:00-07:00", true, "2026-11-01T01:30:00-07:00", ""}, // closes twice
		{la, "Sun 00:30-01:30", "2026-11-01T01:45:00-07:00", false, "2026-11-01T01:00:00-08:00", "01:45 PDT is outside"},
		{la, "Sun 00:30-01:30", "2026-11-01T01:00:00-08:00", true, "2026-11-01T01:30:00-08:00", ""},
		{howe, "Sun 01:30-02:00", "2026-04-05T01:30:00+11:00", true, "2026-04-05T02:00:00+10:30", ""}, // an hour
		{howe, "Sun 02:00-02:30", "2026-10-04T01:00:00+10:30", false, "2026-10-11T02:00:00+11:00", "outside"},
		// The day that Samoa left out, and midnights that there were not.
		{"Pacific/Apia", "Fri 00:00-24:00", "2011-12-29T12:00:00-10:00", false, "2012-01-06T00:00:00+14:00", "outside"},
		{"America/Havana", "2026-03-07", "2026-03-07T12:00:00-05:00", false, "2026-03-08T01:00:00-04:00", "blackout"},
	} {
		s := schedule(t, zone(t, c.zone))
		if c.texts != "" {
			s = schedule(t, zone(t, c.zone), strings.Split(c.texts, "; ")...)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		var until time.Time
		if c.until != "" {
			if until, err = time.Parse(time.RFC3339, c.until); err != nil {
				t.Fatal(err)
			}
		}
		got := s.At(at)
		if got.Open != c.open || !got.Until.Equal(until) || !strings.Contains(got.Reason, c.reason) || (got.Reason == "") != c.open {
			t.Errorf("%s %s at %s: %+v", c.zone, c.texts, c.at, got)
		}
	}
}

func TestMayBegin(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, c := range []struct {
		texts, at string
		need      time.Duration
		want      string // the error; empty for none
		next      string
	}{
		{"Sun 03:00-08:00", "2026-11-29T03:00:00+01:00", 5 * time.Hour, "", ""},
		{"Sun 03:00-08:00", "2026-11-29T07:59:59+01:00", 0, "", ""},
		{"daily 00:00-24:00", "2026-11-29T07:59:59+01:00", 100 * time.Hour, "", ""},
		{"Sun 03:00-08:00", "2026-11-29T07:20:00+01:00", 72 * time.Minute,
			"closed: it took up to 1h12m before, and the window closes in 40m, at Sun 2026-11-29 08:00 CET; it opens Sun 2026-12-06 03:00 CET", "2026-12-06T03:00:00+01:00"},
		{"Sun 03:00-08:00", "2026-11-29T12:00:00+01:00", 0,
			"closed: Sun 2026-11-29 12:00 CET is outside the window Sun 03:00-08:00; it opens Sun 2026-12-06 03:00 CET", "2026-12-06T03:00:00+01:00"},
		// The next window that is long enough, not the next.
		{"Sun 03:00-08:00; daily 22:00-22:30", "2026-11-25T22:10:00+01:00", time.Hour,
			"closed: it took up to 1h before, and the window closes in 20m, at Wed 2026-11-25 22:30 CET; it opens Sun 2026-11-29 03:00 CET", "2026-11-29T03:00:00+01:00"},
		{"Sun 03:00-08:00; 2026-12-06; 2026-11-29", "2026-11-29T04:00:00+01:00", 0,
			"closed: 2026-11-29 is in the blackout 2026-11-29; it opens Sun 2026-12-13 03:00 CET", "2026-12-13T03:00:00+01:00"},
		{"Sun 03:00-08:00", "2026-11-29T03:00:00+01:00", 301 * time.Minute,
			"closed: it took up to 5h1m before, and the window closes in 5h, at Sun 2026-11-29 08:00 CET; no window is long enough", ""},
		{"Sun 03:00-08:00", "2026-11-29T07:59:50+01:00", 30 * time.Second,
			"closed: it took up to 30s before, and the window closes in 10s, at Sun 2026-11-29 08:00 CET; it opens Sun 2026-12-06 03:00 CET", "2026-12-06T03:00:00+01:00"},
		// Six hours, on the day that has 25: an hour more than on others.
		{"Sun 01:00-06:00", "2026-10-24T12:00:00+02:00", 6 * time.Hour,
			"closed: Sat 2026-10-24 12:00 CEST is outside the window Sun 01:00-06:00; it opens Sun 2026-10-25 01:00 CEST", "2026-10-25T01:00:00+02:00"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		err = schedule(t, berlin, strings.Split(c.texts, "; ")...).MayBegin(at, c.need)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s at %s: %v", c.texts, c.at, err)
			}
			continue
		}
		var closed *ClosedError
		if !errors.Is(err, ErrClosed) || !errors.As(err, &closed) || err.Error() != c.want {
			t.Errorf("%s at %s:\n got %v\nwant %s", c.texts, c.at, err, c.want)
			continue
		}
		if next, _ := time.Parse(time.RFC3339, c.next); c.next != "" && !closed.Next.Equal(next) || c.next == "" && !closed.Next.IsZero() {
			t.Errorf("%s at %s: next %v", c.texts, c.at, closed.Next)
		}
		if _, code := verdict(fmt.Errorf("so: %w", err)); code != ExitHeld {
			t.Errorf("exit code %d", code)
		}
	}
	if err := (Schedule{}).MayBegin(time.Now(), 1e6*time.Hour); err != nil {
		t.Errorf("the zero schedule: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "Sun", "03:00-08:00", "Sun 03:00", "Sun 3-8", "Sun 03:00-25:00", "Sun 03:60-04:00", "Sun 03:00-03:00", "Sun 24:00-01:00",
		"Sonntag 03:00-08:00", "Sun- 03:00-08:00", "Sun,,Mon 03:00-08:00", "Sun Mon 03:00-08:00", "daily-Sun 03:00-08:00",
		"Sun 03:00-08:00-09:00", "Sun 03:00 - 08:00", "Sun 03:00-08:00 UTC",
	} {
		if w, err := ParseWindow(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("window %q: ", text)) || strings.Count(err.Error(), "; write one such as") > 1 {
			t.Errorf("ParseWindow(%q) = %+v, %v", text, w, err)
		}
	}
	for _, text := range []string{"", "24.12.2026", "2026-02-29", "2026-12-24..", "..2026-12-24", "2026-12-24..2026-12-23", "2026-12-24 18:00", "1999-01-01", "2200-01-01", "2026-12-24-2026-12-26"} {
		if b, err := ParseBlackout(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("blackout %q: ", text)) {
			t.Errorf("ParseBlackout(%q) = %+v, %v", text, b, err)
		}
	}
}

// changes returns the instants between two at which a zone's clock is changed, found by looking at it every half hour.
func changes(from, to time.Time, loc *time.Location) (all []time.Time) {
	offset := func(t time.Time) int { _, o := t.In(loc).Zone(); return o }
	for t := from; t.Before(to); t = t.Add(30 * time.Minute) {
		if next := t.Add(30 * time.Minute); offset(t) != offset(next) {
			all = append(all, next)
		}
	}
	return all
}

// random is a window or a blackout near a day, and what a watchman with a wall clock and a calendar makes of it.
type random struct {
	text string
	in   func(at time.Time) bool // at is in the zone
}

func randomWindow(rng *rand.Rand) random {
	first, last := time.Weekday(rng.IntN(7)), time.Weekday(rng.IntN(7))
	from, to := rng.IntN(24*60), rng.IntN(24*60)
	switch rng.IntN(3) { // near the hours at which clocks are changed
	case 0:
		from = rng.IntN(16) * 15
		to = from + 15 + rng.IntN(12)*15
	case 1:
		from, to = 22*60+rng.IntN(120), rng.IntN(4)*45
	}
	if to == from {
		to++
	}
	onDay := func(d time.Weekday) bool { return (d-first+7)%7 <= (last-first+7)%7 }
	return random{
		text: fmt.Sprintf("%s-%s %02d:%02d-%02d:%02d", first.String()[:3], last, from/60, from%60, to/60, to%60),
		in: func(at time.Time) bool {
			hour, minute, _ := at.Clock()
			now := hour*60 + minute
			if from < to {
				return onDay(at.Weekday()) && from <= now && now < to
			}
			return onDay(at.Weekday()) && from <= now || onDay((at.Weekday()+6)%7) && now < to
		},
	}
}

func randomBlackout(rng *rand.Rand, near time.Time) random {
	first := near.AddDate(0, 0, rng.IntN(5)-3)
	last := first.AddDate(0, 0, rng.IntN(3))
	a, b := first.Format(time.DateOnly), last.Format(time.DateOnly)
	return random{a + ".." + b, func(at time.Time) bool {
		day := at.Format(time.DateOnly)
		return a <= day && day <= b
	}}
}

// TestScheduleWhenClocksChange compares, around every change of the clock and of the year from 2020 to 2040 in zones of
// both hemispheres, what a schedule says with what a watchman sees who looks at the clock every minute.
func TestScheduleWhenClocksChange(t *testing.T) {
	for _, name := range []string{
		"America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", // which changes by half an hour
		"America/Santiago", "America/Havana", // south, and north; both at midnight
		"Asia/Kolkata", // half an hour off, and never changed
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loc := zone(t, name)
			from, to := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2041, 1, 1, 0, 0, 0, 0, time.UTC)
			around := changes(from, to, loc)
			if name == "Asia/Kolkata" {
				around = []time.Time{from, from.AddDate(10, 2, 3)}
			} else if len(around) != 42 {
				t.Fatalf("%d changes", len(around))
			}
			for year := 2020; year <= 2040; year++ { // Go's own tables have an edge there
				around = append(around, time.Date(year, 12, 31, 12, 0, 0, 0, time.UTC))
			}
			rng := rand.New(rand.NewPCG(5, uint64(len(name))))
			for _, change := range around {
				watch(t, rng, change, loc)
			}
		})
	}
}

// watch compares one random schedule with the watchman, from a day and a half before an instant to as long after.
func watch(t *testing.T, rng *rand.Rand, change time.Time, loc *time.Location) {
	t.Helper()
	var windows, blackouts []random
	var texts []string
	for range 1 + rng.IntN(3) {
		windows = append(windows, randomWindow(rng))
		texts = append(texts, windows[len(windows)-1].text)
	}
	if rng.IntN(2) == 0 {
		blackouts = append(blackouts, randomBlackout(rng, change.In(loc)))
		texts = append(texts, blackouts[0].text)
	}
	s := schedule(t, loc, texts...)
	const minutes = 3 * 24 * 60
	start := change.Add(-minutes / 2 * time.Minute)
	seen := make([]bool, minutes)
	for i := range seen {
		at := start.Add(time.Duration(i) * time.Minute).In(loc)
		for _, w := range windows {
			seen[i] = seen[i] || w.in(at)
		}
		for _, b := range blackouts {
			seen[i] = seen[i] && !b.in(at)
		}
	}
	turn := minutes // the minute at which what is seen next turns
	for i := minutes - 1; i >= 0; i-- {
		if i < minutes-1 && seen[i] != seen[i+1] {
			turn = i + 1
		}
		at := start.Add(time.Duration(i) * time.Minute)
		if open := s.open(s.wall(at)); open != seen[i] {
			t.Fatalf("%q at %v: open %t", texts, at.In(loc), open)
		}
		if i != turn-1 && i%97 > 0 {
			continue // nothing new to ask
		}
		o := s.At(at.Add(time.Duration(rng.IntN(60)) * time.Second))
		if end := start.Add(minutes * time.Minute); turn == minutes {
			if o.Open != seen[i] || !o.Until.IsZero() && o.Until.Before(end) {
				t.Fatalf("%q at %v: %+v, want nothing before %v", texts, at.In(loc), o, end)
			}
		} else if want := start.Add(time.Duration(turn) * time.Minute); o.Open != seen[i] || !o.Until.Equal(want) {
			t.Fatalf("%q at %v: %+v, want until %v", texts, at.In(loc), o, want.In(loc))
		}
	}
}

// FuzzSchedule asks of any schedule: is what it says true of the instants it names, and of one in between?
func FuzzSchedule(f *testing.F) {
	f.Add("Sun 03:00-08:00", "daily 22:00-02:00", "2026-12-24..2027-01-02", int64(1793520000), 40)
	f.Add("Sat,Sun 00:00-24:00", "Fri-Mon 01:30-02:30", "2026-11-01", int64(1793519000), 90)
	f.Fuzz(func(t *testing.T, one, two, days string, unix int64, minutes int) {
		a, errA := ParseWindow(one)
		b, errB := ParseWindow(two)
		c, errC := ParseBlackout(days)
		if errA != nil || errB != nil || errC != nil || unix < 0 || unix > 4e9 || minutes < 0 || minutes > 1e5 {
			return
		}
		s := Schedule{[]Window{a, b}, []Blackout{c}, zone(t, "Australia/Lord_Howe")}
		now := time.Unix(unix, 0)
		o := s.At(now)
		if !o.Until.IsZero() {
			if !o.Until.After(now) || s.At(o.Until).Open == o.Open || s.At(o.Until.Add(-1)).Open != o.Open || s.At(now.Add(o.Until.Sub(now)/2)).Open != o.Open {
				t.Errorf("%q %q %q at %v: %+v", one, two, days, now, o)
			}
		}
		need := time.Duration(minutes) * time.Minute
		err := s.MayBegin(now, need)
		if closed := (*ClosedError)(nil); errors.As(err, &closed) && !closed.Next.IsZero() {
			if err := s.MayBegin(closed.Next, need); err != nil || !closed.Next.After(now) {
				t.Errorf("%q %q %q at %v for %v: then %v", one, two, days, closed.Next, need, err)
			}
		}
		if (err == nil) != (o.Open && (o.Until.IsZero() || o.Until.Sub(now) >= need)) {
			t.Errorf("%q %q %q at %v for %v: %v, but %+v", one, two, days, now, need, err, o)
		}
	})
}
