// Package report shows a run to people and to programs: a page, Markdown, JSON, and a picture of its waves.
//
//	r := report.Of(ctx, journal, dir)
//	err := r.HTML(file)
//
// All of them are made from the journal and from the heads of the events beside it, and from nothing else.
//
// # What is not in it
//
// Raw results of tasks and ansible.log. Both may hold what the operator never meant to show: a result has whatever its
// module returned, the log quotes lines of files that Ansible could not read, differences of files with --diff and
// arguments with -vvv. What stands for an excerpt is what this program says elsewhere too: the reason that a task gave,
// with the lines quoted in it left out, the last lines of the upgrade that the role published for this, and which tasks
// came before. The page names the log, and who may read it can.
//
// # Text from hosts
//
// It is never trusted: what a terminal would obey, and what changes the direction of writing, is taken out; the page
// escapes the rest, allows itself nothing from anywhere (Content-Security-Policy), and has no link that a host made.
//
// # Size
//
// Time and size grow with hosts and changes of packages, not with events or output: every list of excerpts is bounded,
// and says what it left out. JSON has every host and change.
package report

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Report is a run as its journal has it, and what is derived from that and from its events. Its JSON is described by
// docs/report.schema.json.
type Report struct {
	orchestrator.Report
	Derived Derived `json:"derived"`

	dir string // of the run, for people
}

// Derived is what a journal says only to who counts.
type Derived struct {
	Seconds  float64                      `json:"duration_seconds"` // of the run; 0 until it has ended
	Outcomes map[orchestrator.Outcome]int `json:"outcomes"`         // hosts by outcome; those undecided are not in it
	Lost     []string                     `json:"lost"`             // hosts that count against the budget
	Packages []Change                     `json:"packages"`         // each change of a package once
	Pauses   []Pause                      `json:"pauses"`           // between waves
	Hosts    []Host                       `json:"hosts"`            // in the order of the waves
	Missing  string                       `json:"missing,omitempty"`
}

// Change is one change of a package, and the hosts that have it.
type Change struct {
	orchestrator.Package
	Hosts []string `json:"hosts"`
}

// Pause is the time after a wave: its soak, and the gates.
type Pause struct {
	Wave    int       `json:"wave"` // that came before
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

// Host is when a host was at work. Without events nothing is known of it, and Work is empty.
type Host struct {
	Name    string  `json:"name"`
	Wave    int     `json:"wave"`
	Work    []Span  `json:"work"`            // more than one if the run was gone on with
	Reboots []Span  `json:"reboots"`         // begun and over, or given up
	Tasks   []Task  `json:"tasks,omitempty"` // the last ones of a host that was lost, latest last
	Seconds float64 `json:"work_seconds"`
}

// Span is a time.
type Span struct {
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

// Task is how a task ended on a host.
type Task struct {
	Time    time.Time `json:"time"`
	Name    string    `json:"name"`
	Path    string    `json:"path,omitempty"` // file:line
	Status  string    `json:"status"`         // ok, changed, failed, unreachable; ignored if the playbook forgave it
	Message string    `json:"message,omitempty"`
}

// Of makes the report of a journal. dir is the folder of the run: its events are read there until ctx ends, and what is
// not known then is said in Derived.Missing. It changes nothing.
func Of(ctx context.Context, journal orchestrator.Report, dir string) Report {
	r := Report{Report: journal, dir: dir, Derived: Derived{
		Outcomes: map[orchestrator.Outcome]int{}, Lost: []string{}, Packages: []Change{}, Pauses: []Pause{}, Hosts: []Host{},
	}}
	d := &r.Derived
	if !r.Ended.IsZero() {
		d.Seconds = seconds(r.Started, r.Ended)
	}
	for i, w := range r.Waves {
		for _, h := range w.Hosts {
			if h.Outcome != orchestrator.Undecided {
				d.Outcomes[h.Outcome]++
			}
			if h.Lost() {
				d.Lost = append(d.Lost, h.Name)
			}
		}
		if end := r.pauseEnd(i); !w.Ended.IsZero() && end.After(w.Ended) {
			d.Pauses = append(d.Pauses, Pause{w.Number, w.Ended, end})
		}
	}
	for _, c := range journal.Changes() {
		d.Packages = append(d.Packages, Change{c.Package, c.Hosts})
	}
	d.Hosts, d.Missing = hosts(ctx, journal, dir)
	return r
}

// pauseEnd is when the next wave began, or the last gate of the wave answered.
func (r Report) pauseEnd(i int) time.Time {
	if i+1 < len(r.Waves) && !r.Waves[i+1].Started.IsZero() {
		return r.Waves[i+1].Started
	}
	if n := len(r.Waves[i].Gates); n > 0 {
		return r.Waves[i].Gates[n-1].Time
	}
	return time.Time{}
}

// JSON writes the report as docs/report.schema.json has it.
func (r Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func seconds(from, to time.Time) float64 {
	return max(0, to.Sub(from).Round(time.Millisecond).Seconds())
}
