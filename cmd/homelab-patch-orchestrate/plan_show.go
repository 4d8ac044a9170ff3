package main

import (
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// planJSON is what `plan --json` prints.
type planJSON struct {
	Version    int        `json:"version"`
	Run        string     `json:"run"` // where its log is
	Made       time.Time  `json:"made"`
	Controller string     `json:"controller"`
	Waves      []planWave `json:"waves"`
	Notes      []string   `json:"notes"`
}

type planWave struct {
	Number int        `json:"number"`
	Hosts  []planHost `json:"hosts"`
}

type planHost struct {
	Name    string               `json:"name"`
	Problem string               `json:"problem,omitempty"` // why it could not be planned
	Size    int64                `json:"download_size"`     // bytes; -1 if a part of it is not known
	Plan    *orchestrator.Patch  `json:"plan"`              // nil if there is none
	Outcome orchestrator.Outcome `json:"outcome"`           // unchanged: it was planned
}

func planOf(r orchestrator.Report) planJSON {
	p := planJSON{Version: 1, Run: r.ID, Made: r.Started, Controller: r.Controller, Notes: append([]string{}, r.Notes...)}
	for _, w := range r.Waves {
		pw := planWave{Number: w.Number}
		for _, h := range w.Hosts {
			ph := planHost{Name: h.Name, Plan: h.Patch, Outcome: h.Outcome}
			if h.Outcome != orchestrator.Unchanged {
				ph.Problem = noteOf(h, w)
			} else if h.Patch != nil {
				for _, k := range h.Patch.Packages {
					if k.Size < 0 {
						ph.Size = -1
						break
					}
					ph.Size += k.Size
				}
			}
			pw.Hosts = append(pw.Hosts, ph)
		}
		p.Waves = append(p.Waves, pw)
	}
	return p
}

func (p *printer) plan(plan planJSON) error         { return p.json(plan) }
func (p *printer) planMarkdown(plan planJSON) error { return p.json(plan) }
