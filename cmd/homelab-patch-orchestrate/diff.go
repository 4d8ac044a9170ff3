package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/past"
	"homelab-patch-orchestrate/internal/tui"
)

func diffCommand(out *printer) *cobra.Command {
	j := &job{readOnly: true}
	c := &cobra.Command{
		Use:   "diff RUN RUN",
		Short: "Show what differs between two runs: hosts, outcomes, packages, times, settings",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := j.resolveSettings(); err != nil {
				return err
			}
			_, a, _, err := j.find(args[0])
			if err != nil {
				return err
			}
			_, b, _, err := j.find(args[1])
			if err != nil {
				return err
			}
			if a.ID == b.ID {
				return errors.New("both are run " + a.ID + ": name two runs")
			}
			d := past.Diff(a, b)
			if j.json {
				return out.json(d)
			}
			out.diff(d)
			return nil
		},
	}
	j.flags = c
	j.settingsFlags(c)
	c.Flags().BoolVar(&j.json, "json", false, "print it as JSON")
	c.ValidArgsFunction = func(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 1 {
			args = nil // the second is completed as the first is
		}
		return j.completeRun(c, args, word)
	}
	return c
}

func (p *printer) diff(d past.Difference) {
	width := p.width()
	t := table{}
	t.row("", d.From.ID, d.To.ID)
	t.row("began", past.Clock(d.From.Started), past.Clock(d.To.Started))
	t.row("state", stateOf(d.From), stateOf(d.To))
	t.row("took", secondsOf(&d.From.Seconds), secondsOf(&d.To.Seconds))
	for _, w := range d.Waves {
		t.row(fmt.Sprintf("wave %d", w.Number), secondsOf(w.From), secondsOf(w.To))
	}
	t.row("hosts", d.From.Hosts, d.To.Hosts)
	for _, s := range d.Settings {
		t.row(s.Name, dash(s.From), dash(s.To))
	}
	t.print(p.out, "", width)
	if len(d.Added) > 0 {
		fmt.Fprintf(p.out, "\nnew hosts: %s\n", clean(strings.Join(d.Added, " ")))
	}
	if len(d.Gone) > 0 {
		fmt.Fprintf(p.out, "\nhosts that are gone: %s\n", clean(strings.Join(d.Gone, " ")))
	}
	if len(d.Hosts) > 0 {
		fmt.Fprintln(p.out)
		t := table{}
		t.row("HOST", "WAVE", "WAS", "IS", "NOTE")
		for _, h := range d.Hosts {
			wave := fmt.Sprint(h.ToWave)
			if h.FromWave != h.ToWave {
				wave = fmt.Sprintf("%d -> %d", h.FromWave, h.ToWave)
			}
			t.row(h.Host, wave, dash(h.FromOutcome), dash(h.ToOutcome), h.Message)
		}
		t.print(p.out, "", width)
	}
	if len(d.Packages) > 0 {
		fmt.Fprintln(p.out)
		t := table{}
		t.row("PACKAGE", "IN THE FIRST", "IN THE SECOND", "", "HOSTS")
		for _, c := range d.Packages {
			kind := ""
			if c.Security {
				kind = "security"
			}
			t.row(c.Name, brought(c.From), brought(c.To), kind, strings.Join(c.Hosts, " "))
		}
		t.print(p.out, "", width)
	}
	if len(d.Added)+len(d.Gone)+len(d.Hosts)+len(d.Packages) == 0 {
		fmt.Fprintln(p.out, "\nthe same hosts came out the same, with the same packages")
	}
}

func stateOf(s past.Summary) string {
	if s.ExitCode == nil {
		return s.State
	}
	return fmt.Sprintf("%s (%d)", s.State, *s.ExitCode)
}

func secondsOf(s *float64) string {
	if s == nil || *s == 0 {
		return "-"
	}
	return tui.Elapsed(past.Seconds(*s))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// brought is what a run brought a package to.
func brought(v *string) string {
	switch {
	case v == nil:
		return "-"
	case *v == "":
		return "(removed)"
	}
	return *v
}
