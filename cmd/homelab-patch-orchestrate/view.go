package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// view is what follows a run.
type view interface {
	Event(runner.Event)
	Change(orchestrator.Change)
	Say(string)
	Close()
}

// view returns the live view on a terminal, and log lines elsewhere.
func (p *printer) view(run *tui.Run, json bool) view {
	on := p.out
	if json {
		on = p.err
	}
	if !term.IsTerminal(int(on.Fd())) || os.Getenv("TERM") == "dumb" {
		return logView{run, slog.New(slog.NewTextHandler(p.err, nil))}
	}
	v := &liveView{p: p, signals: make(chan os.Signal, 4), resized: make(chan os.Signal, 4), ended: make(chan struct{})}
	screen := tui.Screen{Out: on, Size: func() (int, int) { return size(on) }, Color: color(on), Resized: v.resized}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		if k, err := tui.OpenKeyboard(os.Stdin); err == nil { // else nobody can scroll
			v.keyboard, screen.Keys = k, k.Keys
		}
	}
	signal.Notify(v.signals, syscall.SIGWINCH, syscall.SIGCONT)
	go v.listen()
	v.Live = tui.New(run, screen)
	p.mu.Lock()
	p.live = v.Live
	p.mu.Unlock()
	return v
}

// size is how many columns and lines a terminal has.
func size(f *os.File) (width, height int) {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 || h <= 0 {
		return 80, 24
	}
	return w, h
}

// liveView is the view on a terminal.
type liveView struct {
	*tui.Live
	p        *printer
	keyboard *tui.Keyboard // nil if there is none
	signals  chan os.Signal
	resized  chan os.Signal
	ended    chan struct{} // closed when listen has
}

// listen hands on that the terminal has another size, or is ours again after a stop by Ctrl-Z. It ends with Close.
func (v *liveView) listen() {
	defer close(v.ended)
	for s := range v.signals {
		if s == syscall.SIGCONT && v.keyboard != nil {
			v.keyboard.Again() // what cannot be is the other job's
		}
		select {
		case v.resized <- s:
		default:
		}
	}
}

func (v *liveView) Close() {
	v.p.mu.Lock() // what is printed meanwhile comes below the last that is drawn
	v.Live.Close()
	v.p.live = nil
	v.p.mu.Unlock()
	signal.Stop(v.signals)
	close(v.signals)
	<-v.ended
	if v.keyboard != nil {
		v.keyboard.Close()
	}
}

// logView logs one line a change.
type logView struct {
	*tui.Run
	log *slog.Logger
}

func (v logView) Event(e runner.Event) {
	v.Run.Event(e)
	if e.Kind == runner.KindStall {
		v.log.Warn("host stalled", "host", e.Host, "reason", e.Msg)
	}
}

// Close has nothing to leave as it was.
func (v logView) Close() {}

func (v logView) Change(c orchestrator.Change) {
	v.Run.Change(c)
	args := []any{"run", c.Run}
	what := "run"
	if c.Wave != nil {
		what, args = "wave", append(args, "wave", *c.Wave)
	}
	if c.Host != "" {
		what, args = "host", append(args, "host", c.Host)
	}
	if c.Reason != "" {
		args = append(args, "reason", c.Reason)
	}
	level := slog.LevelInfo
	switch c.To {
	case "failed", "halted", "unreachable", "interrupted", "not-attempted":
		level = slog.LevelWarn
	}
	v.log.Log(context.Background(), level, what+" "+c.To, args...)
}
