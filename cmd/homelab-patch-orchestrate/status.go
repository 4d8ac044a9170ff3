package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"homelab-patch-orchestrate/orchestrator"
)

func statusCommand(out *printer, code *int) *cobra.Command {
	j := &job{readOnly: true}
	follow := false
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how far the run under way is, or how the latest one went",
		Long: `Show how far the run under way is, also one that systemd started, or how the
latest one went. Nothing is changed, and no run is held up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			j.flags = cmd
			if follow && j.json {
				return errors.New("--json says how it is once: leave --follow or --json out")
			}
			if err := j.resolveSettings(); err != nil {
				return err
			}
			return j.status(out, code, follow)
		},
	}
	j.settingsFlags(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing it until the run has ended")
	c.Flags().BoolVar(&j.json, "json", false, "print it as JSON")
	return c
}

func (j *job) status(out *printer, code *int, follow bool) error {
	store, err := j.stored()
	switch {
	case err != nil:
		return err
	case store == nil:
		if j.json {
			return out.json(runStatus{Words: "there is no run: " + j.State + " does not exist", Waves: []waveStatus{}})
		}
		fmt.Fprintf(out.out, "there is no run: %s does not exist\n", j.State)
		return nil
	}
	s := &onlooker{store: store}
	if err := s.look(); err != nil {
		return failed(err)
	}
	switch {
	case follow:
		return s.follow(out, code)
	case j.json:
		return out.json(s.json())
	}
	s.print(out)
	return nil
}

// print says once how it is.
func (s *onlooker) print(out *printer) {
	switch {
	case s.report.ID == "" || s.over() && s.begins():
	case s.over():
		s.head(out)
		out.summary(s.report, runDir(s.store, s.report.ID), "")
	default:
		s.head(out)
		width := 120
		if term.IsTerminal(int(out.out.Fd())) {
			width, _ = size(out.out)
		}
		at := time.Now()
		if s.holder == nil { // then nothing goes on any more
			if last, err := s.store.LastSign(s.report.ID); err == nil {
				at = last
			}
		}
		fmt.Fprintln(out.out, strings.Join(s.known.Sections(width, color(out.out), at), "\n"))
	}
	if words := s.words(); words != "" {
		fmt.Fprintln(out.out, clean(words))
	}
}

func (s *onlooker) head(out *printer) {
	fmt.Fprintf(out.out, "run %s, begun %s\n", s.report.ID, s.began())
}

func (s *onlooker) began() string { return s.report.Started.Local().Format("2006-01-02 15:04 MST") }

// patience is how long a run whose process is gone is watched for somebody who goes on with it, or closes it.
const patience = 15 * time.Second

// follow shows the run until it has ended, or nobody is there who would end it.
func (s *onlooker) follow(out *printer, code *int) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var run, said string
	var alone time.Time // since when nobody is at work; zero if somebody is
	end := func() {
		if s.view != nil {
			s.view.Close()
			s.view = nil
		}
	}
	defer end()
	for {
		if s.report.ID != run && !s.over() {
			run = s.report.ID
			out.note("run %s, begun %s: %s", run, s.began(), s.known.Status())
			s.view = out.view(s.known, false)
		}
		if words := s.words(); words != said {
			if said = words; words != "" && !(s.over() && s.holder == nil) { // else it is printed below
				out.note("%s", words)
			}
		}
		switch {
		case s.over() && !s.begins():
			end()
			s.print(out)
			return nil
		case s.holder != nil || s.awaited():
			alone = time.Time{}
		case alone.IsZero():
			alone = time.Now()
		case time.Since(alone) > patience:
			return nil // what is so was said
		}
		select {
		case <-ctx.Done():
			*code = orchestrator.ExitInterrupted
			return nil
		case <-tick.C:
		}
		was := s.view
		if err := s.look(); err != nil {
			return failed(err)
		}
		if was != nil && s.view == nil { // another run has begun
			was.Close()
		}
	}
}

type (
	// runStatus is what `status --json` prints.
	runStatus struct {
		Run     string       `json:"run"` // empty if there is none
		Kind    string       `json:"kind,omitempty"`
		State   string       `json:"state,omitempty"`
		Started time.Time    `json:"started,omitzero"`
		Ended   time.Time    `json:"ended,omitzero"`
		Exit    *int         `json:"exit_code"`
		Reason  string       `json:"reason,omitempty"`
		Process *int         `json:"process"` // that is at work on it; null if none is
		Words   string       `json:"words,omitempty"`
		Waves   []waveStatus `json:"waves"`
	}
	waveStatus struct {
		Number  int          `json:"number"`
		State   string       `json:"state"`
		Started time.Time    `json:"started,omitzero"`
		Ended   time.Time    `json:"ended,omitzero"`
		Before  float64      `json:"longest_before_seconds,omitempty"`
		Hosts   []hostStatus `json:"hosts"`
	}
	hostStatus struct {
		Name    string    `json:"name"`
		Busy    bool      `json:"busy"`
		Outcome string    `json:"outcome,omitempty"`
		Task    string    `json:"task,omitempty"`
		Done    int       `json:"packages_done,omitempty"`
		Total   int       `json:"packages_total,omitempty"`
		Started time.Time `json:"started,omitzero"`
		Last    time.Time `json:"last,omitzero"`
		Note    string    `json:"note,omitempty"`
	}
)

func (s *onlooker) json() runStatus {
	r := s.report
	all := runStatus{Run: r.ID, Kind: string(r.Kind), State: string(r.State), Started: r.Started, Ended: r.Ended, Exit: r.ExitCode,
		Reason: r.Reason, Words: s.words(), Waves: []waveStatus{}}
	if s.holder != nil && s.holder.Run == r.ID && !s.holder.Ended && r.ID != "" {
		all.Process = &s.holder.PID
	}
	if s.known == nil {
		return all
	}
	for _, w := range s.known.Waves() {
		wave := waveStatus{w.Number, string(w.State), w.Began, w.Ended, w.Before.Seconds(), []hostStatus{}}
		for _, h := range w.Hosts {
			wave.Hosts = append(wave.Hosts, hostStatus{h.Name, h.Busy, string(h.Outcome), h.Task, h.Done, h.Total, h.Began, h.Last, h.Note})
		}
		all.Waves = append(all.Waves, wave)
	}
	return all
}
