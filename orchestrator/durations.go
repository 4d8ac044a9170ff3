package orchestrator

import (
	"errors"
	"time"
)

// Durations is how long the waves of earlier runs took, at most, by their group. A group that no run has had is zero:
// nothing is known of it.
type Durations map[string]time.Duration

// lookBack is how many runs count. More would remember what no longer is; fewer, only quiet weeks.
const lookBack = 5

// Durations returns the longest time that each wave took in the last five full runs that passed: from its start until
// its last host had ended. The soak is not in it, because a schedule is asked when the soak is over. A journal that
// cannot be read does not count.
func (s *Store) Durations() (Durations, error) {
	longest := Durations{}
	found := 0
	for report, err := range s.newest() {
		if damaged := (*JournalError)(nil); errors.As(err, &damaged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if report.Kind != Full || report.State != Passed {
			continue
		}
		found++
		for _, w := range report.Waves {
			if took := w.Ended.Sub(w.Started); !w.Ended.IsZero() && took > longest[w.Group] {
				longest[w.Group] = took
			}
		}
		if found == lookBack {
			break
		}
	}
	return longest, nil
}
