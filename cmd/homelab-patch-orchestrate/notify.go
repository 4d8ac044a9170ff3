package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/message"
	"homelab-patch-orchestrate/metrics"
	"homelab-patch-orchestrate/notify"
	"homelab-patch-orchestrate/orchestrator"
)

// flushWait bounds `notify flush`: its timer comes again.
const flushWait = 2 * time.Minute

func notifyCommand(out *printer, code *int) *cobra.Command {
	j := &job{}
	c := parent(out, code, &cobra.Command{
		Use: "notify", Short: "Messages: check the channels, deliver what waits",
	})
	command := func(use, short string, do func(context.Context, io.Reader) error) *cobra.Command {
		sub := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
		f := sub.Flags()
		f.StringVar(&j.configFile, "config", defaultConfig, "settings `FILE`")
		f.StringVar(&j.State, "state", "", "`DIR` of the outbox (default /var/lib/homelab-patch-orchestrate)")
		sub.RunE = func(cmd *cobra.Command, _ []string) error {
			j.flags = cmd
			if err := j.resolveSettings(); err != nil {
				return err
			}
			if err := j.asOwner(); err != nil {
				return failed(fmt.Errorf("become the user whose %s is: %w", j.State, err))
			}
			err := do(cmd.Context(), cmd.InOrStdin())
			if exit := (*exitError)(nil); err == nil || errors.As(err, &exit) {
				return err
			}
			return failed(err)
		}
		return sub
	}
	var dry bool
	var socket string
	test := command("test", "Send a test message to every channel", func(ctx context.Context, _ io.Reader) error {
		return out.testChannels(ctx, j.post(out), dry)
	})
	test.Flags().BoolVar(&dry, "dry-run", false, "print what would be sent, and send nothing")
	flush := command("flush", "Deliver the messages that wait", func(ctx context.Context, _ io.Reader) error {
		return j.flush(ctx, out)
	})
	announce := command("announce", "Tell people of a reboot, before it; for the role", func(ctx context.Context, in io.Reader) error {
		var h message.Host
		if err := readJSON(in, &h); err != nil || h.Host == "" {
			return fmt.Errorf("standard input is not a host as JSON: %v", err)
		}
		if socket != "" {
			if answered, err := ask(socket, h); answered {
				return err
			} // the run is over, and nobody else will tell
		}
		ctx, cancel := context.WithTimeout(ctx, rebootWait)
		defer cancel()
		p := j.post(out)
		n := message.Reboots("", []message.Host{h}, p.links)
		p.sendOnce(ctx, n, n.Channels()...)
		j.counted(out, p)
		return nil
	})
	announce.Flags().StringVar(&socket, "socket", "", "`PATH` of the socket of the run that tells them")
	summary := command("summary", "Tell people what was patched by hand; for the role", func(ctx context.Context, in io.Reader) error {
		var got struct {
			Hosts map[string]*orchestrator.Patch `json:"hosts"`
		}
		if err := readJSON(in, &got); err != nil || len(got.Hosts) == 0 {
			return fmt.Errorf("standard input has no hosts as JSON: %v", err)
		}
		p := j.post(out)
		p.put(message.Summary(message.ByHand(got.Hosts), false, p.links))
		p.flush(ctx, lastWait)
		j.counted(out, p)
		return nil
	})
	announce.Hidden, summary.Hidden = true, true
	c.AddCommand(test, flush, announce, summary)
	return c
}

// readJSON reads what the role says. A field more is no error: its version may
// be another.
func readJSON(in io.Reader, v any) error {
	return json.NewDecoder(io.LimitReader(in, 64<<20)).Decode(v)
}

// flush delivers what waits, and writes how much is left into the metrics.
func (j *job) flush(ctx context.Context, out *printer) error {
	p := j.post(out)
	results := p.flush(ctx, flushWait)
	j.counted(out, p)
	var left error
	for _, r := range results {
		if r.Delivered > 0 {
			out.note("%s: messages delivered: %d", r.Channel, r.Delivered)
		}
		if r.Waiting > 0 {
			left = errors.New("messages still wait; they are tried again by the next flush and the next run")
		}
	}
	return left
}

// counted writes how many messages wait into the metrics, if it is not what
// they say.
func (j *job) counted(out *printer, p *post) {
	waiting, dropped := p.counts()
	m, err := metrics.Read(j.Textfile)
	if err == nil && (!maps.Equal(m.Pending, waiting) || !maps.Equal(m.Dropped, dropped)) {
		j.record(out, p).messages()
	}
}

// testChannels sends a test message through each channel, past the outbox: the
// answer is wanted now.
func (p *printer) testChannels(ctx context.Context, post *post, dry bool) error {
	if len(post.box.Channels) == 0 {
		return errors.New("no channel is configured: see docs/configure.md for /etc/homelab/patching-notify.env")
	}
	n := message.Test(post.links)
	bad := false
	for _, c := range post.box.Channels {
		if dry {
			shown, ok := c.Notifier.(interface {
				Payload(notify.Message) ([]byte, error)
			})
			if !ok {
				fmt.Fprintf(p.out, "%s: no payload\n", c.Name)
				continue
			}
			text, err := shown.Payload(n.Message)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.out, "%s: %s\n", c.Name, text)
			continue
		}
		if c.Name == message.Heartbeat { // a beat would say that a run went well
			fmt.Fprintf(p.out, "%s: not tested: asking for it would be a sign of life\n", c.Name)
			continue
		}
		if c.Notifier == nil {
			bad = true
			fmt.Fprintf(p.out, "%s: its settings cannot be used\n", c.Name)
			continue
		}
		start := time.Now()
		limit, cancel := context.WithTimeout(ctx, lastWait)
		err := notify.Retry(limit, c.Notifier, n.Message)
		cancel()
		if err != nil {
			bad = true
			fmt.Fprintln(p.out, err)
			continue
		}
		fmt.Fprintf(p.out, "%s: delivered in %s\n", c.Name, time.Since(start).Round(10*time.Millisecond))
	}
	switch {
	case post.bad:
		return &exitError{orchestrator.ExitUsage, errors.New("the file with the channels has to be mended: the warnings say where")}
	case bad:
		return errors.New("not every channel works")
	}
	return nil
}

// program is the path of this binary, for the role to call it by.
func program() string {
	path, err := os.Executable()
	if err != nil {
		return name
	}
	return path
}
