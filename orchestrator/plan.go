package orchestrator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"homelab-patch-orchestrate/inventory"
)

// Policy is what the operator allows a run to do. The zero value patches every wave, tolerates no host that does not
// come through, and waits for nothing.
type Policy struct {
	// Budget is how many hosts of one wave may come out failed, unreachable, interrupted or not attempted.
	Budget int
	// Soak is the wait after each wave but the last.
	Soak time.Duration
	// WaveDeadline cancels a wave that runs for longer; 0 never does.
	WaveDeadline time.Duration
	// Limit is the names of the only hosts to patch; nil is all. It only narrows: hosts that are no target stay unpatched.
	Limit []string
	// Wave is the number of the only wave to patch; nil is all.
	Wave *int
	// MaxWave is the highest number that the playbook has a play for; 0 is any.
	MaxWave int
	// Of is the id of an earlier run, if the plan is what [Unfinished] or [Lost] left of one of its own, or undoes it.
	Of string
	// EngineUpgrade lets the controller get another minor version of Python or Ansible in the run that they drive.
	EngineUpgrade bool
	// Check changes nothing on any host.
	Check bool
	// Publishes says that the playbook has each host say how it went: one that does not has failed. Else the word of Ansible counts.
	Publishes bool
	// Rollback undoes the run Of instead of patching.
	Rollback bool
}

// Kind returns what a run under the policy is.
func (p Policy) Kind() Kind {
	switch {
	case p.Check:
		return Check
	case p.Rollback:
		return Rollback
	case p.Of != "":
		return Retry
	case p.Limit != nil || p.Wave != nil:
		return Narrowed
	}
	return Full
}

// Plan is who is patched and when, and who is not and why.
type Plan struct {
	// Controller is the name of the host that runs the patching.
	Controller string
	// Waves is the waves to run, in order; never empty in a plan made by [NewPlan].
	Waves []Wave
	// Unpatched is every other host of the inventory, by name.
	Unpatched []Unpatched
	// Notes is what a person should know, such as names in the limit that are no target.
	Notes []string
}

// Pending is what a report says of the waves before anything has happened; never nil.
func (p *Plan) Pending() []WaveReport {
	waves := []WaveReport{}
	for _, w := range p.Waves {
		wave := WaveReport{Number: w.Number, Group: w.Group, State: Pending}
		for _, h := range w.Hosts {
			wave.Hosts = append(wave.Hosts, HostReport{Name: h.Name, Optional: h.Optional, Controller: h.Controller})
		}
		waves = append(waves, wave)
	}
	return waves
}

// Wave is hosts that are patched together.
type Wave struct {
	Number int    // the N of patching_waveN
	Group  string // name of the wave's group
	Hosts  []Host // sorted by name; never empty in a plan
	// Versions is what its hosts get, and nothing else; nil is whatever the archive has when their turn comes.
	Versions *Versions
}

// Names returns the names of the wave's hosts.
func (w Wave) Names() []string {
	names := make([]string, 0, len(w.Hosts))
	for _, h := range w.Hosts {
		names = append(names, h.Name)
	}
	return names
}

// Host is a host to patch.
type Host struct {
	Name       string
	Address    string // what ssh is called with
	Local      bool   // patched without ssh
	Optional   bool   // patching_optional: it may be unreachable at first contact
	Controller bool
}

// Unpatched is a host that the plan leaves alone.
type Unpatched struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// PlanError is a reason to refuse the run before anything is touched. It holds the causes, such as [*inventory.Error].
type PlanError struct {
	Err error
}

// Error returns the causes, one a line.
func (e *PlanError) Error() string { return e.Err.Error() }

// Unwrap returns the causes.
func (e *PlanError) Unwrap() error { return e.Err }

// NewPlan returns the waves of the inventory that the policy allows, in numeric order. Its error is a [*PlanError] with
// every problem that was found.
func NewPlan(inv *inventory.Inventory, policy Policy) (*Plan, error) {
	fleet, err := inv.Fleet()
	if err != nil {
		return nil, &PlanError{err}
	}
	if err := errors.Join(checkPolicy(policy), checkFleet(inv, fleet, policy)); err != nil {
		return nil, &PlanError{err}
	}
	plan := &Plan{Controller: fleet.Controller}
	targets := map[string]bool{}
	for _, fw := range fleet.Waves {
		wave := Wave{Number: fw.Number, Group: fw.Group}
		for _, name := range fw.Hosts {
			targets[name] = true
			if reason := leftOut(name, fw.Number, policy); reason != "" {
				plan.Unpatched = append(plan.Unpatched, Unpatched{name, reason})
				continue
			}
			wave.Hosts = append(wave.Hosts, host(inv.Hosts[name], fleet))
		}
		if len(wave.Hosts) > 0 {
			plan.Waves = append(plan.Waves, wave)
		}
	}
	for name := range inv.Hosts {
		if !targets[name] {
			plan.Unpatched = append(plan.Unpatched, Unpatched{name, "not in " + inventory.Targets})
		}
	}
	slices.SortFunc(plan.Unpatched, func(a, b Unpatched) int { return strings.Compare(a.Name, b.Name) })
	if len(plan.Waves) == 0 {
		return nil, &PlanError{nobody(fleet, targets, policy)}
	}
	for _, name := range policy.Limit {
		if !targets[name] {
			plan.Notes = append(plan.Notes, fmt.Sprintf("host %s of the limit is not in %s and is left alone", name, inventory.Targets))
		}
	}
	return plan, nil
}

// host describes a target. checkFleet has read patching_optional without an error.
func host(h inventory.Host, fleet inventory.Fleet) Host {
	optional, _ := h.Bool("patching_optional")
	return Host{Name: h.Name, Address: h.Address(), Local: h.Local(), Optional: optional, Controller: h.Name == fleet.Controller}
}

// leftOut says why a target is not patched; empty if it is.
func leftOut(name string, wave int, policy Policy) string {
	switch {
	case policy.Wave != nil && *policy.Wave != wave:
		return fmt.Sprintf("in wave %d, and only wave %d was asked for", wave, *policy.Wave)
	case policy.Limit != nil && !slices.Contains(policy.Limit, name):
		return "outside the limit"
	}
	return ""
}

// nobody says why no host is left, and what there would have been.
func nobody(fleet inventory.Fleet, targets map[string]bool, policy Policy) error {
	var waves []string
	known := false
	for _, w := range fleet.Waves {
		waves = append(waves, fmt.Sprint(w.Number))
		known = known || policy.Wave != nil && *policy.Wave == w.Number
	}
	if policy.Wave != nil && !known {
		return fmt.Errorf("there is no wave %d; the waves are %s", *policy.Wave, strings.Join(waves, ", "))
	}
	if len(policy.Limit) == 0 {
		return errors.New("the limit matches no host; without a limit every host is patched")
	}
	where := inventory.Targets
	if policy.Wave != nil {
		where = fmt.Sprintf("wave %d", *policy.Wave)
	}
	var strangers []string
	for _, name := range policy.Limit {
		if !targets[name] {
			strangers = append(strangers, name)
		}
	}
	err := fmt.Sprintf("the limit matches no host of %s", where)
	if len(strangers) > 0 {
		err += fmt.Sprintf("; not in %s: %s", inventory.Targets, list(strangers))
	}
	return errors.New(err)
}

func checkPolicy(p Policy) error {
	switch {
	case p.Budget < 0:
		return fmt.Errorf("the budget is %d; it cannot be less than 0", p.Budget)
	case p.Soak < 0:
		return fmt.Errorf("the soak is %s; it cannot be less than 0", p.Soak)
	case p.WaveDeadline < 0:
		return fmt.Errorf("the deadline of a wave is %s; it cannot be less than 0 (0 is none)", p.WaveDeadline)
	}
	return nil
}

// checkFleet refuses what the inventory alone allows and a run does not.
func checkFleet(inv *inventory.Inventory, fleet inventory.Fleet, policy Policy) error {
	var problems []error
	for _, w := range fleet.Waves {
		if policy.MaxWave > 0 && w.Number > policy.MaxWave {
			problems = append(problems, &inventory.Error{
				Group:   w.Group,
				Problem: fmt.Sprintf("the playbook has waves up to %d only", policy.MaxWave),
				Hint:    "number the waves closer together, or use a playbook of your own",
			})
		}
		for _, name := range w.Hosts {
			if _, err := inv.Hosts[name].Bool("patching_optional"); err != nil {
				problems = append(problems, err)
			}
		}
	}
	return errors.Join(problems...)
}

// list joins names for people; only the first few of many.
func list(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
