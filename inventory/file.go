package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// File is a fleet file, fleet.yaml: the list of hosts that a person edits and that hosts.yml is made of.
//
//	hosts:
//	  - {name: web, address: 192.0.2.11, user: root, wave: 0, groups: [web_servers]}
//	  - {name: control, connection: local, wave: 1, controller: true}
//
// [ParseFile] makes one. It is a fleet: whatever [Inventory.Fleet] refuses, it refuses too.
type File struct {
	// Hosts is the hosts in the order of the file; never empty.
	Hosts []Entry

	name  string
	text  []byte
	list  *yaml.Node // of the hosts
	fleet Fleet
	errs  []*Error
}

// Fleet returns the waves, as a run finds them.
func (f *File) Fleet() Fleet { return f.fleet }

// Text returns the file as it is written.
func (f *File) Text() []byte { return f.text }

// ParseFile reads the text of a fleet file strictly; name is what errors call it. The error is every problem that was
// found, each an [*Error] with file and line, joined by [errors.Join] in the order of the lines.
func ParseFile(name string, text []byte) (*File, error) {
	f := &File{name: name, text: text}
	f.read()
	if len(f.errs) == 0 {
		f.check()
	}
	slices.SortStableFunc(f.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	if len(f.errs) > 0 {
		return nil, joined(f.errs)
	}
	return f, nil
}

// refuse notes a problem.
func (f *File) refuse(line int, host, problem, hint string) {
	f.errs = append(f.errs, &Error{File: f.name, Line: line, Host: host, Problem: problem, Hint: hint})
}

// read finds the entries, each by itself.
func (f *File) read() {
	root, err := Document(f.name, f.text)
	var e *Error
	if errors.As(err, &e) {
		f.errs = append(f.errs, e)
		return
	}
	const example = "write hosts: and below it, for each host, one - {name: web, address: 192.0.2.11, user: root, wave: 0}"
	if root == nil || root.Kind != yaml.MappingNode {
		f.refuse(1, "", "there are no hosts", example)
		return
	}
	f.fields(root, "", []string{"hosts"}, func(_ string, value *yaml.Node) {
		f.list = value
	})
	switch {
	case f.list == nil:
		f.refuse(root.Line, "", `there is no "hosts"`, example)
		return
	case f.list.Kind != yaml.SequenceNode || len(f.list.Content) == 0:
		f.refuse(f.list.Line, "", "there are no hosts", example)
		return
	}
	for _, item := range f.list.Content {
		f.entry(item.Line, resolve(item))
	}
}

// fields gives set the value of each key of a mapping that is known and there for the first time.
func (f *File) fields(node *yaml.Node, host string, known []string, set func(key string, value *yaml.Node)) {
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		line, twice := lines[key.Value]
		switch {
		case !slices.Contains(known, key.Value):
			hint := "the keys are " + strings.Join(known, ", ")
			if near := Nearest(key.Value, known); near != "" {
				hint = "did you mean " + strconv.Quote(near) + "?"
			}
			f.refuse(key.Line, host, fmt.Sprintf("%q is not a key", key.Value), hint)
		case twice:
			f.refuse(key.Line, host, fmt.Sprintf("%q is on line %d already", key.Value, line), "keep one of them")
		default:
			lines[key.Value] = key.Line
			set(key.Value, resolve(node.Content[i+1]))
		}
	}
}

// check compares the entries, which are right by themselves, with each other.
func (f *File) check() {
	names, addresses := map[string]int{}, map[string]Entry{}
	for _, e := range f.Hosts {
		if line, twice := names[e.Name]; twice {
			f.refuse(e.line, e.Name, fmt.Sprintf("the host on line %d has this name", line), "give one of them another, or delete it")
			continue
		}
		names[e.Name] = e.line
		if other, twice := addresses[e.reached()]; twice {
			f.refuse(e.line, e.Name, fmt.Sprintf("is reached at %s, as is host %s on line %d", e.reached(), other.Name, other.line),
				"give one of them another address, or delete it: it would be patched in two waves")
			continue
		}
		addresses[e.reached()] = e
	}
	if len(f.errs) > 0 {
		return
	}
	var err error
	if f.fleet, err = f.inventory().Fleet(); err == nil {
		return
	}
	ours := strings.NewReplacer(WavePrefix, "wave: ", "ansible_host", "address")
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		var e *Error
		if !errors.As(one, &e) {
			e = &Error{Problem: one.Error()}
		}
		e.File, e.Line, e.Hint = f.name, names[e.Host], ours.Replace(e.Hint)
		if e.Host == "" && e.Group == Controller {
			e.Line, e.Hint = f.controllers(), "write controller: true at the one host that runs the patching"
		}
		f.errs = append(f.errs, e)
	}
}

// controllers returns the line of the last controller, or of the list if there is none.
func (f *File) controllers() int {
	line := f.list.Line
	for _, e := range f.Hosts {
		if e.Controller {
			line = e.line
		}
	}
	return line
}

// inventory is what Ansible makes of the file, without variables.
func (f *File) inventory() *Inventory {
	inv := &Inventory{Hosts: map[string]Host{}, Groups: map[string]Group{"all": {Name: "all"}, "ungrouped": {Name: "ungrouped"}}}
	for name, hosts := range f.groups() {
		slices.Sort(hosts)
		inv.Groups[name] = Group{Name: name, Hosts: hosts}
	}
	for _, e := range f.Hosts {
		inv.Hosts[e.Name] = Host{Name: e.Name}
	}
	return inv
}

// groups returns every group and its hosts in the order of the file.
func (f *File) groups() map[string][]string {
	groups := map[string][]string{}
	for _, e := range f.Hosts {
		in := append([]string{Targets, WavePrefix + strconv.Itoa(e.Wave)}, e.Groups...)
		if e.Controller {
			in = append(in, Controller)
		}
		for _, name := range in {
			groups[name] = append(groups[name], e.Name)
		}
	}
	return groups
}

// resolve follows a YAML alias to the value it stands for.
func resolve(value *yaml.Node) *yaml.Node {
	if value.Kind == yaml.AliasNode {
		return value.Alias
	}
	return value
}
