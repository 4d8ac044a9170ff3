package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"homelab-patch-orchestrate/internal/message"
)

// announcer tells people of reboots, and lets a host wait until they were told.
// The role's announce step connects to its socket, sends one message.Host as
// JSON, and is answered when the message is durable and was tried once, or
// after rebootWait. Hosts that come while an attempt is under way share the
// next message: a wave of 500 must not be 500 messages.
type announcer struct {
	post   *post
	run    string
	dir    string // of the socket; ours alone
	listen *net.UnixListener
	hosts  chan announced
	work   sync.WaitGroup
	stop   context.CancelFunc

	mu      sync.Mutex
	waited  time.Duration // by all hosts together
	longest time.Duration
	number  int
}

// announced is a host that waits.
type announced struct {
	host message.Host
	at   time.Time
	done chan struct{}
}

// announce listens until close. Nobody is told if there is no channel; then it
// is nil.
func (p *post) announce(run string) *announcer {
	if len(p.box.Channels) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "patch-") // short: the path of a socket may have 107 bytes
	if err != nil {
		p.out.warn("announcements of reboots: %v; there are none", err)
		return nil
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "announce"), Net: "unix"})
	if err != nil {
		os.RemoveAll(dir)
		p.out.warn("announcements of reboots: %v; there are none", err)
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	a := &announcer{post: p, run: run, dir: dir, listen: l, hosts: make(chan announced), stop: stop}
	a.work.Go(func() { a.accept(ctx) })
	a.work.Go(func() { a.tell(ctx) })
	return a
}

// socket is the path for the role; empty if there is none.
func (a *announcer) socket() string {
	if a == nil {
		return ""
	}
	return a.listen.Addr().String()
}

// close ends it, and returns how long hosts have waited.
func (a *announcer) close() (hosts int, longest, sum time.Duration) {
	if a == nil {
		return 0, 0, 0
	}
	a.stop()
	a.listen.Close()
	a.work.Wait()
	os.RemoveAll(a.dir)
	return a.number, a.longest, a.waited
}

func (a *announcer) accept(ctx context.Context) {
	for {
		c, err := a.listen.AcceptUnix()
		if err != nil {
			return // closed
		}
		a.work.Go(func() { a.serve(ctx, c) })
	}
}

// serve answers one host.
func (a *announcer) serve(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	at := time.Now()
	c.SetDeadline(at.Add(2 * rebootWait))
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(at) })() // the end of the run waits for no one who says nothing
	text, err := bufio.NewReader(io.LimitReader(c, 64<<10)).ReadBytes('\n')
	if err != nil {
		return
	}
	h := announced{at: at, done: make(chan struct{})}
	if err := json.Unmarshal(text, &h.host); err != nil || h.host.Host == "" {
		fmt.Fprintln(c, "not understood")
		return
	}
	select {
	case a.hosts <- h:
	case <-ctx.Done():
		return
	}
	select {
	case <-h.done:
	case <-ctx.Done():
	}
	a.mu.Lock()
	waited := time.Since(at)
	a.number, a.waited, a.longest = a.number+1, a.waited+waited, max(a.longest, waited)
	a.mu.Unlock()
	fmt.Fprintln(c, "announced")
}

// tell makes one message of all the hosts that wait, makes it durable, and
// lets them go when it was tried, or when the first of them has waited long
// enough.
func (a *announcer) tell(ctx context.Context) {
	tried := make(chan []announced)
	free := true // no attempt is under way
	var queue []announced
	var late <-chan time.Time
	release := func(batch []announced) {
		for _, h := range batch {
			close(h.done)
		}
	}
	for {
		if free && len(queue) > 0 {
			batch := queue
			queue, free, late = nil, false, nil
			a.work.Go(func() {
				a.attempt(ctx, batch)
				release(batch)
				select {
				case tried <- batch:
				case <-ctx.Done():
				}
			})
		}
		select {
		case h := <-a.hosts:
			if queue = append(queue, h); len(queue) == 1 {
				late = time.After(time.Until(h.at.Add(rebootWait * 9 / 10)))
			}
		case <-tried:
			free = true
		case <-late: // an attempt hangs: these are told of later, and go now
			a.post.put(message.Reboots(a.run, hostsOf(queue), a.post.links))
			release(queue)
			queue, late = nil, nil
		case <-ctx.Done():
			if len(queue) > 0 {
				a.post.put(message.Reboots(a.run, hostsOf(queue), a.post.links))
			}
			return
		}
	}
}

// attempt makes a message durable and tries it once.
func (a *announcer) attempt(ctx context.Context, batch []announced) {
	ctx, cancel := context.WithDeadline(ctx, batch[0].at.Add(rebootWait*9/10))
	defer cancel()
	a.post.sendOnce(ctx, message.Reboots(a.run, hostsOf(batch), a.post.links))
}

// sendOnce makes a notice durable, and makes one attempt.
func (p *post) sendOnce(ctx context.Context, n message.Notice) {
	results, err := p.box.Send(ctx, n.Message, n.Channels()...)
	if err != nil {
		p.out.warn("messages: %v", err)
	}
	for _, r := range results {
		if r.Err != nil {
			p.out.warn("%v; the message waits, the run does not", r.Err)
		}
	}
}

func hostsOf(batch []announced) (hosts []message.Host) {
	for _, h := range batch {
		hosts = append(hosts, h.host)
	}
	return hosts
}

// ask is the other side: the announce step of a host, on the controller.
func ask(socket string, h message.Host) error {
	c, err := net.DialTimeout("unix", socket, rebootWait)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * rebootWait))
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := c.Write(append(text, '\n')); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(c, 1024))
	if err == nil && string(answer) != "announced\n" {
		err = errors.New("the run did not acknowledge the announcement")
	}
	return err
}
