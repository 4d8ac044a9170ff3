package past

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"homelab-patch-orchestrate/runner"
)

// Times is how long the tasks of a run took, the longest first.
type Times struct {
	Tasks []TaskTime `json:"tasks"`
	Hosts []HostTime `json:"hosts"`
	// Bad counts the lines of the events that could not be read: the end of one that was cut short, or damage.
	Bad int `json:"unreadable_lines,omitempty"`
}

// TaskTime is one task, on all hosts that had it. Seconds are those of its longest host.
type TaskTime struct {
	Task    string  `json:"task"`
	Path    string  `json:"path"` // file:line
	Hosts   int     `json:"hosts"`
	Seconds float64 `json:"seconds"`
	Host    string  `json:"host"`          // that took longest
	Total   float64 `json:"total_seconds"` // of all hosts together
}

// HostTime is one host: how long it was busy with its tasks, and the task that took longest.
type HostTime struct {
	Host    string  `json:"host"`
	Seconds float64 `json:"seconds"`
	Task    string  `json:"task"`
	Longest float64 `json:"task_seconds"`
}

// Timings adds up the events of a run. host, if it is not empty, is the only one that counts. Its error is that of a file
// that cannot be read; a line that is no event is counted.
func Timings(events iter.Seq2[runner.Event, error], host string) (Times, error) {
	type key struct{ task, path string }
	tasks, hosts := map[key]*TaskTime{}, map[string]*HostTime{}
	times := Times{}
	for e, err := range events {
		switch {
		case errors.Is(err, runner.ErrStream):
			times.Bad++
			continue
		case err != nil:
			return Times{}, err
		case e.Kind != runner.KindResult || e.Started.IsZero() || host != "" && e.Host != host:
			continue
		}
		took := max(0, e.Time.Sub(e.Started).Seconds())
		k := key{e.Task, e.Path}
		t := tasks[k]
		if t == nil {
			t = &TaskTime{Task: e.Task, Path: e.Path, Seconds: -1}
			tasks[k] = t
		}
		t.Hosts++
		t.Total += took
		if took > t.Seconds {
			t.Seconds, t.Host = took, e.Host
		}
		h := hosts[e.Host]
		if h == nil {
			h = &HostTime{Host: e.Host, Longest: -1}
			hosts[e.Host] = h
		}
		h.Seconds += took
		if took > h.Longest {
			h.Longest, h.Task = took, e.Task
		}
	}
	times.Tasks, times.Hosts = []TaskTime{}, []HostTime{}
	for t := range maps.Values(tasks) {
		times.Tasks = append(times.Tasks, *t)
	}
	for h := range maps.Values(hosts) {
		times.Hosts = append(times.Hosts, *h)
	}
	slices.SortFunc(times.Tasks, func(a, b TaskTime) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Task, b.Task), cmp.Compare(a.Path, b.Path))
	})
	slices.SortFunc(times.Hosts, func(a, b HostTime) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Host, b.Host))
	})
	return times, nil
}

// Seconds is a number of them as a duration.
func Seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
