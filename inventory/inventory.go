// Package inventory reads what ansible-inventory says about a fleet: its hosts, its groups, and the waves they are
// patched in; and it makes an inventory of a fleet file, the list of hosts that a person edits. It starts no process and
// reads no file: [Parse] takes the JSON that `ansible-inventory --list` prints, [ParseFile] the text of a fleet file.
//
//	inv, err := inventory.Parse(out)
//	fleet, err := inv.Fleet()
//	for _, wave := range fleet.Waves { ... }
//
//	file, err := inventory.ParseFile("fleet.yaml", text)
//	hosts := file.Render() // hosts.yml
//
// # What it guarantees
//
// [Inventory.Fleet] returns a fleet only if every host of patching_targets is in exactly one wave, no wave holds
// another host, and the one host of patch_controller is alone in the last wave. Anything else is refused, with every
// problem at once as an [*Error], so that one look at the message is enough to mend the inventory. [ParseFile] refuses the
// same, and says in which line.
//
// # What it does not do
//
// Templates are not resolved: a variable written as "{{ x }}" stays that text, as ansible-inventory prints it. An
// inventory file that does not exist is only a warning to ansible-inventory, which then prints no hosts; here that is
// a fleet without targets, and refused.
package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Inventory is the hosts and groups of one `ansible-inventory --list`. The caller owns it and its maps.
type Inventory struct {
	// Hosts is every host by its name in the inventory, those without variables and without a group included.
	Hosts map[string]Host
	// Groups is every group by its name, "all" included. Ansible leaves out empty groups, except as a child of another.
	Groups map[string]Group
}

// Group is a named set of hosts.
type Group struct {
	// Name is the group's name, as in the inventory.
	Name string
	// Hosts is the name of every member, members of children included, sorted, each once.
	Hosts []string
	// Children is the name of every direct child group, in Ansible's order.
	Children []string
}

// listing is one group as ansible-inventory prints it.
type listing struct {
	Hosts    []string `json:"hosts"`
	Children []string `json:"children"`
}

// Parse reads the JSON of `ansible-inventory --list`. Hosts and groups that are only mentioned, as a child or a member,
// are there as well. The error is no [*Error]: such a document is not a wrong inventory, it is none. Values of
// variables are in no error.
func Parse(data []byte) (*Inventory, error) {
	sections, err := object(data)
	if err != nil {
		return nil, fmt.Errorf("read the output of ansible-inventory: %w", err)
	}
	inv := &Inventory{Hosts: map[string]Host{}, Groups: map[string]Group{}}
	if err := inv.readVars(sections["_meta"]); err != nil {
		return nil, err
	}
	listings := make(map[string]listing, len(sections))
	for name, raw := range sections {
		if name == "_meta" {
			continue
		}
		var l listing
		if err := json.Unmarshal(raw, &l); err != nil {
			return nil, fmt.Errorf("group %q of the inventory is not an object with hosts and children", name)
		}
		listings[name] = l
	}
	if err := inv.link(listings); err != nil {
		return nil, err
	}
	return inv, nil
}

// object decodes one JSON object and nothing after it.
func object(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	var sections map[string]json.RawMessage
	if err := dec.Decode(&sections); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no output")
		}
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return nil, errors.New("it is not a JSON object")
		}
		return nil, err
	}
	if sections == nil {
		return nil, errors.New("it is not a JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the JSON object")
	}
	return sections, nil
}

// readVars fills the hosts that have variables from the section _meta.
func (inv *Inventory) readVars(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	var meta struct {
		HostVars map[string]map[string]json.RawMessage `json:"hostvars"`
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return errors.New("read the output of ansible-inventory: _meta.hostvars is not an object of objects")
	}
	for name, vars := range meta.HostVars {
		if err := checkName("host", name); err != nil {
			return err
		}
		inv.Hosts[name] = Host{Name: name, Vars: vars}
	}
	return nil
}

// link turns the printed groups, which list direct members only, into groups that know all their members.
func (inv *Inventory) link(listings map[string]listing) error {
	names := map[string]bool{"all": true}
	for name, l := range listings {
		names[name] = true
		for _, child := range l.Children {
			names[child] = true
		}
		for _, host := range l.Hosts {
			if _, known := inv.Hosts[host]; known {
				continue
			}
			if err := checkName("host", host); err != nil {
				return err
			}
			inv.Hosts[host] = Host{Name: host}
		}
	}
	for name := range names {
		if err := checkName("group", name); err != nil {
			return err
		}
		found := map[string]bool{}
		if name == "all" {
			for host := range inv.Hosts {
				found[host] = true
			}
		}
		collect(name, listings, found, map[string]bool{})
		inv.Groups[name] = Group{Name: name, Hosts: sorted(found), Children: listings[name].Children}
	}
	return nil
}

// collect adds the members of a group and of its children to found. Ansible refuses a group that is its own
// descendant; seen ends the walk should one arrive nevertheless, and visits a child of two parents once.
func collect(group string, listings map[string]listing, found, seen map[string]bool) {
	if seen[group] {
		return
	}
	seen[group] = true
	for _, host := range listings[group].Hosts {
		found[host] = true
	}
	for _, child := range listings[group].Children {
		collect(child, listings, found, seen)
	}
}

// checkName refuses a name that could write something else than itself to a terminal, a log line or a limit file.
func checkName(what, name string) error {
	if name == "" {
		return fmt.Errorf("the inventory has a %s without a name", what)
	}
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if strings.ContainsFunc(name, bad) {
		return fmt.Errorf("the name of %s %q has a character that cannot be printed: rename it in the inventory", what, name)
	}
	return nil
}

// sorted returns the members of a set in order; nil for none.
func sorted(set map[string]bool) []string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
