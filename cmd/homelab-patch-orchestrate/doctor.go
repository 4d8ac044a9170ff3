package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/internal/doctor"
	"homelab-patch-orchestrate/internal/message"
	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/notify"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

func doctorCommand(out *printer, code *int) *cobra.Command {
	d := &diagnosis{job: job{readOnly: true}, out: out}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what the next run would stumble over",
		Long: `Look at everything that a run needs, before it begins: Ansible, settings, channels,
inventory, units, window, state, metrics, and each host by a new connection.
Each finding comes with its fix. Nothing is changed anywhere, and nothing is sent.

An error is what a run would fail by, or lose a host to, or not come at all. A
warning is what would make it go worse, or what nobody can tell.

Exit codes: 0 no errors, 1 errors were found, 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.checkFlags(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := d.look(ctx); err != nil {
				return err
			}
			if d.sheet.Count(doctor.Error) > 0 {
				*code = orchestrator.ExitFailed
			}
			if d.json {
				return out.json(d.result())
			}
			out.diagnosis(d)
			return nil
		},
	}
	d.targetFlags(c)
	c.Flags().Lookup("limit").Usage = "of the hosts, look only at those that match this Ansible `PATTERN`"
	c.Flags().Lookup("wave").Usage = "of the hosts, look only at those of wave `N`"
	c.Flags().BoolVar(&d.all, "verbose", false, "show what is well, too")
	return c
}

// diagnosis is a command line of `doctor`.
type diagnosis struct {
	job
	out     *printer
	all     bool // what is well is shown, too
	sheet   doctor.Sheet
	machine doctor.Machine
	took    time.Duration
}

// look looks at one area after the other. Its error is a command line that cannot be meant, or that somebody said stop.
func (d *diagnosis) look(ctx context.Context) error {
	began := time.Now()
	at := d.out.progress()
	defer at("")
	at("the engine")
	version, err := runner.Version(ctx, "/")
	d.sheet.Add(doctor.Engine(version, err)...)
	at("the units")
	var units []doctor.Check
	d.machine, units = doctor.Look(ctx, systemd{}, os.Geteuid())
	d.sheet.Add(units...)
	at("the settings")
	readable, err := d.settings()
	if err != nil {
		return err
	}
	if !readable {
		d.skip("until the settings can be read", doctor.Clock, doctor.Store, doctor.Messages, doctor.Record, doctor.Metrics, doctor.Key, doctor.Fleet, doctor.HostsArea)
		return nil
	}
	at("the channels")
	d.channels(ctx)
	at("the metrics")
	d.sheet.Add(doctor.Textfile(ctx, d.Textfile, "/proc")...)
	at("the state")
	d.sheet.Add(doctor.State(d.State, d.runner(), time.Now())...)
	d.sheet.Add(doctor.PrivateKey(d.PrivateKey)...)
	at("the inventory")
	inv, hosts := d.fleet(ctx, version != "")
	d.schedule(inv)
	if len(hosts) > 0 {
		d.hosts(ctx, at, inv, hosts)
	} else {
		d.skip("until there is a plan", doctor.HostsArea)
	}
	d.took = time.Since(began)
	if ctx.Err() != nil {
		return &exitError{orchestrator.ExitInterrupted, errors.New("interrupted: what was seen so far says nothing of the rest")}
	}
	return nil
}

func (d *diagnosis) skip(until string, areas ...string) {
	for _, area := range areas {
		d.sheet.Skip(area, until)
	}
}

// runner is the user that a run is started as.
func (d *diagnosis) runner() int {
	if d.machine.UID >= 0 {
		return d.machine.UID
	}
	return os.Geteuid()
}

// settings reads them, as far as they can be read, and reports whether what else is looked at can be told by them.
func (d *diagnosis) settings() (readable bool, err error) {
	const mend = "docs/configure.md has every key"
	named := d.flags.Flags().Changed("config")
	cfg, err := config.LoadUsable(d.configFile, named)
	if named && errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	found := doctor.Problems(doctor.Settings, doctor.Error, err, mend)
	d.sheet.Add(found...)
	// Of these the default does for looking; of the others it would be about something else.
	usable := []string{"forks", "budget", "soak", "host_deadline", "wave_deadline", "engine_upgrade", "gates", "failed_units", "send"}
	if !config.Only(err, usable...) {
		return false, nil
	}
	err = d.merge(cfg)
	if settings := (*settingsError)(nil); errors.As(err, &settings) {
		d.sheet.Add(doctor.Problems(doctor.Settings, doctor.Error, err, mend)...)
		return false, nil
	}
	if err == nil && len(found) == 0 {
		d.sheet.Add(doctor.Read(d.File)...)
	}
	return err == nil, err
}

// channels looks at who hears of a run.
func (d *diagnosis) channels(ctx context.Context) {
	c, err := config.LoadChannels(d.NotifyEnv, os.Getenv("CREDENTIALS_DIRECTORY"))
	var far []doctor.Far
	if c.Discord != "" {
		far = append(far, doctor.Far{Name: message.Discord, Reacher: &notify.Discord{Webhook: c.Discord}})
	}
	if c.NtfyURL != "" && c.NtfyTopic != "" {
		far = append(far, doctor.Far{Name: message.Ntfy, Reacher: &notify.Ntfy{URL: c.NtfyURL, Topic: c.NtfyTopic, Token: c.NtfyToken}})
	}
	if c.Heartbeat != "" {
		far = append(far, doctor.Far{Name: message.Heartbeat, Reacher: &notify.Heartbeat{URL: c.Heartbeat}})
	}
	d.sheet.Add(doctor.Channels(ctx, d.NotifyEnv, c, err, far)...)
	var server doctor.Versioner
	if client := araClient(c); client != nil {
		server = client
	}
	d.sheet.Add(doctor.ARA(ctx, server, d.ARA.Forward, d.NotifyEnv)...)
}

// fleet reads the inventory and makes the plan. The hosts are those of the plan; where it is refused, all targets.
func (d *diagnosis) fleet(ctx context.Context, engine bool) (inv *inventory.Inventory, hosts []orchestrator.Host) {
	const see = "mend the inventory (docs/configure.md, docs/fleet.md); homelab-patch-orchestrate waves shows what is understood"
	problem := func(err error) { d.sheet.Add(doctor.Problems(doctor.Fleet, doctor.Error, err, see)...) }
	if err := d.trusted(); err != nil {
		problem(err)
		return nil, nil
	}
	if !engine {
		d.skip("until there is an Ansible", doctor.Fleet)
		return nil, nil
	}
	inv, err := d.inventory(ctx)
	if err != nil {
		problem(err)
		return nil, nil
	}
	policy, err := d.policy(ctx)
	if err != nil {
		problem(err)
		return inv, nil
	}
	plan, err := orchestrator.NewPlan(inv, policy)
	if err != nil {
		problem(err)
		for _, name := range inv.Groups["patching_targets"].Hosts {
			h := inv.Hosts[name]
			if policy.Limit == nil || slices.Contains(policy.Limit, name) {
				hosts = append(hosts, orchestrator.Host{Name: name, Address: h.Address(), Local: h.Local()})
			}
		}
		return inv, hosts
	}
	for _, w := range plan.Waves {
		hosts = append(hosts, w.Hosts...)
	}
	d.sheet.Add(doctor.Planned(plan)...)
	return inv, hosts
}

// schedule looks whether a run may begin when the timer comes.
func (d *diagnosis) schedule(inv *inventory.Inventory) {
	now := time.Now()
	d.sheet.Add(doctor.Window(d.Schedule, d.machine.Next)...)
	hold, err := orchestrator.ReadHold(d.Hold)
	d.sheet.Add(doctor.FleetHold(hold, err, now)...)
	var known []string
	if inv != nil {
		known = slices.Collect(maps.Keys(inv.Hosts))
	}
	holds, err := orchestrator.ReadHostHolds(d.HostHolds)
	d.sheet.Add(doctor.HostHolds(holds, err, known, now)...)
}
