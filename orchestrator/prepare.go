package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"homelab-patch-orchestrate/runner"
)

// VersionsReport is what a report says of the versions that the run installs. They are beside the journal.
type VersionsReport struct {
	Plan       string            `json:"plan"`                 // id of the run that planned them
	From       string            `json:"from,omitempty"`       // the file or the run that they are from
	Made       time.Time         `json:"made,omitzero"`        // zero while hosts are being prepared
	Unprepared map[string]string `json:"unprepared,omitempty"` // hosts, and why
}

// prepare sees to it that every wave gets the same versions: those that are given, or that hosts plan now. A host that
// cannot be prepared counts in its own wave. It changes no package anywhere.
func (s *session) prepare(ctx context.Context) error {
	r := &s.report
	began := slices.ContainsFunc(r.Waves, func(w WaveReport) bool { return w.State != Pending })
	switch {
	case r.Versions != nil && (began || !r.Versions.Made.IsZero()): // an earlier process has made them
		v, err := s.run.store.Versions(r.ID)
		if err != nil {
			return &HaltError{Reason: fmt.Sprintf("halted: plan drift: which versions this run installs is not known: %v; run again", err), Err: err}
		}
		s.versions = v
		return nil
	case began || s.Prepare == nil && s.Versions == nil:
		return nil
	}
	s.versions = s.Versions
	if s.versions == nil {
		s.versions = &Versions{ID: s.run.ID}
	}
	if r.Versions != nil { // an earlier process died while it prepared
		v, err := s.run.store.Versions(r.ID)
		if err != nil {
			return err
		}
		s.versions = v
	}
	if err := s.run.saveVersions(s.versions); err != nil {
		return err
	}
	r.Versions = &VersionsReport{Plan: s.versions.ID, From: s.From}
	if err := s.commit(ctx); err != nil {
		return err
	}
	if s.Prepare != nil {
		if err := s.ready(ctx); err != nil {
			return err
		}
	}
	if s.versions.Made.IsZero() {
		s.versions.Made = time.Now().UTC()
	}
	if err := s.run.saveVersions(s.versions); err != nil {
		return err
	}
	r.Versions.Made = time.Now().UTC()
	return s.commit(ctx)
}

// ready has every host plan and download, and fills in what they said.
func (s *session) ready(ctx context.Context) error {
	all := Wave{Versions: s.versions}
	problems := map[string]string{}
	for i, w := range s.plan.Waves {
		known := s.report.Waves[i].byName()
		for _, h := range w.Hosts {
			switch held, reason := s.heldNow(h.Name); {
			case known[h.Name].Outcome != Undecided:
			case held:
				problems[h.Name] = reason
			default:
				all.Hosts = append(all.Hosts, h)
			}
		}
	}
	engineCtx, cancel := ctx, context.CancelFunc(func() {})
	if d := s.Policy.WaveDeadline; d > 0 {
		engineCtx, cancel = context.WithTimeoutCause(ctx, d, &deadlineError{d})
	}
	defer cancel()
	f, result := newFold(), runner.Result{}
	if len(all.Hosts) > 0 {
		var err error
		result, err = s.Prepare.Run(engineCtx, all, func(e runner.Event) {
			f.add(e)
			if s.Progress != nil {
				s.Progress(e)
			}
		})
		if err := s.interrupted(ctx, "while the hosts were prepared"); err != nil {
			return err
		}
		if err != nil && engineCtx.Err() == nil {
			return fmt.Errorf("prepare the hosts: %w", err)
		}
	}
	return s.fill(f, result, problems)
}

// heldNow reports whether a host is to be left alone. One of which that is not known is.
func (s *session) heldNow(name string) (bool, string) {
	if s.HostHold == nil {
		return false, ""
	}
	held, reason, err := s.HostHold(name)
	if err != nil {
		return true, err.Error()
	}
	return held, "held: " + reason
}

// fill takes over what the hosts of the plan have planned. A given plan that a host cannot carry out ends the run here.
func (s *session) fill(f *fold, result runner.Result, problems map[string]string) error {
	given := s.versions
	before := given.byName()
	v := &Versions{ID: given.ID, Made: given.Made}
	for _, w := range s.plan.Waves {
		for _, h := range w.Hosts {
			patch, res, was := f.patches[h.Name], result.Hosts[h.Name], before[h.Name]
			hv := HostVersions{Name: h.Name}
			switch {
			case problems[h.Name] != "":
				hv.Problem = problems[h.Name]
			case patch != nil && patch.Failure != nil && patch.Failure.Phase == driftPhase:
				return &HaltError{Wave: w.Number, Reason: fmt.Sprintf("halted before the first wave, nothing was patched: %s: %s", h.Name, patch.Failure.Reason)}
			case patch != nil && patch.Failure != nil:
				hv.Problem = patch.Failure.Reason
			case patch != nil && patch.Hold != nil:
				hv.Problem = "held: " + patch.Hold.Reason
			case res.Outcome != runner.OK && res.Outcome != runner.Changed:
				if hv.Problem = res.Msg; hv.Problem == "" {
					hv.Problem = string(res.Outcome)
				}
			case patch == nil:
				hv.Problem = "it did not say what it would change"
			default:
				hv = planned(h.Name, patch)
			}
			if was != nil && was.Packages != nil { // it is that, and nothing else
				hv.Suite, hv.Architecture, hv.Packages, hv.Archives = was.Suite, was.Architecture, was.Packages, was.Archives
			}
			v.Hosts = append(v.Hosts, hv)
		}
	}
	if len(given.Hosts) == 0 {
		v.reconcile()
	}
	for _, h := range v.Hosts {
		if h.Problem == "" {
			continue
		}
		if s.report.Versions.Unprepared == nil {
			s.report.Versions.Unprepared = map[string]string{}
		}
		s.report.Versions.Unprepared[h.Name] = h.Problem
		s.report.Notes = append(s.report.Notes, fmt.Sprintf("%s could not be prepared before the first wave: %s", h.Name, h.Problem))
	}
	s.versions = v
	return nil
}

// driftPhase is the phase of the role's failure when a host cannot be brought to what was planned.
const driftPhase = "drift"

// checkDrift halts a run in which a host cannot be brought to the planned versions: whatever the budget, the plan is no
// longer true.
func checkDrift(w WaveReport) error {
	for _, h := range w.Hosts {
		if h.Patch != nil && h.Patch.Failure != nil && h.Patch.Failure.Phase == driftPhase {
			return &HaltError{Wave: w.Number, Reason: fmt.Sprintf("halted in wave %d: %s: %s", w.Number, h.Name, h.Patch.Failure.Reason)}
		}
	}
	return nil
}
