package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"homelab-patch-orchestrate/internal/report"
	"homelab-patch-orchestrate/internal/tui"
)

// planTable is rows under a heading.
type planTable struct {
	title string
	head  []string
	rows  [][]string
}

// plan prints a plan for people.
func (p *printer) plan(plan planJSON) error {
	for i, t := range plan.tables() {
		if i > 0 {
			fmt.Fprintf(p.out, "\n%s\n", t.title)
		}
		lines := table{}
		for n, row := range append([][]string{t.head}, t.rows...) {
			var cells []any
			for _, cell := range row {
				if n == 0 {
					cell = strings.ToUpper(cell)
				}
				cells = append(cells, tui.Line(cell, 120))
			}
			lines.row(cells...)
		}
		lines.print(p.out, "", p.width())
	}
	for _, n := range plan.Notes {
		fmt.Fprintf(p.out, "note: %s\n", clean(n))
	}
	_, err := fmt.Fprintf(p.out, "\n%s\n", plan.summary())
	return err
}

// planMarkdown prints it as Markdown, of which what hosts say is no part.
func (p *printer) planMarkdown(plan planJSON) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# What a run would do, %s\n\n%s\n", plan.Made.UTC().Format("2006-01-02 15:04 MST"), plan.summary())
	for _, t := range plan.tables() {
		fmt.Fprintf(&b, "\n## %s\n\n| %s |\n|%s\n", t.title, strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
		for _, row := range t.rows {
			for j := range row {
				row[j] = report.Escape(clean(row[j]))
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
	}
	for i, n := range plan.Notes {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- %s\n", report.Escape(clean(n)))
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

func (p planJSON) summary() string {
	planned, total, packages := 0, 0, 0
	download, unknown := int64(0), false
	for _, h := range p.hosts() {
		if total++; h.Problem != "" {
			continue
		}
		planned, packages = planned+1, packages+len(h.Packages)
		unknown = unknown || h.Download < 0
		for _, k := range h.Packages {
			download += max(0, k.Size)
		}
	}
	size := bytesOf(download)
	if unknown {
		size = "at least " + size
	}
	return fmt.Sprintf("planned %d of %d hosts, changed nothing; packages that would change: %d, to download: %s", planned, total, packages, size)
}

// hosts are those of all waves, each with the number of its wave.
func (p planJSON) hosts() (all []struct {
	wave int
	planHost
}) {
	for _, w := range p.Waves {
		for _, h := range w.Hosts {
			all = append(all, struct {
				wave int
				planHost
			}{w.Number, h})
		}
	}
	return all
}

// tables is all of a plan that is to be read; the first is of the hosts, and the rest are left out where they are empty.
func (p planJSON) tables() []planTable {
	hosts := planTable{title: "Hosts", head: []string{"wave", "host", "packages", "security", "download", "lists", "reboot", "note"}}
	left := planTable{title: "Left out", head: []string{"host", "package", "from", "to", "why"}}
	conf := planTable{title: "Conffiles that were changed here: yours stays", head: []string{"host", "package", "file", "new one beside it"}}
	services := planTable{title: "Services that use what is upgraded", head: []string{"host", "service", "by", "then"}}
	for _, h := range p.hosts() {
		if h.Problem != "" {
			hosts.rows = append(hosts.rows, []string{fmt.Sprint(h.wave), h.Name, "-", "-", "-", "-", "-", h.Problem})
			continue
		}
		security := 0
		for _, k := range h.Packages {
			if k.Security {
				security++
			}
		}
		age := tui.Elapsed(time.Duration(h.ListsAge) * time.Second)
		if h.ListsAge < 0 {
			age = "never"
		}
		hosts.rows = append(hosts.rows, []string{fmt.Sprint(h.wave), h.Name, fmt.Sprint(len(h.Packages)), fmt.Sprint(security), bytesOf(h.Download), age, cmp.Or(h.Reboot, "no"), strings.Join(h.Warnings, "; ")})
		for _, k := range h.Held {
			why := "held, and nothing newer waits"
			if k.Candidate != k.Installed && k.Candidate != "" {
				why = "held: apt-mark unhold " + k.Name
			}
			left.rows = append(left.rows, []string{h.Name, k.Name, k.Installed, k.Candidate, why})
		}
		for _, k := range h.KeptBack {
			left.rows = append(left.rows, []string{h.Name, k.Name, k.From, k.To, "kept back: " + k.Reason})
		}
		for _, k := range h.Excluded {
			left.rows = append(left.rows, []string{h.Name, k.Name, k.From, k.To, "patching_exclude names it"})
		}
		for _, c := range h.Conffiles {
			conf.rows = append(conf.rows, []string{h.Name, c.Package, c.Path, c.Expected})
		}
		for _, s := range h.Services {
			then := "is restarted"
			if !s.Restarted {
				then = "only a reboot replaces it"
			}
			services.rows = append(services.rows, []string{h.Name, s.Service, strings.Join(s.Packages, " "), then})
		}
	}
	all := []planTable{hosts}
	for _, t := range []planTable{p.changes(), left, conf, services} {
		if len(t.rows) > 0 {
			all = append(all, t)
		}
	}
	return all
}

// changes has each change once, with the hosts that have it.
func (p planJSON) changes() planTable {
	t := planTable{title: "Packages", head: []string{"package", "from", "to", "kind", "origin", "download", "mends", "hosts"}}
	index := map[string]int{}
	for _, h := range p.hosts() {
		for _, k := range h.Packages {
			kind, mends := "", "unknown"
			if k.Security {
				kind = "security"
			}
			if k.Advisories != nil {
				mends = cmp.Or(strings.Join(k.Advisories, " "), "none known")
			}
			if k.To == "" || k.From == "" {
				mends = ""
			}
			row := []string{k.Name, cmp.Or(k.From, "(new)"), cmp.Or(k.To, "(removed)"), kind, k.Origin, bytesOf(k.Size), mends}
			if k.To == "" {
				row[5] = ""
			}
			key := strings.Join(row, "\x00")
			i, known := index[key]
			if !known {
				i = len(t.rows)
				index[key] = i
				t.rows = append(t.rows, append(row, ""))
			}
			t.rows[i][7] = strings.TrimSpace(t.rows[i][7] + " " + h.Name)
		}
	}
	return t
}

// bytesOf is a size for people, in units of 1000 as apt has them.
func bytesOf(n int64) string {
	switch {
	case n < 0:
		return "unknown"
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1000_000)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1000_000_000)
}
