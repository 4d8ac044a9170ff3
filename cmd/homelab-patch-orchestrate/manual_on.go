//go:build manual

package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manualCommands is `manual DIR`, which writes man pages and completions. It is not in the program that people get: the
// library that makes man pages is larger than what it makes. Pages have the time of SOURCE_DATE_EPOCH.
func manualCommands() []*cobra.Command {
	return []*cobra.Command{{
		Use: "manual DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, dir := cmd.Root(), args[0]
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if err := errors.Join(
				root.GenBashCompletionFileV2(filepath.Join(dir, "completion.bash"), true),
				root.GenZshCompletionFile(filepath.Join(dir, "completion.zsh")),
				root.GenFishCompletionFile(filepath.Join(dir, "completion.fish"), true),
			); err != nil {
				return err
			}
			// How to print completions, which the package has in their places, is no page.
			if c, _, err := root.Find([]string{"completion"}); err == nil {
				c.Hidden = true
			}
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Source: name + " " + buildVersion()}, dir)
		},
	}}
}
