package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

const maintainer = "The homelab-patch-orchestrate authors <noreply@homelab-patch-orchestrate.invalid>"

var released = regexp.MustCompile(`^(\S+) / (\d{4}-\d{2}-\d{2})$`)

// changelog is CHANGELOG.md in Debian's words. Its first section that has entries is the version that is built; those
// below have a heading such as "## 1.2.3 / 2027-01-31".
func changelog(markdown, version string, date time.Time) (string, error) {
	var b strings.Builder
	for i, section := range strings.Split("\n"+markdown, "\n## ") {
		title, body, _ := strings.Cut(section, "\n")
		var entries []string
		for line := range strings.Lines(body) {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
				entries = append(entries, wrap("* "+text, "  ", "    ", 78))
			}
		}
		if i == 0 || len(entries) == 0 {
			continue
		}
		if b.Len() > 0 {
			m := released.FindStringSubmatch(title)
			if m == nil {
				return "", fmt.Errorf("CHANGELOG.md: the heading %q is not as \"1.2.3 / 2027-01-31\"", title)
			}
			day, err := time.Parse(time.DateOnly, m[2])
			if err != nil {
				return "", fmt.Errorf("CHANGELOG.md: the heading %q: %w", title, err)
			}
			version, date = m[1], day
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s (%s) unstable; urgency=medium\n\n%s\n\n -- %s  %s\n", name, version, strings.Join(entries, "\n"), maintainer, date.Format(time.RFC1123Z))
	}
	if b.Len() == 0 {
		return "", errors.New("CHANGELOG.md has no entries")
	}
	return b.String(), nil
}

// wrap breaks a text between words. A word that is longer than a line has one of its own.
func wrap(text, first, others string, width int) string {
	var b strings.Builder
	line := first
	for _, word := range strings.Fields(text) {
		switch {
		case strings.TrimSpace(line) == "":
			line += word
		case len([]rune(line))+1+len([]rune(word)) > width:
			b.WriteString(line + "\n")
			line = others + word
		default:
			line += " " + word
		}
	}
	return b.String() + line
}
