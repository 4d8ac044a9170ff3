package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// account is what is known of a run without its journal: what the world did and was asked, and what an observer heard.
type account struct {
	id        string
	kind      Kind
	of        string
	budget    int
	hash      int                // of the project when it began, plus one; 0: it did not
	state     map[string]State   // by "" for the run and the number of a wave: known to be durable
	answer    map[string]Outcome // by host: how it came out, when it was last asked for
	excused   map[string]bool
	heard     map[string]Outcome // by host: what was said to be durable
	touched   map[string]bool    // hosts that an engine was ever called for
	preflight bool               // the controller was asked what its upgrade would change
	broken    bool               // and that was too much
	ends      int                // times that its end was told
	onDisk    bool
	read      int // when its journal was last compared with this, in steps of the world
}

// ask is the latest answer of a gate in this process.
type ask struct {
	when string
	wave int
	tick int
	yes  bool
}

// begun begins the account of a run.
func (h *history) begun(id string, policy Policy) {
	h.order = append(h.order, id)
	h.account[id] = &account{id: id, kind: policy.Kind(), of: policy.Of, budget: policy.Budget, state: map[string]State{}, answer: map[string]Outcome{},
		excused: map[string]bool{}, heard: map[string]Outcome{}, touched: map[string]bool{}}
}

// closed is what the schedule says, thought out anew.
func (h *history) closed(group string) bool {
	begin := time.Now()
	end := begin.Add(h.took[group])
	for _, day := range h.closedDays {
		if end.After(day) && begin.Before(day.AddDate(0, 0, 1)) {
			return true
		}
	}
	evening := begin.Truncate(24 * time.Hour).Add(20 * time.Hour)
	return h.window && (!begin.Before(evening) || end.After(evening))
}

// mayAct checks that nothing forbids the engine to be called now.
func (h *history) mayAct(id string, w Wave, policy Policy) {
	a := h.account[id]
	bad := func(format string, args ...any) {
		h.t.Errorf("run %s: the engine was called for wave %d %s", id, w.Number, fmt.Sprintf(format, args...))
	}
	disk, err := h.st.Load(id)
	h.ok(err)
	at := slices.IndexFunc(disk.Waves, func(r WaveReport) bool { return r.Number == w.Number })
	if disk.State != Running || disk.Waves[at].State != Running {
		bad("while the journal said run %s, wave %s", disk.State, disk.Waves[at].State)
	}
	if len(w.Hosts) == 0 {
		bad("without a host")
	}
	for _, host := range w.Hosts {
		if o := disk.Waves[at].host(host.Name).Outcome; o != Undecided || a.heard[host.Name] != Undecided {
			bad("with %s, which the journal has as %q, and which was heard of as %q", host.Name, o, a.heard[host.Name])
		}
		if h.worked[host.Name] {
			bad("with %s a second time", host.Name)
		}
		if h.hostHeld[host.Name] {
			bad("with %s, which is held", host.Name)
		}
		if h.gone[host.Name] {
			bad("with %s, which is not in the inventory", host.Name)
		}
		h.worked[host.Name], a.touched[host.Name] = true, true
	}
	select {
	case <-h.stop:
		bad("after a stop")
	default:
	}
	if _, err := h.st.Lock(); !errors.Is(err, ErrLocked) {
		bad("without the lock")
	}
	switch {
	case h.full:
		bad("when the journal could not be written")
	case h.ctx.Err() != nil:
		bad("after %v", context.Cause(h.ctx))
	case h.held:
		bad("in spite of a hold")
	case !h.now && !policy.Check && h.closed(w.Group):
		bad("when the schedule was closed")
	case a.hash != h.hash+1:
		bad("with another project")
	case w.Hosts[len(w.Hosts)-1].Controller && !policy.Check && (!a.preflight || a.broken):
		bad("with the controller; preflight: %t, it would break: %t", a.preflight, a.broken)
	}
	for i, before := range disk.Waves[:at] {
		if before.State != Passed {
			bad("when wave %d was %s", before.Number, before.State)
		}
		lost := 0
		for _, host := range before.Hosts {
			if !a.heard[host.Name].Well() && !a.excused[host.Name] {
				lost++
			}
		}
		if lost > a.budget {
			bad("when wave %d had lost %d, with a budget of %d", before.Number, lost, a.budget)
		}
		if i < at-1 {
			continue
		}
		for g := range h.sick {
			name := fmt.Sprint("gate ", g)
			last := h.asked[name]
			if !last.yes || last.tick != h.tick || last.wave != before.Number || last.when != fmt.Sprintf("before wave %d", w.Number) {
				bad("and %s had last said %+v, the world is at %d", name, last, h.tick)
			}
		}
	}
	// Right before means: nothing that takes time has come between.
	after := h.calls
	for i, call := range slices.Backward(h.calls) {
		if strings.HasPrefix(call, "gate") || call == "preflight" {
			after = h.calls[i+1:]
			break
		}
	}
	if !slices.Contains(after, "hold") || !slices.Contains(after, "fingerprint") {
		bad("and whether it is held was not asked right before: %v", h.calls)
	}
	for i, call := range h.calls {
		if call == "preflight" && at > 0 && len(h.sick) > 0 && !slices.Contains(h.calls[i:], "gate 0") {
			bad("and no gate was asked after the preflight: %v", h.calls)
		}
	}
}

// mayReboot checks what the controller's reboot asks for.
func (h *history) mayReboot(r Report) {
	disk, err := h.st.Load(r.ID)
	h.ok(err)
	last := disk.Waves[len(disk.Waves)-1]
	if disk.State != AwaitingReboot || last.State != AwaitingReboot || disk.Reboot == nil || h.requests[r.ID] > 0 {
		h.t.Errorf("run %s: a reboot, the run %s, its last wave %s, the request %v, asked for %d times before", r.ID, disk.State, last.State, disk.Reboot, h.requests[r.ID])
	}
	for _, w := range disk.Waves {
		if n := w.Count(Undecided); n > 0 || w.Number != last.Number && w.State != Passed {
			h.t.Errorf("run %s: a reboot, wave %d is %s with %d hosts undecided", r.ID, w.Number, w.State, n)
		}
	}
	if disk.Kind == Check {
		h.t.Errorf("run %s: a dry run reboots", r.ID)
	}
	select {
	case <-h.stop:
		h.t.Errorf("run %s: a reboot after a stop", r.ID)
	default:
	}
}

// mayReturn checks when the controller is judged after its reboot.
func (h *history) mayReturn(id string, w Wave) {
	disk, err := h.st.Load(id)
	h.ok(err)
	if disk.State != AwaitingReboot || disk.Reboot.Boot == fmt.Sprint("boot ", h.boot) || len(w.Hosts) != 1 || w.Hosts[0].Name != "controller" {
		h.t.Errorf("run %s, %s in boot %d after %v: the controller's return is judged with %v", id, disk.State, h.boot, disk.Reboot, w.Names())
	}
}

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
		if i == len(h.order)-1 || !a.at("").Final() {
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
	a.onDisk = true
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
