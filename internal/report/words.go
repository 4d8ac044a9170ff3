package report

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// sequences are what a terminal obeys: colours, cursor, titles.
var sequences = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|.)`)

// plain takes out of a text what nobody sees and something might obey. Its lines stay.
func plain(s string) string {
	s = sequences.ReplaceAllString(strings.ToValidUTF8(s, "�"), "")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t' || r == '\r' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.Is(unicode.C, r): // controls, and those of the direction of writing
			return -1
		}
		return r
	}, s))
}

// seal is the last look at a text that is written: whatever it was made of, no control and no change of direction is in it.
func seal(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.Is(unicode.C, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// plainLine is plain on one line, at most n characters.
func plainLine(s string, n int) string { return cut(strings.Join(strings.Fields(plain(s)), " "), n) }

// cut shortens a text to n characters, and says so.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// lastLines returns at most n lines of the end of a text, each at most 500 characters.
func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	if more := len(lines) - n; more > 0 {
		lines = append([]string{fmt.Sprintf("… (%s before)", count(more, "line"))}, lines[more:]...)
	}
	for i := range lines {
		lines[i] = cut(lines[i], 500)
	}
	return strings.Join(lines, "\n")
}

// Reboot says in a few words what there is to know of a host's reboot; "" if nothing is.
func Reboot(h orchestrator.HostReport) string {
	switch {
	case h.Patch == nil:
		return ""
	case h.Patch.Rebooted && h.Patch.RebootRequired:
		return "done, again required"
	case h.Patch.Rebooted:
		return "done"
	case h.Patch.RebootForecast != "":
		return h.Patch.RebootForecast
	case h.Patch.RebootRequired:
		return "required"
	}
	return "no"
}

// Note is the one thing to know about a host of a wave; "" if there is none.
func Note(h orchestrator.HostReport, w orchestrator.WaveReport) string {
	switch {
	case h.Message != "" && h.Task != "" && h.Patch == nil:
		return h.Task + ": " + h.Message
	case h.Message != "":
		return h.Message
	case h.Patch != nil && h.Patch.Hold != nil:
		return h.Patch.Hold.Reason
	case h.Patch != nil && len(h.Patch.Warnings) > 0:
		return h.Patch.Warnings[0]
	case h.Patch != nil && h.Patch.RebootRequired:
		return strings.Join(h.Patch.RebootReasons, ", ")
	case h.Outcome == orchestrator.HostNotAttempted:
		return w.Reason
	}
	return ""
}

// note is Note for a line of a page or a table.
func note(h orchestrator.HostReport, w orchestrator.WaveReport) string {
	return plainLine(runner.Unquoted(Note(h, w)), 240)
}

// excerpt is what the host itself said last about why it failed, as the role published it.
func excerpt(h orchestrator.HostReport) string {
	if h.Patch == nil || h.Patch.Failure == nil {
		return ""
	}
	return lastLines(plain(runner.Unquoted(h.Patch.Failure.Detail)), 24)
}

// why is the reason that the host or its task gave, in lines.
func why(h orchestrator.HostReport) string { return lastLines(plain(runner.Unquoted(h.Message)), 12) }

// word is how an outcome is written.
func word(o orchestrator.Outcome) string {
	if o == orchestrator.Undecided {
		return "undecided"
	}
	return string(o)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// elapsed is a time as people say it: 42 s, 3:07 min, 1:02:03 h.
func elapsed(d time.Duration) string {
	s := int(max(0, d).Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d:%02d min", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d h", s/3600, s/60%60, s%60)
}

// outcomes is the order in which outcomes are shown: what needs somebody first.
func outcomes() []orchestrator.Outcome {
	return []orchestrator.Outcome{
		orchestrator.HostFailed, orchestrator.HostUnreachable, orchestrator.HostInterrupted, orchestrator.HostNotAttempted,
		orchestrator.Undecided, orchestrator.Held, orchestrator.Patched, orchestrator.Unchanged,
	}
}
