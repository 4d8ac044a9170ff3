// Command homelab-patch-orchestrate patches a fleet of hosts wave by wave with
// ansible-playbook, from the one host that is patched last. See README.md.
package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // a minimal Debian has no tzdata, and a window must not be at another hour there

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/orchestrator"
)

// version is stamped by the Makefile.
var version = ""

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code.
func run(args []string, stdout, stderr *os.File) int {
	// Who no longer reads our output must not end the run. Handled, not ignored:
	// an ignored signal would be inherited by ssh.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	args, script := asScript(args)
	out := &printer{out: stdout, err: stderr}
	code := orchestrator.ExitDone
	root := commands(out, &code, script)
	root.SetArgs(args)
	if err := root.Execute(); err != nil {
		out.error(err)
		return exitCode(err)
	}
	return code
}

// asScript takes a dry run as the shell script was called for one, without a command.
func asScript(args []string) ([]string, bool) {
	if len(args) > 0 && strings.HasPrefix(args[0], "-") && slices.Contains(args, "--check") {
		return append([]string{"run"}, args...), true
	}
	return args, false
}

// commands is every command of the program.
func commands(out *printer, code *int, script bool) *cobra.Command {
	root := parent(out, code, &cobra.Command{
		Use:           name,
		Short:         "Patch a fleet wave by wave with ansible-playbook",
		Long:          "Patch every host of patching_targets, wave by wave, with ansible-playbook,\nfrom the controller, which is patched last.",
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.SetOut(out.out)
	root.SetErr(out.err)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(runCommand(out, code, script), resumeCommand(out, code), retryCommand(out, code), rollbackCommand(out, code), finalizeCommand(out, code),
		planCommand(out, code), doctorCommand(out, code), wavesCommand(out), statusCommand(out, code), historyCommand(out), showCommand(out), explainCommand(out), diffCommand(out), reportCommand(out),
		inventoryCommand(out, code), holdCommand(out, code), notifyCommand(out, code), araCommand(out, code), versionCommand(out.out))
	root.AddCommand(manualCommands()...)
	teach(root)
	return root
}

// parent makes a command of c that has only others below it: by itself it shows them, and is a command line that was not
// understood.
func parent(out *printer, code *int, c *cobra.Command) *cobra.Command {
	c.Args = cobra.NoArgs
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		*code = orchestrator.ExitUsage
		cmd.SetOut(out.err)
		return cmd.Help()
	}
	return c
}

// usageError is a command line that was not understood.
type usageError struct {
	err  error
	help string
}

func (e *usageError) Error() string { return e.err.Error() + "; see " + e.help }
func (e *usageError) Unwrap() error { return e.err }

// exitError is an error with the exit code that it leads to.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitCode returns the code of an error that ended a command. What cobra
// itself refuses is usage.
func exitCode(err error) int {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return orchestrator.ExitUsage
}

func versionCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(stdout, name+" "+buildVersion()+"\n")
			return err
		},
	}
}

// buildVersion is what the Makefile stamped, or the commit that go built.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return "unknown"
}
