package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/internal/failpoint"
	"homelab-patch-orchestrate/internal/message"
	"homelab-patch-orchestrate/metrics"
	"homelab-patch-orchestrate/orchestrator"
)

// lockWait is more than any of our processes needs to change the metrics.
const lockWait = 2 * time.Second

// record is what a run leaves for others: patch_orchestrate.prom, and messages.
// One that cannot be written or delivered is reported and stops nothing.
type record struct {
	path string
	kind orchestrator.Kind
	hold string // path of the hold file
	// hostHolds is the folder of the holds of hosts; without it what the metrics say of them stays.
	hostHolds string
	out       *printer
	post      *post
}

// record is what j leaves for others: by the settings, or by the defaults as long as those could not be read.
func (j *job) record(out *printer, post *post) record {
	d := config.Default()
	return record{
		path: cmp.Or(j.Textfile, d.Textfile), kind: j.asked().Kind(), hold: cmp.Or(j.Hold, d.Hold),
		hostHolds: cmp.Or(j.HostHolds, d.HostHolds), out: out, post: post,
	}
}

// begin says that a run is going on.
func (r record) begin() {
	r.notHeld()
	r.update(func(m *metrics.Run) { m.Running = true })
}

// held says that a run was refused because of a hold. The last run's result
// stands.
func (r record) held(reason string) {
	r.tellHeld(reason)
	r.update(func(m *metrics.Run) { m.Running = false })
}

// tellHeld tells people of a hold, once for each there is: again when its
// reason or its end is another, and when it has passed its end.
func (r record) tellHeld(reason string) {
	what := reason
	if h, err := orchestrator.ReadHold(r.hold); err == nil && h != nil {
		what += "; since " + h.Since.Format(time.RFC3339)
	}
	r.tellOnce(what, message.Refused(message.Nothing, "", reason, r.post.links))
}

// closed says that a run was refused because it is outside the window, or in a
// blackout. The last run's result stands.
func (r record) closed(err error) {
	r.tellOnce(err.Error(), message.Closed(err.Error(), r.post.links))
	r.update(func(m *metrics.Run) { m.Running = false })
}

// tellOnce tells people why nothing was patched, unless they have been told
// just that. Only a full run does: the timer's, which comes again and again.
func (r record) tellOnce(what string, n message.Notice) {
	if r.kind != orchestrator.Full || r.post.lastHeld() == what {
		return
	}
	r.post.put(n)
	r.post.remember(what)
}

// notHeld says that nothing forbids to patch now: the next hold is another.
func (r record) notHeld() {
	if r.kind != orchestrator.Check {
		r.post.forget()
	}
}

// refused says that a full run could not even take the lock: another may be
// under way, and what it wrote stands.
func (r record) refused(code int, err error) {
	if r.kind == orchestrator.Full {
		r.post.put(message.Refused(message.Failure, "", err.Error(), r.post.links))
		r.update(func(m *metrics.Run) { m.ExitCode, m.LastRun, m.Duration = code, time.Now(), 0 })
	}
}

// neverBegan says that a run failed before its first wave.
func (r record) neverBegan(run string, code int, err error) {
	r.notHeld()
	if r.kind != orchestrator.Check {
		kind := message.Failure
		if stop := (*orchestrator.InterruptError)(nil); errors.As(err, &stop) {
			kind = message.Interrupted
		}
		r.post.tellOf(run, message.Refused(kind, run, err.Error(), r.post.links))
	}
	r.metrics(orchestrator.Report{}, code)
}

// unreadable says that the run before has ended and left a journal that cannot be read, once, and returns the error for
// who called. Until the next run nothing else would: the metrics would have it going on. Call it with the lock held.
func (r record) unreadable(err error) error {
	if m, missing := metrics.Read(r.path); missing == nil && m.Running {
		r.post.put(message.Unreadable(err.Error(), r.post.links))
		r.metrics(orchestrator.Report{}, orchestrator.ExitFailed)
	}
	return fmt.Errorf("%w; run again: what a host has done it says itself", err)
}

// end says how a run went that began. A retry that completes the latest full run is that run's success.
func (r record) end(report orchestrator.Report, code int, store *orchestrator.Store) {
	r = r.tell(report, code, store)
	if r.kind == orchestrator.Full && code == orchestrator.ExitDone {
		r.post.beat(report.ID)
	}
}

// tell tells of a run that ended, and writes its metrics. It returns the record of what the run counts as.
func (r record) tell(report orchestrator.Report, code int, store *orchestrator.Store) record {
	r.kind = report.Kind
	told := report
	if report.Kind == orchestrator.Retry && code == orchestrator.ExitDone {
		if whole, complete, err := store.Whole(report); err == nil && complete {
			r.kind = orchestrator.Full
			report.Waves = whole.Waves
		}
	}
	failpoint.At("message-before")
	if r.kind != orchestrator.Check {
		n := message.Summary(told, r.kind == orchestrator.Full && r.post.alarmed(), r.post.linksOf(told))
		n.Message.Image = r.picture(told, store)
		r.post.tellOf(report.ID, n)
	}
	failpoint.At("message-after")
	r.metrics(report, code)
	failpoint.At("metrics-after")
	return r
}

// awaiting says that the controller is about to reboot. The run has not ended: its exit code is written after that.
func (r record) awaiting(report orchestrator.Report) {
	host := message.Host{Host: report.Controller}
	for _, w := range report.Waves {
		for _, h := range w.Hosts {
			if h.Controller && h.Patch != nil {
				host.Reasons, host.Packages = h.Patch.RebootReasons, len(h.Patch.Packages)
			}
		}
	}
	r.post.put(message.Reboots(report.ID, []message.Host{host}, r.post.linksOf(report)))
	r.post.flush(context.Background(), rebootWait)
	r.messages()
}

// died tells of an earlier run whose process ended in the middle. A dry run
// that finds it tells as well: nobody else will.
func (r record) died(post *post, store *orchestrator.Store, id string) {
	report, err := store.Load(id)
	switch {
	case err != nil:
		r.out.warn("messages: %v", err)
	case report.Kind != orchestrator.Check:
		n := message.Summary(report, false, post.linksOf(report))
		n.Message.Image = record{out: r.out, post: post}.picture(report, store)
		post.tellOf(id, n)
	}
}

// untold tells of the run before, and writes its metrics, if its process ended
// between its last word in the journal and what it had to say of it.
func (r record) untold(store *orchestrator.Store) {
	if r.kind == orchestrator.Check {
		return
	}
	report, err := store.Latest()
	if err != nil || !report.State.Final() || report.Kind == orchestrator.Check {
		return
	}
	code := orchestrator.ExitCode(report, nil)
	if last := r.post.lastTold(); last != "" && report.ID > last {
		r.tell(report, code, store) // and no sign of life: that would be of another day
	} else if m, err := metrics.Read(r.path); err == nil && m.Running {
		r.kind = report.Kind
		r.metrics(report, code)
	}
}

// deliver is the one time that a run waits for the world: when all else is
// final.
func (r record) deliver() {
	if r.kind == orchestrator.Check || len(r.post.box.Channels) == 0 {
		return
	}
	status("what there is to tell people is delivered")
	start := time.Now()
	results := r.post.flush(context.Background(), lastWait)
	delivered, waiting := 0, 0
	for _, result := range results {
		delivered, waiting = delivered+result.Delivered, waiting+result.Waiting
	}
	r.out.note("messages: delivered %d, waiting %d, in %.2f s", delivered, waiting, time.Since(start).Seconds())
	r.messages()
}

// messages writes how many messages wait.
func (r record) messages() { r.update(func(*metrics.Run) {}) }

// metrics says how the run went. Only a full run speaks for the fleet; a
// narrowed one may say that something failed, and never that all is well.
func (r record) metrics(report orchestrator.Report, code int) {
	r.update(func(m *metrics.Run) {
		m.Running = false
		if r.kind != orchestrator.Full && code == orchestrator.ExitDone {
			return
		}
		at := time.Now()
		m.Duration = 0
		if !report.Ended.IsZero() {
			at = report.Ended
			m.Duration = at.Sub(report.Started)
		}
		m.ExitCode, m.LastRun = code, at
		if r.kind != orchestrator.Full {
			return
		}
		m.Waves = waves(report)
		if code == orchestrator.ExitDone {
			m.LastSuccess = at
		}
	})
}

func waves(report orchestrator.Report) []metrics.Wave {
	var all []metrics.Wave
	for _, w := range report.Waves {
		m := metrics.Wave{Number: w.Number, Hosts: map[string]int{}}
		for _, h := range w.Hosts {
			m.Hosts[string(h.Outcome)]++
		}
		if !w.Ended.IsZero() {
			m.Duration = w.Ended.Sub(w.Started)
		}
		all = append(all, m)
	}
	return all
}

// holds says what is held now. What cannot be told stays as it was last seen.
func (r record) holds(m *metrics.Run) {
	switch h, err := orchestrator.ReadHold(r.hold); {
	case err != nil:
		r.out.warn("metrics: %v", err)
	case h == nil:
		m.Held, m.HoldUntil = false, time.Time{}
	default:
		m.Held, m.HoldUntil = true, h.Until
	}
	if r.hostHolds == "" {
		return
	}
	all, err := orchestrator.ReadHostHolds(r.hostHolds)
	if err != nil {
		r.out.warn("metrics: %v", err)
		return
	}
	m.HostHoldsUntil = nil
	for host, h := range all {
		if h.Until.IsZero() {
			continue
		}
		if m.HostHoldsUntil == nil {
			m.HostHoldsUntil = map[string]time.Time{}
		}
		m.HostHoldsUntil[host] = h.Until
	}
}

func (r record) update(change func(*metrics.Run)) {
	if r.kind == orchestrator.Check {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	if unlock, err := metrics.Lock(ctx, r.path); err == nil {
		defer unlock()
	} // else the folder is missing, which Write says, or somebody stopped a process in the middle: no reason to wait
	m, err := metrics.Read(r.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// What was known of the last success is gone; claiming one would be worse.
		r.out.warn("metrics: the old file is not used: %v", err)
		m = metrics.Run{}
	}
	change(&m)
	r.holds(&m)
	m.Version = buildVersion()
	m.Pending, m.Dropped = r.post.counts()
	if err := metrics.Write(r.path, m); err != nil {
		r.out.warn("metrics: %v; the run is not affected", err)
	}
}
