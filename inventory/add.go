package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// Add returns the file with one more host, last of the list, written as the one before it is. Every byte that was there
// stays as it was: what yaml knows of the file says where the lines belong, but it does not write the file, because it
// would drop empty lines and move comments. The error is every reason why there would be no fleet then, as [ParseFile]
// tells them, or that the list is written in a way that lines cannot be added to.
func (f *File) Add(e Entry) (*File, error) {
	lines, indent, at := f.end()
	added := e.lines(f.list.Content[len(f.list.Content)-1].Style, indent)
	if f.list.Style&yaml.FlowStyle != 0 {
		return nil, f.byHand(e, added)
	}
	text := bytes.Join(lines[:at], nil)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = append(append(text, added...), bytes.Join(lines[at:], nil)...)
	if _, err := Document(f.name, text); err != nil {
		return nil, f.byHand(e, added)
	}
	with, err := ParseFile(f.name, text)
	if err != nil {
		return nil, unplaced(err, at)
	}
	// Whatever was not foreseen in how the file is written shows here.
	if !reflect.DeepEqual(bare(with.Hosts), append(bare(f.Hosts), bare([]Entry{e})...)) {
		return nil, f.byHand(e, added)
	}
	return with, nil
}

// byHand says that a person has to write the host.
func (f *File) byHand(e Entry, lines []byte) error {
	return &Error{File: f.name, Line: f.list.Line, Host: e.Name, Problem: "cannot be added to a list that is written like this",
		Hint: "write one host a line, or add it by hand: " + strings.Join(strings.Fields(string(lines)), " ")}
}

// end returns the lines of the file, the spaces before the dash of each host, and the number of the line after the last
// host.
func (f *File) end() (lines [][]byte, indent, at int) {
	lines = bytes.SplitAfter(f.text, []byte("\n"))
	indent = f.list.Column - 1
	at = f.list.Content[len(f.list.Content)-1].Line
	for n := at; n < len(lines); n++ {
		line := bytes.TrimLeft(lines[n], " ")
		deeper := len(lines[n])-len(line) > indent
		if blank := len(bytes.TrimSpace(line)) == 0; blank || !deeper && line[0] == '#' {
			continue // it belongs to the host only if another line of the host follows
		}
		if !deeper {
			break
		}
		at = n + 1
	}
	return lines, indent, at
}

// lines is the host as lines of a list.
func (e Entry) lines(style yaml.Style, indent int) []byte {
	node := mapping()
	node.Style = style & yaml.FlowStyle
	add(node, "name", word(e.Name))
	e.way(node, "address", "port", "user", "connection")
	add(node, "wave", number(e.Wave))
	if e.Controller {
		add(node, "controller", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
	}
	if len(e.Groups) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, group := range e.Groups {
			list.Content = append(list.Content, word(group))
		}
		add(node, "groups", list)
	}
	var plain, indented bytes.Buffer
	encode(&plain, &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{node}})
	for line := range bytes.Lines(plain.Bytes()) {
		fmt.Fprintf(&indented, "%*s%s", indent, "", line)
	}
	return indented.Bytes()
}

// bare returns hosts without the place they are at.
func bare(hosts []Entry) []Entry {
	var all []Entry
	for _, e := range hosts {
		e.line, e.Groups = 0, append([]string(nil), e.Groups...)
		all = append(all, e)
	}
	return all
}

// unplaced takes the line from errors about what is not in the file yet.
func unplaced(err error, from int) error {
	var errs []error
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		var e *Error
		if errors.As(one, &e) && e.Line > from {
			e.Line = 0
		}
		errs = append(errs, one)
	}
	return errors.Join(errs...)
}
