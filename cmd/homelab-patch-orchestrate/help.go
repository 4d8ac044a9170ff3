package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"homelab-patch-orchestrate/inventory"
)

// teach gives every command below c its examples, and words for a command line that it does not take: what is wrong, and
// what was probably meant. No file is offered where none can be named.
func teach(c *cobra.Command) {
	c.Example = indent(examples[strings.TrimPrefix(c.CommandPath(), name+" ")])
	if takes := c.Args; takes != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if takes(c, args) == nil {
				return nil
			}
			return &usageError{operandError(c, args), c.CommandPath() + " --help"}
		}
	}
	if c.ValidArgsFunction == nil && !c.HasSubCommands() {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range c.Commands() {
		teach(sub)
	}
}

// operandError says what is wrong with the arguments of a command, which its line of use names.
func operandError(c *cobra.Command, args []string) error {
	if c.HasSubCommands() {
		var known []string
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				known = append(known, sub.Name())
			}
		}
		hint := "they are " + strings.Join(known, ", ")
		if near := inventory.Nearest(args[0], known); near != "" {
			hint = "did you mean " + near + "?"
		}
		return fmt.Errorf("%q is not a command of %s (%s)", args[0], c.CommandPath(), hint)
	}
	operands := strings.Fields(c.Use)[1:]
	if len(args) < len(operands) {
		return fmt.Errorf("%s is missing: %s", operands[len(args)], c.UseLine())
	}
	return fmt.Errorf("%q is one argument too many: %s", args[len(operands)], c.UseLine())
}

// flagError is what is wrong with the flags of a command.
func flagError(c *cobra.Command, err error) error {
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) {
		var known []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				known = append(known, f.Name)
			}
		})
		if near := inventory.Nearest(unknown.GetSpecifiedName(), known); near != "" {
			err = fmt.Errorf("%w (did you mean --%s?)", err, near)
		}
	}
	return &usageError{err, c.CommandPath() + " --help"}
}

func indent(text string) string {
	if text == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}

// examples is what is typed most, by command. A test reads each line as the program does.
var examples = map[string]string{
	name: `
homelab-patch-orchestrate waves         # who is patched when
homelab-patch-orchestrate run --check   # what would change
homelab-patch-orchestrate run           # patch the fleet`,
	"run": `
homelab-patch-orchestrate run --check             # what would change; nothing is written on any host
homelab-patch-orchestrate run                     # the fleet. Ctrl-C once: finish this wave, then stop; twice: cancel
homelab-patch-orchestrate run --wave 0            # only the canaries
homelab-patch-orchestrate run --limit 'web*,db1'  # only hosts that match
homelab-patch-orchestrate run --plan sunday.plan  # exactly what plan --out has kept, or nothing
homelab-patch-orchestrate run --wait 4h --json    # for scripts: after a run that is under way`,
	"plan": `
homelab-patch-orchestrate plan                     # what a run would do now, package by package
homelab-patch-orchestrate plan --limit prox --json
homelab-patch-orchestrate plan --out sunday.plan   # to be installed as it is: run --plan sunday.plan`,
	"doctor": `
homelab-patch-orchestrate doctor             # before Sunday: what the next run would stumble over, and how to mend it
homelab-patch-orchestrate doctor --limit prox --verbose`,
	"waves": `
homelab-patch-orchestrate waves
homelab-patch-orchestrate waves --inventory ./hosts.yml --json`,
	"history": `
homelab-patch-orchestrate history
homelab-patch-orchestrate history --limit 0 --json   # all there are, for scripts`,
	"show": `
homelab-patch-orchestrate show latest
homelab-patch-orchestrate show latest web             # all that it has on one host
homelab-patch-orchestrate show 20261127T231520Z --json`,
	"explain": `
homelab-patch-orchestrate explain web   # why was it not patched?`,
	"diff": `
homelab-patch-orchestrate diff 20261120 latest   # what is other than a week ago?`,
	"status": `
homelab-patch-orchestrate status            # how far the run under way is, or how the latest went
homelab-patch-orchestrate status --follow   # until it has ended
homelab-patch-orchestrate status --json`,
	"resume": `
homelab-patch-orchestrate resume          # go on with what was cut short
homelab-patch-orchestrate resume --now    # whatever the window says`,
	"retry": `
homelab-patch-orchestrate retry latest
homelab-patch-orchestrate retry 20261127T231520Z-9c76b5`,
	"report": `
homelab-patch-orchestrate report latest                         # the page, beside the journal
homelab-patch-orchestrate report 20261127 --html /tmp/run.html  # somewhere else
homelab-patch-orchestrate report latest --markdown              # for a ticket or a chat
homelab-patch-orchestrate report latest --json                  # for a program`,
	"rollback": `
homelab-patch-orchestrate rollback latest prox --check                # what would go back, and from where
homelab-patch-orchestrate rollback latest prox                        # shows it, asks, does it
homelab-patch-orchestrate rollback 20261127T2315 prox --package nginx --yes`,
	"hold set": `
homelab-patch-orchestrate hold set --reason "moving racks" --until 2d
homelab-patch-orchestrate hold set --host prox --reason "guests are being moved" --until "2026-12-01 18:00"`,
	"hold status": `
homelab-patch-orchestrate hold status`,
	"hold clear": `
homelab-patch-orchestrate hold clear
homelab-patch-orchestrate hold clear --host prox`,
	"inventory render": `
homelab-patch-orchestrate inventory render
homelab-patch-orchestrate inventory render --check   # for a pipeline: 1 and the difference if hosts.yml is stale`,
	"inventory add": `
homelab-patch-orchestrate inventory add web --wave 1 --user root
homelab-patch-orchestrate inventory add nas --wave 0 --user admin --address 192.0.2.7 --group storage`,
	"notify test": `
homelab-patch-orchestrate notify test
homelab-patch-orchestrate notify test --dry-run`,
	"notify flush": `
homelab-patch-orchestrate notify flush`,
	"ara forward": `
homelab-patch-orchestrate ara forward
homelab-patch-orchestrate ara forward 20261127T231520Z-9c76b5`,
	"ara status": `
homelab-patch-orchestrate ara status`,
	"ara backfill": `
homelab-patch-orchestrate ara backfill --since 2026-11-01`,
	"ara prune": `
homelab-patch-orchestrate ara prune --older-than 2160h   # 90 days`,
	"version": `
homelab-patch-orchestrate version`,
}
