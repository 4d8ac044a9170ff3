package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/apenella/go-ansible/v2/pkg/execute"
	goexec "github.com/apenella/go-ansible/v2/pkg/execute/exec"
	"github.com/apenella/go-ansible/v2/pkg/execute/result"
)

// markVar is set in the environment of every process of a run, so that those
// which left its session can still be told from others.
const markVar = "RUNNER_MARK"

// engine is one process of Ansible's. go-ansible starts it and waits for it
// through the interfaces Executabler and Cmder; what they leave open is
// settled here:
//
//   - It leads a session of its own, so that one signal reaches all of it,
//     and nothing it asks can reach a terminal: its standard input is empty.
//   - Its environment is ours, where go-ansible would print it in errors.
//   - It gets SIGINT when the thread that started it dies, that is, with us,
//     until its callback plugin is up and sees that by itself.
//   - When its context ends it gets SIGINT, a grace period, SIGKILL.
//   - Its workers do not outlive it when it is killed.
//   - Its end is seen by its exit, not by the end of its output.
type engine struct {
	ctx     context.Context
	dir     string
	env     []string
	events  *os.File   // fd 3 in the child, may be nil; closed here once it has started
	inherit []*os.File // further up in the child; they stay open here
	control string     // folder of its ssh masters
	shared  bool       // they go on after it, unless it is cut short
	grace   time.Duration

	mark    string
	cmd     *exec.Cmd
	readers []*os.File // our ends of its output
	writers []*os.File
	running chan struct{} // closed when cmd has started
	done    chan struct{} // closed when cmd has ended and its session is gone
	err     error         // of cmd.Wait, or why it did not start; for readers of done
}

func newEngine(ctx context.Context, dir string, env []string, grace time.Duration) *engine {
	return &engine{
		ctx: ctx, dir: dir, env: env, grace: grace,
		mark: rand.Text(), running: make(chan struct{}), done: make(chan struct{}),
	}
}

// errNotBuilt is returned by the parts of Cmder that go-ansible never uses.
var errNotBuilt = errors.New("not supported: output is streamed")

// execute has go-ansible build the command line of c and run it in e. Its
// error is nil, *exec.ExitError, or why it could not start; go-ansible's own
// is never returned, since its text holds the command line.
func (e *engine) execute(c execute.Commander, stdout, stderr io.Writer) error {
	x := execute.NewDefaultExecute(
		execute.WithCmd(c), execute.WithExecutable(e), execute.WithOutput(copier{}),
		execute.WithWrite(stdout), execute.WithWriteError(stderr))
	// Cancellation is ours: go-ansible would only kill the leader.
	err := x.Execute(context.WithoutCancel(e.ctx))
	if e.cmd == nil || e.cmd.Process == nil {
		e.closeWriters()
		for _, f := range e.readers {
			f.Close()
		}
		close(e.done)
		if e.err != nil {
			return e.err
		}
		return err // the command could not be built; it says which option is wrong
	}
	<-e.done
	return e.err
}

// closeWriters closes the ends that are the child's: their readers would
// never see the end otherwise.
func (e *engine) closeWriters() {
	for _, f := range e.writers {
		f.Close()
	}
	if e.events != nil {
		e.events.Close()
	}
}

// Command implements go-ansible's Executabler.
func (e *engine) Command(name string, arg ...string) goexec.Cmder {
	return e.CommandContext(e.ctx, name, arg...)
}

// CommandContext implements go-ansible's Executabler; ctx is not used, see execute.
func (e *engine) CommandContext(_ context.Context, name string, arg ...string) goexec.Cmder {
	e.cmd = exec.Command(name, arg...)
	e.cmd.Dir = e.dir
	e.cmd.Env = append(slices.Clone(e.env), markVar+"="+e.mark)
	if e.events != nil {
		e.cmd.ExtraFiles = append(e.cmd.ExtraFiles, e.events)
	}
	e.cmd.ExtraFiles = append(e.cmd.ExtraFiles, e.inherit...)
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGINT}
	return e
}

// Start implements Cmder.
func (e *engine) Start() error {
	if err := context.Cause(e.ctx); err != nil {
		e.err = err
		return err
	}
	up := make(chan error)
	go e.supervise(up)
	err := <-up
	e.closeWriters()
	return err
}

// supervise starts the process, sees it to its end, and ends what it left.
func (e *engine) supervise(up chan<- error) {
	// The parent-death signal is sent when the starting *thread* ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := e.cmd.Start(); err != nil {
		e.err = err
		up <- err
		return
	}
	pid := e.cmd.Process.Pid
	close(e.running)
	up <- nil
	exited := make(chan struct{})
	cancelled, killed := false, false
	go func() { // ends with the process
		killed = awaitExit(pid)
		close(exited)
	}()
	select {
	case <-exited:
	case <-e.ctx.Done():
		cancelled = true
		syscall.Kill(-pid, syscall.SIGINT)
		select {
		case <-exited:
		case <-time.After(e.grace):
			syscall.Kill(-pid, syscall.SIGKILL)
			<-exited
		}
	}
	// Its number is not free for others before Wait, so that the session can
	// still be told by it.
	e.session().end(cancelled || killed)
	e.err = e.cmd.Wait()
	close(e.done)
}

// session waits for the engine to have started.
func (e *engine) session() session {
	<-e.running
	return session{id: e.cmd.Process.Pid, mark: e.mark, control: e.control, shared: e.shared}
}

// StdoutPipe implements Cmder.
func (e *engine) StdoutPipe() (io.ReadCloser, error) { return e.pipe(&e.cmd.Stdout) }

// StderrPipe implements Cmder.
func (e *engine) StderrPipe() (io.ReadCloser, error) { return e.pipe(&e.cmd.Stderr) }

func (e *engine) pipe(end *io.Writer) (io.ReadCloser, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return io.NopCloser(strings.NewReader("")), err // go-ansible closes it before it looks at err
	}
	*end = w
	e.readers, e.writers = append(e.readers, r), append(e.writers, w)
	return &output{f: r, done: e.done}, nil
}

// Wait implements Cmder.
func (e *engine) Wait() error {
	<-e.done
	return e.err
}

// Environ implements Cmder. It is empty: go-ansible has no use for it.
func (e *engine) Environ() []string { return nil }

// String implements Cmder.
func (e *engine) String() string { return e.cmd.Path }

// CombinedOutput, Output, Run and StdinPipe complete Cmder.
func (e *engine) CombinedOutput() ([]byte, error)    { return nil, errNotBuilt }
func (e *engine) Output() ([]byte, error)            { return nil, errNotBuilt }
func (e *engine) Run() error                         { return errNotBuilt }
func (e *engine) StdinPipe() (io.WriteCloser, error) { return nil, errNotBuilt }

// copier is a go-ansible output that copies bytes. Theirs stop at a long line
// for ever, and take one line on stderr for a failure.
type copier struct{}

func (copier) Print(_ context.Context, r io.Reader, w io.Writer, _ ...result.OptionsFunc) error {
	// A full disk must not stop the engine: go on reading.
	if _, err := io.Copy(w, r); err != nil {
		io.Copy(io.Discard, r)
	}
	return nil
}
