package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The groups that say who is patched and when. Every host of Targets is in exactly one group WavePrefix+N.
const (
	// Controller is the group of the one host that runs the patching.
	Controller = "patch_controller"
	// Targets is the group of every host that is patched.
	Targets = "patching_targets"
	// WavePrefix, with a number that has no leading zero, is the name of a wave's group.
	WavePrefix = "patching_wave"
)

// Fleet is who is patched, and when.
type Fleet struct {
	// Controller is the host that runs the patching. It is alone in the last wave.
	Controller string
	// Waves is every wave that has hosts, in numeric order; never empty.
	Waves []Wave
}

// Wave is hosts that are patched together.
type Wave struct {
	// Number is the N of patching_waveN. Numbers may have gaps.
	Number int
	// Group is the name of the wave's group.
	Group string
	// Hosts is the wave's hosts, sorted; never empty.
	Hosts []string
}

// Fleet returns the waves of the inventory in numeric order. A wave's group without hosts is skipped. It returns every
// reason to refuse at once: each is an [*Error], joined in a fixed order, and the fleet is then empty.
func (inv *Inventory) Fleet() (Fleet, error) {
	waves, problems := inv.waves()
	targets := inv.Groups[Targets].Hosts
	if len(targets) == 0 {
		problems = append(problems, &Error{Group: Targets, Problem: "there are no hosts to patch",
			Hint: "add hosts to the group, and check that the inventory file exists: Ansible only warns when it does not"})
	}
	problems = append(problems, inv.checkMembers(targets, waves)...)
	controller, more := inv.controller(targets, waves)
	problems = append(problems, more...)
	if err := join(problems); err != nil {
		return Fleet{}, err
	}
	return Fleet{Controller: controller, Waves: waves}, nil
}

// waves returns the groups that are waves and have hosts, and a problem for each name that only looks like one: such a
// group is a slip of the pen, and its hosts would silently stay unpatched.
func (inv *Inventory) waves() (waves []Wave, problems []*Error) {
	for name, group := range inv.Groups {
		digits, ok := strings.CutPrefix(name, WavePrefix)
		if !ok {
			continue
		}
		number, err := strconv.Atoi(digits)
		if err != nil || strconv.Itoa(number) != digits || number < 0 {
			problems = append(problems, &Error{Group: name, Problem: "the name is not that of a wave",
				Hint: "name it " + WavePrefix + "N with a number without leading zeros, or something that does not begin with " + WavePrefix})
			continue
		}
		if len(group.Hosts) > 0 {
			waves = append(waves, Wave{Number: number, Group: name, Hosts: slices.Clone(group.Hosts)})
		}
	}
	slices.SortFunc(waves, func(a, b Wave) int { return cmp.Compare(a.Number, b.Number) })
	return waves, problems
}

// checkMembers compares the waves with the targets.
func (inv *Inventory) checkMembers(targets []string, waves []Wave) (problems []*Error) {
	in := map[string][]string{}
	for _, wave := range waves {
		for _, host := range wave.Hosts {
			in[host] = append(in[host], wave.Group)
		}
	}
	isTarget := make(map[string]bool, len(targets))
	for _, host := range targets {
		isTarget[host] = true
		if _, group := inv.Groups[host]; group || !plain(host) {
			problems = append(problems, &Error{Host: host, Problem: "the name is a group or a pattern to Ansible and could select other hosts",
				Hint: "rename the host and put the address into ansible_host"})
		}
		switch groups := in[host]; {
		case len(waves) == 0: // One problem says it for all, below.
		case len(groups) == 0:
			problems = append(problems, &Error{Host: host, Group: Targets, Problem: "the host is in no wave",
				Hint: "add it to one " + WavePrefix + "N"})
		case len(groups) > 1:
			problems = append(problems, &Error{Host: host, Problem: "the host is in more than one wave: " + strings.Join(groups, ", "),
				Hint: "keep one of them"})
		}
	}
	if len(targets) > 0 && len(waves) == 0 {
		problems = append(problems, &Error{Group: Targets, Problem: "none of its hosts is in a wave",
			Hint: "add each host to one " + WavePrefix + "N"})
	}
	for _, wave := range waves {
		for _, host := range wave.Hosts {
			if !isTarget[host] {
				problems = append(problems, &Error{Host: host, Group: wave.Group, Problem: "the host is in a wave but not in " + Targets,
					Hint: "add it to " + Targets + ", or take it out of the wave"})
			}
		}
	}
	return problems
}

// controller returns the one host of the controller's group, and what is wrong with its place in the fleet.
func (inv *Inventory) controller(targets []string, waves []Wave) (string, []*Error) {
	hosts := inv.Groups[Controller].Hosts
	if len(hosts) != 1 {
		problem := "there is no controller"
		if len(hosts) > 1 {
			problem = "there is more than one controller: " + strings.Join(hosts, ", ")
		}
		return "", []*Error{{Group: Controller, Problem: problem, Hint: "put exactly the host that runs the patching into the group"}}
	}
	controller := hosts[0]
	if _, found := slices.BinarySearch(targets, controller); !found && len(targets) > 0 {
		return controller, []*Error{{Host: controller, Group: Controller, Problem: "the controller is not in " + Targets,
			Hint: "add it to " + Targets + " and, alone, to the last wave"}}
	}
	var problems []*Error
	for i, wave := range waves {
		if !slices.Contains(wave.Hosts, controller) {
			continue
		}
		last := waves[len(waves)-1]
		if i < len(waves)-1 {
			problems = append(problems, &Error{Host: controller, Group: wave.Group, Problem: "the controller is patched before " + last.Group,
				Hint: fmt.Sprintf("move it to a wave of its own after %s, such as %s", last.Group, later(last.Number))})
		} else if len(wave.Hosts) > 1 {
			problems = append(problems, &Error{Host: controller, Group: wave.Group, Problem: "the controller shares the last wave with " + others(wave.Hosts, controller),
				Hint: fmt.Sprintf("move it to a wave of its own, such as %s", later(last.Number))})
		}
	}
	return controller, problems
}

// others names the hosts beside one of them, three at most, and counts the rest.
func others(hosts []string, one string) string {
	rest := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return host == one })
	if len(rest) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(rest[:3], ", "), len(rest)-3)
	}
	return strings.Join(rest, ", ")
}

// later names the wave after a number.
func later(number int) string { return WavePrefix + strconv.Itoa(number+1) }

// plain reports whether Ansible reads the name, alone on a line of a limit file, as that one host
// and no more (a leading dash would be an option of ssh).
// https://docs.ansible.com/ansible/latest/inventory_guide/intro_patterns.html
func plain(name string) bool {
	return !strings.ContainsAny(name, "*?[],;: ") && !strings.ContainsAny(name[:1], "!&~@-")
}
