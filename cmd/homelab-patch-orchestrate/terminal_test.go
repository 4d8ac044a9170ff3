package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/charmbracelet/x/vt"
	"golang.org/x/sys/unix"
)

// tty is a terminal, and who looks at it.
type tty struct {
	t           *testing.T
	master, pts *os.File

	mu     sync.Mutex
	screen *vt.Emulator
}

func newTTY(t *testing.T, width, height int) *tty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	pts, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pts.Close() })
	tt := &tty{t: t, master: master, pts: pts, screen: vt.NewEmulator(width, height)}
	tt.resize(width, height)
	go func() { // ends with the terminal
		buf := make([]byte, 64<<10)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			tt.mu.Lock()
			tt.screen.Write(buf[:n])
			tt.mu.Unlock()
		}
	}()
	return tt
}

func (tt *tty) resize(width, height int) {
	tt.t.Helper()
	tt.mu.Lock()
	defer tt.mu.Unlock()
	tt.screen.Resize(width, height)
	if err := unix.IoctlSetWinsize(int(tt.pts.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: uint16(height)}); err != nil {
		tt.t.Fatal(err)
	}
}

func (tt *tty) String() string {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	return tt.screen.String()
}

func (tt *tty) modes() unix.Termios {
	tt.t.Helper()
	m, err := unix.IoctlGetTermios(int(tt.pts.Fd()), unix.TCGETS)
	if err != nil {
		tt.t.Fatal(err)
	}
	return *m
}

// On a terminal a run is drawn, Ctrl-C means there what it means elsewhere, and the terminal is left as it was.
func TestTerminal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "{}\n")
	if err := syscall.Mkfifo(b.path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	tt := newTTY(t, 80, 24)
	before := tt.modes()
	c := b.command()
	c.Env = append(c.Env, "TERM=xterm", "NO_COLOR=1")
	c.Stdin, c.Stdout, c.Stderr = tt.pts, tt.pts, tt.pts
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	b.eventually("the wave is drawn", func() bool { return strings.Contains(tt.String(), "  one       Wait") })
	if m := tt.modes(); m.Lflag&(unix.ECHO|unix.ICANON) != 0 || m.Lflag&unix.ISIG == 0 || m.Oflag != before.Oflag {
		t.Errorf("modes %+v, before %+v", m, before)
	}
	tt.resize(40, 10)
	b.eventually("it is drawn anew", func() bool {
		return strings.HasPrefix(tt.String(), "wave 0  running  0/1") && strings.Count(tt.String(), "Wait") == 1
	})
	tt.master.WriteString("\x1b[6~q\x03")
	b.eventually("the first Ctrl-C is understood", func() bool { return strings.Contains(tt.String(), "stopping:") })
	tt.master.WriteString("\x03")
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d\n%s", code, tt)
	}
	if after := tt.modes(); after != before {
		t.Errorf("the terminal is left with %+v, it had %+v", after, before)
	}
	// What it wrote last may still be on its way through the terminal.
	b.eventually("its end is told", func() bool { return strings.Contains(tt.String(), "interrupted in 0:") })
	if got := tt.String(); strings.Contains(got, "q") && strings.Contains(got, "[6~") {
		t.Errorf("%s", got)
	}
}
