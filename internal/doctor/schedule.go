package doctor

import (
	"errors"
	"maps"
	"slices"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Window looks whether the weekly run comes at a time at which waves may begin. next is zero if nobody knows when it comes.
func Window(s orchestrator.Schedule, next time.Time) []Check {
	if len(s.Windows)+len(s.Blackouts) == 0 {
		return []Check{well(Clock, "waves may begin at any time")}
	}
	if next.IsZero() {
		return nil // the timer has a finding
	}
	err := s.MayBegin(next, 0)
	if err == nil {
		return []Check{well(Clock, "the next run comes while the window is open")}
	}
	var closed *orchestrator.ClosedError
	why := err.Error()
	if errors.As(err, &closed) {
		why = closed.Reason
	}
	s.Blackouts = nil
	if s.MayBegin(next, 0) == nil {
		return []Check{warning(Clock, "nothing, if it is meant; else the setting blackout", "the next run patches nothing: %s", why)}
	}
	return []Check{failure(Clock, "the setting window, or OnCalendar= of the timer (patch_controller_on_calendar)", "the next run patches nothing: %s", why)}
}

// FleetHold looks at the hold of the fleet; nil is none.
func FleetHold(hold *orchestrator.Hold, err error, now time.Time) []Check {
	const clear = "homelab-patch-orchestrate hold clear"
	switch {
	case err != nil:
		return []Check{failure(Clock, "mend it; whatever is at that path holds", "nobody knows whether the fleet is held: %v", err)}
	case hold == nil:
		return []Check{well(Clock, "the fleet is not held")}
	case hold.Expired(now), hold.Bad != "":
		return []Check{failure(Clock, clear, "the fleet is held, and nothing is patched: %s", hold.Text(now))}
	}
	return []Check{warning(Clock, clear+", when it is over", "the fleet is held, and nothing is patched: %s", hold.Text(now))}
}

// HostHolds looks at the holds of single hosts, as the controller lists them. known are the hosts of the inventory; nil if
// it could not be read.
func HostHolds(holds map[string]*orchestrator.Hold, err error, known []string, now time.Time) (all []Check) {
	if err != nil {
		return []Check{failure(Clock, "mend it; each file there holds the host of its name", "nobody knows which hosts are held: %v", err)}
	}
	for _, host := range slices.Sorted(maps.Keys(holds)) {
		fix := "homelab-patch-orchestrate hold clear --host " + word(host)
		c := warning(Clock, fix+", when it is over", "it is held, and not patched: %s", holds[host].Text(now))
		switch {
		case known != nil && !slices.Contains(known, host):
			c = warning(Clock, fix, "there is a hold for it, and no such host: %s", holds[host].Text(now))
		case holds[host].Expired(now):
			c.Fix = fix
		}
		all = append(all, on(host, c)...)
	}
	return all
}
