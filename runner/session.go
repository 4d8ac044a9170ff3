package runner

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// session is all processes of one run: those in the session that the engine
// leads, those that left it and carry the run's mark in their environment
// (daemonized jobs), ssh masters with a socket in its control folder, and the
// children of each.
type session struct {
	id      int    // the engine's process id
	mark    string // value of markVar
	control string // folder of its ssh masters
	shared  bool   // with other runs
}

// process is what /proc says of a process.
type process struct {
	pid, ppid, sid int
	args           []string
}

// master returns the control path of an ssh master, "" for other processes.
// ssh names itself so once it serves a control socket.
func (p process) master() string {
	if len(p.args) == 0 {
		return ""
	}
	path, ok := strings.CutPrefix(p.args[0], "ssh: ")
	if !ok {
		return ""
	}
	path, ok = strings.CutSuffix(strings.TrimRight(path, " "), " [mux]")
	if !ok {
		return ""
	}
	return path
}

// end ends the ssh masters of the run's own control path and, with all, also
// those it shares and every other process of the run; it returns when they are
// gone. Masters on an operator's own control path belong to the operator and
// are left alone.
func (s session) end(all bool) {
	if s.shared && !all {
		return
	}
	const patience = 5 * time.Second // a killed process goes when the kernel lets it
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		left := 0
		for _, p := range s.members() {
			if m := p.master(); m != "" {
				if s.control == "" || filepath.Dir(m) != s.control {
					continue
				}
			} else if !all {
				continue
			}
			left++
			p.kill()
		}
		if left == 0 {
			return
		}
	}
}

// endHost ends the ssh clients that talk to address and says how many.
func (s session) endHost(address string) (ended int) {
	for _, p := range s.members() {
		if len(p.args) > 1 && filepath.Base(p.args[0]) == "ssh" && slices.Contains(p.args[1:], address) {
			p.kill()
			ended++
		}
	}
	return ended
}

// kill sends SIGKILL to p, and to nothing that has got its number since.
func (p process) kill() {
	f, err := os.FindProcess(p.pid)
	if err != nil {
		return
	}
	defer f.Release()
	if now, ok := readProcess(p.pid); ok && now.sid == p.sid && slices.Equal(now.args, p.args) {
		f.Signal(syscall.SIGKILL)
	}
}

// members lists the living processes of the session.
func (s session) members() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var in, out []process
	member := map[int]bool{s.id: true}
	for _, d := range entries {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		p, ok := readProcess(pid)
		if !ok {
			continue
		}
		// ssh overwrites its environment with its title: a master is told by its path.
		ours := s.control != "" && filepath.Dir(p.master()) == s.control
		if p.sid == s.id || ours || s.marked(pid) {
			member[pid] = true
			in = append(in, p)
		} else {
			out = append(out, p)
		}
	}
	for grown := true; grown; { // a child may be listed before its parent
		grown = false
		out = slices.DeleteFunc(out, func(p process) bool {
			if !member[p.ppid] {
				return false
			}
			member[p.pid], grown = true, true
			in = append(in, p)
			return true
		})
	}
	return in
}

// awaitExit returns when the child pid has ended, and says whether a signal
// ended it. The child is left to be waited for: see waitid(2), WNOWAIT.
func awaitExit(pid int) (killed bool) {
	const pPID, cldExited = 1, 1
	var info [128]byte // siginfo_t: si_signo, si_errno, si_code, …
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(pid),
			uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno != syscall.EINTR {
			return errno != 0 || binary.NativeEndian.Uint32(info[8:]) != cldExited
		}
	}
}

func (s session) marked(pid int) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	entry := []byte(markVar + "=" + s.mark)
	return bytes.HasPrefix(env, append(entry, 0)) || bytes.Contains(env, slices.Concat([]byte{0}, entry, []byte{0}))
}

// readProcess reports false for a process that is gone or only waits to be
// reaped by its parent.
func readProcess(pid int) (process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, false
	}
	// pid (comm) state ppid pgrp session …; comm may hold anything: proc(5).
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 4 || f[0] == "Z" || f[0] == "X" {
		return process{}, false
	}
	p := process{pid: pid}
	p.ppid, _ = strconv.Atoi(f[1])
	p.sid, _ = strconv.Atoi(f[3])
	cmdline, _ := os.ReadFile(dir + "/cmdline")
	if len(cmdline) > 0 {
		p.args = strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	}
	return p, true
}
