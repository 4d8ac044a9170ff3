package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/orchestrator"
)

func planCommand(out *printer, code *int) *cobra.Command {
	j := &job{check: true, planning: true}
	file, markdown := "", false
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what a run would do now, package by package; change nothing",
		Long: `Show for each wave and host what a run would do now: packages and their sizes, what is left out
and why, conffiles, services, reboots. Package lists are refreshed into a folder of their own, and
no host is changed.

Exit codes: those of run; 4 if a host could not be asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if j.json && markdown {
				return &usageError{errors.New("--json and --markdown: one of them"), cmd.CommandPath() + " --help"}
			}
			if dir, err := os.Stat(filepath.Dir(file)); file != "" && (err != nil || !dir.IsDir()) {
				return fmt.Errorf("--out %s: there is no folder %s", file, filepath.Dir(file))
			}
			j.shown = func(out *printer, r orchestrator.Report) error {
				if file != "" {
					if err := writePlan(file, r); err != nil {
						return err
					}
				}
				plan := planOf(r, j.Tracker)
				switch {
				case j.json:
					return out.json(plan)
				case markdown:
					return out.planMarkdown(plan)
				}
				return out.plan(plan)
			}
			return j.do(out, code, func(ctx context.Context, stop <-chan struct{}, out *printer, rec record) (int, error) {
				j.Budget, j.Soak = math.MaxInt32, 0 // a host that cannot be asked is no reason not to ask the others
				return j.locked(ctx, stop, out, rec)
			})
		},
	}
	j.targetFlags(c)
	c.Flags().BoolVar(&markdown, "markdown", false, "print it as Markdown")
	c.Flags().StringVar(&file, "out", "", "keep the versions in `FILE`, for run --plan")
	return c
}

// writePlan keeps what the hosts would get, whole or not at all.
func writePlan(file string, r orchestrator.Report) error {
	v := orchestrator.NewVersions(r)
	data, err := v.Encode()
	if err == nil {
		var path string
		if path, err = filepath.Abs(file); err == nil {
			err = orchestrator.ReplaceFile(path, data, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("keep the plan: %w", err)
	}
	return nil
}
