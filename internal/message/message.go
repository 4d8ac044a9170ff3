// Package message puts what happens to a fleet into words for people: who hears of it, how loud, and what to do next.
//
//	n := message.Summary(report, before, links)
//	if n.Wanted(send) {
//		err := outbox.Put(n.Message, n.Channels()...)
//	}
//
// It decides nothing about a run. Every list in a message is bounded, so that one about 3,000 hosts is as short as one
// about three; what is left out is counted.
package message

import (
	"fmt"
	"strings"
	"time"

	"homelab-patch-orchestrate/notify"
	"homelab-patch-orchestrate/orchestrator"
)

// The names of the channels.
const (
	Discord   = "discord"
	Ntfy      = "ntfy"
	Heartbeat = "heartbeat"
)

// runbook is the page for a run that failed.
const runbook = "OSPatchOrchestrateFailed"

// Kind is what a notice is about.
type Kind string

// Kinds of notices.
const (
	Nothing     Kind = "nothing"     // a run that found nothing to do, or a hold at its start
	Success     Kind = "success"     // a run that changed something, and went well
	Failure     Kind = "failure"     // a run that lost a host, was halted, or could not be carried out
	Recovered   Kind = "recovered"   // the first full run that went well after one that did not
	Interrupted Kind = "interrupted" // a run that somebody stopped, or that died
	Resumed     Kind = "resumed"     // a run that a later process goes on with
	Reboot      Kind = "reboot"      // hosts are about to restart
)

// Send says which summaries are sent. Announcements of reboots always are.
type Send string

// What may be sent.
const (
	Always  Send = "always"  // after every run, one quiet line if there was nothing to do
	Change  Send = "change"  // when something changed or went wrong
	Failing Send = "failure" // when something went wrong, and when that is over
)

// Links are where the buttons of a message lead. An empty one has no button.
type Links struct {
	Grafana string // base URL; the dashboard has a path of its own
	Runbook string // base URL of docs/runbooks
	ARA     string // base URL
}

// Notice is a message, and what it is about.
type Notice struct {
	Kind    Kind
	Message notify.Message
}

// Channels returns who hears of it: Discord of everything, ntfy of what may have to wake somebody, and of its end.
func (n Notice) Channels() []string {
	switch n.Kind {
	case Nothing, Success:
		return []string{Discord}
	}
	return []string{Discord, Ntfy}
}

// Wanted reports whether it is sent.
func (n Notice) Wanted(s Send) bool {
	switch {
	case s == Change:
		return n.Kind != Nothing
	case s == Failing:
		return n.Kind != Nothing && n.Kind != Success
	}
	return true
}

// buttons are the links of a message: the runbook first where there is something to do.
func (l Links) buttons(page string) []notify.Link {
	var links []notify.Link
	if page != "" {
		links = append(links, notify.Link{Label: "Runbook", URL: under(l.Runbook, page+".md")})
	}
	return append(links, notify.Link{Label: "Dashboard", URL: under(l.Grafana, "d/homelab-patching")}, notify.Link{Label: "ARA", URL: l.ARA})
}

// under joins a base URL and a path; an empty base stays empty, and has no button.
func under(base, path string) string {
	if base == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/" + path
}

// Reboots is about hosts that are about to restart.
func Reboots(run string, hosts []Host, l Links) Notice {
	var names []string
	for _, h := range hosts {
		names = append(names, h.Host)
	}
	m := notify.Message{
		Ref: run, Time: time.Now().UTC(), Level: notify.Info, Title: "Rebooting " + few(names, 3), Links: l.buttons(""),
	}
	var lines []string
	for _, h := range hosts {
		s := h.Host
		if h.Packages > 0 {
			s += fmt.Sprintf(", %s upgraded", packages(h.Packages))
		}
		if len(h.Reasons) > 0 {
			s += ": " + few(h.Reasons, 3)
		}
		lines = append(lines, s)
	}
	m.Text = "After its upgrade, now:\n" + strings.Join(some(lines, 20), "\n")
	if run == "" {
		m.Text = "After an upgrade by hand, now:\n" + strings.Join(some(lines, 20), "\n")
	}
	return Notice{Reboot, m}
}

// Host is one that is about to restart.
type Host struct {
	Host     string   `json:"host"`
	Reasons  []string `json:"reasons"`
	Packages int      `json:"packages"` // that its upgrade changed
}

// Refused is about a run that never began: nothing was touched. kind says why: [Failure], [Interrupted], or [Nothing]
// for a hold. run is its id; empty if it has none.
func Refused(kind Kind, run, reason string, l Links) Notice {
	m := notify.Message{Ref: run, Time: time.Now().UTC(), Text: reason}
	switch kind {
	case Nothing:
		m.Level, m.Title, m.Links = notify.Quiet, "Not patched: held", l.buttons("")
	case Interrupted:
		m.Level, m.Title, m.Links = notify.Info, "Patching was stopped before it began", l.buttons("")
	default:
		m.Level, m.Title, m.Links = notify.Critical, "Patching did not begin", l.buttons(runbook)
		m.Fields = []notify.Field{{Name: "Not touched", Value: "every host"}, {Name: "What to do",
			Value: "Mend what is named above, then see what homelab-patch-orchestrate run --check says."}}
	}
	return Notice{kind, m}
}

// Unreadable is about a run whose process has ended and whose journal cannot be read: what it did is not known.
func Unreadable(reason string, l Links) Notice {
	return Notice{Failure, notify.Message{
		Time: time.Now().UTC(), Level: notify.Critical, Title: "What the last run did is not known", Text: reason, Links: l.buttons(runbook),
		Fields: []notify.Field{{Name: "What to do", Value: "Run again: what a host has done it says itself, and does not do twice."}},
	}}
}

// Closed is about a run that did not begin because it is outside the window, or in a blackout.
func Closed(reason string, l Links) Notice {
	return Notice{Nothing, notify.Message{
		Time: time.Now().UTC(), Level: notify.Quiet, Title: "Not patched: not now", Text: reason, Links: l.buttons(""),
	}}
}

// Test checks a channel.
func Test(l Links) Notice {
	return Notice{Success, notify.Message{
		Time: time.Now().UTC(), Level: notify.Info, Title: "Test message",
		Text:   "homelab-patch-orchestrate can reach this channel. Buttons and links below lead where those of real messages do.",
		Fields: []notify.Field{{Name: "What to do", Value: "Nothing."}}, Links: l.buttons(runbook),
	}}
}

// Resume is about a run that a later process goes on with, from the waves it had left.
func Resume(r orchestrator.Report, l Links) Notice {
	left := 0
	for _, w := range r.Waves {
		if !w.State.Final() {
			left++
		}
	}
	return Notice{Resumed, notify.Message{
		Ref: r.ID, Time: time.Now().UTC(), Level: notify.Info, Title: "Patching goes on",
		Text:  fmt.Sprintf("Run %s was cut short and is resumed; waves left: %d.", r.ID, left),
		Links: l.buttons(""),
	}}
}

// few names the first n, and counts the others.
func few(names []string, n int) string { return strings.Join(some(names, n), ", ") }

// some returns the first n lines, and one that counts the others.
func some(lines []string, n int) []string {
	if len(lines) <= n {
		return lines
	}
	return append(lines[:n:n], fmt.Sprintf("and %d more", len(lines)-n))
}

func packages(n int) string { return count(n, "package") }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
