package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/past"
	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
)

func historyCommand(out *printer) *cobra.Command {
	j := &job{readOnly: true}
	limit := 20
	c := &cobra.Command{
		Use:   "history",
		Short: "List the runs, newest first",
		Long: `List the runs, newest first: when, how much of the fleet, how it ended, what became of the hosts. A
journal that cannot be read is listed as such. So is the latest run that never began.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if limit < 0 {
				return fmt.Errorf("--limit %d: how many runs? 0 is all", limit)
			}
			store, err := j.looksBack()
			if err != nil {
				return err
			}
			h, err := history(store, limit)
			if err != nil {
				return failed(err)
			}
			if j.json {
				return out.json(h)
			}
			out.history(h, j.State)
			return nil
		},
	}
	j.flags = c
	j.settingsFlags(c)
	c.Flags().IntVar(&limit, "limit", limit, "only the latest `N` runs; 0 is all")
	c.Flags().BoolVar(&j.json, "json", false, "print it as JSON")
	return c
}

// looksBack looks at the state directory that the settings name; nil if nothing has run here yet.
func (j *job) looksBack() (*orchestrator.Store, error) {
	if err := j.resolveSettings(); err != nil {
		return nil, err
	}
	return j.stored()
}

// stored looks at the state directory for a command that only reads it, whosever it is: nothing in it is made or changed. It
// is nil if nothing has run here yet.
func (j *job) stored() (*orchestrator.Store, error) {
	uid, _ := owner(j.State)
	store, err := orchestrator.Look(j.State, uid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, cmp.Or(j.mine(), failed(err))
	case err != nil:
		return nil, failed(err)
	}
	return store, nil
}

// historyJSON is what `history --json` prints.
type historyJSON struct {
	Runs    []runJSON             `json:"runs"`    // newest first
	More    int                   `json:"more"`    // runs that are older than those
	Refused *orchestrator.Refusal `json:"refused"` // the latest full run that never began; null if one began since, or all did
}

type runJSON struct {
	ID       string         `json:"id"`
	Started  time.Time      `json:"started,omitzero"`
	Kind     string         `json:"kind"`
	State    string         `json:"state"` // "" if the journal cannot be read
	ExitCode *int           `json:"exit_code"`
	Hosts    map[string]int `json:"hosts"`   // by outcome
	Seconds  float64        `json:"seconds"` // 0 if it has not ended
	Reason   string         `json:"reason"`
	Error    string         `json:"error,omitempty"` // why the journal cannot be read
}

func history(store *orchestrator.Store, limit int) (historyJSON, error) {
	h := historyJSON{Runs: []runJSON{}}
	if store == nil {
		return h, nil
	}
	ids, err := store.IDs()
	if err != nil {
		return h, err
	}
	slices.Reverse(ids)
	if limit > 0 && len(ids) > limit {
		h.More, ids = len(ids)-limit, ids[:limit]
	}
	var began time.Time // of the latest full run
	for _, id := range ids {
		report, err := store.Load(id)
		if err == nil && report.Kind == orchestrator.Full && began.IsZero() {
			began = report.Started
		}
		h.Runs = append(h.Runs, runOf(id, report, err))
	}
	h.Refused, err = store.Refused()
	if err == nil && h.Refused != nil && h.Refused.Time.Before(began) {
		h.Refused = nil
	}
	return h, err
}

func runOf(id string, r orchestrator.Report, err error) runJSON {
	if errors.Is(err, os.ErrNotExist) {
		err = errors.New("it left no journal: it ended before it touched anything")
	}
	if err != nil {
		return runJSON{ID: id, Hosts: map[string]int{}, Error: err.Error()}
	}
	one := runJSON{ID: id, Started: r.Started, Kind: string(r.Kind), State: string(r.State), ExitCode: r.ExitCode, Hosts: map[string]int{}, Reason: r.Reason}
	for _, w := range r.Waves {
		for _, host := range w.Hosts {
			if host.Outcome != orchestrator.Undecided {
				one.Hosts[string(host.Outcome)]++
			}
		}
	}
	if !r.Ended.IsZero() {
		one.Seconds = r.Ended.Sub(r.Started).Seconds()
	}
	return one
}

func (p *printer) history(h historyJSON, state string) {
	if h.Refused != nil {
		fmt.Fprintf(p.out, "a run was to begin %s and did not, exit code %d: %s\n\n", past.Ago(h.Refused.Time, time.Now()), h.Refused.ExitCode, clean(h.Refused.Reason))
	}
	if len(h.Runs) == 0 {
		fmt.Fprintf(p.out, "there is no run yet in %s\n", state)
		return
	}
	t := table{}
	t.row("RUN", "WHEN", "KIND", "STATE", "CODE", "TOOK", "HOSTS", "REASON")
	for _, r := range h.Runs {
		code, took := "-", "-"
		if r.ExitCode != nil {
			code = fmt.Sprint(*r.ExitCode)
		}
		if r.Seconds > 0 {
			took = tui.Elapsed(past.Seconds(r.Seconds))
		}
		if r.Error != "" {
			t.row(r.ID, "-", "-", "unreadable", "-", "-", "-", r.Error)
			continue
		}
		t.row(r.ID, past.Clock(r.Started), r.Kind, r.State, code, took, outcomes(r.Hosts), r.Reason)
	}
	t.print(p.out, "", p.width())
	if h.More > 0 {
		fmt.Fprintf(p.out, "and %d more: --limit 0 lists all\n", h.More)
	}
}

// outcomes counts hosts, in the order in which people want to know.
func outcomes(n map[string]int) string {
	var parts []string
	for _, o := range []orchestrator.Outcome{orchestrator.HostFailed, orchestrator.HostUnreachable, orchestrator.HostInterrupted,
		orchestrator.HostNotAttempted, orchestrator.Held, orchestrator.Patched, orchestrator.Unchanged} {
		if n[string(o)] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[string(o)], o))
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}
