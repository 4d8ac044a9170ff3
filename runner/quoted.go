package runner

import (
	"regexp"
	"slices"
	"strings"
)

// quoted is how Ansible quotes the lines around an error: core 2.14, core 2.19,
// and both of an ini inventory and of a task's text. They are lines of the
// operator's files, and may hold a password. Words may be wrapped anywhere.
var quoted = regexp.MustCompile(`(?s)(The\s+offending\s+line\s+appears\s+to\s+be:).*?(?:\^\s+here|\z)` +
	`|(Origin:[^\n]*)\n\n.*?(\n\n|\z)` + // blank lines of the file are numbered: the first one ends it
	`|(Expected\s+key=value(?:\s+host\s+variable\s+assignment)?,\s+got:|Error\s+parsing\s+host\s+definition|` +
	`either\s+an\s+unbalanced\s+jinja2\s+block\s+or\s+quotes:).*?(\n\n|\n\[|\nERROR|\z)`)

// headless is a quotation of core 2.14 whose beginning was not kept.
var headless = regexp.MustCompile(`(?s)\A.*\^\s+here`)

// marks are words of which each quotation has one.
var marks = []string{"offending", "Origin:", "Expected", "Error", "either", "^"}

// Unquoted is a text of Ansible's without the lines of the operator's files that it is known to quote; where they were it
// says so. What it does not know stays.
func Unquoted(text string) string {
	if !slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(text, m) }) {
		return text // most are, and expressions that look for the end of what may span lines are slow
	}
	text = quoted.ReplaceAllString(text, "$1$2$4 (not shown)$3$5")
	return headless.ReplaceAllString(text, "(not shown)")
}

// detail is the end of what Ansible said on stderr, without the lines it is
// known to quote; where they are it says as well.
func detail(stderr string) string {
	return lastLines(Unquoted(stderr), 12)
}
