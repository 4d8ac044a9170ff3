package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Markdown writes the report for a chat, a ticket or a wiki that knows tables. Times are on the clock of the zone. What
// hosts said stands in code, where nothing is markup, a mention or a link.
func (r Report) Markdown(w io.Writer, zone *time.Location) error {
	var b strings.Builder
	p := page{Report: r, Timeline: r.timeline(zone), zone: zone}
	fmt.Fprintf(&b, "# Patching %s: %s\n\n", Escape(p.What()), r.State)
	if why := p.Why(); why != "" {
		fmt.Fprintf(&b, "%s\n\n", Escape(why))
	}
	var figures []string
	for _, f := range p.Figures() {
		figures = append(figures, fmt.Sprintf("**%d** %s", f.N, Escape(f.Word)))
	}
	fmt.Fprintf(&b, "%s\n\n%s. Run %s", strings.Join(figures, " · "), p.When(), code(r.ID))
	if r.ExitCode != nil {
		fmt.Fprintf(&b, ", exit code %d", *r.ExitCode)
	}
	b.WriteString(".\n")

	failures, stops := p.Failures(), p.Stops()
	if len(failures)+len(stops) > 0 {
		b.WriteString("\n## What went wrong\n")
	}
	for _, s := range stops {
		fmt.Fprintf(&b, "\n%s\n", Escape(s))
	}
	for _, f := range failures {
		fmt.Fprintf(&b, "\n### %s: %s, wave %d\n", Escape(f.Host), Escape(f.Outcome), f.Wave)
		if f.Task != "" {
			fmt.Fprintf(&b, "\nTask %s", code(f.Task))
			if f.Path != "" {
				fmt.Fprintf(&b, ", %s", code(f.Path))
			}
			b.WriteByte('\n')
		}
		b.WriteString(fence(f.Why))
		if f.Excerpt != f.Why {
			b.WriteString(fence(f.Excerpt))
		}
	}
	if n := p.FailuresLeft(); n > 0 {
		fmt.Fprintf(&b, "\nAnd %d more: they are in the table of hosts.\n", n)
	}

	var rows [][]string
	for _, s := range p.Spans() {
		rows = append(rows, []string{s.Name, s.State, Escape(s.Hosts), s.Began, s.Took, s.Pause})
	}
	table(&b, "Waves", []string{"Wave", "State", "Hosts", "Began", "Took", "Then waited"}, rows)
	rows = nil
	for _, l := range p.Lines() {
		rows = append(rows, []string{Escape(l.Host), Escape(l.Outcome), fmt.Sprint(l.Wave), l.Packages, Escape(l.Reboot), l.Took, code(l.Note)})
	}
	table(&b, "Hosts", []string{"Host", "Outcome", "Wave", p.PackagesTitle(), "Reboot", "Took", "Note"}, rows)
	rows = nil
	for _, c := range p.Changes() {
		security := ""
		if c.Security {
			security = "security"
		}
		on := c.On
		if len(c.Hosts) > 0 {
			on += ": " + strings.Join(some(c.Hosts, 12), ", ")
		}
		rows = append(rows, []string{code(c.Name), code(c.From), code(c.To), security, Escape(on)})
	}
	if n := p.ChangesLeft(); n > 0 {
		rows = append(rows, []string{fmt.Sprintf("and %d more", n), "", "", "", ""})
	}
	table(&b, "Packages", []string{"Package", "From", "To", "", "On"}, rows)
	rows = nil
	for _, a := range p.Answers() {
		said := "yes"
		if !a.OK {
			said = "**no** " + code(a.Reason)
		}
		rows = append(rows, []string{Escape(a.Gate), Escape(a.When), a.At, said})
	}
	table(&b, "Gates", []string{"Gate", "Asked", "At", "Answer"}, rows)
	if notes := p.Remarks(); len(notes) > 0 {
		b.WriteString("\n## Notes\n\n")
		for _, n := range notes {
			fmt.Fprintf(&b, "- %s\n", Escape(n))
		}
	}
	_, err := io.WriteString(w, seal(b.String()))
	return err
}

// table writes one with a heading, unless it is empty.
func table(b *strings.Builder, title string, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| %s |\n|%s\n", title, strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

// Escape takes the meaning from what Markdown, or HTML in it, would read as markup, and puts it on one line.
func Escape(s string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(s, "\n", " ") {
		switch {
		case r == '<':
			b.WriteString("&lt;")
			continue
		case r == '&':
			b.WriteString("&amp;")
			continue
		case r == '@': // of a mention
			b.WriteString("&#64;")
			continue
		case strings.ContainsRune("\\`*_[]>#|~!", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return strings.ReplaceAll(b.String(), "://", ":&#47;/") // a URL of a host's is no link of ours
}

// code is a text in code, on one line, also within a table; "" stays empty.
func code(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`)
	if s == "" {
		return ""
	}
	ticks := strings.Repeat("`", longest(s)+1)
	return ticks + " " + s + " " + ticks
}

// fence is a text as a block of code; "" has none.
func fence(s string) string {
	if s == "" {
		return ""
	}
	ticks := strings.Repeat("`", max(3, longest(s)+1))
	return "\n" + ticks + "\n" + s + "\n" + ticks + "\n"
}

// longest is how many backticks stand in a row at most.
func longest(s string) int {
	most, n := 0, 0
	for _, r := range s {
		if n++; r != '`' {
			n = 0
		}
		most = max(most, n)
	}
	return most
}
