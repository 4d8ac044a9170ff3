//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Page is a page of docs/, as somebody works through it.
type Page struct {
	t      testing.TB
	name   string
	blocks map[string]string // what is marked sh, by its heading
	fenced []string          // every line of a block, marked or not
	swap   *strings.Replacer
}

// OpenPage reads docs/NAME. Whoever reads a page has other addresses than it: swap is pairs of texts, of which the second
// takes the place of the first.
func OpenPage(t testing.TB, name string, swap ...string) *Page {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{t: t, name: name, blocks: map[string]string{}, swap: strings.NewReplacer(swap...)}
	heading, inside, marked := "", false, false
	for line := range strings.Lines(string(text)) {
		switch {
		case !inside && strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case strings.HasPrefix(line, "```"):
			inside, marked = !inside, line == "```sh\n"
		case inside:
			p.fenced = append(p.fenced, strings.TrimSuffix(line, "\n"))
			if marked {
				p.blocks[heading] += line
			}
		}
	}
	return p
}

// Commands is every line of the page's blocks that calls a program.
func (p *Page) Commands(program string) (lines []string) {
	for _, line := range p.fenced {
		if strings.HasPrefix(line, program+" ") {
			lines = append(lines, p.swap.Replace(line))
		}
	}
	return lines
}

// Script is all lines below a heading that a shell can run, in their order; more pairs of texts are for this heading.
func (p *Page) Script(heading string, swap ...string) string {
	p.t.Helper()
	script := p.blocks[heading]
	if script == "" {
		p.t.Fatalf("docs/%s has nothing to run below %q", p.name, heading)
	}
	return strings.NewReplacer(swap...).Replace(p.swap.Replace(script))
}
