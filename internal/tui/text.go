package tui

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// Paint colours a state or an outcome: green is well, yellow wants a look, red
// is not well. Without color the word stays as it is.
func Paint(color bool, word string) string {
	code := ""
	switch word {
	case "passed", "patched", "unchanged":
		code = "32"
	case "held", "soaking", "interrupted", "not-attempted", "awaiting-reboot":
		code = "33"
	case "failed", "halted", "unreachable":
		code = "31"
	}
	if !color || code == "" {
		return word
	}
	return "\x1b[" + code + "m" + word + "\x1b[0m"
}

// Elapsed is a duration as a clock shows it: 0:07, 12:34, 1:02:03.
func Elapsed(d time.Duration) string {
	s := int(max(0, d).Seconds())
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// Line makes of s one line of at most n columns that a terminal can take.
func Line(s string, n int) string { return cut(oneLine(s), n) }

// oneLine keeps a terminal safe from what a host printed: nothing that it
// would obey, that turns the direction of writing, that terminals disagree on
// how wide to draw, or that is drawn over the lines above.
func oneLine(s string) string {
	marks := 0
	return strings.Map(func(r rune) rune {
		if !unicode.In(r, unicode.Mn, unicode.Me) {
			marks = 0
		} else if marks++; marks > 2 {
			return -1
		}
		switch {
		case r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100: // variation selectors; private use
			return -1
		case r == unicode.ReplacementChar, !unicode.IsGraphic(r):
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
}

// cut shortens s to at most n columns and says that it did.
func cut(s string, n int) string {
	if n < 1 {
		return ""
	}
	return ansi.TruncateWc(s, n, "…")
}

// pad cuts or fills s to exactly n columns.
func pad(s string, n int) string {
	s = cut(s, n)
	return s + strings.Repeat(" ", max(0, n-ansi.StringWidthWc(s)))
}

// plural is "1 host" or "3 hosts".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
