//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options say which hosts a lab has. The zero value is the three hosts of lab/hosts.conf.
type Options struct {
	Hosts string // a hosts file in the folder lab; "" is hosts.conf
	Extra int    // more hosts: node01, node02, ... in wave 0
	Name  string // tells labs apart that one test runs at the same time
}

// Lab is a running lab that belongs to one test. Its methods end the test when the lab does not do as it is
// told, so that a test reads as a list of steps. Call them from the test's own goroutine only; [Lab.Run],
// [Lab.Command] and [Lab.BootID] may be called from any. A subtest uses [Lab.For].
type Lab struct {
	t      testing.TB
	script string
	env    []string
	extra  int
}

// Output is what a command printed and how it ended.
type Output struct {
	Stdout, Stderr string
	Code           int // exit code; 125 when the command could not be run (host off); -1 when a signal ended it
}

// Up starts a lab and ends it with the test. A lab of the same name that a killed test left behind is
// replaced; one that another process is using ends the test. The name is LAB_NAME, or e2e.
//
// Images that are missing are built first, which takes some 2 minutes. The test is skipped on a machine that
// cannot run a lab, and fails there if E2E_REQUIRED=1.
func Up(t testing.TB, o Options) *Lab {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "lab")
	name := os.Getenv("LAB_NAME")
	if name == "" {
		name = "e2e"
	}
	if o.Name != "" {
		name += "-" + o.Name
	}
	if o.Hosts == "" {
		o.Hosts = "hosts.conf"
	}
	l := &Lab{
		t:      t,
		script: filepath.Join(dir, "lab"),
		env:    append(os.Environ(), "LAB_NAME="+name, "LAB_CONF="+filepath.Join(dir, o.Hosts)),
		extra:  o.Extra,
	}
	require(t, l)
	hold(t, "/run/patchlab-"+name+".lock")
	t.Cleanup(l.end)
	l.Reset()
	return l
}

// For is the same lab for a subtest: what goes wrong there ends the subtest.
func (l *Lab) For(t testing.TB) *Lab {
	sub := *l
	sub.t = t
	return &sub
}

// require skips or fails the test on a machine that cannot run a lab.
func require(t testing.TB, l *Lab) {
	t.Helper()
	out := l.try(t.Context(), "check")
	if out.Code == 0 {
		return
	}
	why := strings.TrimSpace(out.Stderr)
	if os.Getenv("E2E_REQUIRED") == "1" {
		t.Fatalf("E2E_REQUIRED=1, but this machine cannot run the lab: %s", why)
	}
	t.Skipf("this machine cannot run the lab: %s", why)
}

// hold takes the lock of a lab's name until the test ends.
func hold(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("lock the lab: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatalf("another process is using this lab (%s): set LAB_NAME to have one of your own", path)
	}
}

// Reset starts all hosts anew, as they were when the test began. It takes some 6 seconds.
func (l *Lab) Reset() {
	l.t.Helper()
	l.do("down")
	l.do("up", strconv.Itoa(l.extra))
}

// end runs after the test's context is done.
func (l *Lab) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if l.t.Failed() {
		l.t.Logf("the lab at the end of the failed test:\n%s", l.try(ctx, "status").Stdout)
	}
	if out := l.try(ctx, "down"); out.Code != 0 {
		l.t.Errorf("lab down: %s", out.Stderr)
	}
}

// Command returns a command that runs args in host as root, without SSH, not yet started. Killing it leaves
// the process in the host running: end that one in the host.
func (l *Lab) Command(ctx context.Context, host string, args ...string) *exec.Cmd {
	return l.command(ctx, append([]string{"exec", host}, args...)...)
}

// Run runs args in host as root, without SSH, and returns how that ended.
func (l *Lab) Run(ctx context.Context, host string, args ...string) Output {
	return l.try(ctx, append([]string{"exec", host}, args...)...)
}

// Exec runs args in host as [Lab.Run] does, and returns its standard output. Any exit code but 0 ends the test.
func (l *Lab) Exec(host string, args ...string) string {
	l.t.Helper()
	out := l.Run(l.t.Context(), host, args...)
	if out.Code != 0 {
		l.t.Fatalf("%s: %s: exit code %d\n%s%s", host, strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// Shell runs a POSIX shell script in host as [Lab.Exec] does.
func (l *Lab) Shell(host, script string) string {
	l.t.Helper()
	return l.Exec(host, "sh", "-euc", script)
}

// Push copies a file or a folder of this machine into host. Modes are kept; the owner becomes root.
func (l *Lab) Push(host, src, dst string) {
	l.t.Helper()
	l.do("push", host, src, dst)
}

// Fault breaks something, or puts it right again; the script's `lab fault` lists the kinds. host is "" for
// faults of the repository.
func (l *Lab) Fault(kind, host string, args ...string) {
	l.t.Helper()
	l.do(append([]string{"fault", kind, host}, args...)...)
}

// RepoState sets what the apt repository offers from now on: old (nothing new), new (made-up updates; the
// state a lab starts with) or real (those, and Debian's own security updates).
func (l *Lab) RepoState(state string) {
	l.t.Helper()
	l.do("repo-state", state)
}

// Packages has the repository offer made-up packages besides, and no others of before, from the next [Lab.RepoState] on. Each
// is a name, a version and fields, as mkdeb of lab/packages.sh takes them.
func (l *Lab) Packages(packages ...[]string) {
	l.t.Helper()
	var list strings.Builder
	for _, p := range packages {
		list.WriteString(strings.Join(p, "\t") + "\n")
	}
	cmd := l.command(l.t.Context(), "packages")
	cmd.Stdin = strings.NewReader(list.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("lab packages: %v\n%s", err, out)
	}
}

// RepoStamp has the next [Lab.RepoState] be of the second after at, the date that apt compares with its host's clock.
func (l *Lab) RepoStamp(at time.Time) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.Dir(), "repo", "stamp"), fmt.Appendln(nil, at.Unix()), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// Start switches on a host that is off. It does not wait for it.
func (l *Lab) Start(host string) {
	l.t.Helper()
	l.do("start", host)
}

// Wait waits until sshd of host answers, at most for timeout (rounded up to seconds).
func (l *Lab) Wait(host string, timeout time.Duration) {
	l.t.Helper()
	l.do("wait", host, strconv.Itoa(int((timeout+time.Second-1)/time.Second)))
}

// Dir is the folder of the running lab on this machine: key (the SSH key that every host accepts), known_hosts,
// HOST.console, http.log (requests to the apt repository).
func (l *Lab) Dir() string {
	l.t.Helper()
	return strings.TrimSpace(l.do("run-dir"))
}

func (l *Lab) do(args ...string) string {
	l.t.Helper()
	out := l.try(l.t.Context(), args...)
	if out.Code != 0 {
		l.t.Fatalf("lab %s: exit code %d\n%s%s", strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

func (l *Lab) try(ctx context.Context, args ...string) Output {
	var stdout, stderr bytes.Buffer
	cmd := l.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Start()
	if err == nil {
		err = waitAwake(cmd)
	}
	out := Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		out.Code, out.Stderr = 125, fmt.Sprintf("%slab: %v\n", out.Stderr, err)
	}
	return out
}

// waitAwake waits for a command and wakes it each second. A host that shuts down stops all its processes before it ends
// them; nsenter, which waits for one, stops itself with it, and nobody would ever tell it to go on.
func waitAwake(cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			cmd.Process.Signal(syscall.SIGCONT) // one that has ended has no use for it
		}
	}
}

func (l *Lab) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.script, args...)
	cmd.Env = l.env
	cmd.WaitDelay = 5 * time.Second // what lives on in the host holds the pipes
	return cmd
}

// Eventually calls check until it returns nil, and ends the test with its last error when timeout has passed.
func Eventually(t testing.TB, timeout time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.After(timeout)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v: %v", what, timeout, err)
		case <-t.Context().Done():
			t.Fatalf("%s: %v: %v", what, t.Context().Err(), err)
		}
	}
}
