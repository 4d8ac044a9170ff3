//go:build failpoints

// Package failpoint lets tests end the program at moments that are named in its code.
package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

var passed struct { // a switch for tests alone, which is why it may be global
	sync.Mutex
	times map[string]int
}

// At is a moment. HOMELAB_PATCH_FAILPOINT=NAME:N kills this process when it comes by NAME for the N-th time;
// NAME:N:stop stops it there as SIGSTOP does, for a test that cuts the power.
func At(name string) {
	what := strings.Split(os.Getenv("HOMELAB_PATCH_FAILPOINT"), ":")
	passed.Lock()
	defer passed.Unlock()
	if passed.times == nil {
		passed.times = map[string]int{}
	}
	passed.times[name]++
	if len(what) < 2 || what[0] != name || what[1] != strconv.Itoa(passed.times[name]) {
		return
	}
	signal := syscall.SIGKILL
	if len(what) > 2 && what[2] == "stop" {
		signal = syscall.SIGSTOP
	}
	syscall.Kill(os.Getpid(), signal)
	select {} // until it arrives
}
