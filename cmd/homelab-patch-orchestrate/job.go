package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/ansible"
	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

const defaultConfig = "/etc/homelab/patch-orchestrate.yaml"

// carriedWaves is the highest wave that the carried playbook has a play for.
const carriedWaves = 9

// job is what a command line and the configuration file say together: flags
// win.
type job struct {
	config.Config
	configFile string
	limit      string
	wave       int
	check      bool
	diff       bool
	json       bool
	verbose    int
	callback   string
	wait       time.Duration // for the lock
	after      string        // unit that goes first
	now        bool          // whatever the schedule says

	of       *orchestrator.Report // of a retry: the run whose hosts it has
	outcomes []orchestrator.Outcome

	planning bool                                      // of a dry run: all that can be foreseen, of each host
	planFile string                                    // what is to be installed, made by plan --out
	versions *orchestrator.Versions                    // read from it
	shown    func(*printer, orchestrator.Report) error // prints the report in place of the summary

	undoes   bool     // a rollback
	script   bool     // called as the shell script was: only ever a dry run
	readOnly bool     // nothing is run, so nothing need be unpacked
	carried  bool     // the playbook is the one in this binary
	named    bool     // the project was named, and is all of its folder
	env      []string // added to Ansible's environment
	flags    *cobra.Command
}

// targetFlags are the flags that say who is patched.
func (j *job) targetFlags(c *cobra.Command) {
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&j.limit, "limit", "", "patch only the hosts that match this Ansible `PATTERN`; it only narrows")
	f.IntVar(&j.wave, "wave", 0, "patch only wave `N`")
	c.RegisterFlagCompletionFunc("limit", j.completeLimit)
	c.RegisterFlagCompletionFunc("wave", j.completeWave)
	j.sourceFlags(c)
}

// settingsFlags are the flags of a command that runs nothing and looks at what runs leave.
func (j *job) settingsFlags(c *cobra.Command) {
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&j.configFile, "config", defaultConfig, "settings `FILE`")
	f.StringVar(&j.State, "state", "", "state `DIR` (default /var/lib/homelab-patch-orchestrate)")
}

// sourceFlags are the flags that say what a run is made of.
func (j *job) sourceFlags(c *cobra.Command) {
	j.flags = c
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&j.Project, "project", "", "run ansible-playbook in `DIR`, with its ansible.cfg and roles (default: the carried ones)")
	f.StringArrayVar(&j.Inventory, "inventory", nil, "inventory `FILE`; may be repeated (default: what ansible.cfg says)")
	f.StringVar(&j.Playbook, "playbook", "", "playbook `FILE` (default: the project's patch.yml, or the carried one)")
	f.StringVar(&j.configFile, "config", defaultConfig, "settings `FILE`")
	f.StringVar(&j.State, "state", "", "`DIR` of the lock, the journals and the carried content (default /var/lib/homelab-patch-orchestrate)")
	f.BoolVar(&j.json, "json", false, "print the result as JSON")
}

// workFlags are the flags of how a run is carried out.
func (j *job) workFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&j.Textfile, "textfile", "", "metrics `FILE` (default /var/lib/prometheus/node-exporter/patch_orchestrate.prom)")
	f.IntVar(&j.Forks, "forks", 0, "let Ansible work on `N` hosts at a time (default: what ansible.cfg says, or one a host, 10 to 25)")
	f.DurationVar(&j.wait, "wait", 0, "wait for at most `DURATION`, such as 4h, for another run to end")
	f.BoolVar(&j.now, "now", false, "begin whatever window and blackout say; the report has it")
	f.CountVarP(&j.verbose, "verbose", "v", "more in ansible.log; may be repeated")
}

// runFlags are those of a command that goes on with a run, or retries it.
func (j *job) runFlags(c *cobra.Command) {
	j.sourceFlags(c)
	j.workFlags(c)
}

// settingsError is a settings file that cannot be used. Unlike a bad flag it
// is no slip of somebody who sees the message.
type settingsError struct{ err error }

func (e *settingsError) Error() string { return e.err.Error() }
func (e *settingsError) Unwrap() error { return e.err }

// asked is the policy as far as the flags tell; whom the limit names is not
// known yet.
func (j *job) asked() orchestrator.Policy {
	p := orchestrator.Policy{Check: j.check, Rollback: j.undoes}
	if j.of != nil {
		p.Of = j.of.ID
	}
	if j.limit != "" {
		p.Limit = []string{j.limit}
	}
	if j.flags.Flags().Changed("wave") {
		p.Wave = &j.wave
	}
	return p
}

// resolveSettings is resolve for a command that runs nothing.
func (j *job) resolveSettings() error {
	set := func(name string) bool { return j.flags.Flags().Changed(name) }
	flags := j.Config
	cfg, err := config.Load(j.configFile, set("config"))
	if err != nil {
		return err
	}
	j.Config = cfg
	for _, f := range []struct {
		name, value string
		to          *string
	}{{"state", flags.State, &j.State}, {"textfile", flags.Textfile, &j.Textfile}} {
		if !set(f.name) {
			continue
		}
		if *f.to, err = filepath.Abs(f.value); f.value == "" || err != nil {
			return fmt.Errorf("--%s is empty: give it a value, or leave it out", f.name)
		}
	}
	return nil
}

// resolve merges the flags over the configuration file and makes paths
// absolute.
func (j *job) resolve() error {
	if err := j.checkFlags(); err != nil {
		return err
	}
	cfg, err := config.Load(j.configFile, j.flags.Flags().Changed("config"))
	if err != nil && j.flags.Flags().Changed("config") {
		return err
	}
	if err != nil {
		return &settingsError{err}
	}
	return j.merge(cfg)
}

// checkFlags refuses flags that cannot be meant.
func (j *job) checkFlags() error {
	if j.script && !j.check {
		return errors.New("--check was taken for the value of the flag before it; nothing was done")
	}
	for _, name := range []string{"limit", "project", "inventory", "playbook", "config", "state", "textfile", "callback", "plan", "out"} {
		if f := j.flags.Flags().Lookup(name); f != nil && f.Changed && strings.Trim(f.Value.String(), `[]"`) == "" {
			return fmt.Errorf("--%s is empty: give it a value, or leave it out", name)
		}
	}
	return nil
}

// merge has the flags win over the settings.
func (j *job) merge(cfg config.Config) error {
	set := func(name string) bool { return j.flags.Flags().Changed(name) }
	flags := j.Config
	j.Config = cfg
	path := func(name, value string, to *string) {
		if set(name) {
			if *to, _ = filepath.Abs(value); *to == "" {
				*to = value
			}
		}
	}
	path("project", flags.Project, &j.Project)
	path("state", flags.State, &j.State)
	path("textfile", flags.Textfile, &j.Textfile)
	path("playbook", flags.Playbook, &j.Playbook)
	if !j.readOnly {
		if err := j.mine(); err != nil {
			return err
		}
	}
	if set("inventory") {
		j.Inventory = nil
		for _, s := range flags.Inventory {
			if s == "" {
				return errors.New("--inventory is empty: give it a value, or leave it out")
			}
			if !strings.Contains(s, ",") { // else a list of hosts
				s, _ = filepath.Abs(s)
			}
			j.Inventory = append(j.Inventory, s)
		}
		if err := j.inventories(); err != nil {
			return err
		}
	}
	if set("forks") {
		if j.Forks = flags.Forks; j.Forks < 1 {
			return fmt.Errorf("--forks %d: at least 1 host at a time", j.Forks)
		}
	}
	if set("callback") && j.callback != "json" {
		return fmt.Errorf("--callback %s: only json can be named; without the flag your own stdout callback stays", j.callback)
	}
	if set("wave") && j.wave < 0 {
		return fmt.Errorf("--wave %d: waves are numbered from 0", j.wave)
	}
	if err := j.project(); err != nil {
		if set("project") || set("playbook") {
			return err
		}
		return &settingsError{err}
	}
	return j.pinnable()
}

// project finds the playbook and what surrounds it.
func (j *job) project() error {
	if j.named = j.Project != ""; j.named {
		if fi, err := os.Stat(j.Project); err != nil || !fi.IsDir() {
			return fmt.Errorf("project %s is not a folder", j.Project)
		}
	}
	switch {
	case j.Playbook != "":
		if j.Project == "" {
			j.Project = filepath.Dir(j.Playbook)
		}
	case j.Project != "":
		for _, name := range []string{"patch.yml", "playbooks/patch.yml"} {
			if p := filepath.Join(j.Project, name); exists(p) {
				j.Playbook = p
				break
			}
		}
		if j.Playbook == "" {
			return fmt.Errorf("project %s has neither patch.yml nor playbooks/patch.yml; name one with --playbook", j.Project)
		}
	default:
		j.carried = true
		return nil
	}
	if !exists(j.Playbook) {
		return fmt.Errorf("playbook %s does not exist", j.Playbook)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// inventories looks for the sources that were named. One that the settings name and that is gone is found with the
// plan: a run that nobody watches must say so in its metrics.
func (j *job) inventories() error {
	for _, s := range j.Inventory {
		if !strings.Contains(s, ",") && !exists(s) {
			return fmt.Errorf("inventory %s does not exist", s)
		}
	}
	return nil
}

// unpack makes the carried content a project.
func (j *job) unpack() error {
	if !j.carried {
		return nil
	}
	if j.readOnly {
		j.Project = "/" // no ansible.cfg of whatever folder we are in
		return nil
	}
	dir, err := ansible.Unpack(filepath.Join(j.State, "content"))
	if err != nil {
		return &exitError{orchestrator.ExitFailed, err}
	}
	j.Project, j.Playbook = dir, filepath.Join(dir, "playbooks", "wave.yml")
	// The operator's own ansible.cfg stays in force, so there is none here;
	// what the playbook needs of one is this: its role, and no warning for each
	// of the ten waves that a fleet does not have.
	j.env = append(j.env, "ANSIBLE_ROLES_PATH="+filepath.Join(dir, "roles"), "ANSIBLE_HOST_PATTERN_MISMATCH=ignore")
	return nil
}

// environ is the environment of Ansible.
func (j *job) environ() []string { return append(os.Environ(), j.env...) }

// policy asks Ansible who the limit names, if there is one.
func (j *job) policy(ctx context.Context) (orchestrator.Policy, error) {
	p := orchestrator.Policy{Budget: j.Budget, Soak: j.Soak, WaveDeadline: j.WaveDeadline, EngineUpgrade: j.EngineUpgrade, Check: j.check}
	if j.carried {
		p.MaxWave, p.Publishes = carriedWaves, true
	}
	if j.flags.Flags().Changed("wave") {
		p.Wave = &j.wave
	}
	if j.limit != "" {
		ctx, cancel := answering(ctx)
		defer cancel()
		hosts, err := runner.Match(ctx, j.Project, j.limit, j.Inventory...)
		if err != nil {
			return p, err
		}
		p.Limit = append([]string{}, hosts...) // nobody is not everybody
	}
	return p, nil
}

// fleet reads the inventory, when all that it needs may be trusted.
func (j *job) fleet(ctx context.Context) (*inventory.Inventory, error) {
	if err := j.trusted(); err != nil {
		return nil, err
	}
	return j.inventory(ctx)
}

// trusted finds what is needed to read the inventory, and refuses what others may write.
func (j *job) trusted() error {
	for _, step := range []func() error{j.inventories, j.unpack, j.trust} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// inventory asks Ansible for the inventory, whose files are trusted.
func (j *job) inventory(ctx context.Context) (*inventory.Inventory, error) {
	ctx, cancel := answering(ctx)
	defer cancel()
	list, err := runner.Inventory(ctx, j.Project, j.Inventory...)
	if err != nil {
		return nil, err
	}
	return inventory.Parse(list)
}

// plan says who is patched when. Nothing was touched when it fails.
func (j *job) plan(ctx context.Context) (*orchestrator.Plan, orchestrator.Policy, error) {
	var none orchestrator.Policy
	inv, err := j.fleet(ctx)
	if err != nil {
		return nil, none, err
	}
	policy, err := j.policy(ctx)
	if err != nil {
		return nil, none, err
	}
	plan, err := orchestrator.NewPlan(inv, policy)
	return plan, policy, err
}

// answering is a context for a question to Ansible about the inventory. Scripts of it, and those that know the password of a
// vault, may hang, and nothing else would end them: systemd has no deadline for a run.
func answering(ctx context.Context) (context.Context, context.CancelFunc) {
	const patience = 5 * time.Minute
	return context.WithTimeoutCause(ctx, patience, fmt.Errorf("it gave no answer within %s: does a script of the inventory hang, or one that knows the password of a vault?", patience))
}
