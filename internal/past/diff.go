package past

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Difference is what differs between two runs. From and To are of the first and of the second; a list is empty where
// nothing does.
type Difference struct {
	From     Summary          `json:"from"`
	To       Summary          `json:"to"`
	Settings []Changed        `json:"settings"` // by what they are called in the journal
	Waves    []WaveTimes      `json:"waves"`    // every wave of either
	Added    []string         `json:"hosts_added"`
	Gone     []string         `json:"hosts_gone"`
	Hosts    []HostChanged    `json:"hosts"` // with another outcome, or in another wave
	Packages []PackageChanged `json:"packages"`
}

// Summary is a run in short.
type Summary struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	State    string    `json:"state"`
	ExitCode *int      `json:"exit_code"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"` // 0 if it has not ended
	Hosts    int       `json:"hosts"`
}

// Changed is a value that differs.
type Changed struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// WaveTimes is how long a wave took in each run; null where it did not run.
type WaveTimes struct {
	Number int      `json:"number"`
	From   *float64 `json:"from_seconds"`
	To     *float64 `json:"to_seconds"`
}

// HostChanged is a host of both runs that came out otherwise.
type HostChanged struct {
	Host        string `json:"host"`
	FromWave    int    `json:"from_wave"`
	ToWave      int    `json:"to_wave"`
	FromOutcome string `json:"from"`
	ToOutcome   string `json:"to"`
	Message     string `json:"message"` // why, in the second run
}

// PackageChanged is a package that the runs did not do the same with, and the hosts on which it is so. From and To are the
// versions that it was brought to: null where a run did not change it, empty where it was removed.
type PackageChanged struct {
	Name     string   `json:"name"`
	From     *string  `json:"from"`
	To       *string  `json:"to"`
	Security bool     `json:"security"`
	Hosts    []string `json:"hosts"`
}

// Diff compares two runs.
func Diff(a, b orchestrator.Report) Difference {
	d := Difference{
		From: summary(a), To: summary(b), Settings: settings(a, b), Waves: waves(a, b),
		Added: []string{}, Gone: []string{}, Hosts: []HostChanged{}, Packages: []PackageChanged{},
	}
	before := hostsOf(a)
	after := hostsOf(b)
	for _, name := range order(a, b) {
		x, old := before[name]
		y, now := after[name]
		switch {
		case !old:
			d.Added = append(d.Added, name)
		case !now:
			d.Gone = append(d.Gone, name)
		case x.Outcome != y.Outcome || x.wave != y.wave:
			d.Hosts = append(d.Hosts, HostChanged{name, x.wave, y.wave, string(x.Outcome), string(y.Outcome), y.Message})
		}
	}
	d.packages(before, after, order(a, b))
	return d
}

func summary(r orchestrator.Report) Summary {
	s := Summary{ID: r.ID, Kind: string(r.Kind), State: string(r.State), ExitCode: r.ExitCode, Started: r.Started, Hosts: r.Total()}
	if !r.Ended.IsZero() {
		s.Seconds = r.Ended.Sub(r.Started).Seconds()
	}
	return s
}

// settings compares what the journal knows of how the run was made.
func settings(a, b orchestrator.Report) []Changed {
	all := []Changed{
		{"engine", a.Engine, b.Engine},
		{"controller", a.Controller, b.Controller},
		{"budget", strconv.Itoa(a.Budget), strconv.Itoa(b.Budget)},
		{"kind", string(a.Kind), string(b.Kind)},
		{"of", a.Of, b.Of},
		{"project", project(a.Project).Path, project(b.Project).Path},
		{"commit", project(a.Project).Commit, project(b.Project).Commit},
		{"content", short(project(a.Project).Hash), short(project(b.Project).Hash)},
		{"gates", gates(a), gates(b)},
	}
	return slices.DeleteFunc(all, func(c Changed) bool { return c.From == c.To })
}

func project(p *orchestrator.Project) orchestrator.Project {
	if p == nil {
		return orchestrator.Project{}
	}
	return *p
}

func short(hash string) string { return hash[:min(12, len(hash))] }

// gates names the gates that were asked.
func gates(r orchestrator.Report) string {
	asked := map[string]bool{}
	for _, w := range r.Waves {
		for _, g := range w.Gates {
			asked[g.Gate] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(asked)), ", ")
}

func waves(a, b orchestrator.Report) []WaveTimes {
	all := map[int]*WaveTimes{}
	add := func(r orchestrator.Report, into func(*WaveTimes) **float64) {
		for _, w := range r.Waves {
			if all[w.Number] == nil {
				all[w.Number] = &WaveTimes{Number: w.Number}
			}
			if !w.Started.IsZero() && !w.Ended.IsZero() {
				took := w.Ended.Sub(w.Started).Seconds()
				*into(all[w.Number]) = &took
			}
		}
	}
	add(a, func(w *WaveTimes) **float64 { return &w.From })
	add(b, func(w *WaveTimes) **float64 { return &w.To })
	list := []WaveTimes{}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[n])
	}
	return list
}

// placed is a host with the number of its wave.
type placed struct {
	orchestrator.HostReport
	wave int
}

func hostsOf(r orchestrator.Report) map[string]placed {
	all := map[string]placed{}
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			all[h.Name] = placed{h, w.Number}
		}
	}
	return all
}

// order is the hosts of both runs, in the order of the second, then those that only the first has.
func order(a, b orchestrator.Report) []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range []orchestrator.Report{b, a} {
		for _, w := range r.Waves {
			for _, h := range w.Hosts {
				if !seen[h.Name] {
					seen[h.Name], names = true, append(names, h.Name)
				}
			}
		}
	}
	return names
}

// packages compares what the runs did on each host.
func (d *Difference) packages(before, after map[string]placed, hosts []string) {
	type change struct {
		name, from, to string
		in, out        bool // the first run changed it, the second did
	}
	index := map[change]int{}
	for _, host := range hosts {
		x, y := changes(before[host]), changes(after[host])
		names := slices.Sorted(maps.Keys(x))
		for _, n := range slices.Sorted(maps.Keys(y)) {
			if _, both := x[n]; !both {
				names = append(names, n)
			}
		}
		for _, n := range names {
			p, in := x[n]
			q, out := y[n]
			if in && out && p.To == q.To {
				continue
			}
			key := change{n, p.To, q.To, in, out}
			i, known := index[key]
			if !known {
				i = len(d.Packages)
				c := PackageChanged{Name: n}
				if in {
					c.From = &p.To
				}
				if out {
					c.To = &q.To
				}
				index[key], d.Packages = i, append(d.Packages, c)
			}
			d.Packages[i].Hosts = append(d.Packages[i].Hosts, host)
			d.Packages[i].Security = d.Packages[i].Security || p.Security || q.Security
		}
	}
	slices.SortStableFunc(d.Packages, func(a, b PackageChanged) int { return cmp.Compare(a.Name, b.Name) })
}

func changes(h placed) map[string]orchestrator.Package {
	all := map[string]orchestrator.Package{}
	if h.Patch != nil {
		for _, p := range h.Patch.Packages {
			all[p.Name] = p
		}
	}
	return all
}
