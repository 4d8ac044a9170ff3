package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"homelab-patch-orchestrate/ara"
	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/orchestrator"
)

// Labels in ARA: those of each playbook of ours, of a run, and of a wave.
const ourLabel = "homelab-patch"

// preflightLabel is that of what looks ahead at the controller's upgrade.
const preflightLabel = "preflight"

func runLabel(run string) string { return "run:" + run }
func waveLabel(wave int) string  { return fmt.Sprintf("wave:%d", wave) }

// labels are those of what ansible-playbook does in a run.
func labels(run string, kind orchestrator.Kind, more ...string) []string {
	return append([]string{ourLabel, runLabel(run), "kind:" + string(kind)}, more...)
}

// recorder puts a run on record in ARA beside it. A nil one does nothing. It never stops or delays the run; what it does
// not get done, `ara forward` does.
type recorder struct {
	f       *ara.Forwarder
	keep    time.Duration
	out     *printer
	cancel  context.CancelFunc
	ended   chan struct{}
	records []ara.Record // nil if a later process goes on with the run
	err     chan error   // has room for the one there is; nil before begin
}

// recorder is nil if the settings do not want one.
func (w *work) recorder(run *orchestrator.Run) *recorder {
	j := w.job
	if !j.ARA.Forward {
		return nil
	}
	client := w.rec.post.ara
	if client == nil { // of a dry run, which tells nobody of anything else
		client = j.post(w.out).ara
	}
	if client == nil {
		w.out.warn("ARA: %v; the run is not affected", errNoARA)
		return nil
	}
	r := &recorder{f: j.forwarder(client, run.Dir, labels(run.ID, w.rec.kind)), out: w.out, ended: make(chan struct{})}
	if !j.check {
		r.keep = j.ARA.Keep
	}
	return r
}

var errNoARA = errors.New("ara.forward is set and ARA_API_SERVER is not: which server?")

// forwarder puts the run in a folder on record.
func (j *job) forwarder(client *ara.Client, dir string, labels []string) *ara.Forwarder {
	a := j.ARA
	return &ara.Forwarder{Client: client, Dir: dir, Labels: labels,
		Ignore: ara.Ignore{Facts: a.Facts, Arguments: a.Arguments, Results: a.Results, Files: a.Files}}
}

// araClient is nil if no server is configured.
func araClient(c config.Channels) *ara.Client {
	if c.ARA == "" {
		return nil
	}
	return &ara.Client{Server: c.ARA, User: c.ARAUser, Password: c.ARAPassword.Reveal()}
}

// begin is called when the folder of the run is there; again and again.
func (r *recorder) begin() {
	if r == nil || r.err != nil {
		return
	}
	r.err = make(chan error, 1)
	if err := ara.Mark(r.f.Dir); err != nil {
		r.out.warn("%v; the run is not affected", err)
		r.err <- nil
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.err <- r.work(ctx) }()
}

func (r *recorder) work(ctx context.Context) error {
	if err := r.f.Open(); err != nil {
		return err
	}
	defer r.f.Close()
	if r.keep > 0 {
		if _, err := r.f.Client.Prune(ctx, ourLabel, time.Now().Add(-r.keep)); err != nil {
			r.out.warn("%v; what is too old stays until the next run", err)
		}
	}
	if err := r.f.Follow(ctx, r.ended); err != nil || r.records == nil {
		return err
	}
	return r.f.Finish(ctx, r.records)
}

// end says that there will be no more events. The report is nil if a later process goes on with the run.
func (r *recorder) end(report *orchestrator.Report, p *post) {
	if r == nil || r.cancel == nil {
		return
	}
	if report != nil {
		r.records = araRecords(*report, p.links.Grafana, r.f.Client.Server)
	}
	close(r.ended)
}

// wait gives the recorder a moment for the last records, as long as the server answers: one that is down, or hung, is not
// waited for.
func (r *recorder) wait() {
	if r == nil || r.cancel == nil {
		return
	}
	start := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var err error
	for over := false; !over; {
		select {
		case err = <-r.err:
			over = true
		case <-tick.C:
			if r.records == nil || !r.f.Client.Answers() || time.Since(start) > lastWait {
				r.cancel()
				err = <-r.err
				over = true
			}
		}
	}
	switch {
	case r.records == nil: // who goes on with the run goes on with this
	case errors.Is(err, ara.ErrBusy):
	case err != nil:
		r.out.warn("%v; the run is not affected, and `ara forward` goes on with its record", err)
	default:
		r.out.note("ARA: on record, waited %.2f s", time.Since(start).Seconds())
	}
}

// araRecords is what is put beside the playbooks of a run.
func araRecords(report orchestrator.Report, grafana, server string) []ara.Record {
	code := -1
	if report.ExitCode != nil {
		code = *report.ExitCode
	}
	type host struct {
		Outcome  orchestrator.Outcome `json:"outcome"`
		Packages int                  `json:"packages"`
		Message  string               `json:"message,omitempty"`
	}
	hosts := map[string]host{}
	for _, w := range report.Waves {
		for _, h := range w.Hosts {
			n := 0
			if h.Patch != nil {
				n = len(h.Patch.Packages)
			}
			hosts[h.Name] = host{h.Outcome, n, h.Message}
		}
	}
	records := []ara.Record{
		{Key: "homelab-patch", Type: "text", Value: fmt.Sprintf("run %s (%s): %s, exit code %d\n%s", report.ID, report.Kind, report.State, code, report.Reason)},
		{Key: "homelab-patch hosts", Type: "json", Value: hosts},
	}
	if grafana != "" {
		records = append(records, ara.Record{Key: "homelab-patch dashboard", Type: "url", Value: grafana})
	}
	if len(report.Waves) > 1 {
		records = append(records, ara.Record{Key: "homelab-patch waves", Type: "url", Value: ara.LabelPage(server, runLabel(report.ID))})
	}
	return records
}

// araPage is where in ARA a run is to be seen: the playbook of its only wave, or of the first one that lost a host; else
// the list of its playbooks.
func araPage(server, state string, r orchestrator.Report) string {
	if server == "" || r.ID == "" {
		return server
	}
	wave := ""
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			if h.Lost() && wave == "" && !w.Started.IsZero() {
				wave = waveLabel(w.Number)
			}
		}
	}
	if wave == "" && len(r.Waves) == 1 {
		wave = waveLabel(r.Waves[0].Number)
	}
	return ara.Page(server, filepath.Join(state, "runs", r.ID), runLabel(r.ID), wave)
}
