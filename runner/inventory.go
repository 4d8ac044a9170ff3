package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// Match returns the hosts of sources that an Ansible host pattern names. Like
// Ansible, it is no error if there are none.
func Match(ctx context.Context, dir, pattern string, sources ...string) ([]string, error) {
	c := adhoc.NewAnsibleAdhocCmd(adhoc.WithPattern("all"),
		adhoc.WithAdhocOptions(&adhoc.AnsibleAdhocOptions{ListHosts: true, Limit: pattern}))
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
	e := &engine{ctx: ctx, dir: dir, grace: defaultGrace, env: append(os.Environ(),
		"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=True", "ANSIBLE_FORCE_COLOR=0", "ANSIBLE_NOCOLOR=1",
		"PYTHONDONTWRITEBYTECODE=1")}
	var stdout bytes.Buffer
	stderr := &tail{max: maxStderr}
	err := e.execute(c, &stdout, stderr)
	if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("%s was stopped: %w", name, cause)
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, notFound(err)
	case err != nil:
		return nil, &EngineError{Problem: name + " failed", Detail: lastLines(stderr.String(), 12), Err: err}
	}
	return stdout.Bytes(), nil
}

func notFound(err error) *EngineError {
	return &EngineError{
		Problem: "not found: install ansible-core " + Oldest + " or later (Debian: apt-get install ansible-core)",
		Err:     err,
	}
}

var _ execute.Commander = commander{}
