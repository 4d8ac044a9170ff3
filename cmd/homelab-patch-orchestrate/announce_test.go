package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/internal/message"
	"homelab-patch-orchestrate/notify"
)

// far is a channel that keeps titles, or hangs.
type far struct {
	mu    sync.Mutex
	texts []string
	hangs bool
	slow  time.Duration
}

func (f *far) Notify(ctx context.Context, m notify.Message) error {
	if f.hangs {
		<-ctx.Done()
		return &notify.Error{Channel: "discord", Reason: "no answer in time", Err: ctx.Err()}
	}
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts = append(f.texts, m.Text)
	return nil
}

// many hosts ask at the same time; it returns the longest that one has waited.
func many(t *testing.T, a *announcer, hosts int) time.Duration {
	t.Helper()
	var wait sync.WaitGroup
	start := time.Now()
	took := make([]time.Duration, hosts)
	for i := range hosts {
		wait.Go(func() {
			if _, err := ask(a.socket(), message.Host{Host: fmt.Sprintf("node%03d", i)}); err != nil {
				t.Error(err)
			}
			took[i] = time.Since(start)
		})
	}
	wait.Wait()
	longest := time.Duration(0)
	for _, d := range took {
		longest = max(longest, d)
	}
	return longest
}

func announcerWith(t *testing.T, channels ...notify.Channel) (*announcer, *post) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	p := &post{box: notify.Outbox{Dir: filepath.Join(t.TempDir(), "outbox"), Channels: channels},
		out: &printer{out: null, err: null}}
	a := p.announce("20261122T040000Z-1a2b3c")
	if a == nil {
		t.Fatal("no announcer")
	}
	return a, p
}

// A wave of 200 hosts that restart together is a few messages, each sent before
// its hosts may go.
func TestAnnounceTogether(t *testing.T) {
	t.Parallel()
	f := &far{slow: 50 * time.Millisecond}
	a, p := announcerWith(t, notify.Channel{Name: message.Discord, Notifier: f})
	many(t, a, 200)
	hosts, longest, _ := a.close()
	if hosts != 200 || longest > 5*time.Second {
		t.Errorf("%d hosts, the longest wait %v", hosts, longest)
	}
	if n := len(f.texts); n == 0 || n > 20 {
		t.Errorf("%d messages", n)
	}
	if waiting, _ := p.counts(); waiting["discord"] != 0 {
		t.Errorf("%v", waiting)
	}
	if exists(a.dir) {
		t.Errorf("%s is left", a.dir)
	}
}

// A channel that hangs holds nobody up for more than five seconds, early or
// late, and nothing is lost.
func TestAnnounceHangs(t *testing.T) {
	t.Parallel()
	f := &far{hangs: true}
	a, p := announcerWith(t, notify.Channel{Name: message.Discord, Notifier: f})
	var wait sync.WaitGroup
	for range 3 { // each finds an attempt under way
		wait.Go(func() {
			if longest := many(t, a, 20); longest > rebootWait+time.Second { // of which a second is the machine's
				t.Errorf("a host waited %v", longest)
			}
		})
	}
	wait.Wait()
	hosts, _, _ := a.close()
	waiting, dropped := p.counts()
	if hosts != 60 || waiting["discord"] == 0 || waiting["discord"] > 10 || dropped["discord"] != 0 {
		t.Errorf("%d hosts, %v waiting, %v dropped", hosts, waiting, dropped)
	}
}

// A channel that hangs keeps no other from hearing, and a host waits for each:
// until it was tried, or for five seconds.
func TestAnnounceSideBySide(t *testing.T) {
	t.Parallel()
	hanging, works := &far{hangs: true}, &far{slow: 50 * time.Millisecond}
	a, p := announcerWith(t, notify.Channel{Name: message.Discord, Notifier: hanging}, notify.Channel{Name: message.Ntfy, Notifier: works})
	var wait sync.WaitGroup
	for i := range 10 {
		wait.Go(func() {
			time.Sleep(time.Duration(i) * 20 * time.Millisecond) // they come one after the other
			start := time.Now()
			if _, err := ask(a.socket(), message.Host{Host: fmt.Sprintf("node%03d", i)}); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took < rebootWait*8/10 || took > 3*rebootWait {
				t.Errorf("node%03d waited %v", i, took)
			}
		})
	}
	wait.Wait()
	a.close()
	if all := strings.Join(works.texts, " "); strings.Count(all, "node") != 10 {
		t.Errorf("ntfy heard %q", works.texts)
	}
	if waiting, _ := p.counts(); waiting["ntfy"] != 0 || waiting["discord"] == 0 {
		t.Errorf("%v", waiting)
	}
}

// Whoever says nothing, nonsense or goes away is no reason to wait; and the end
// of the run lets everybody go.
func TestAnnounceStrangers(t *testing.T) {
	t.Parallel()
	f := &far{hangs: true}
	a, _ := announcerWith(t, notify.Channel{Name: message.Discord, Notifier: f})
	var conns []net.Conn
	for _, text := range []string{"", "nonsense\n", `{"host": ""}` + "\n", `{"host": "gone"}` + "\n"} {
		c, err := net.Dial("unix", a.socket())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Error(err)
		}
		if text == "" {
			conns = append(conns, c) // and stays
			continue
		}
		c.Close()
	}
	done := make(chan struct{})
	go func() { a.close(); close(done) }()
	select {
	case <-done:
	case <-time.After(8 * time.Second):
		t.Error("the end of the run waits for strangers")
	}
	for _, c := range conns {
		c.Close()
	}
}
