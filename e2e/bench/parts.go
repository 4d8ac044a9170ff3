package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// figuresFile keeps what each part measured, so that one part can be measured anew and the page stays whole.
const figuresFile = "docs/benchmarks.json"

// kept is what a part measured, as it is on disk.
type kept struct {
	Machine []string          `json:"machine"`
	Rows    map[string][]line `json:"rows"` // by section of the page
	Spent   []string          `json:"spent,omitempty"`
	Broken  []string          `json:"broken,omitempty"`
}

type line struct {
	Cells   string `json:"cells"`
	Meaning string `json:"meaning"`
}

// sections are the tables of the page.
func (p *page) sections() map[string]*[]row {
	return map[string]*[]row{"costs": &p.costs, "figures": &p.figures, "hosts": &p.hosts}
}

// keep writes what the named part measured, and the page of all parts.
func keep(parts []part, name string, p *page) error {
	all := map[string]kept{}
	if text, err := os.ReadFile(figuresFile); err == nil {
		if err := json.Unmarshal(text, &all); err != nil {
			return fmt.Errorf("%s: %w", figuresFile, err)
		}
	}
	k := kept{Machine: p.machine, Rows: map[string][]line{}, Spent: p.spent}
	for section, rows := range p.sections() {
		for _, r := range *rows {
			k.Rows[section] = append(k.Rows[section], line{r.cells, r.meaning})
		}
	}
	for _, err := range p.broken {
		k.Broken = append(k.Broken, err.Error())
	}
	all[name] = k
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(figuresFile, append(text, '\n'), 0o644), os.WriteFile("docs/benchmarks.md", []byte(whole(parts, all).text()), 0o644))
}

// whole is the page of all parts, in their order.
func whole(parts []part, all map[string]kept) *page {
	w := &page{}
	var when []string // and on what parts were measured
	who := map[string][]string{}
	for _, part := range parts {
		k := all[part.name]
		if measured := strings.Join(k.Machine, "; "); len(k.Machine) > 0 {
			if !slices.Contains(when, measured) {
				when = append(when, measured)
			}
			who[measured] = append(who[measured], part.name)
		}
		for section, rows := range w.sections() {
			for _, l := range k.Rows[section] {
				*rows = append(*rows, row{l.Cells, l.Meaning})
			}
		}
		w.spent = append(w.spent, k.Spent...)
		for _, said := range k.Broken {
			w.broken = append(w.broken, errors.New(said))
		}
	}
	for _, measured := range when {
		w.machine = append(w.machine, "Parts "+strings.Join(who[measured], ", ")+": "+measured)
	}
	return w
}

// chosen are the parts of these names; all of them if there is no name.
func chosen(parts []part, args []string) ([]part, error) {
	if len(args) == 0 {
		return parts, nil
	}
	var some []part
	for _, name := range args {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q; the parts are %s", name, names(parts))
		}
		some = append(some, parts[i])
	}
	return some, nil
}

// names of parts, for who mistypes one.
func names(parts []part) string {
	var all []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	return strings.Join(all, " ")
}
