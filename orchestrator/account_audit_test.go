package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
)

// observe follows every change of every run.
func (h *history) observe(_ context.Context, c Change) {
	h.step()
	h.log("%+v", c)
	a := h.account[c.Run]
	if c.Host != "" {
		if Outcome(c.To) != a.answer[c.Host] {
			h.t.Errorf("run %s: %s was said to be %s, and is %s", c.Run, c.Host, c.To, a.answer[c.Host])
		}
		a.heard[c.Host] = Outcome(c.To)
		return
	}
	what, key := theRun, ""
	if c.Wave != nil {
		what, key = theWave, fmt.Sprint(*c.Wave)
	}
	if before := a.at(key); State(c.From) != before || transit(what, before, State(c.To)) != nil {
		h.t.Errorf("run %s: %s %s went from %s to %s, and was %s", c.Run, what, key, c.From, c.To, before)
	}
	a.state[key] = State(c.To)
	if what == theRun && State(c.To).Final() {
		if a.ends++; a.ends > 1 {
			h.t.Errorf("run %s: its end was told %d times", c.Run, a.ends)
		}
	}
}

func (a *account) at(key string) State {
	if s, ok := a.state[key]; ok {
		return s
	}
	return Pending
}

// reaches reports whether the table leads from one state to another.
func reaches(what subject, from, to State) bool {
	seen := []State{from}
	for i := 0; i < len(seen); i++ {
		if seen[i] == to {
			return true
		}
		for _, m := range moves() {
			if m.from == seen[i] && (what == theRun && m.run || what == theWave && m.wave) && !slices.Contains(seen, m.to) {
				seen = append(seen, m.to)
			}
		}
	}
	return false
}

// judge compares what a process returned with the account.
func (h *history) judge(run *Run, report Report, err error, resumed bool) {
	a := h.account[run.ID]
	code := ExitCode(report, err)
	h.count(fmt.Sprint("exit ", code))
	bad := func(format string, args ...any) {
		h.t.Errorf("run %s ended %s with exit code %d and %v: %s", run.ID, report.State, code, err, fmt.Sprintf(format, args...))
	}
	if halt := (*HaltError)(nil); !errors.As(err, &halt) && (errors.Is(err, ErrHeld) || errors.Is(err, ErrClosed)) {
		if _, err := os.Stat(run.Dir); err == nil || code != ExitHeld || len(h.worked) > 0 || resumed {
			bad("a refusal that left something")
		}
		return
	}
	if errors.Is(err, errJournal) {
		if h.count("journals that could not be written"); code != ExitFailed || !h.full {
			bad("the journal could not be written: %t", h.full)
		}
		return
	}
	down := (*ShutdownError)(nil)
	shutdown := errors.As(context.Cause(h.ctx), &down)
	if !report.State.Final() {
		if !(shutdown && errors.As(err, &down) && code == 143) && !(report.State == AwaitingReboot && err == nil && code == 0) {
			bad("it has no end")
		}
		if err != nil {
			return // what is in memory alone is lost, and will be asked for again
		}
	}
	h.same(run, report)
	lost, over := 0, false
	for _, w := range report.Waves {
		n := 0
		for _, host := range w.Hosts {
			if !a.heard[host.Name].Well() && !a.excused[host.Name] {
				n++
			}
		}
		lost, over = lost+n, over || n > a.budget
	}
	stopped := h.ctx.Err() != nil
	select {
	case <-h.stop:
		stopped = true
	default:
	}
	shut := slices.ContainsFunc(report.Waves, func(w WaveReport) bool { return w.State != Passed && h.closed(w.Group) }) && !h.now
	want := -1
	switch report.State {
	case Passed:
		want = ExitDone
		if lost > 0 {
			want = ExitLosses
		}
		for no, said := range h.noes {
			if !said {
				continue
			}
			bad("%s had said no", no)
		}
		if over || err != nil {
			bad("lost %d, over the budget: %t", lost, over)
		}
	case Halted:
		want = ExitHalted
		why := []string{}
		for _, no := range []string{"hold", "unknown", "project", "gate", "preflight", "deadline"} {
			if h.noes[no] {
				why = append(why, no)
			}
		}
		for no, yes := range map[string]bool{"schedule": shut, "budget": over, "inventory": h.lacking} {
			if yes {
				why = append(why, no)
			}
		}
		if len(why) == 0 {
			bad("nothing had said no")
		}
		for _, no := range why {
			h.count("halts: " + no)
		}
	case Interrupted:
		want = ExitInterrupted
		if sig := (*SignalError)(nil); errors.As(err, &sig) && sig.Signal == syscall.SIGTERM || errors.As(err, &down) {
			want = 143
		}
		if !stopped {
			bad("nobody had said stop")
		}
	case Failed:
		want = ExitFailed
		if disk := report.Reboot; !h.noes["engine"] && !h.noes["reboot"] && !h.noes["unknown"] && (disk == nil || !resumed) {
			bad("nothing was broken")
		}
	case AwaitingReboot:
		want = ExitDone
	}
	if code != want {
		bad("want exit code %d", want)
	}
	h.whole(a, report, lost)
}

// whole checks what is said of the latest full run.
func (h *history) whole(a *account, report Report, lost int) {
	whole, complete, err := h.st.Whole(report)
	latest := ""
	for _, id := range h.order {
		if b := h.account[id]; b.onDisk && b.kind == Full {
			latest = id
		}
	}
	family := []*account{a}
	for family[0].kind == Retry {
		family = slices.Insert(family, 0, h.account[family[0].of])
	}
	root := family[0]
	if (err == nil) != (root.kind == Full && root.id == latest) || err == nil && whole.ID != latest {
		h.t.Errorf("run %s: %s is said to be the latest full run (%v), and it is %q", a.id, whole.ID, err, latest)
		return
	}
	if err != nil {
		return
	}
	well := report.State == Passed
	now := func(host string) (ok bool) { // as the latest of the family that had it knows
		for _, b := range family {
			if o, had := b.heard[host]; had {
				ok = o.Well() || b.excused[host]
			}
		}
		return ok
	}
	for _, w := range whole.Waves {
		for _, host := range w.Hosts {
			well = well && now(host.Name)
		}
	}
	if complete != well {
		h.t.Errorf("run %s: the fleet is said to be whole: %t, and it is: %t", a.id, complete, well)
	}
	if complete && len(family) > 1 {
		h.count("whole fleet well after a retry")
	}
}
