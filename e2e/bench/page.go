package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// page becomes docs/benchmarks.md.
type page struct {
	machine []string
	costs   []row
	figures []row
	hosts   []row
	spent   []string // profiles, as blocks
	broken  []error
}

// row is one line of a table, and what it means.
type row struct{ cells, meaning string }

// A promise may be that a figure is at most, or at least, some other.
const (
	atMost  = -1
	atLeast = 1
)

// cost adds CPU time of ours against a peer's. The ratio must be at most most,
// unless that is 0.
func (p *page) cost(ours, peer string, a, b []cost, most float64, meaning string) {
	ratio := over(cpu(a), cpu(b))
	side := 0
	if most > 0 {
		side = atMost
	}
	p.costs = append(p.costs, row{
		fmt.Sprintf("| %s ÷ %s | %.2f s | %.2f s | **%.3f** | %.3f … %.3f | %s | %.3f | %d |", ours, peer,
			spreadOf(cpu(a)).median, spreadOf(cpu(b)).median, ratio.median, ratio.low, ratio.high,
			p.promise(ours+" ÷ "+peer, ratio.median, side, most), over(wall(a), wall(b)).median, len(a)),
		meaning,
	})
}

// figure adds any other figure.
func (p *page) figure(what, unit string, s []float64, side int, bound float64, meaning string) {
	f := spreadOf(s)
	p.figures = append(p.figures, row{
		fmt.Sprintf("| %s | **%s** %s | %s … %s | %s | %d |", what, number(f.median), unit, number(f.low), number(f.high),
			p.promise(what, f.median, side, bound), len(s)),
		meaning,
	})
}

// fleet adds a figure of ours against a peer's on booted hosts. The ratio must be at most most, unless that is 0.
func (p *page) fleet(what, unit string, a, b []float64, most float64, meaning string) {
	ratio, side := over(a, b), atMost
	if most == 0 {
		side = 0
	}
	p.hosts = append(p.hosts, row{
		fmt.Sprintf("| %s | %s %s | %s %s | **%.2f** | %.2f … %.2f | %s | %d |", what, number(spreadOf(a).median), unit,
			number(spreadOf(b).median), unit, ratio.median, ratio.low, ratio.high, p.promise(what, ratio.median, side, most), len(a)),
		meaning,
	})
}

// profile adds where time went, beside the figures that it explains.
func (p *page) profile(what, text string) {
	p.spent = append(p.spent, fmt.Sprintf("\nWhere time went, %s:\n\n```\n%s\n```\n", what, strings.TrimSpace(text)))
}

// promise says what was promised of a median, and remembers if it is not kept.
func (p *page) promise(what string, median float64, side int, bound float64) string {
	if side == 0 {
		return ""
	}
	sign := "≤"
	if side == atLeast {
		sign = "≥"
	}
	said := fmt.Sprintf("%s %s", sign, number(bound))
	if side == atMost && median > bound || side == atLeast && median < bound {
		p.broken = append(p.broken, fmt.Errorf("%s: %s, promised %s", what, number(median), said))
		said += ", **missed**"
	}
	return said
}

func (p *page) judge() error { return errors.Join(p.broken...) }

// number prints three digits or more.
func number(f float64) string {
	switch {
	case f >= 1000:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

func format(s spread) string {
	return fmt.Sprintf("%s (%s … %s)", number(s.median), number(s.low), number(s.high))
}

func (p *page) text() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench`; what is compared is measured in one run, in turns, so that what else the machine did met all\n" +
		"sides. Medians; low … high are of the rounds. Wall time is judged only where it says so.\n\n")
	for _, line := range p.machine {
		b.WriteString("- " + line + "\n")
	}
	b.WriteString("\n## CPU time\n\nUser and system time of a process and of all that it waited for; a cgroup's count differed by less than a\n" +
		"thousandth.\n\n" +
		"| | ours | peer | ratio | low … high | promised | wall ratio | rounds |\n|---|---|---|---|---|---|---|---|\n")
	table(&b, p.costs)
	b.WriteString("\n## Our own process\n\n| | median | low … high | promised | rounds |\n|---|---|---|---|---|\n")
	table(&b, p.figures)
	b.WriteString("\n## The role, on booted hosts\n\nHosts of [the lab](../e2e/README.md), all on this one machine: what hosts do for their packages and what the\n" +
		"controller does share its cores. Wall time is judged here.\n\n" +
		"| | ours | peer | ratio | low … high | promised | rounds |\n|---|---|---|---|---|---|---|\n")
	table(&b, p.hosts)
	for _, block := range p.spent {
		b.WriteString(block)
	}
	return b.String()
}

func table(b *strings.Builder, rows []row) {
	for _, r := range rows {
		b.WriteString(r.cells + "\n")
	}
	b.WriteString("\n")
	for _, r := range rows {
		what, _, _ := strings.Cut(strings.TrimPrefix(r.cells, "| "), " |")
		fmt.Fprintf(b, "- **%s**: %s\n", what, r.meaning)
	}
}

// machine says what was measured, and on what.
func machine() []string {
	goAnsible := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/apenella/go-ansible/v2" {
				goAnsible = m.Version
			}
		}
	}
	_, cpuinfo, _ := strings.Cut(read("/proc/cpuinfo"), "model name")
	model, _, _ := strings.Cut(cpuinfo, "\n")
	_, name, _ := strings.Cut(read("/etc/os-release"), `PRETTY_NAME="`)
	name, _, _ = strings.Cut(name, `"`)
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	return []string{
		"Commit " + said("git", "describe", "--always", "--dirty", "--exclude=*") + ", " + time.Now().UTC().Format("2006-01-02"),
		fmt.Sprintf("%d cores, %s; load before: %s", runtime.NumCPU(), strings.TrimLeft(model, "\t: "), load),
		fmt.Sprintf("%s; %s; ansible-core %s, python3-ansible-runner %s, ansible %s (its ansible.posix.json), go-ansible %s",
			name, runtime.Version(), debian("ansible-core"), debian("python3-ansible-runner"), debian("ansible"), goAnsible),
	}
}

func read(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

func said(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func debian(pkg string) string { return said("dpkg-query", "-W", "-f", "${Version}", pkg) }
