//go:build !manual

package main

import "github.com/spf13/cobra"

// manualCommands are none: only the build that makes the package writes a manual.
func manualCommands() []*cobra.Command { return nil }
