package orchestrator

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// engine is the packages that a run itself needs all the time. Another minor version of one, installed under a running
// ansible-playbook, breaks it in its next task.
var engine = regexp.MustCompile(`^(python3|ansible-core|ansible)$`)

// deep are packages of the controller whose upgrade is worth a note beside: what the run, its unit and its links use.
var deep = regexp.MustCompile(`^(python3(\.\d+)?(-minimal)?|libpython3.*|ansible(-core)?|systemd|libsystemd0|openssh-(client|server)|homelab-patch-orchestrate)$`)

// preflight looks at the upgrade of the controller before its wave begins.
func (s *session) preflight(ctx context.Context, i int) error {
	wave := s.plan.Waves[i]
	wave.Hosts = slices.DeleteFunc(slices.Clone(wave.Hosts), func(h Host) bool { return !h.Controller })
	if s.Preflight == nil || s.Policy.Check || s.report.Waves[i].State != Pending || len(wave.Hosts) == 0 {
		return nil
	}
	name := wave.Hosts[0].Name
	halt := func(reason string, err error) error {
		return &HaltError{Wave: wave.Number, Reason: fmt.Sprintf("halted before wave %d: %s", wave.Number, reason), Err: err}
	}
	if h := s.versions.byName()[name]; h != nil && h.Packages != nil { // what it gets is known
		return s.judgeAhead(name, h.Packages, halt)
	}
	if i == 0 { // the run's folder is made with the first entry of its journal
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	f := newFold()
	_, err := s.Preflight.Run(ctx, wave, f.add)
	if ctx.Err() != nil {
		return s.interrupted(ctx, fmt.Sprintf("before wave %d", wave.Number))
	}
	if err != nil {
		return halt(fmt.Sprintf("what the upgrade of %s would change is not known: %v", name, err), err)
	}
	switch patch := f.patches[name]; {
	case patch != nil:
		return s.judgeAhead(name, patch.Packages, halt)
	case s.Policy.Publishes:
		return halt(fmt.Sprintf("what the upgrade of %s would change is not known: %s", name, silent), nil)
	}
	return nil // a playbook that does not say; if the host is in no state to, its wave will tell
}

// judgeAhead notes what of the controller's upgrade matters to the run, and halts it if that would break it.
func (s *session) judgeAhead(name string, packages []Package, halt func(string, error) error) error {
	notes, problem := Foresee(packages)
	for _, n := range notes {
		s.report.Notes = append(s.report.Notes, fmt.Sprintf("the upgrade of %s, which runs this, %s", name, n))
	}
	if problem != "" && !s.Policy.EngineUpgrade {
		return halt(fmt.Sprintf("the upgrade of %s would take %s away from under this run; upgrade it by hand (apt-get dist-upgrade, then reboot), "+
			"or allow it with the setting engine_upgrade", name, problem), nil)
	}
	return nil
}

// Foresee says of an upgrade of the controller which of the packages matter to the run that upgrades them, and which would
// break it; empty if none would.
func Foresee(packages []Package) (notes []string, problem string) {
	var touched, broken []string
	for _, p := range packages {
		change := fmt.Sprintf("%s %s -> %s", p.Name, p.From, p.To)
		if engine.MatchString(p.Name) && p.From != "" && minor(p.From) != minor(p.To) {
			broken = append(broken, change)
		}
		if deep.MatchString(p.Name) {
			touched = append(touched, change)
		}
	}
	if len(touched) > 0 {
		notes = append(notes, "changes what it needs itself: "+list(touched))
	}
	return notes, strings.Join(broken, ", ")
}

// minor returns the major and minor number of a Debian version: 3.11 of 1:3.11.2-1+b1. Of what has none, all of it.
func minor(version string) string {
	_, upstream, epoch := strings.Cut(version, ":")
	if !epoch {
		upstream = version
	}
	if found := regexp.MustCompile(`^\d+\.\d+`).FindString(upstream); found != "" {
		return found
	}
	return version
}
