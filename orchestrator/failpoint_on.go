//go:build failpoints

package orchestrator

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

var failpoints struct { // a switch for tests alone, which is why it may be global
	sync.Mutex
	seen map[string]int
}

// failpoint kills this process where HOMELAB_PATCH_FAILPOINT=NAME:N names the N-th time that it comes by. It is for
// tests, and in no program that was built without the tag failpoints.
func failpoint(name string) {
	at, times, _ := strings.Cut(os.Getenv("HOMELAB_PATCH_FAILPOINT"), ":")
	n, _ := strconv.Atoi(times)
	failpoints.Lock()
	defer failpoints.Unlock()
	if failpoints.seen == nil {
		failpoints.seen = map[string]int{}
	}
	failpoints.seen[name]++
	if at == name && failpoints.seen[name] == n {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
