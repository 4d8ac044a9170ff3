package orchestrator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// same checks that the journal is the report.
func (h *history) same(run *Run, report Report) {
	onDisk, err := os.ReadFile(run.Dir + "/" + journalFile)
	h.ok(err)
	data, err := json.Marshal(report)
	h.ok(err)
	if !bytes.Equal(onDisk, append(data, '\n')) {
		h.t.Errorf("run %s: the journal:\n%s\nand the report:\n%s", run.ID, onDisk, data)
	}
	h.read(run.ID)
}

// leftover checks which hosts a retry has.
func (h *history) leftover(plan *Plan, old Report, outcomes []Outcome) {
	a := h.account[old.ID]
	for _, w := range plan.Waves {
		for _, host := range w.Hosts {
			if o, ok := a.heard[host.Name]; !ok || !slices.Contains(outcomes, o) || h.gone[host.Name] {
				h.t.Errorf("a run of what run %s left has %s, which came out of it as %q", old.ID, host.Name, o)
			}
		}
	}
}

// missing reports whether a host that a run still needs has left the inventory.
func (h *history) missing(r Report) bool {
	for _, w := range r.Waves {
		for _, host := range w.Hosts {
			if w.State != Passed && h.gone[host.Name] {
				return true
			}
		}
	}
	return false
}

// audit checks after each process what is on the disk.
func (h *history) audit() {
	later := "" // the run that began after
	for i, id := range slices.Backward(h.order) {
		a := h.account[id]
		if i == len(h.order)-1 || !a.done {
			h.read(id)
		}
		if a.onDisk && !a.at("").Final() && later != "" {
			h.t.Errorf("run %s is %s, and run %s has begun", id, a.at(""), later)
		}
		if a.onDisk {
			later = id
		}
	}
	lock, err := h.st.Lock()
	h.ok(err)
	h.ok(lock.Close())
}

// read compares a run's journal with its account, and takes over from it what nobody heard of before a process died.
func (h *history) read(id string) {
	a := h.account[id]
	if a.read == h.steps {
		return // nothing was written since
	}
	a.read = h.steps
	bad := func(format string, args ...any) { h.t.Errorf("run %s on disk: %s", id, fmt.Sprintf(format, args...)) }
	r, err := h.st.Load(id)
	if errors.Is(err, os.ErrNotExist) {
		if len(a.heard)+len(a.touched)+len(a.state) > 0 {
			bad("nothing, and it had begun: %+v", a)
		}
		return
	}
	h.ok(err)
	a.onDisk, a.done = true, r.State.Final()
	if r.Kind != a.kind || r.Of != a.of || r.Budget != a.budget {
		bad("%s of %q with a budget of %d, and is %s of %q with %d", r.Kind, r.Of, r.Budget, a.kind, a.of, a.budget)
	}
	reach := func(what subject, key string, to State) {
		if !reaches(what, a.at(key), to) {
			bad("%s %s is %s, and was %s", what, key, to, a.at(key))
		}
		a.state[key] = to
	}
	reach(theRun, "", r.State)
	if r.State.Final() != (r.ExitCode != nil) || r.State.Final() && r.Reason == "" {
		bad("%s with exit code %v for %q", r.State, r.ExitCode, r.Reason)
	}
	if h.requests[id] > 1 {
		bad("%d reboots were asked for", h.requests[id])
	}
	for _, w := range r.Waves {
		reach(theWave, fmt.Sprint(w.Number), w.State)
		if r.State.Final() && w.State != Pending && !w.State.Final() || r.State == Passed && w.State != Passed {
			bad("%s, and its wave %d is %s", r.State, w.Number, w.State)
		}
		for _, host := range w.Hosts {
			o, heard := host.Outcome, a.heard[host.Name]
			cut := r.State.Final() && (o == HostInterrupted && a.state[fmt.Sprint(w.Number)] != Pending || o == HostNotAttempted && !a.touched[host.Name])
			switch {
			case o == Undecided && heard == Undecided && !r.State.Final():
				continue
			case o == heard:
			case heard == Undecided && (o == a.answer[host.Name] || cut):
			case host.Controller && r.Reboot != nil && (o == a.answer[host.Name] || o == HostInterrupted): // judged again after its reboot
			default:
				bad("%s, wave %d is %s, %s is %q; it was heard of as %q, its own answer was %q", r.State, w.Number, w.State, host.Name, o, heard, a.answer[host.Name])
			}
			a.heard[host.Name] = o
			if host.Excused != (a.excused[host.Name] && o == HostUnreachable) {
				bad("%s is excused: %t", host.Name, host.Excused)
			}
			a.excused[host.Name] = host.Excused
		}
	}
}

// over checks the end of the history: every run has come to its own.
func (h *history) over() {
	for _, id := range h.order {
		h.read(id)
		if a := h.account[id]; a.onDisk && !a.at("").Final() {
			h.t.Errorf("run %s is left %s", id, a.at(""))
		}
	}
}
