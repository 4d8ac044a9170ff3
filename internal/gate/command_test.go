package gate

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

var question = orchestrator.Question{
	Report: orchestrator.Report{ID: "20261101T110000Z-abcdef"},
	Wave:   orchestrator.WaveReport{Number: 1, Hosts: []orchestrator.HostReport{{Name: "prox"}, {Name: "web"}}},
}

func sh(script string) Command { return Command{Argv: []string{"/bin/sh", "-c", script}} }

func TestCommand(t *testing.T) {
	for _, test := range []struct {
		gate Command
		want string
	}{
		{sh("exit 0"), ""},
		{sh("echo all is well"), ""},
		{sh("echo dns is down; echo more; exit 3"), "dns is down (exit status 3)"},
		{sh("echo; echo dns is down >&2; exit 3"), "dns is down (exit status 3)"},
		{sh("exit 3"), "/bin/sh: exit status 3"},
		{sh("kill -9 $$"), "/bin/sh: signal: killed"},
		{sh(`printf 'a\033[31m\tb\377\n'; exit 1`), "a[31m b (exit status 1)"},
		{sh("head -c 100000 /dev/zero | tr '\\0' x; exit 1"), strings.Repeat("x", longest) + "… (exit status 1)"},
		{sh(`test "$HOMELAB_PATCH_RUN $HOMELAB_PATCH_WAVE $HOMELAB_PATCH_HOSTS" = "20261101T110000Z-abcdef 1 prox web"`), ""},
		{sh("read line && exit 1; exit 0"), ""}, // its standard input is empty
		{sh(`test "$PWD" = /`), ""},
		{sh("sleep 1000 & exit 0"), ""}, // what it leaves behind holds up nobody
		{Command{Argv: []string{"sh", "-c", "exit 0"}}, ""},
		{Command{Argv: []string{"/no/such/check", "x"}}, "/no/such/check: fork/exec /no/such/check: no such file or directory"},
		{Command{Argv: []string{"no-such-check-anywhere"}}, `no-such-check-anywhere: exec: "no-such-check-anywhere": executable file not found in $PATH`},
		{Command{}, "there is no command to run"},
	} {
		says(t, test.gate.Check(t.Context(), question), "\x00", test.want)
	}
}

// At the end of its time a command is killed with all that it has started.
func TestCommandKilled(t *testing.T) {
	for name, test := range map[string]struct{ says, want string }{
		"silent": {"", "context canceled"},
		"spoke":  {"echo looking at dns;", "it had printed: looking at dns"},
	} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				ended <- sh(test.says+"(trap '' TERM INT; echo up >&3; sleep 1000) 3>"+fifo+" & wait").Check(ctx, question)
			}()
			pipe, err := os.Open(fifo)
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			up := bufio.NewReader(pipe)
			if _, err := up.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			cancel()
			err = <-ended
			says(t, err, "\x00", test.want)
			if test.says == "" && !errors.Is(err, context.Canceled) {
				t.Errorf("says %v", err)
			}
			if _, err := io.Copy(io.Discard, up); err != nil { // ends when nobody of them holds the pipe
				t.Error(err)
			}
		})
	}
}
