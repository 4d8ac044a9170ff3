package runner

import "regexp"

// quoted is how Ansible quotes the lines around an error: core 2.14, core 2.19,
// and of an ini inventory. They are lines of the operator's files, and may hold
// a password. The words before them may be wrapped anywhere.
var quoted = regexp.MustCompile(`(?s)(The\s+offending\s+line\s+appears\s+to\s+be:).*?(?:\^\s+here|\z)` +
	`|\n\n(?: *\d+ [^\n]*\n)+ *\^ column \d+` +
	`|(Expected\s+key=value\s+host\s+variable\s+assignment,\s+got:)[^\n]*`)

// detail is the end of what Ansible said on stderr, without the lines it
// quotes; where they are it says as well.
func detail(stderr string) string {
	return lastLines(quoted.ReplaceAllString(stderr, "$1$2 (not shown)"), 12)
}
