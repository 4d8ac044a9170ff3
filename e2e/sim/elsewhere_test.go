package sim

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// elsewhere is a far end in a process of its own, behind a connection that can break.
type elsewhere struct {
	t      *testing.T
	dir    string // PATH, the script, and the folder of the far end's runs
	cmd    *exec.Cmd
	cable  *cable
	script string
}

// begin begins a far end whose fleet is that of a script. A connection to it breaks after most bytes; 0 is no limit.
func begin(t *testing.T, s Script, most int64) *elsewhere {
	t.Helper()
	e := &elsewhere{t: t, dir: t.TempDir()}
	e.script = filepath.Join(e.dir, "script.json")
	if err := s.Save(e.script); err != nil {
		t.Fatal(err)
	}
	called(t, e.dir, "ansible-playbook")
	called(t, e.dir, "far-engine")
	e.cable = plug(t, most)
	t.Cleanup(func() {
		e.kill()
		e.signal(syscall.SIGCONT)
		for deadline := time.Now().Add(10 * time.Second); e.busy() && time.Now().Before(deadline); { // they write where files are removed
			time.Sleep(5 * time.Millisecond)
		}
	})
	e.up()
	return e
}

// up starts the far end, which may be the next process of it.
func (e *elsewhere) up() {
	e.t.Helper()
	e.cmd = exec.Command(filepath.Join(e.dir, "far-engine"), e.runs())
	e.cmd.Env = append(os.Environ(), "PATH="+e.dir+":"+os.Getenv("PATH"), ScriptVar+"="+e.script)
	e.cmd.Stderr = os.Stderr
	_, err := e.cmd.StdinPipe() // ends with this process
	if err != nil {
		e.t.Fatal(err)
	}
	out, err := e.cmd.StdoutPipe()
	if err == nil {
		err = e.cmd.Start()
	}
	if err != nil {
		e.t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		e.t.Fatal(err)
	}
	e.cable.lead(strings.TrimSpace(address))
}

func (e *elsewhere) kill() {
	e.cmd.Process.Kill()
	e.cmd.Wait()
}

func (e *elsewhere) runs() string { return filepath.Join(e.dir, "runs") }

func (e *elsewhere) engine(run string) Engine {
	return Engine{"http://" + e.cable.address + "/" + run, 2 * time.Second}
}

// done is how often a host has done a task in a run.
func (e *elsewhere) done(run, host string, task int) int {
	text, _ := os.ReadFile(filepath.Join(e.runs(), run, "done"))
	return strings.Count("\n"+string(text), fmt.Sprintf("\n%s %d\n", host, task))
}

// workers are the stand-ins at work.
func (e *elsewhere) workers() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		env, _ := os.ReadFile(d + "/environ")
		if pid, _ := strconv.Atoi(filepath.Base(d)); pid != e.cmd.Process.Pid && bytes.Contains(env, []byte(ScriptVar+"="+e.script)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (e *elsewhere) busy() bool { return len(e.workers()) > 0 }

func (e *elsewhere) signal(s syscall.Signal) {
	for _, pid := range e.workers() {
		syscall.Kill(pid, s)
	}
}

// cable is a way to another address, which can be cut.
type cable struct {
	address string
	most    int64 // bytes that a connection brings before it breaks; 0 is no limit
	cuts    atomic.Int64

	mu    sync.Mutex
	to    string
	conns []net.Conn
}

func plug(t *testing.T, most int64) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{address: l.Addr().String(), most: most}
	t.Cleanup(func() { l.Close(); c.cut() })
	go func() { // ends with the listener
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(near)
		}
	}()
	return c
}

func (c *cable) lead(to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = to
}

func (c *cable) carry(near net.Conn) {
	defer near.Close()
	c.mu.Lock()
	to := c.to
	c.mu.Unlock()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	c.mu.Lock()
	c.conns = append(c.conns, near, far)
	c.mu.Unlock()
	go func() { // ends with either
		io.Copy(far, near)
		far.Close()
	}()
	if c.most == 0 {
		io.Copy(near, far)
	} else if n, _ := io.CopyN(near, far, c.most); n == c.most {
		c.cuts.Add(1)
	}
}

// cut ends every connection there is.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}
