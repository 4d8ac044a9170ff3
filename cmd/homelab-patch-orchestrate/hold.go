package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
)

func holdCommand(out *printer, code *int) *cobra.Command {
	c := parent(out, code, &cobra.Command{
		Use: "hold", Short: "Holds: keep the fleet or a host from being patched",
		Long: `A hold keeps the fleet, or one host, from being patched until somebody clears
it. Past its end it still holds, and says so. It is a file: touching
/etc/homelab/MAINTENANCE does the same for the fleet.`,
	})
	h := &holds{job: job{readOnly: true}, out: out}
	command := func(use, short string, do func(context.Context) error) *cobra.Command {
		sub := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
		h.settingsFlags(sub)
		sub.Flags().StringVar(&h.Textfile, "textfile", "", "metrics `FILE` (default /var/lib/prometheus/node-exporter/patch_orchestrate.prom)")
		sub.RunE = func(cmd *cobra.Command, _ []string) error {
			h.flags = cmd
			return do(cmd.Context())
		}
		c.AddCommand(sub)
		return sub
	}
	set := command("set", "Hold the fleet, or a host; or change why and until when", h.set)
	set.Flags().StringVar(&h.reason, "reason", "", "why, in one line of `TEXT`; people read it in messages")
	set.Flags().StringVar(&h.until, "until", "", "`WHEN` you mean to be done: 3h, 2d, 2026-12-01, \"2026-12-01 18:00\" or RFC 3339")
	set.Flags().StringVar(&h.host, "host", "", "hold only this `HOST`")
	set.RegisterFlagCompletionFunc("host", h.completeHost)
	command("status", "Show what is held", h.status).Flags().BoolVar(&h.json, "json", false, "print it as JSON")
	end := command("clear", "End a hold", h.clear)
	end.Flags().StringVar(&h.host, "host", "", "end the hold of this `HOST`")
	end.RegisterFlagCompletionFunc("host", h.completeHeld)
	command("check", "For systemd's ExecCondition: exit code 1 if the fleet is held", h.check).Hidden = true
	return c
}

// holds is a command line of `hold`.
type holds struct {
	job
	out                 *printer
	reason, until, host string
}

// failed is an error that is no slip on the command line.
func failed(err error) error { return &exitError{orchestrator.ExitFailed, err} }

// target returns the path of the hold that is meant, and whom it holds.
func (h *holds) target() (path, whom string, err error) {
	if err := h.resolveSettings(); err != nil {
		return "", "", err
	}
	if !h.flags.Flags().Changed("host") {
		return h.Hold, "the fleet", nil
	}
	path, err = orchestrator.HostHoldPath(h.HostHolds, h.host)
	return path, h.host, err
}

func (h *holds) set(ctx context.Context) error {
	path, whom, err := h.target()
	if err != nil {
		return err
	}
	now := time.Now()
	hold := orchestrator.Hold{Path: path, Reason: strings.TrimSpace(h.reason), Since: now.Truncate(time.Second)}
	switch {
	case hold.Reason == "":
		return errors.New("say why with --reason: whoever finds the hold has to know")
	case strings.ContainsAny(hold.Reason, "\n\r"):
		return errors.New("--reason has more than one line: give it one")
	case len(hold.Reason) > orchestrator.ReasonLimit:
		return fmt.Errorf("--reason has %d bytes: no more than %d are shown", len(hold.Reason), orchestrator.ReasonLimit)
	}
	if h.flags.Flags().Changed("until") {
		if hold.Until, err = when(h.until, now, cmp.Or(h.Schedule.Location, time.Local)); err != nil {
			return err
		}
	}
	if whom == h.host {
		if err := h.known(ctx); err != nil {
			return err
		}
	}
	old, err := orchestrator.ReadHold(path)
	if err != nil {
		return failed(err)
	}
	if old != nil {
		hold.Since = old.Since
	}
	if err := hold.Set(); err != nil {
		return failed(err)
	}
	fmt.Fprintf(h.out.out, "%s is held: %s\n", clean(whom), clean(hold.Text(now)))
	h.record(h.out, h.post(h.out)).messages()
	return nil
}

// known refuses a host that the inventory does not have. If there is no way to
// tell, a hold is better than none.
func (h *holds) known(ctx context.Context) error {
	inv, err := h.read(ctx)
	if err != nil {
		h.out.warn("the inventory cannot be read, so nobody knows whether there is a host %s: %v", h.host, err)
		return nil
	}
	if _, ok := inv.Hosts[h.host]; !ok {
		return fmt.Errorf("the inventory has no host %s: homelab-patch-orchestrate waves shows those it has", h.host)
	}
	return nil
}

// read reads the inventory as a run does.
func (h *holds) read(ctx context.Context) (*inventory.Inventory, error) {
	if err := h.project(); err != nil {
		return nil, err
	}
	inv, err := h.fleet(ctx)
	if err == nil && len(inv.Hosts) == 0 {
		err = errors.New("it has no hosts") // what Ansible makes of a file that it does not understand
	}
	return inv, err
}

// when reads the time that a hold is to end.
func when(text string, now time.Time, loc *time.Location) (time.Time, error) {
	at, err := orchestrator.ParseTime(text, loc)
	if days, ok := strings.CutSuffix(text, "d"); err != nil && ok {
		if n, bad := strconv.Atoi(days); bad == nil && n < 1000 {
			at, err = now.In(loc).AddDate(0, 0, n), nil
		}
	}
	if length, bad := time.ParseDuration(text); err != nil && bad == nil {
		at, err = now.Add(length), nil
	}
	switch {
	case err != nil:
		return at, fmt.Errorf("--until %w, or a duration such as 3h or 2d", err)
	case !at.After(now):
		return at, fmt.Errorf("--until %q is not in the future", text)
	}
	return at.Truncate(time.Second), nil
}

func (h *holds) clear(context.Context) error {
	path, whom, err := h.target()
	if err != nil {
		return err
	}
	old, err := orchestrator.ReadHold(path)
	if err != nil {
		return failed(err)
	}
	if old == nil {
		fmt.Fprintf(h.out.out, "%s is not held: there is no %s\n", clean(whom), path)
		return nil
	}
	if err := old.Clear(); err != nil {
		return failed(err)
	}
	fmt.Fprintf(h.out.out, "%s is no longer held; it was: %s\n", clean(whom), clean(old.Text(time.Now())))
	rec := h.record(h.out, h.post(h.out))
	if whom != h.host {
		rec.notHeld()
	}
	rec.messages()
	return nil
}

// check makes a hold of the fleet visible, and ends with 1 if there is one. So
// it does if nobody can tell: systemd then skips the run, and says nothing of
// it, so the metrics and a message must.
func (h *holds) check(context.Context) error {
	settings := h.resolveSettings()
	rec := h.record(h.out, h.post(h.out))
	if settings != nil {
		rec.refused(orchestrator.ExitUsage, settings)
		h.refuse(h.out, orchestrator.ExitUsage, settings)
		rec.deliver()
		return failed(settings)
	}
	hold, err := orchestrator.ReadHold(h.Hold)
	switch {
	case err != nil:
		rec.refused(orchestrator.ExitFailed, err)
		h.refuse(h.out, orchestrator.ExitFailed, err)
		err = failed(err)
	case hold != nil:
		text := hold.Text(time.Now())
		rec.tellHeld(text)
		rec.messages()
		err = &orchestrator.HeldError{Reason: text}
		h.refuse(h.out, orchestrator.ExitHeld, err)
		err = failed(err)
	default:
		return nil
	}
	rec.deliver()
	return err
}
