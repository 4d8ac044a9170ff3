package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/internal/doctor"
	"homelab-patch-orchestrate/internal/past"
	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
)

func explainCommand(out *printer) *cobra.Command {
	j := &job{readOnly: true}
	c := &cobra.Command{
		Use:   "explain HOST",
		Short: "Say why a host was not patched, or that it was, and what it would take",
		Long: `Say why a host was not patched, or that it was; when it last was; and what to do next. It looks at the
inventory, the holds, the window, the runs so far and the timer, and asks no host.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return j.explain(c.Context(), out, args[0]) },
	}
	j.sourceFlags(c)
	c.ValidArgsFunction = j.completeHost
	return c
}

// explain answers from all that is known without asking a host. What cannot be found out is part of the answer.
func (j *job) explain(ctx context.Context, out *printer, host string) error {
	refused := j.resolve()
	var settings *settingsError
	if refused != nil && !errors.As(refused, &settings) {
		return refused
	}
	if j.Hold == "" { // the settings cannot be read
		state := j.State
		j.Config = config.Default()
		j.State = cmp.Or(state, j.State)
	}
	f := past.Facts{Host: host, Now: time.Now(), Refused: refused, Next: nextRun(ctx)}
	var inv *inventory.Inventory
	if refused == nil {
		if inv, f.Refused = j.fleet(ctx); f.Refused == nil {
			f.Plan, f.Refused = orchestrator.NewPlan(inv, orchestrator.Policy{MaxWave: j.maxWave()})
		}
		if closed := (*orchestrator.ClosedError)(nil); errors.As(j.Schedule.MayBegin(f.Now, 0), &closed) {
			f.Closed = closed
		}
	}
	store, err := j.stored()
	if exit := (*exitError)(nil); errors.As(err, &exit) {
		f.Refused = cmp.Or(f.Refused, err) // what is wrong with the state directory keeps a run from beginning, too
	} else if err != nil {
		return err
	}
	var known []string
	f.Runs, f.Full = reports(store, &known), full(j.State)
	if store != nil {
		holder, err := store.Holder()
		if f.Busy = holder != nil; err != nil {
			out.warn("%v", err)
		}
		if f.Refusal, err = store.Refused(); err != nil {
			out.warn("%v", err)
		}
	}
	if f.FleetHold, err = orchestrator.ReadHold(j.Hold); err != nil {
		out.warn("%v", err)
	}
	if path, err := orchestrator.HostHoldPath(j.HostHolds, host); err == nil {
		if f.HostHold, err = orchestrator.ReadHold(path); err != nil {
			out.warn("%v", err)
		}
	}
	answer, ok := past.Explain(f)
	if !ok {
		for name := range inv.Hosts {
			known = append(known, name)
		}
		slices.Sort(known)
		return noHost(host, "the inventory", slices.Compact(known))
	}
	if j.json {
		return out.json(answer)
	}
	out.answer(answer, f.Now)
	return nil
}

// maxWave is the highest wave that the playbook has a play for; 0 is any.
func (j *job) maxWave() int {
	if j.carried {
		return carriedWaves
	}
	return 0
}

// reports yields every run, latest first, and collects the names of hosts that it sees.
func reports(store *orchestrator.Store, names *[]string) iter.Seq2[orchestrator.Report, error] {
	return func(yield func(orchestrator.Report, error) bool) {
		if store == nil {
			return
		}
		ids, err := store.IDs()
		if err != nil {
			yield(orchestrator.Report{}, err)
			return
		}
		for _, id := range slices.Backward(ids) {
			report, err := store.Load(id)
			report.ID = id
			if *names == nil {
				*names = hostNames(report)
			}
			if !yield(report, err) {
				return
			}
		}
	}
}

// little is too little for the journal of a run, in bytes.
const little = 1 << 20

// full says that there is no room in the state directory; empty if there is, or nobody can tell.
func full(dir string) string {
	var fs syscall.Statfs_t
	for ; ; dir = filepath.Dir(dir) { // who has never run has no such folder
		if err := syscall.Statfs(dir, &fs); err == nil {
			break
		} else if !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			return ""
		}
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < little {
		return fmt.Sprintf("%s has %d KiB free: no space left for the journal of a run", dir, free>>10)
	}
	return ""
}

// nextRun is when systemd starts the next run; zero if it does not, or there is no systemd.
func nextRun(ctx context.Context) time.Time {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	said, err := systemd{}.Show(ctx, name+".timer", doctor.NextElapse)
	if err != nil {
		return time.Time{}
	}
	return doctor.Elapse(said[doctor.NextElapse])
}

// answer prints why a host was or was not patched.
func (p *printer) answer(a past.Answer, now time.Time) {
	fmt.Fprintf(p.out, "%s.\n", clean(a.Answer))
	line := func(what, text string) { fmt.Fprintf(p.out, "%-6s %s\n", what, clean(text)) }
	for i, w := range a.Why {
		what := "why"
		if i > 0 {
			what = ""
		}
		line(what, w)
	}
	for i, w := range a.Also {
		what := "also"
		if i > 0 {
			what = ""
		}
		line(what, w)
	}
	switch {
	case a.Last == nil:
		line("last", "no run that is still here has patched it")
	case a.Run == nil || a.Last.ID != a.Run.ID:
		line("last", fmt.Sprintf("patched %s, packages: %d, in run %s", past.Ago(a.Last.Time, now), a.Last.Packages, a.Last.ID))
	}
	for i, s := range a.Do {
		what := "do"
		if i > 0 {
			what = ""
		}
		line(what, step(s))
	}
	if a.Next != nil {
		line("next", "run by the timer: "+past.Clock(*a.Next))
	}
}

// step is one thing to do, in a line.
func step(s past.Step) string {
	text := s.Say
	if s.Command != "" {
		text = s.Command
		if s.Say != "" {
			text += "   # " + s.Say
		}
	}
	if s.On != "" {
		text = "on " + s.On + ": " + text
	}
	return text
}
