package notify

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// ellipsis ends what was cut.
const ellipsis = " … (cut)"

// units is the length of a text as Discord may count it at most: in UTF-16, where an emoji is two.
func units(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// octets is the length of a text as ntfy counts it.
func octets(s string) int { return len(s) }

// cut shortens a text to at most limit, as measured by size, between two characters, and says that it did.
func cut(s string, limit int, size func(string) int) string {
	if size(s) <= limit {
		return s
	}
	end := ellipsis
	if size(end) > limit {
		end = ""
	}
	room := limit - size(end)
	for i, r := range s {
		if room -= size(string(r)); room < 0 {
			return strings.TrimRightFunc(s[:i], unicode.IsSpace) + end
		}
	}
	return s
}

// tidy makes a text valid UTF-8 without control characters, tabs and line ends excepted.
func tidy(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == utf8.RuneError, unicode.IsControl(r):
			return -1
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // they turn the text around
			return -1
		}
		return r
	}, s)
}

// line is tidy for what must be one line.
func line(s string) string { return strings.Join(strings.Fields(tidy(s)), " ") }

// reachable returns the links that a channel may show.
func reachable(links []Link, longest int) []Link {
	var good []Link
	for _, l := range links {
		u, err := url.Parse(l.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || len(l.URL) > longest ||
			line(l.Label) == "" {
			continue
		}
		good = append(good, Link{Label: line(l.Label), URL: u.String()})
	}
	return good
}
