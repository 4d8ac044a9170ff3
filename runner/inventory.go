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

// Match returns the hosts of sources that limit, in the grammar of Ansible's
// --limit, leaves of them all. Like Ansible, it is no error if there are none.
// Unlike Ansible, a limit without a single pattern, such as "," or an empty
// @file, leaves none: there, it leaves everybody.
func Match(ctx context.Context, dir, limit string, sources ...string) ([]string, error) {
	patterns, err := limitPatterns(dir, limit)
	if err != nil || len(patterns) == 0 {
		return nil, err
	}
	tmp, remove, err := runDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	file := filepath.Join(tmp, "limit")
	if err := os.WriteFile(file, []byte(strings.Join(patterns, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	c := adhoc.NewAnsibleAdhocCmd(adhoc.WithPattern("all"),
		adhoc.WithAdhocOptions(&adhoc.AnsibleAdhocOptions{ListHosts: true, Limit: "@" + file}))
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

// limitPatterns splits a limit as Ansible does, with the patterns of an @file
// in its place; it drops empty ones.
func limitPatterns(dir, limit string) ([]string, error) {
	var patterns []string
	for _, p := range splitLimit(limit) {
		name, file := strings.CutPrefix(p, "@")
		if !file {
			patterns = append(patterns, p)
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("limit %s: %w", p, err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" {
				patterns = append(patterns, line)
			}
		}
	}
	return patterns, nil
}

// aPattern is one of several that are separated by colons: anything but space
// and colons, which may stand in brackets.
var aPattern = regexp.MustCompile(`(?:[^\s:\[\]]|\[[^\]]*\])+`)

// splitLimit splits at commas or, where there is none, at colons.
func splitLimit(limit string) []string {
	if !strings.Contains(limit, ",") {
		return aPattern.FindAllString(limit, -1)
	}
	var patterns []string
	for p := range strings.SplitSeq(limit, ",") {
		if p = strings.TrimSpace(p); p != "" {
			patterns = append(patterns, p)
		}
	}
	return patterns
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
	e := newEngine(ctx, dir, append(os.Environ(), owned...), defaultGrace)
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
		return nil, &EngineError{Problem: name + " failed", Detail: lastLines(stderr.String(), 12), Err: err}
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
