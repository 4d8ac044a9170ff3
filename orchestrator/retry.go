package orchestrator

import (
	"fmt"
	"os"
	"slices"
)

// Unfinished are the outcomes of hosts whose work a run did not end.
func Unfinished() []Outcome { return []Outcome{Undecided, HostInterrupted, HostNotAttempted} }

// Lost are the outcomes of hosts that a run did not bring through.
func Lost() []Outcome { return append(Unfinished(), HostFailed, HostUnreachable) }

// Left returns the part of the plan that has the hosts which came out of an earlier run with one of the outcomes, in
// the waves in which they are now. Hosts of that run that are no target any more are noted. If nobody is left, the error
// is a [*PlanError].
func (p *Plan) Left(old Report, outcomes ...Outcome) (*Plan, error) {
	left := map[string]bool{}
	for _, w := range old.Waves {
		for _, h := range w.Hosts {
			if slices.Contains(outcomes, h.Outcome) {
				left[h.Name] = true
			}
		}
	}
	part := &Plan{Controller: p.Controller, Unpatched: slices.Clone(p.Unpatched), Notes: slices.Clone(p.Notes)}
	for _, w := range p.Waves {
		wave := Wave{Number: w.Number, Group: w.Group}
		for _, h := range w.Hosts {
			if left[h.Name] {
				wave.Hosts = append(wave.Hosts, h)
				delete(left, h.Name)
				continue
			}
			part.Unpatched = append(part.Unpatched, Unpatched{h.Name, "nothing of run " + old.ID + " is left of it"})
		}
		if len(wave.Hosts) > 0 {
			part.Waves = append(part.Waves, wave)
		}
	}
	for _, w := range old.Waves {
		for _, h := range w.Hosts {
			if left[h.Name] {
				part.Notes = append(part.Notes, fmt.Sprintf("%s of run %s is not in the plan any more and is left alone", h.Name, old.ID))
			}
		}
	}
	if len(part.Waves) == 0 {
		return nil, &PlanError{fmt.Errorf("run %s (%s) has no host left to patch", old.ID, old.State)}
	}
	return part, nil
}

// Whole returns the latest full run as it stands after report, which is that run or retries it, or retries one that
// does: each host has its latest outcome. complete says that all of its hosts came through, and that nothing of it was
// undone since. Of any other run the error holds [os.ErrNotExist].
func (s *Store) Whole(report Report) (whole Report, complete bool, err error) {
	later, attempt := map[string]HostReport{}, map[string]string{}
	whole = report
	for whole.Kind == Retry {
		for _, w := range whole.Waves {
			for _, h := range w.Hosts {
				if _, known := later[h.Name]; !known {
					later[h.Name], attempt[h.Name] = h, whole.ID
				}
			}
		}
		if whole.Of >= whole.ID { // ids only grow: a circle would be a forgery
			return Report{}, false, fmt.Errorf("run %s retries run %q: %w", whole.ID, whole.Of, os.ErrNotExist)
		}
		if whole, err = s.Load(whole.Of); err != nil {
			return Report{}, false, err
		}
	}
	latest, undone, err := s.latestFull()
	if err != nil {
		return Report{}, false, err
	}
	if whole.Kind != Full || whole.ID != latest {
		return Report{}, false, fmt.Errorf("run %s is not the latest full one: %w", whole.ID, os.ErrNotExist)
	}
	complete = report.State == Passed
	for i := range whole.Waves {
		hosts := whole.Waves[i].Hosts
		for j, h := range hosts {
			if now, ok := later[h.Name]; ok {
				hosts[j] = now
			}
			complete = complete && !hosts[j].Lost() && undone[h.Name] <= attempt[h.Name]
		}
	}
	return whole, complete, nil
}

// latestFull returns the id of the full run that began last, and by host the id of the rollback since that was the last.
func (s *Store) latestFull() (id string, undone map[string]string, err error) {
	undone = map[string]string{}
	for report, err := range s.newest() {
		if err != nil {
			return "", nil, err
		}
		if report.Kind == Full {
			return report.ID, undone, nil
		}
		for _, w := range report.Waves {
			for _, h := range w.Hosts {
				if report.Kind == Rollback && undone[h.Name] == "" {
					undone[h.Name] = report.ID
				}
			}
		}
	}
	return "", nil, fmt.Errorf("there is no full run in %s: %w", s.dir, os.ErrNotExist)
}
