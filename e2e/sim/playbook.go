package sim

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Interrupted is what ansible-playbook exits with after a SIGINT.
const Interrupted = 99

// Playbook plays ansible-playbook, and returns what it exits with.
func Playbook(args []string) (code int, err error) {
	s, err := Load()
	if err != nil {
		return 1, err
	}
	a, err := parse(args)
	if err != nil {
		return 2, err
	}
	fd, err := strconv.Atoi(os.Getenv("RUNNER_EVENTS_FD"))
	if err != nil {
		return 1, fmt.Errorf("RUNNER_EVENTS_FD: %w", err)
	}
	signal.Ignore(syscall.SIGPIPE) // it is an error of the write then
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt)
	out := newStream(os.NewFile(uintptr(fd), "events"), interrupt)
	out.now = float64(time.Now().UnixMicro()) / 1e6
	head := `"version":"2.14.18"`
	if labels := os.Getenv("RUNNER_LABELS"); labels != "" {
		head += `,"labels":` + labels
	}
	out.line(`"kind":"start"`, head, nil)
	if err := out.flush(); err != nil {
		return 1, err
	}
	p := play{Script: s, args: a, ahead: a.check || looks(a.playbook), out: out}
	switch err := p.run(a.hosts); {
	case errors.Is(err, errInterrupted):
		return Interrupted, nil
	case err != nil:
		return 1, err
	}
	for _, st := range p.stats { // who is unreachable hides who failed
		switch {
		case st.unreachable > 0:
			return 4, nil
		case st.failures > 0:
			code = 2
		}
	}
	return code, nil
}

// Inventory plays ansible-inventory --list.
func Inventory() error {
	s, err := Load()
	if err != nil {
		return err
	}
	vars, waves := map[string]any{}, []string{}
	groups := map[string]any{"_meta": map[string]any{"hostvars": vars}}
	for n := range s.Waves {
		group := fmt.Sprintf("patching_wave%d", n)
		waves = append(waves, group)
		groups[group] = map[string]any{"hosts": s.Wave(n)}
	}
	for _, h := range s.Names() {
		vars[h] = map[string]any{"ansible_host": "192.0.2.1", "ansible_user": "root"}
	}
	groups["all"] = map[string]any{"children": []string{"ungrouped", "patching_targets", "patch_controller"}}
	groups["patching_targets"] = map[string]any{"children": waves}
	groups["patch_controller"] = map[string]any{"hosts": s.Wave(s.Waves - 1)}
	return json.NewEncoder(os.Stdout).Encode(groups)
}

// arguments is the command line as far as it matters.
type arguments struct {
	playbook    string // its whole path
	named       string // as it was given
	inventory   []string
	limit       string
	vars        []string
	hosts       []string
	forks       int
	check, diff bool
}

func parse(args []string) (a arguments, err error) {
	for len(args) > 0 {
		name, value, joined := strings.Cut(args[0], "=")
		args = args[1:]
		next := func() string {
			if !joined && len(args) > 0 {
				value, args = args[0], args[1:]
			}
			return value
		}
		switch name {
		case "--inventory":
			a.inventory = append(a.inventory, next())
		case "--limit":
			a.limit = next()
		case "--extra-vars":
			a.vars = append(a.vars, next())
		case "--forks":
			if a.forks, err = strconv.Atoi(next()); err != nil {
				return a, err
			}
		case "--check":
			a.check = true
		case "--diff":
			a.diff = true
		default:
			if strings.HasPrefix(name, "-v") {
				continue
			}
			if strings.HasPrefix(name, "-") || a.named != "" {
				return a, fmt.Errorf("%s: the stand-in knows nothing of that", name)
			}
			a.named = name
		}
	}
	file, ok := strings.CutPrefix(a.limit, "@")
	if !ok || a.named == "" {
		return a, errors.New("the stand-in wants a playbook and --limit @FILE")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return a, err
	}
	a.hosts = strings.Fields(string(text))
	for i, source := range a.inventory {
		if a.inventory[i], err = filepath.Abs(source); err != nil {
			return a, err
		}
	}
	a.playbook, err = filepath.Abs(a.named)
	return a, err
}

// data is the command line as Ansible's context has it.
func (a arguments) data() []byte {
	forks := a.forks
	if forks == 0 {
		forks = 10
	}
	list := func(s []string) []string { return append([]string{}, s...) }
	return mustJSON(map[string]any{
		"version": nil, "verbosity": 0, "private_key_file": nil, "remote_user": nil, "connection": "smart", "timeout": 10,
		"ssh_common_args": nil, "sftp_extra_args": nil, "scp_extra_args": nil, "ssh_extra_args": nil, "ask_pass": false,
		"connection_password_file": nil, "force_handlers": false, "flush_cache": false, "become": false, "become_method": "sudo",
		"become_user": nil, "become_ask_pass": false, "become_password_file": nil, "tags": []string{"all"}, "skip_tags": []string{},
		"check": a.check, "diff": a.diff, "inventory": list(a.inventory), "listhosts": false, "subset": a.limit,
		"extra_vars": list(a.vars), "vault_ids": []string{}, "ask_vault_pass": false, "vault_password_files": []string{}, "forks": forks,
		"module_path": nil, "syntax": false, "listtasks": false, "listtags": false, "step": false, "start_at_task": nil,
		"args": []string{a.named},
	})
}

var errInterrupted = errors.New("interrupted")

// stream is what the callback plugin writes.
type stream struct {
	w         *bufio.Writer
	interrupt <-chan os.Signal
	now       float64 // seconds of Unix time, by the script
}

func newStream(f *os.File, interrupt <-chan os.Signal) *stream {
	return &stream{w: bufio.NewWriterSize(f, 64<<10), interrupt: interrupt}
}

// line writes an event. An error comes with the next flush.
func (s *stream) line(kind, head string, data []byte) {
	fmt.Fprintf(s.w, `{%s,"time":%f`, kind, s.now)
	if head != "" {
		s.w.WriteString("," + head)
	}
	if data != nil {
		s.w.WriteString(`,"data":`)
		s.w.Write(data)
	}
	s.w.WriteString("}\n")
}

func (s *stream) flush() error { return s.w.Flush() }

// until lets scripted time pass.
func (s *stream) until(then, pace float64) error {
	wait := seconds((then - s.now) * pace)
	s.now = max(s.now, then)
	if wait <= 0 {
		select {
		case <-s.interrupt:
			return errInterrupted
		default:
			return nil
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	select {
	case <-s.interrupt:
		return errInterrupted
	case <-time.After(wait):
		return nil
	}
}

// while waits as long as there is a file.
func (s *stream) while(path string) error {
	if err := s.flush(); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(path); err != nil {
			return nil
		}
		select {
		case <-s.interrupt:
			return errInterrupted
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// die writes half a line, and is killed.
func (s *stream) die() error {
	s.w.WriteString(`{"kind":"result","time":1,"play":"Pat`)
	s.flush()
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
