package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/internal/past"
	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

func showCommand(out *printer) *cobra.Command {
	j := &job{readOnly: true}
	c := &cobra.Command{
		Use:   "show RUN [HOST]",
		Short: "Show a run: waves, hosts, packages, gates, what went wrong, what took long",
		Long: `Show what a run did, or with HOST all that it has on one host. RUN is the id of a run, the beginning of
one, or latest.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error { return j.show(out, args) },
	}
	j.flags = c
	j.settingsFlags(c)
	c.Flags().BoolVar(&j.json, "json", false, "print it as JSON")
	c.ValidArgsFunction = j.completeRunHost
	return c
}

// hostNames is every host of a run.
func hostNames(r orchestrator.Report) (names []string) {
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			names = append(names, h.Name)
		}
	}
	return names
}

// find opens the run that a person named.
func (j *job) find(name string) (*orchestrator.Store, orchestrator.Report, string, error) {
	store, err := j.stored()
	if err == nil && store == nil {
		err = fmt.Errorf("there is no run in %s", j.State)
	}
	if err != nil {
		return nil, orchestrator.Report{}, "", err
	}
	report, dir, err := findRun(store, name)
	return store, report, dir, err
}

// showJSON is what `show --json` prints: of a run, or of one host of it.
type showJSON struct {
	Report *orchestrator.Report `json:"report,omitempty"`
	Run    *past.Summary        `json:"run,omitempty"`  // with HOST
	Wave   *int                 `json:"wave,omitempty"` // with HOST
	Host   *hostJSON            `json:"host,omitempty"`
	Times  *past.Times          `json:"times"` // null if there are no events
	Dir    string               `json:"dir"`
	Files  []string             `json:"files"` // of the folder, by what they are for people
	ARA    string               `json:"ara,omitempty"`
}

// hostJSON is a host of a run, and why it came out so.
type hostJSON struct {
	orchestrator.HostReport
	Cause orchestrator.Cause `json:"cause"`
	Why   string             `json:"why"`
}

func (j *job) show(out *printer, args []string) error {
	if err := j.resolveSettings(); err != nil {
		return err
	}
	_, report, dir, err := j.find(args[0])
	if err != nil {
		return err
	}
	host := ""
	if len(args) == 2 {
		host = args[1]
		if _, ok := report.Why(host); !ok {
			return noHost(host, "run "+report.ID, hostNames(report))
		}
	}
	d := config.Default()
	channels, _ := config.LoadChannels(cmp.Or(j.NotifyEnv, d.NotifyEnv), os.Getenv("CREDENTIALS_DIRECTORY"))
	s := showJSON{Dir: dir, Files: files(dir), ARA: araPage(channels.ARA, j.State, report)}
	if s.Times, err = times(dir, host); err != nil {
		out.warn("%v", err)
	}
	if host == "" {
		s.Report = &report
	} else {
		short := past.Diff(report, report).To
		s.Run = &short
		for _, w := range report.Waves {
			for _, h := range w.Hosts {
				if h.Name == host {
					why, _ := report.Why(host)
					s.Wave, s.Host = &w.Number, &hostJSON{h, why.Cause, why.Words}
				}
			}
		}
	}
	switch {
	case j.json:
		return out.json(s)
	case host == "":
		out.whole(s)
	default:
		out.oneHost(s)
	}
	return nil
}

// noHost is the error of a host that nobody knows.
func noHost(name, where string, known []string) error {
	if near := inventory.Nearest(name, known); near != "" {
		return fmt.Errorf("%s has no host %s (did you mean %s?)", where, name, near)
	}
	return fmt.Errorf("%s has no host %s", where, name)
}

// files names what there is of a run for people to read.
func files(dir string) []string {
	there := []string{}
	for _, name := range []string{"report.html", "journal.json", "ansible.log", "events.jsonl"} {
		if exists(filepath.Join(dir, name)) {
			there = append(there, filepath.Join(dir, name))
		}
	}
	return there
}

// times is how long tasks took, by the events of a run; nil if it has none.
func times(dir, host string) (*past.Times, error) {
	file, err := os.Open(filepath.Join(dir, "events.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("how long tasks took is not known: %w", err)
	}
	defer file.Close()
	t, err := past.Timings(runner.Heads(file), host)
	if err != nil {
		return nil, fmt.Errorf("how long tasks took is not known: %w", err)
	}
	return &t, nil
}

// How much of what may be long is shown; --json has all of it.
const (
	mostTimes  = 8
	mostErrors = 20
	mostLines  = 12
)

// whole prints a run: what the summary of `run` has, and around it what a person asks next.
func (p *printer) whole(s showJSON) {
	r := *s.Report
	head := fmt.Sprintf("run %s (%s), %s", r.ID, r.Kind, past.Ago(r.Started, time.Now()))
	if r.Of != "" {
		head += ", of hosts of run " + r.Of
	}
	if r.Engine != "" {
		head += ", ansible-core " + r.Engine
	}
	fmt.Fprintln(p.out, clean(head))
	for _, at := range r.Resumed {
		fmt.Fprintf(p.out, "gone on with %s\n", past.Clock(at))
	}
	if len(r.Waves) > 0 {
		fmt.Fprintln(p.out)
		p.waveTable(r)
		p.summary(r, s.Dir, s.ARA)
	} else {
		fmt.Fprintf(p.out, "\nit ended before its first wave, exit code %s: %s\n", codeOf(r), clean(r.Reason))
	}
	p.errors(r)
	p.gates(r)
	p.times(s.Times, "slowest tasks", "slowest hosts")
	p.files(s)
}

func codeOf(r orchestrator.Report) string {
	if r.ExitCode == nil {
		return "not known yet"
	}
	return fmt.Sprint(*r.ExitCode)
}

func (p *printer) files(s showJSON) {
	fmt.Fprintln(p.out)
	for _, name := range s.Files {
		fmt.Fprintln(p.out, name)
	}
}

// lines prints a text of a host, its last lines, each made safe.
func (p *printer) lines(indent, text string) {
	all := strings.Split(strings.TrimSpace(text), "\n")
	if n := len(all) - mostLines; n > 0 {
		fmt.Fprintf(p.out, "%s(%d lines before these: --json has them)\n", indent, n)
		all = all[n:]
	}
	for _, line := range all {
		fmt.Fprintln(p.out, indent+clean(line))
	}
}
