package orchestrator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Schedule says when patching may begin. The zero value is always open.
//
// It goes by the clock on the wall, and by nothing else: it is open at an instant at which that clock shows a time in
// one of the windows, on a day that no blackout names. So an hour that a change of the clock leaves out opens nothing,
// and an hour that comes twice is in its window both times. A window that ends in the middle of such an hour closes
// twice.
type Schedule struct {
	Windows   []Window       // none: all week
	Blackouts []Blackout     // whole days, from midnight to midnight
	Location  *time.Location // where the wall is; nil is [time.Local]
}

// Opening is what a [Schedule] says of an instant.
type Opening struct {
	Open bool
	// Until is when it changes: it closes, or it opens. Zero: not in the next years.
	Until time.Time
	// Reason is why it is not open, for people; empty if it is.
	Reason string
}

// At returns what the schedule says of an instant. Times in it are in the schedule's location.
func (s Schedule) At(t time.Time) Opening {
	t = t.In(s.location())
	wall := s.wall(t)
	o := Opening{Open: s.open(wall), Until: s.change(t)}
	if b, ok := s.blackout(wall); ok {
		o.Reason = fmt.Sprintf("%s is in the blackout %s", wall.Format(time.DateOnly), b)
	} else if !o.Open {
		o.Reason = fmt.Sprintf("%s is outside the window %s", t.Format(instant), s.windows())
	}
	return o
}

// instant is how people are told a time.
const instant = "Mon 2006-01-02 15:04 MST"

// ErrClosed says that the schedule forbids to begin now: errors.Is(err, ErrClosed). The error is a [*ClosedError].
var ErrClosed = errors.New("closed")

// ClosedError says why the schedule is closed, and when it opens.
type ClosedError struct {
	Reason string
	Next   time.Time // when it would have allowed it; zero if it does not in the next years
}

// Error returns the reason and the time.
func (e *ClosedError) Error() string {
	if e.Next.IsZero() {
		return fmt.Sprintf("%v: %s", ErrClosed, e.Reason)
	}
	return fmt.Sprintf("%v: %s; it opens %s", ErrClosed, e.Reason, e.Next.Format(instant))
}

// Is makes errors.Is(err, ErrClosed) true.
func (e *ClosedError) Is(target error) bool { return target == ErrClosed }

// MayBegin returns nil if something that takes as long as need may begin now: the schedule is open, and stays so until
// it is done. Otherwise it returns a [*ClosedError] with the next time at which it may. Need may be zero: how long it
// takes is not known.
func (s Schedule) MayBegin(now time.Time, need time.Duration) error {
	now = now.Round(0)
	o := s.At(now)
	if o.Open && fits(now, o.Until, need) {
		return nil
	}
	err := &ClosedError{Reason: o.Reason}
	from := o.Until // when it opens
	if o.Open {
		err.Reason = fmt.Sprintf("it took up to %s before, and the window closes in %s, at %s", roughly(need), roughly(o.Until.Sub(now)), o.Until.Format(instant))
		from = s.change(o.Until)
	}
	// A year of windows: whichever is long enough has come by then.
	for range 366 {
		if from.IsZero() {
			break
		}
		end := s.change(from)
		if fits(from, end, need) {
			err.Next = from
			return err
		}
		if end.IsZero() {
			break
		}
		from = s.change(end)
	}
	if !from.IsZero() {
		err.Reason += "; no window is long enough"
	}
	return err
}

// fits reports whether need is over when the window closes; zero is never.
func fits(from, end time.Time, need time.Duration) bool {
	return end.IsZero() || !from.Add(need).After(end)
}

// roughly is a duration for people, to the minute.
func roughly(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	text := strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	if strings.HasSuffix(text, "h0m") {
		return strings.TrimSuffix(text, "0m")
	}
	return text
}

func (s Schedule) location() *time.Location {
	if s.Location == nil {
		return time.Local
	}
	return s.Location
}

func (s Schedule) windows() string {
	var all []string
	for _, w := range s.Windows {
		all = append(all, w.String())
	}
	return strings.Join(all, " or ")
}

// wall returns what the clock shows at an instant, as if it were UTC: so it can be compared and counted with, whatever
// the zone does.
func (s Schedule) wall(t time.Time) time.Time {
	t = t.In(s.location())
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// open reports whether the schedule is open while the clock shows wall.
func (s Schedule) open(wall time.Time) bool {
	if _, ok := s.blackout(wall); ok {
		return false
	}
	if len(s.Windows) == 0 {
		return true
	}
	for _, w := range s.Windows {
		for _, day := range []time.Time{midnight(wall).AddDate(0, 0, -1), midnight(wall)} {
			if w.days[day.Weekday()] && !wall.Before(day.Add(w.from)) && wall.Before(day.Add(w.to)) {
				return true
			}
		}
	}
	return false
}

// blackout returns the blackout that the day is in.
func (s Schedule) blackout(wall time.Time) (Blackout, bool) {
	for _, b := range s.Blackouts {
		if !wall.Before(b.begin) && wall.Before(b.end) {
			return b, true
		}
	}
	return Blackout{}, false
}

func midnight(wall time.Time) time.Time { return wall.Truncate(24 * time.Hour) }

// edge returns what the clock shows when something next begins or ends, if nobody changes it; zero if nothing does.
func (s Schedule) edge(wall time.Time) (next time.Time) {
	if b, ok := s.blackout(wall); ok {
		return b.end // whatever begins before
	}
	add := func(at time.Time) {
		if at.After(wall) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, b := range s.Blackouts {
		add(b.begin)
	}
	for _, w := range s.Windows {
		for d := -1; d <= 7; d++ {
			if day := midnight(wall).AddDate(0, 0, d); w.days[day.Weekday()] {
				add(day.Add(w.from))
				add(day.Add(w.to))
			}
		}
	}
	return next
}

// change returns the first instant after t at which the schedule is open and was not, or the other way round; zero if
// there is none in the next years. It goes from edge to edge and from one change of the clock to the next: between them
// nothing happens.
func (s Schedule) change(t time.Time) time.Time {
	if len(s.Windows)+len(s.Blackouts) == 0 {
		return time.Time{}
	}
	t = t.In(s.location()).Round(0) // by the clock on the wall, as all else
	was := s.open(s.wall(t))
	for range 4000 {
		wall := s.wall(t)
		_, next := t.ZoneBounds()
		if !next.IsZero() && !next.After(t) {
			next = t.Add(time.Hour) // on the last day of a leap year Go 1.26 says that the zone has ended the day before
		}
		if edge := s.edge(wall); !edge.IsZero() {
			if at := t.Add(edge.Sub(wall)); next.IsZero() || at.Before(next) {
				next = at
			}
		}
		if next.IsZero() {
			break
		}
		if s.open(s.wall(next)) != was {
			return next
		}
		t = next
	}
	return time.Time{}
}

// schedule returns a [*ClosedError] if the i-th wave may not begin now.
func (s *session) schedule(i int) error {
	if s.Policy.Check {
		return nil
	}
	err := s.Schedule.MayBegin(time.Now(), s.Took[s.report.Waves[i].Group])
	if err != nil && s.Now {
		note := fmt.Sprintf("wave %d began because somebody wanted it now, and not by the schedule", s.report.Waves[i].Number)
		asked := func(n string) bool { return strings.HasPrefix(n, note) } // before
		if !slices.ContainsFunc(s.report.Notes, asked) {
			s.report.Notes = append(s.report.Notes, fmt.Sprintf("%s: %v", note, err))
		}
		return nil
	}
	return err
}
