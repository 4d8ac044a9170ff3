package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"homelab-patch-orchestrate/ara"
	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/internal/message"
	"homelab-patch-orchestrate/notify"
	"homelab-patch-orchestrate/orchestrator"
)

// How long a run may wait for the world. All else is delivered later.
const (
	rebootWait = 5 * time.Second  // before a reboot, for its announcement
	lastWait   = 10 * time.Second // when journal and metrics are final
)

// post is how the program tells people. Nothing that goes wrong in it is more
// than a warning.
type post struct {
	box   notify.Outbox
	links message.Links
	send  message.Send
	out   *printer
	state string // directory
	bad   bool   // something in the channels' file cannot be used

	ara      *ara.Client // nil if no server is configured
	recorder *recorder   // of the run under way; nil if there is none
}

// linksOf are the links of what is said of a run: that of ARA leads to its record.
func (p *post) linksOf(r orchestrator.Report) message.Links {
	l := p.links
	l.ARA = araPage(l.ARA, p.state, r)
	return l
}

// post reads where messages go.
func (j *job) post(out *printer) *post {
	d := config.Default()
	c, err := config.LoadChannels(cmp.Or(j.NotifyEnv, d.NotifyEnv), os.Getenv("CREDENTIALS_DIRECTORY"))
	for _, w := range c.Warnings {
		out.warn("%s", w)
	}
	if err != nil {
		out.warn("%v; the run is not affected, and its messages wait", err)
	}
	state := cmp.Or(j.State, d.State)
	p := &post{
		box:   notify.Outbox{Dir: filepath.Join(state, "outbox")},
		links: message.Links{Grafana: c.Grafana, Runbook: c.Runbook, ARA: c.ARA},
		send:  message.Send(cmp.Or(j.Send, d.Send)), out: out, state: state, ara: araClient(c), bad: err != nil,
	}
	// A channel whose settings cannot be used has messages all the same: they wait. If nothing could be read, nobody
	// knows which there are.
	unknown := err != nil && !c.Wanted(message.Discord) && !c.Wanted(message.Ntfy) && !c.Wanted(message.Heartbeat)
	add := func(name string, usable bool, n notify.Notifier) {
		if !usable {
			n = nil
		}
		if c.Wanted(name) || unknown && name != message.Heartbeat {
			p.box.Channels = append(p.box.Channels, notify.Channel{Name: name, Notifier: n})
		}
	}
	add(message.Discord, c.Discord != "", &notify.Discord{Webhook: c.Discord})
	add(message.Ntfy, c.NtfyURL != "" && c.NtfyTopic != "", &notify.Ntfy{URL: c.NtfyURL, Topic: c.NtfyTopic, Token: c.NtfyToken})
	add(message.Heartbeat, c.Heartbeat != "", &notify.Heartbeat{URL: c.Heartbeat})
	return p
}

// alarm is the file that says that people were alarmed, and not yet told that
// it is over.
const alarm = ".alarm"

// alarmed reports whether they are.
func (p *post) alarmed() bool { return exists(filepath.Join(p.box.Dir, alarm)) }

// told is the file with the id of the run that people were last told of.
const told = ".told"

// tellOf makes the summary of a run durable, and remembers that it is.
func (p *post) tellOf(run string, n message.Notice) {
	p.put(n)
	if len(p.box.Channels) == 0 || run == "" {
		return
	}
	if err := p.mark(told, run); err != nil {
		p.out.warn("messages: %v", err)
	}
}

// mark writes a small file beside the messages.
func (p *post) mark(name, text string) error {
	if err := os.MkdirAll(p.box.Dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.box.Dir, name), []byte(text), 0o600)
}

// lastTold is the id of that run; empty if it is not known.
func (p *post) lastTold() string {
	id, _ := os.ReadFile(filepath.Join(p.box.Dir, told))
	return string(id)
}

// heldFile is the file with what people were last told of why nothing is
// patched: a hold, or a closed window.
const heldFile = ".held"

// lastHeld is what they were told; empty if it is not known.
func (p *post) lastHeld() string {
	what, _ := os.ReadFile(filepath.Join(p.box.Dir, heldFile))
	return string(what)
}

// remember notes what they were told now.
func (p *post) remember(what string) {
	if len(p.box.Channels) == 0 {
		return
	}
	if err := p.mark(heldFile, what); err != nil {
		p.out.warn("messages: %v", err)
	}
}

// forget makes whatever comes next news.
func (p *post) forget() {
	if err := os.Remove(filepath.Join(p.box.Dir, heldFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.out.warn("messages: %v", err)
	}
}

// put makes a notice durable, if it is one that is wanted.
func (p *post) put(n message.Notice) {
	if len(p.box.Channels) == 0 {
		return
	}
	var err error
	switch n.Kind {
	case message.Failure, message.Interrupted:
		err = p.mark(alarm, "")
	case message.Recovered:
		err = os.Remove(filepath.Join(p.box.Dir, alarm))
	}
	if err != nil {
		p.out.warn("messages: %v", err)
	}
	if !n.Wanted(p.send) {
		return
	}
	if err := p.box.Put(n.Message, n.Channels()...); err != nil {
		p.out.warn("messages: %v", err)
	}
}

// beat is the sign of life that a full run gives when it went well. A day
// later it would say something else. Without that channel nothing is kept.
func (p *post) beat(run string) {
	now := time.Now().UTC()
	if err := p.box.Put(notify.Message{ID: run + "-beat", Ref: run, Time: now, Expires: now.Add(24 * time.Hour)}, message.Heartbeat); err != nil {
		p.out.warn("heartbeat: %v", err)
	}
}

// flush tries to deliver what waits, and says what came of it.
func (p *post) flush(ctx context.Context, wait time.Duration) []notify.Result {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	results := p.box.Flush(ctx)
	for _, r := range results {
		if r.Err != nil {
			p.out.warn("%v; messages that wait for %s: %d", r.Err, r.Channel, r.Waiting)
		}
		if r.Dropped > 0 {
			p.out.warn("%s: messages given up, too old or never taken: %d", r.Channel, r.Dropped)
		}
	}
	return results
}

// counts are the numbers for the metrics.
func (p *post) counts() (waiting, dropped map[string]int) {
	all, err := p.box.Counts()
	if err != nil {
		p.out.warn("messages: %v", err)
	}
	for name, c := range all {
		if waiting == nil {
			waiting, dropped = map[string]int{}, map[string]int{}
		}
		waiting[name], dropped[name] = c.Waiting, c.Dropped
	}
	return waiting, dropped
}
