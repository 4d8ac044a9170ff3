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

// part is what can be measured by itself.
type part struct {
	name    string
	measure func(*page) error
}

// kept is what a part measured, as it is on disk.
type kept struct {
	Machine []string `json:"machine"`
	Costs   []line   `json:"costs,omitempty"`
	Figures []line   `json:"figures,omitempty"`
	Broken  []string `json:"broken,omitempty"`
}

type line struct {
	Cells   string `json:"cells"`
	Meaning string `json:"meaning"`
}

// keep writes what the named part measured, and the page of all parts.
func keep(parts []part, name string, p *page) error {
	all := map[string]kept{}
	if text, err := os.ReadFile(figuresFile); err == nil {
		if err := json.Unmarshal(text, &all); err != nil {
			return fmt.Errorf("%s: %w", figuresFile, err)
		}
	}
	k := kept{Machine: p.machine}
	for _, r := range p.costs {
		k.Costs = append(k.Costs, line{r.cells, r.meaning})
	}
	for _, r := range p.figures {
		k.Figures = append(k.Figures, line{r.cells, r.meaning})
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
	for _, part := range parts {
		k, ok := all[part.name]
		if !ok {
			continue
		}
		for _, l := range k.Machine {
			if !slices.Contains(w.machine, l) {
				w.machine = append(w.machine, l)
			}
		}
		for _, l := range k.Costs {
			w.costs = append(w.costs, row{l.Cells, l.Meaning})
		}
		for _, l := range k.Figures {
			w.figures = append(w.figures, row{l.Cells, l.Meaning})
		}
		for _, said := range k.Broken {
			w.broken = append(w.broken, errors.New(said))
		}
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
