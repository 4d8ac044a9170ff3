package tui

import (
	"errors"
	"os"
	"runtime/debug"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/sys/unix"
)

// Key is a key that scrolls.
type Key int

// The keys.
const (
	Up Key = iota + 1
	Down
	PageUp
	PageDown
	Redraw // Ctrl-L
)

// Keyboard reads keys from a terminal. Ctrl-C and the like stay signals: the
// terminal only gives what is typed at once, and does not show it.
type Keyboard struct {
	Keys <-chan Key

	in     *os.File
	before *unix.Termios
	wake   *os.File // closed, it ends the reading
	ended  chan struct{}
}

// ErrBackground says that the terminal is another job's for now.
var ErrBackground = errors.New("the terminal is another job's")

// OpenKeyboard begins to read keys. Call Close to leave the terminal as it was.
func OpenKeyboard(in *os.File) (*Keyboard, error) {
	before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	keys := make(chan Key, 16)
	k := &Keyboard{Keys: keys, in: in, before: before, wake: w, ended: make(chan struct{})}
	if err := k.Again(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	go k.read(r, keys)
	return k, nil
}

// Again prepares the terminal again, as after a stop by Ctrl-Z.
func (k *Keyboard) Again() error {
	if !k.foreground() { // we would be stopped
		return ErrBackground
	}
	t := *k.before
	t.Lflag &^= unix.ICANON | unix.ECHO
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 0, 0
	if err := unix.IoctlSetTermios(int(k.in.Fd()), unix.TCSETS, &t); err != nil {
		return err
	}
	// A panic is to end us by a signal: then shells put their terminal right.
	debug.SetTraceback("crash")
	return nil
}

// Close leaves the terminal as it was.
func (k *Keyboard) Close() error {
	k.wake.Close()
	<-k.ended
	debug.SetTraceback("single")
	if !k.foreground() { // its modes are the other job's
		return nil
	}
	return unix.IoctlSetTermios(int(k.in.Fd()), unix.TCSETS, k.before)
}

func (k *Keyboard) foreground() bool {
	group, err := unix.IoctlGetInt(int(k.in.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func (k *Keyboard) read(stop *os.File, keys chan<- Key) {
	defer close(k.ended)
	defer close(keys)
	defer stop.Close()
	buf := make([]byte, 256)
	for {
		timeout := -1
		wait := []unix.PollFd{{Fd: int32(stop.Fd()), Events: unix.POLLIN}, {Fd: int32(k.in.Fd()), Events: unix.POLLIN}}
		if !k.foreground() { // what is typed is another's, and reading it would stop us
			wait, timeout = wait[:1], 1000
		}
		n, err := unix.Poll(wait, timeout)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || wait[0].Revents != 0:
			return
		case n == 0 || !k.foreground():
			continue
		}
		if wait[1].Revents&unix.POLLIN == 0 || wait[1].Revents&unix.POLLHUP != 0 {
			return // the terminal is gone
		}
		if n, err = unix.Read(int(k.in.Fd()), buf); err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return
		}
		for _, key := range decode(buf[:max(0, n)]) {
			select {
			case keys <- key:
			default: // nobody looks
			}
		}
	}
}

// decode finds the keys in what a terminal sent.
func decode(b []byte) (keys []Key) {
	state := byte(ansi.NormalState)
	for len(b) > 0 {
		seq, _, n, next := ansi.DecodeSequence(b, state, nil)
		if n == 0 {
			break
		}
		switch string(seq) {
		case "\x1b[A", "k":
			keys = append(keys, Up)
		case "\x1b[B", "j":
			keys = append(keys, Down)
		case "\x1b[5~", "b":
			keys = append(keys, PageUp)
		case "\x1b[6~", " ":
			keys = append(keys, PageDown)
		case "\x0c":
			keys = append(keys, Redraw)
		}
		b, state = b[n:], next
	}
	return keys
}
