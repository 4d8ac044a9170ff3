package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/orchestrator"
)

func wavesCommand(out *printer) *cobra.Command {
	j := &job{readOnly: true}
	c := &cobra.Command{
		Use:   "waves",
		Short: "Show who is patched when, who is not, and why",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := j.resolve(); err != nil {
				return err
			}
			plan, _, err := j.plan(cmd.Context())
			if err != nil {
				return &exitError{planCode(err), err}
			}
			if j.json {
				return out.json(wavesOf(plan))
			}
			out.waves(plan)
			return nil
		},
	}
	j.targetFlags(c)
	return c
}

// wavesJSON is what `waves --json` prints.
type wavesJSON struct {
	Controller string                   `json:"controller"`
	Waves      []waveJSON               `json:"waves"`
	Unpatched  []orchestrator.Unpatched `json:"unpatched"`
	Notes      []string                 `json:"notes"`
}

type waveJSON struct {
	Number int      `json:"number"`
	Group  string   `json:"group"`
	Hosts  []string `json:"hosts"`
}

func wavesOf(plan *orchestrator.Plan) wavesJSON {
	w := wavesJSON{
		Controller: plan.Controller, Waves: []waveJSON{},
		Unpatched: append([]orchestrator.Unpatched{}, plan.Unpatched...), Notes: append([]string{}, plan.Notes...),
	}
	for _, pw := range plan.Waves {
		w.Waves = append(w.Waves, waveJSON{pw.Number, pw.Group, pw.Names()})
	}
	return w
}

func (p *printer) waves(plan *orchestrator.Plan) {
	t := table{}
	t.row("WAVE", "HOST", "REACHED", "NOTE")
	for _, w := range plan.Waves {
		for _, h := range w.Hosts {
			reached := h.Address
			if h.Local {
				reached = "local"
			}
			var notes []string
			if h.Controller {
				notes = append(notes, "the controller, last")
			}
			if h.Optional {
				notes = append(notes, "optional: may be unreachable")
			}
			t.row(w.Number, h.Name, reached, strings.Join(notes, "; "))
		}
	}
	for _, u := range plan.Unpatched {
		t.row("-", u.Name, "", "not patched: "+u.Reason)
	}
	t.print(p.out, "", p.width())
	for _, n := range plan.Notes {
		fmt.Fprintf(p.out, "note: %s\n", n)
	}
}
