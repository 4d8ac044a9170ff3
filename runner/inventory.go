package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/apenella/go-ansible/v2/pkg/adhoc"
	"github.com/apenella/go-ansible/v2/pkg/execute"
	"github.com/apenella/go-ansible/v2/pkg/inventory"
)

// Inventory returns what ansible-inventory --list says of sources, in the
// project dir. Without sources Ansible's own configuration decides. A source
// that is missing or that Ansible cannot read is an error: Ansible itself
// would go on with an empty inventory.
func Inventory(ctx context.Context, dir string, sources ...string) ([]byte, error) {
	c := inventory.NewAnsibleInventoryCmd(
		inventory.WithInventoryOptions(&inventory.AnsibleInventoryOptions{List: true}))
	return query(ctx, dir, commander{c, sources}, "ansible-inventory")
}

// core is how commands of Ansible's begin to answer --version; those before 2.11 without "core".
var core = regexp.MustCompile(`(?m)^ansible\S* (?:\[core )?(\d+\.\d+[^\]\s]*)`)

// Version returns the version of ansible-core that ansible-playbook in dir is of. One that is too old to be run, as one that
// is not there, is an error.
func Version(ctx context.Context, dir string) (string, error) {
	const name = "ansible-playbook"
	out, err := query(ctx, dir, commander{build: version{name}}, name)
	if err != nil {
		return "", err
	}
	found := core.FindSubmatch(out)
	if found == nil {
		return "", &EngineError{Problem: name + " --version names no version of ansible-core"}
	}
	v := string(found[1])
	if older(v, Oldest) {
		return v, tooOld(v)
	}
	return v, nil
}

// version asks a command for its version. go-ansible would name a playbook as well.
type version struct{ name string }

func (v version) Command() ([]string, error) { return []string{v.name, "--version"}, nil }
func (v version) String() string             { return v.name + " --version" }

// Match returns the hosts of sources that limit, in the grammar of Ansible's
// --limit, leaves of them all. Like Ansible, it is no error if there are none.
// Unlike Ansible, a limit without a single pattern, such as ",", leaves none,
// and an @file without one is an error: there, both leave everybody.
func Match(ctx context.Context, dir, limit string, sources ...string) ([]string, error) {
	if some, err := hasPattern(dir, limit); err != nil || !some {
		return nil, err
	}
	c := adhoc.NewAnsibleAdhocCmd(adhoc.WithPattern("all"),
		adhoc.WithAdhocOptions(&adhoc.AnsibleAdhocOptions{ListHosts: true, Limit: limit}))
	out, err := query(ctx, dir, commander{c, sources}, "ansible")
	var engine *EngineError
	if errors.As(err, &engine) && (strings.Contains(engine.Detail, "limit do not match any hosts") ||
		strings.Contains(engine.Detail, "leaves us with no hosts to target")) {
		return nil, nil // ansible-core 2.14 words it in two ways
	}
	if err != nil {
		return nil, err
	}
	var hosts []string
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if name := strings.TrimSpace(line); i > 0 && name != "" { // the first line counts them
			hosts = append(hosts, name)
		}
	}
	return hosts, nil
}

// hasPattern reports whether a limit names anything. What exactly it names is
// Ansible's to say.
func hasPattern(dir, limit string) (bool, error) {
	some := false
	for _, p := range strings.FieldsFunc(limit, func(r rune) bool { return r == ',' || r == ':' || unicode.IsSpace(r) }) {
		name, file := strings.CutPrefix(p, "@")
		if !file {
			some = true
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return false, fmt.Errorf("limit %s: %w", p, err)
		}
		if strings.TrimSpace(string(text)) == "" {
			return false, fmt.Errorf("limit %s: no host is named in it", p)
		}
		some = true
	}
	return some, nil
}

// query runs a command that only prints.
func query(ctx context.Context, dir string, c commander, name string) ([]byte, error) {
	for _, s := range c.inventory {
		if strings.Contains(s, ",") { // a list of hosts, not a file
			continue
		}
		path := s
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if _, err := os.Stat(path); err != nil {
			return nil, &EngineError{Problem: "inventory " + s + " cannot be read", Err: err}
		}
	}
	// What it prints holds each variable of each host, those from vaults opened, and Ansible logs what it prints.
	// What it says besides would be read as that.
	env := append(append(os.Environ(), owned...), "ANSIBLE_LOG_PATH=/dev/null", "ANSIBLE_VERBOSITY=0", "ANSIBLE_DEBUG=0")
	e := newEngine(ctx, dir, env, defaultGrace)
	var stdout bytes.Buffer
	stderr := &tail{max: maxStderr}
	err := e.execute(c, &stdout, stderr)
	if ctx.Err() != nil {
		return nil, stopped(ctx, name)
	}
	if err != nil && (e.cmd == nil || e.cmd.Process == nil) {
		return nil, notStarted(name, dir, err)
	}
	if err != nil {
		return nil, &EngineError{Problem: name + " failed", Detail: detail(stderr.String()), Err: err}
	}
	return stdout.Bytes(), nil
}

// notStarted says why the command name did not start in dir.
func notStarted(name, dir string, err error) *EngineError {
	if dir != "" {
		// Of a missing folder exec says as little as of a missing program.
		if _, derr := os.Stat(dir); derr != nil {
			return &EngineError{Problem: "project folder cannot be read", Err: derr}
		}
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return &EngineError{
			Problem: name + " not found: install ansible-core " + Oldest + " or later (Debian: apt-get install ansible-core)",
			Err:     err,
		}
	}
	return &EngineError{Problem: name + " could not start", Err: err}
}

// stopped is the error of a command that ctx ended. It holds ctx.Err and,
// where it is another, the cause.
func stopped(ctx context.Context, name string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return fmt.Errorf("%s was stopped: %w", name, cause)
	}
	return fmt.Errorf("%s was stopped: %w: %w", name, err, cause)
}

var _ execute.Commander = commander{}
