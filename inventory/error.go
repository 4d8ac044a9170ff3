package inventory

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Error is one thing that is wrong in an inventory, and how to mend it. Several come joined by [errors.Join].
type Error struct {
	// File is the file concerned; empty when the problem is in what ansible-inventory said.
	File string
	// Line is where in the file, counted from 1; 0 when unknown.
	Line int
	// Host is the host concerned; empty when the problem is a group's.
	Host string
	// Group is the group concerned; empty when the problem is a host's.
	Group string
	// Problem says what is wrong, to be read after the host's or the group's name.
	Problem string
	// Hint says what to change; may be empty.
	Hint string
}

// Error returns file, line, host, group, problem and hint on one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line))
		}
		b.WriteString(": ")
	}
	switch {
	case e.Host != "" && e.Group != "":
		b.WriteString("host " + e.Host + ", group " + e.Group + ": ")
	case e.Host != "":
		b.WriteString("host " + e.Host + ": ")
	case e.Group != "":
		b.WriteString("group " + e.Group + ": ")
	}
	b.WriteString(e.Problem)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// join returns the problems as one error, in the order of groups, hosts, problems; nil for none.
func join(problems []*Error) error {
	slices.SortFunc(problems, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Problem, b.Problem))
	})
	return joined(problems)
}

// joined returns the problems as one error, as they are; nil for none.
func joined(problems []*Error) error {
	var errs []error
	for _, p := range problems {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}
