package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/ara"
	"homelab-patch-orchestrate/orchestrator"
)

func araCommand(out *printer, code *int) *cobra.Command {
	c := parent(out, code, &cobra.Command{
		Use: "ara", Short: "ARA: put runs on record, see which are, remove old ones",
	})
	o := &onRecord{out: out}
	command := func(use, short string, args cobra.PositionalArgs, do func(context.Context, []string) error) *cobra.Command {
		sub := &cobra.Command{Use: use, Short: short, Args: args}
		o.settingsFlags(sub)
		sub.RunE = func(cmd *cobra.Command, args []string) error {
			o.flags = cmd
			if err := o.resolveSettings(); err != nil {
				return err
			}
			var err error
			if o.store, err = orchestrator.Open(o.job.State); err != nil {
				return failed(err)
			}
			o.post = o.job.post(out)
			if o.post.ara == nil && (cmd.Name() != "forward" || len(args) > 0 || len(o.pending()) > 0) { // else nobody wants it
				return failed(errors.New("ARA_API_SERVER is not set: see docs/ara.md"))
			}
			return do(cmd.Context(), args)
		}
		c.AddCommand(sub)
		return sub
	}
	command("forward [RUN]", "Put a run on record, or go on with all that wait", cobra.MaximumNArgs(1), o.forward).ValidArgsFunction = o.completeRun
	command("status", "Show which runs are on record", cobra.NoArgs, o.status).Flags().BoolVar(&o.json, "json", false, "print it as JSON")
	backfill := command("backfill", "Put earlier runs on record that never were", cobra.NoArgs, o.backfill)
	backfill.Flags().StringVar(&o.since, "since", "", "first `DAY`, such as 2026-11-01")
	prune := command("prune", "Remove old playbooks of ours from the server", cobra.NoArgs, o.prune)
	prune.Flags().DurationVar(&o.older, "older-than", 0, "age by which they go, a `DURATION` of 24h or more (default: the setting ara.keep)")
	return c
}

// onRecord is a command line of `ara`.
type onRecord struct {
	job
	out   *printer
	post  *post
	store *orchestrator.Store
	since string
	older time.Duration
}

func (o *onRecord) dir(run string) string { return runDir(o.store, run) }

func (o *onRecord) forward(ctx context.Context, args []string) error {
	if len(args) == 1 {
		report, dir, err := findRun(o.store, args[0])
		if err != nil {
			return err
		}
		if err := ara.Again(dir); err != nil {
			return failed(err)
		}
		return o.all(ctx, []string{report.ID}, true)
	}
	ctx, cancel := context.WithTimeout(ctx, flushWait) // the timer comes again
	defer cancel()
	return o.all(ctx, o.pending(), false)
}

// pending are the runs that wait.
func (o *onRecord) pending() []string {
	ids, err := o.store.IDs()
	if err != nil {
		o.out.warn("%v", err)
	}
	return slices.DeleteFunc(ids, func(id string) bool { return !exists(filepath.Join(o.dir(id), ara.Pending)) })
}

// all puts runs on record, oldest first. It stops at the first for which the server does not do its work. Of one that another
// process has it speaks if somebody has named it.
func (o *onRecord) all(ctx context.Context, ids []string, named bool) error {
	for _, id := range ids {
		report, err := o.store.Load(id)
		if err != nil {
			return failed(err)
		}
		end := o.told(id)
		whole, err := o.one(ctx, report)
		end()
		switch {
		case errors.Is(err, ara.ErrBusy): // it does what was asked for
			if named {
				s, _ := ara.ReadStatus(o.dir(id))
				o.out.note("run %s: %s on record; %v", id, percent(s), err)
			}
		case err != nil && ctx.Err() != nil:
			s, _ := ara.ReadStatus(o.dir(id))
			return failed(fmt.Errorf("run %s: %s on record; `ara forward` takes %.0f min at most, the next one goes on, and `ara forward %s` does to the end",
				id, percent(s), flushWait.Minutes(), id))
		case err != nil:
			return failed(fmt.Errorf("run %s: %w; what is left is tried again by `ara forward`", id, err))
		case !whole:
			o.out.note("run %s: on record so far; it has not ended", id)
		default:
			o.out.note("run %s: on record at %s", id, araPage(o.post.ara.Server, o.store.Dir(), report))
		}
	}
	return nil
}

// one puts what there is of a run on record, and says whether that is all there will be.
func (o *onRecord) one(ctx context.Context, report orchestrator.Report) (whole bool, err error) {
	f := o.forwarder(o.post.ara, o.dir(report.ID), labels(report.ID, report.Kind))
	if err := f.Open(); err != nil {
		return false, err
	}
	defer f.Close()
	if err := f.Send(ctx); err != nil || !report.State.Final() {
		return false, err
	}
	return true, f.Finish(ctx, araRecords(report, o.post.links.Grafana, o.post.ara.Server))
}

func (o *onRecord) backfill(ctx context.Context, _ []string) error {
	since, err := time.ParseInLocation(time.DateOnly, o.since, time.Local)
	if err != nil {
		return fmt.Errorf("--since %q: give the first day, such as 2026-11-01", o.since)
	}
	ids, err := o.store.IDs()
	if err != nil {
		return failed(err)
	}
	var those []string
	for _, id := range ids {
		report, err := o.store.Load(id)
		if err != nil || report.Started.Before(since) || !report.State.Final() {
			continue
		}
		if s, err := ara.ReadStatus(o.dir(id)); err != nil || s.State == "done" || s.Size == 0 {
			continue
		}
		if err := ara.Mark(o.dir(id)); err != nil {
			return failed(err)
		}
		those = append(those, id)
	}
	o.out.note("runs to put on record: %d", len(those))
	return o.all(ctx, those, false)
}

func (o *onRecord) prune(ctx context.Context, _ []string) error {
	keep := o.ARA.Keep
	if o.flags.Flags().Changed("older-than") {
		keep = o.older
	}
	if keep < 24*time.Hour {
		return errors.New("say how old with --older-than, 24h or more, or with the setting ara.keep: nothing was removed")
	}
	n, err := o.post.ara.Prune(ctx, ourLabel, time.Now().Add(-keep))
	o.out.note("playbooks removed: %d", n)
	if err != nil {
		return failed(err)
	}
	return nil
}

// araStatus is what `ara status --json` prints.
type araStatus struct {
	Server  string   `json:"server"`
	Version string   `json:"version"` // of the server; empty if it does not answer
	Error   string   `json:"error"`   // why it does not
	Runs    []araRun `json:"runs"`
}

type araRun struct {
	ID        string  `json:"id"`
	State     string  `json:"state"` // done, waiting or none
	Events    int64   `json:"events_bytes"`
	Forwarded int64   `json:"forwarded_bytes"`
	Playbooks []int64 `json:"playbooks"`
	Refused   int     `json:"refused"`
	Removed   int     `json:"removed"`
	Error     string  `json:"error"`
}

func (o *onRecord) status(ctx context.Context, _ []string) error {
	s := araStatus{Server: o.post.ara.Server, Runs: []araRun{}}
	version, serverErr := o.post.ara.Version(ctx)
	if s.Version = version; serverErr != nil {
		s.Error = serverErr.Error()
	}
	ids, err := o.store.IDs()
	if err != nil {
		return failed(err)
	}
	waiting := 0
	for _, id := range ids {
		r, err := ara.ReadStatus(o.dir(id))
		if err != nil {
			return failed(err)
		}
		if r.State == "waiting" {
			waiting++
		}
		s.Runs = append(s.Runs, araRun{id, r.State, r.Size, r.Offset, append([]int64{}, r.Playbooks...), r.Refused, r.Removed, r.Error})
	}
	if o.json {
		if err := o.out.json(s); err != nil {
			return failed(err)
		}
	} else {
		o.out.printARA(s)
	}
	if serverErr != nil {
		return failed(serverErr)
	}
	if waiting > 0 {
		return failed(fmt.Errorf("runs that wait to be put on record: %d", waiting))
	}
	return nil
}

func (p *printer) printARA(s araStatus) {
	if s.Version != "" {
		fmt.Fprintf(p.out, "%s: ARA %s\n\n", s.Server, s.Version)
	}
	t := table{}
	t.row("RUN", "ON RECORD", "EVENTS", "PLAYBOOKS", "NOTE")
	for _, r := range s.Runs {
		events, state := "-", map[string]string{"done": "yes", "waiting": "waits", "none": "no"}[r.State]
		if r.Events > 0 {
			events = percent(ara.Status{Offset: r.Forwarded, Size: r.Events})
		}
		var notes []string
		if r.Refused > 0 {
			notes = append(notes, fmt.Sprintf("records that ARA does not take: %d", r.Refused))
		}
		if r.Removed > 0 {
			notes = append(notes, fmt.Sprintf("doubles removed: %d", r.Removed))
		}
		if r.State == "waiting" && r.Error != "" {
			notes = append(notes, r.Error)
		}
		t.row(r.ID, state, events, strings.Trim(fmt.Sprint(r.Playbooks), "[]"), strings.Join(notes, "; "))
	}
	t.print(p.out, "", p.width())
}
