package runner

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed callback_plugins/runner_events.py
var plugins embed.FS

// Oldest is the oldest ansible-core that is run.
const Oldest = "2.14"

const (
	defaultGrace = 10 * time.Second
	maxStderr    = 16 << 10
	// A path of a Unix socket has at most 107 bytes (unix(7)); ssh adds a name
	// of its own to the folder: 10 characters of Ansible's, 17 while it is made.
	maxControlDir = 107 - 1 - 10 - 17
)

// owned is set in the environment of every command of Ansible's, whatever the
// operator says.
var owned = []string{
	"PYTHONDONTWRITEBYTECODE=1", "ANSIBLE_FORCE_COLOR=0", "ANSIBLE_NOCOLOR=1",
	// An inventory that could not be read must not become an empty one.
	"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=True",
}

// Playbook is one run of ansible-playbook. Hosts, Inventory and Playbook are
// required. A Playbook may be run more than once, and at the same time.
type Playbook struct {
	Dir       string   // working directory, where ansible.cfg is looked for; "" is the current one
	Bin       string   // "" is ansible-playbook from PATH
	Playbook  string   // path of the playbook; relative to Dir
	Inventory []string // sources; relative to Dir
	Hosts     []string // the hosts expected: the run is limited to them. Never empty

	// Vars are extra variables. They reach Ansible in a file that only this
	// user may read, never on the command line.
	Vars        map[string]any
	Forks       int // hosts worked on at a time; 0 is what ansible.cfg says, or one a host, 10 to 25
	Check, Diff bool
	Verbosity   int // 0 to 4

	// Labels say what run this is, to who reads its events: the KindStart event
	// has them. They are also added to the labels that the callback of ARA gives
	// its record of the run, where the operator has that callback.
	Labels []string

	// Env is added to the environment of this process. It may hold secrets: it
	// appears in no error.
	Env []string
	// PrivateKey is the ssh key where neither the inventory nor ansible.cfg
	// names one. "" leaves the choice to ssh.
	PrivateKey string

	// Connections are ssh masters to share with other playbooks; nil has some
	// for this run, which end with it. A run that is cut short ends them all.
	Connections *Connections

	Log    io.Writer // gets what a person would have seen on the terminal; nil discards it
	Events io.Writer // gets the raw event lines; nil discards them

	// Document, if it is not nil, makes [JSONCallback] Ansible's stdout
	// callback. What that prints is appended to the file, which must be open
	// for reading and writing, and is not in Log; it decides the Outcome and
	// the Stats of each host. Events come as they always do. A run that was
	// cut short prints no document, and its result is made from the events.
	// Runs at the same time need a file each.
	Document *os.File

	// HostDeadline bounds how long a host may be busy without any event of
	// its own. Then its ssh processes are ended, and Ansible counts it as
	// unreachable or failed. 0 waits for ever. It cannot help where the
	// connection is local.
	HostDeadline time.Duration
	// Addresses says what ssh is called with for a host, where that is not
	// its name. Only HostDeadline uses it.
	Addresses map[string]string

	// Grace is how long the run may take to end after a SIGINT before it is
	// killed; 0 is 10 seconds.
	Grace time.Duration
	// Inherit stays open in ansible-playbook itself until it ends, in none of
	// the programs it starts: a lock, for instance.
	Inherit []*os.File
}

// Run runs the playbook and calls emit with each event, one after the other.
// emit may be nil; while it runs, Ansible waits.
//
// The result tells how each host came out, as far as it is known, whatever the
// error. The error is nil whenever ansible-playbook did its work, even if
// every host failed. Otherwise it is an [*EngineError], or holds the cause of
// ctx's end; hosts in the middle of a task are then [Interrupted], and no
// process of the run is left.
func (p Playbook) Run(ctx context.Context, emit func(Event)) (Result, error) {
	if emit == nil {
		emit = func(Event) {}
	}
	f := newFold(p.Hosts)
	if err := p.check(); err != nil {
		return f.result(), err
	}
	log := &serial{w: orDiscard(p.Log)}
	stdout, start, err := p.stdout(log)
	if err != nil {
		return f.result(), err
	}
	dir, lock, err := runDir()
	if err != nil {
		return f.result(), err
	}
	defer lock.Close()
	defer os.RemoveAll(dir)
	cmd, env, err := p.prepare(dir)
	if err != nil {
		return f.result(), err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return f.result(), fmt.Errorf("event pipe: %w", err)
	}
	e := newEngine(ctx, p.Dir, env, cmp.Or(p.Grace, defaultGrace))
	e.events, e.control, e.shared = w, p.control(dir), p.Connections != nil
	e.inherit = append(slices.Clone(p.Inherit), lock) // in use until the engine ends, even if we do not live to see it
	watch := newStall(p, e)
	folded := make(chan struct{})
	go func() { // ends with the event pipe
		defer close(folded)
		defer r.Close()
		watch.follow(&output{f: r, done: e.done}, orDiscard(p.Events), func(ev Event) {
			if ev.Kind == KindStart { // both have been read, and may hold secrets
				<-e.running // or what emit does could come before the start has returned
				os.Remove(filepath.Join(dir, "vars.json"))
				os.Remove(filepath.Join(dir, "limit"))
			}
			f.add(ev)
			emit(ev)
		})
	}()
	stderr := &tail{max: maxStderr}
	err = e.execute(cmd, stdout, io.MultiWriter(stderr, log))
	<-folded
	res := f.result()
	res.Stderr = stderr.String()
	res.ExitCode = exitCode(e)
	err = p.judge(ctx, res, err)
	if p.Document != nil && res.Complete {
		derr := p.readDocument(&res, start)
		if stdout.err != nil {
			derr = fmt.Errorf("write the document: %w", stdout.err)
		}
		if derr != nil && err == nil {
			err = &EngineError{Problem: "ansible-playbook did its work, but its result cannot be told", Detail: detail(res.Stderr), Err: derr}
		}
	}
	return res, err
}

// check refuses what Ansible would misunderstand.
func (p Playbook) check() error {
	if len(p.Hosts) == 0 {
		return errors.New("run playbook: no hosts: an empty limit would mean all")
	}
	for _, h := range p.Hosts {
		// What a line of a limit file would not take for one host's name.
		if h == "" || strings.ContainsAny(h, "\n\r\t ,:;*?[]") || strings.ContainsAny(h[:1], "!&~@-") {
			return fmt.Errorf("run playbook: host %q: Ansible would take this name for a pattern; rename the host in the inventory", h)
		}
	}
	for _, path := range append([]string{p.Playbook}, p.Inventory...) {
		if strings.HasPrefix(path, "-") || path == "" {
			return fmt.Errorf("run playbook: %q is not a path", path)
		}
	}
	return nil
}

// judge says whether ansible-playbook did its work. Its exit code is no
// answer: 4 is an unreachable host or a playbook that does not parse.
func (p Playbook) judge(ctx context.Context, res Result, err error) error {
	if ctx.Err() != nil && !res.Complete {
		return stopped(ctx, "ansible-playbook")
	}
	var exit *exec.ExitError
	problem := ""
	switch {
	case err != nil && !errors.As(err, &exit):
		return notStarted("ansible-playbook", p.Dir, err)
	case older(res.Version, Oldest):
		e := tooOld(res.Version)
		e.Detail = detail(res.Stderr)
		return e
	case ctx.Err() != nil:
		return nil // its recap is there: what met our signal was a process that had done its work and was about to end
	case res.Version == "" && err == nil:
		problem = "ended without a single event: its callback plugin was not loaded"
	case res.ExitCode == -1:
		problem = "was killed"
	case !res.Complete && p.Document != nil && strings.Contains(res.Stderr, JSONCallback):
		problem = "could not begin without its stdout callback: install the collection ansible.posix (Debian: apt-get install ansible)"
		err = nil
	case !res.Complete && res.Version == "":
		problem = "could not begin"
		err = nil
	case !res.Complete:
		problem = "broke off"
		err = nil
	case err != nil && !slices.ContainsFunc(slices.Collect(maps.Values(res.Hosts)), func(h HostResult) bool {
		return h.Outcome != OK && h.Outcome != Changed
	}):
		// An error that belongs to no host is unknown, and unknown is no success.
		problem = "failed, though no host did"
	default:
		return nil
	}
	return &EngineError{Problem: "ansible-playbook " + problem, Detail: detail(res.Stderr), Err: err}
}

// tooOld is the error of an Ansible that is not run.
func tooOld(version string) *EngineError {
	return &EngineError{Problem: "ansible-playbook is too old: ansible-core is " + version + ", install " + Oldest + " or later"}
}

func older(version, than string) bool {
	var a, b [2]int
	if _, err := fmt.Sscanf(version, "%d.%d", &a[0], &a[1]); err != nil {
		return false // unknown is judged by other signs
	}
	fmt.Sscanf(than, "%d.%d", &b[0], &b[1])
	return slices.Compare(a[:], b[:]) < 0
}

func exitCode(e *engine) int {
	if e.cmd == nil || e.cmd.ProcessState == nil {
		return -1
	}
	return e.cmd.ProcessState.ExitCode()
}
