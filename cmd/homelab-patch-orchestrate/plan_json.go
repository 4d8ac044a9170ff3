package main

import (
	"errors"
	"os"
	"time"

	"homelab-patch-orchestrate/internal/report"
	"homelab-patch-orchestrate/internal/tracker"
	"homelab-patch-orchestrate/orchestrator"
)

// planJSON is what `plan --json` prints.
type planJSON struct {
	Version    int        `json:"version"`
	Run        string     `json:"run"` // id of the dry run: its folder has what Ansible printed
	Made       time.Time  `json:"made"`
	Controller string     `json:"controller"`
	Waves      []planWave `json:"waves"`
	Notes      []string   `json:"notes"`
}

type planWave struct {
	Number int        `json:"number"`
	Hosts  []planHost `json:"hosts"`
}

// planHost is what a run would do to one host. With a problem there is nothing else.
type planHost struct {
	Name         string                         `json:"name"`
	Problem      string                         `json:"problem,omitempty"` // why it is not planned: held, unreachable, ...
	Suite        string                         `json:"suite,omitempty"`
	Architecture string                         `json:"architecture,omitempty"`
	ListsAge     float64                        `json:"lists_age_seconds"`
	Download     int64                          `json:"download_size"` // bytes; -1 if a part of it is not known
	Packages     []planPackage                  `json:"packages"`
	Held         []orchestrator.HeldPackage     `json:"held_packages"`
	KeptBack     []orchestrator.KeptBack        `json:"kept_back"`
	Excluded     []orchestrator.Package         `json:"excluded"`
	Conffiles    []orchestrator.ConffilePrompt  `json:"conffile_prompts"`
	Services     []orchestrator.ServiceForecast `json:"services_forecast"`
	Reboot       string                         `json:"reboot"` // why one is coming; empty if none is
	Warnings     []string                       `json:"warnings"`
}

type planPackage struct {
	orchestrator.Package
	// Advisories is what the upgrade mends, by the local copy of the security tracker; null is unknown.
	Advisories []string `json:"advisories"`
}

// planOf makes a plan of a dry run. Without a copy of the tracker at the path it says of no package what it mends.
func planOf(r orchestrator.Report, trackerFile string) planJSON {
	p := planJSON{Version: 1, Run: r.ID, Made: r.Started, Controller: r.Controller, Notes: append([]string{}, r.Notes...)}
	issues, err := loadTracker(r, trackerFile)
	if err != nil {
		p.Notes = append(p.Notes, "what upgrades mend is not known: "+err.Error())
	}
	for _, w := range r.Waves {
		pw := planWave{Number: w.Number}
		for _, h := range w.Hosts {
			if h.Outcome != orchestrator.Unchanged || h.Patch == nil {
				problem := report.Note(h, w)
				if h.Outcome == orchestrator.Unchanged {
					problem = "its playbook does not say what it would do"
				}
				pw.Hosts = append(pw.Hosts, planHost{Name: h.Name, Problem: string(h.Outcome) + ": " + problem})
				continue
			}
			pw.Hosts = append(pw.Hosts, hostPlan(h.Name, *h.Patch, issues))
		}
		p.Waves = append(p.Waves, pw)
	}
	return p
}

func hostPlan(name string, p orchestrator.Patch, issues *tracker.Tracker) planHost {
	h := planHost{Name: name, Suite: p.Suite, Architecture: p.Architecture, ListsAge: p.ListsAge, Held: p.HeldPackages, KeptBack: p.KeptBack,
		Excluded: p.Excluded, Conffiles: p.ConffilePrompts, Services: p.ServicesForecast, Reboot: p.RebootForecast, Warnings: p.Warnings,
		Packages: []planPackage{}}
	for _, k := range p.Packages {
		pp := planPackage{Package: k}
		if issues != nil && k.Source != "" && k.From != "" {
			pp.Advisories = issues.Fixed(p.Suite, k.Source, k.From, k.SourceVersion)
		}
		h.Packages = append(h.Packages, pp)
		switch {
		case k.Size < 0 || h.Download < 0:
			h.Download = -1
		default:
			h.Download += k.Size
		}
	}
	return h
}

// loadTracker reads what the local copy has of the packages; nil without one.
func loadTracker(r orchestrator.Report, path string) (*tracker.Tracker, error) {
	var sources []string
	for _, c := range r.Changes() {
		if c.Source != "" {
			sources = append(sources, c.Source)
		}
	}
	t, err := tracker.Load(path, sources)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return t, err
}
