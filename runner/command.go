package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/apenella/go-ansible/v2/pkg/playbook"
)

// control is the folder of the ssh masters of a run in dir.
func (p Playbook) control(dir string) string {
	if p.Connections != nil {
		return p.Connections.control
	}
	return filepath.Join(dir, "cp")
}

// prepare writes the files of a run into dir and builds its command line and
// environment. No host, variable or secret is on the command line.
func (p Playbook) prepare(dir string) (commander, []string, error) {
	vars := p.Vars
	if vars == nil {
		vars = map[string]any{}
	}
	varsJSON, err := json.Marshal(vars)
	if err != nil {
		return commander{}, nil, fmt.Errorf("extra vars: %w", err)
	}
	plugin, err := plugins.ReadFile("callback_plugins/runner_events.py")
	if err != nil {
		return commander{}, nil, err
	}
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "cp"), 0o700),
		os.Mkdir(filepath.Join(dir, "callback_plugins"), 0o700),
		os.WriteFile(filepath.Join(dir, "callback_plugins", "runner_events.py"), plugin, 0o600),
		os.WriteFile(filepath.Join(dir, "limit"), []byte(strings.Join(p.Hosts, "\n")+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "vars.json"), varsJSON, 0o600),
	); err != nil {
		return commander{}, nil, fmt.Errorf("run folder: %w", err)
	}
	opts := &playbook.AnsiblePlaybookOptions{
		Limit:         "@" + filepath.Join(dir, "limit"),
		ExtraVarsFile: []string{"@" + filepath.Join(dir, "vars.json")},
		Check:         p.Check,
		Diff:          p.Diff,
	}
	if p.Forks > 0 {
		opts.Forks = strconv.Itoa(p.Forks)
	}
	switch {
	case p.Verbosity >= 4:
		opts.VerboseVVVV = true
	case p.Verbosity == 3:
		opts.VerboseVVV = true
	case p.Verbosity == 2:
		opts.VerboseVV = true
	case p.Verbosity == 1:
		opts.VerboseV = true
	}
	build := playbook.NewAnsiblePlaybookCmd(
		playbook.WithBinary(p.Bin), playbook.WithPlaybooks(p.Playbook), playbook.WithPlaybookOptions(opts))

	env := append(os.Environ(), p.Env...)
	control := p.control(dir)
	if len(control) > maxControlDir {
		return commander{}, nil, fmt.Errorf("run folder %s: the path is too long for ssh's sockets", control)
	}
	work := p.Dir
	if work == "" {
		work = "."
	}
	said := readSettings(work, env)
	env = append(env, said.environ(filepath.Join(dir, "callback_plugins"), control, p.PrivateKey, len(p.Hosts))...)
	if len(p.Labels) > 0 {
		labels, err := json.Marshal(p.Labels)
		if err != nil {
			return commander{}, nil, fmt.Errorf("labels: %w", err)
		}
		env = append(env, "RUNNER_LABELS="+string(labels), "ARA_DEFAULT_LABELS="+said.araLabels(p.Labels))
	}
	env = append(env, "RUNNER_EVENTS_FD=3", "RUNNER_OLDEST="+Oldest, "PYTHONUNBUFFERED=1")
	env = append(env, owned...)
	if p.Document != nil {
		env = append(env, "ANSIBLE_STDOUT_CALLBACK="+JSONCallback)
	}
	return commander{build, p.Inventory}, env, nil
}

// commander adds the inventory to a command of go-ansible's, which knows only
// one source.
type commander struct {
	build interface {
		Command() ([]string, error)
		String() string
	}
	inventory []string
}

func (c commander) Command() ([]string, error) {
	args, err := c.build.Command()
	if err != nil {
		return nil, err
	}
	var sources []string
	for _, s := range c.inventory {
		sources = append(sources, "--inventory", s)
	}
	return slices.Insert(args, 1, sources...), nil
}

func (c commander) String() string { return c.build.String() }
