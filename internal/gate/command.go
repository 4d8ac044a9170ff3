package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Command asks a program: exit code 0 is healthy, and the first line of what it prints says why it is not.
type Command struct {
	// Argv is the program and its arguments, run without a shell in the folder /; required. The environment is ours, with
	// HOMELAB_PATCH_RUN (id), HOMELAB_PATCH_WAVE (number) and HOMELAB_PATCH_HOSTS (names with spaces between).
	Argv []string
}

// Check runs the program in a process group of its own, which is killed when ctx ends.
func (c Command) Check(ctx context.Context, q orchestrator.Question) error {
	if len(c.Argv) == 0 {
		return errors.New("there is no command to run")
	}
	var names []string
	for _, h := range q.Wave.Hosts {
		names = append(names, h.Name)
	}
	said := &first{}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", said, said
	cmd.Env = append(os.Environ(), "HOMELAB_PATCH_RUN="+q.Report.ID, "HOMELAB_PATCH_WAVE="+strconv.Itoa(q.Wave.Number),
		"HOMELAB_PATCH_HOSTS="+strings.Join(names, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what left the group and holds the pipe
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // it ended well, and left something behind
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		err = nil
	}
	if err == nil {
		return nil
	}
	reason := said.line()
	switch {
	case ctx.Err() != nil && reason == "":
		return ctx.Err()
	case ctx.Err() != nil:
		return fmt.Errorf("it had printed: %s", reason)
	case reason == "":
		return fmt.Errorf("%s: %w", line(c.Argv[0]), err)
	}
	return fmt.Errorf("%s (%w)", reason, err)
}

// first keeps the beginning of what is written to it.
type first struct{ kept bytes.Buffer }

func (f *first) Write(p []byte) (int, error) {
	f.kept.Write(p[:min(len(p), 4<<10-f.kept.Len())])
	return len(p), nil
}

// line returns the first line that is not empty.
func (f *first) line() string {
	text, _, _ := strings.Cut(strings.TrimSpace(f.kept.String()), "\n")
	return line(text)
}
