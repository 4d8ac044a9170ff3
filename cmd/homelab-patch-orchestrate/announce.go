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
	"homelab-patch-orchestrate/orchestrator"
)

// announcer tells people of reboots, and lets a host wait until they were told.
// The role's announce step connects to its socket, sends one message.Host as
// JSON, and is answered when every channel has its message on disk and was
// tried once, or after rebootWait. Hosts that come while a channel is being
// tried share its next message: a wave of 500 must not be 500 messages.
type announcer struct {
	post   *post
	run    string
	dir    string // of the socket; ours alone
	listen *net.UnixListener
	queues []*queue
	stop   context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	number  int
	longest time.Duration
	waited  time.Duration // by all hosts together
}

// queue is the hosts that a channel is to be told of.
type queue struct {
	channel string
	mu      sync.Mutex
	hosts   []announced
	more    chan struct{} // has room for one
}

// announced is a host that waits for one channel.
type announced struct {
	host message.Host
	at   time.Time
	done func()
}

// attemptWait ends an attempt a little before its hosts stop waiting, so that
// the next message is on disk before the hosts in it go.
const attemptWait = rebootWait * 9 / 10

// announce listens until close. Nobody is told if there is no channel; then it
// is nil.
func (p *post) announce(run string) *announcer {
	ctx, stop := context.WithCancel(context.Background())
	a := &announcer{post: p, run: run, stop: stop}
	for _, c := range p.box.Channels {
		if c.Name != message.Heartbeat {
			a.queues = append(a.queues, &queue{channel: c.Name, more: make(chan struct{}, 1)})
		}
	}
	if len(a.queues) == 0 {
		stop()
		return nil
	}
	dir, err := os.MkdirTemp("", "patch-") // short: the path of a socket may have 107 bytes
	if err == nil {
		a.dir = dir
		a.listen, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "announce"), Net: "unix"})
	}
	if err != nil {
		stop()
		os.RemoveAll(dir)
		p.out.warn("announcements of reboots: %v; there are none", err)
		return nil
	}
	a.work.Go(func() { a.accept(ctx) })
	for _, q := range a.queues {
		a.work.Go(func() { a.tell(ctx, q) })
	}
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
	for _, q := range a.queues { // who came in the very last moment
		if batch := q.take(); len(batch) > 0 {
			n := message.Reboots(a.run, hostsOf(batch), a.post.linksOf(orchestrator.Report{ID: a.run}))
			if err := a.post.box.Put(n.Message, q.channel); err != nil {
				a.post.out.warn("messages: %v", err)
			}
		}
	}
	os.RemoveAll(a.dir)
	return a.number, a.longest, a.waited
}

func (a *announcer) accept(ctx context.Context) {
	for {
		c, err := a.listen.AcceptUnix()
		switch {
		case err == nil:
			a.work.Go(func() { a.serve(ctx, c) })
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default: // such as too many open files: that passes
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
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
	var h message.Host
	if err := json.Unmarshal(text, &h); err != nil || h.Host == "" {
		fmt.Fprintln(c, "not understood")
		return
	}
	told := make(chan struct{}, len(a.queues))
	for _, q := range a.queues {
		q.add(announced{h, at, func() { told <- struct{}{} }})
	}
	enough := time.After(time.Until(at.Add(rebootWait)))
wait:
	for range a.queues {
		select {
		case <-told:
		case <-enough:
			break wait
		case <-ctx.Done():
			break wait
		}
	}
	a.mu.Lock()
	waited := time.Since(at)
	a.number, a.waited, a.longest = a.number+1, a.waited+waited, max(a.longest, waited)
	a.mu.Unlock()
	fmt.Fprintln(c, "announced")
}

func (q *queue) add(h announced) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hosts = append(q.hosts, h)
	select {
	case q.more <- struct{}{}:
	default: // it knows
	}
}

func (q *queue) take() []announced {
	q.mu.Lock()
	defer q.mu.Unlock()
	hosts := q.hosts
	q.hosts = nil
	return hosts
}

// tell makes one message of all the hosts that wait, has it made durable and
// tried once, and begins again. An attempt may take as long as the last of its
// hosts waits. Those that come meanwhile have waited less when it ends, so
// their message is on disk before they go.
func (a *announcer) tell(ctx context.Context, q *queue) {
	for {
		select {
		case <-q.more:
		case <-ctx.Done():
		}
		batch := q.take()
		if len(batch) > 0 {
			limit, cancel := context.WithDeadline(ctx, batch[len(batch)-1].at.Add(attemptWait))
			n := message.Reboots(a.run, hostsOf(batch), a.post.linksOf(orchestrator.Report{ID: a.run}))
			a.post.sendOnce(limit, n, q.channel)
			cancel()
			for _, h := range batch {
				h.done()
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// sendOnce makes a notice durable, and makes one attempt on each channel.
func (p *post) sendOnce(ctx context.Context, n message.Notice, channels ...string) {
	results, err := p.box.Send(ctx, n.Message, channels...)
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
// answered is false if nobody was there.
func ask(socket string, h message.Host) (answered bool, err error) {
	c, err := net.DialTimeout("unix", socket, rebootWait)
	if err != nil {
		return false, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(rebootWait + time.Second))
	text, err := json.Marshal(h)
	if err != nil {
		return false, err
	}
	if _, err := c.Write(append(text, '\n')); err != nil {
		return false, err
	}
	answer, err := io.ReadAll(io.LimitReader(c, 1024))
	if err == nil && string(answer) != "announced\n" {
		err = errors.New("the run did not acknowledge the announcement")
	}
	return true, err
}
