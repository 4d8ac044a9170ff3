package runner

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// sshArgs are ansible-core's own defaults, plus keepalives: without them a
// dead link is noticed after hours.
const sshArgs = "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=3 -o ServerAliveCountMax=3"

// Forks are one a host, within bounds: most of the time a fork waits for its
// host. Each is a process of some 15 MiB of its own.
const (
	leastForks = 10
	mostForks  = 25
)

// settings says what the operator has configured: the environment first, then
// the one ansible.cfg that Ansible will read. Reading the file costs nothing;
// asking ansible-config costs more than half a second.
type settings struct {
	env  map[string]string
	ini  map[string]string // "section.key", lower case
	file string            // "" if there is none
}

// readSettings finds the ansible.cfg of a run in dir with the environment env.
func readSettings(dir string, env []string) settings {
	s := settings{env: map[string]string{}, ini: map[string]string{}}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		s.env[k] = v
	}
	if _, ok := s.env["HOME"]; !ok { // as in a systemd unit
		if u, err := user.Current(); err == nil {
			s.env["HOME"] = u.HomeDir
		}
	}
	for _, path := range s.candidates(dir) {
		if text, err := os.ReadFile(path); err == nil {
			s.file = path
			s.readINI(string(text))
			break
		}
	}
	return s
}

// candidates is Ansible's own order:
// https://docs.ansible.com/ansible/latest/reference_appendices/config.html
func (s settings) candidates(dir string) []string {
	var paths []string
	if p, ok := s.env["ANSIBLE_CONFIG"]; ok {
		p = s.path(dir, os.Expand(p, func(k string) string { return s.env[k] }))
		if fi, err := os.Stat(p); err == nil && fi.IsDir() {
			p = filepath.Join(p, "ansible.cfg")
		}
		paths = append(paths, p)
	}
	// Ansible does not trust a folder that everyone may write.
	if fi, err := os.Stat(dir); err == nil && fi.Mode()&0o002 == 0 {
		paths = append(paths, filepath.Join(dir, "ansible.cfg"))
	}
	return append(paths, s.path(dir, "~/.ansible.cfg"), "/etc/ansible/ansible.cfg")
}

// path makes p absolute, as Ansible does for one that stands in base.
func (s settings) path(base, p string) string {
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		return filepath.Join(s.env["HOME"], rest)
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(base, p)
	}
	return p
}

// readINI keeps what Python's configparser would, as Ansible calls it: no
// interpolation, "; " after white space begins a comment, a deeper indented
// line continues a value. What configparser refuses, Ansible refuses too.
func (s settings) readINI(text string) {
	section, last, indent := "", "", 0
	for line := range strings.Lines(text) {
		value := strings.TrimSpace(uncomment(line))
		if value == "" {
			continue
		}
		depth := len(line) - len(strings.TrimLeft(line, " \t"))
		if last != "" && depth > indent {
			s.ini[last] = strings.TrimSpace(s.ini[last] + "\n" + value)
			continue
		}
		indent, last = depth, ""
		if end := strings.LastIndexByte(value, ']'); value[0] == '[' && end > 0 {
			section = value[1:end]
		} else if i := strings.IndexAny(value, "=:"); i >= 0 {
			last = section + "." + strings.ToLower(strings.TrimSpace(value[:i]))
			s.ini[last] = strings.TrimSpace(value[i+1:])
		}
	}
}

// uncomment cuts a comment off a line.
func uncomment(line string) string {
	if t := strings.TrimLeft(line, " \t"); strings.HasPrefix(t, "#") || strings.HasPrefix(t, ";") {
		return ""
	}
	for i := 1; i < len(line); i++ {
		if line[i] == ';' && strings.ContainsRune(" \t\v\f", rune(line[i-1])) {
			return line[:i]
		}
	}
	return line
}

// says returns the first value set under names: "NAME" in the environment,
// "section.key" in the file.
func (s settings) says(names ...string) (string, bool) {
	for _, n := range names {
		if v, ok := s.env[n]; ok {
			return v, true
		}
		if v, ok := s.ini[n]; ok {
			return v, true
		}
	}
	return "", false
}

// home is Ansible's own folder.
func (s settings) home() string {
	if v, ok := s.says("ANSIBLE_HOME", "defaults.home"); ok {
		return v
	}
	return "~/.ansible"
}

// callbackPath is where Ansible would look for callback plugins, besides the
// folder beside the playbook.
func (s settings) callbackPath() string {
	path, ok := s.says("ANSIBLE_CALLBACK_PLUGINS", "defaults.callback_plugins")
	if !ok { // ansible-core's default; naming ours replaces it
		return s.home() + "/plugins/callback:/usr/share/ansible/plugins/callback"
	} else if _, env := s.env["ANSIBLE_CALLBACK_PLUGINS"]; !env {
		// In the file, paths are relative to the file; in the environment they
		// would be relative to the working directory.
		parts := strings.Split(path, ":")
		for i, p := range parts {
			if p = strings.TrimSpace(p); !strings.Contains(p, "{{") && !strings.ContainsAny(p[:min(1, len(p))], "$~") {
				p = s.path(filepath.Dir(s.file), p)
			}
			parts[i] = p
		}
		path = strings.Join(parts, ":")
	}
	return path
}

// environ returns what to add to the environment so that our callback plugin
// is found beside the operator's, and ssh notices dead links, where the
// operator has not said otherwise. control is the folder for the run's own
// ssh masters, hosts how many there are to work on.
func (s settings) environ(plugins, control, key string, hosts int) (add []string) {
	add = append(add, "ANSIBLE_CALLBACK_PLUGINS="+plugins+":"+s.callbackPath())

	set := func(value, name string, others ...string) {
		if _, ok := s.says(append(others, name)...); !ok {
			add = append(add, name+"="+value)
		}
	}
	set("True", "ANSIBLE_PIPELINING", "ANSIBLE_SSH_PIPELINING",
		"defaults.pipelining", "connection.pipelining", "ssh_connection.pipelining")
	set(strconv.Itoa(min(max(hosts, leastForks), mostForks)), "ANSIBLE_FORKS", "defaults.forks")
	set("never", "SSH_ASKPASS_REQUIRE") // a window nobody sees would hang the run
	set("False", "ANSIBLE_RETRY_FILES_ENABLED", "defaults.retry_files_enabled")
	if key != "" {
		set(key, "ANSIBLE_PRIVATE_KEY_FILE", "defaults.private_key_file")
	}
	args, said := s.says("ANSIBLE_SSH_ARGS", "ssh_connection.ssh_args")
	if !said {
		add = append(add, "ANSIBLE_SSH_ARGS="+sshArgs)
	}
	_, theirs := s.says("ANSIBLE_SSH_CONTROL_PATH", "ANSIBLE_SSH_CONTROL_PATH_DIR",
		"ssh_connection.control_path", "ssh_connection.control_path_dir")
	if !theirs && !strings.Contains(strings.ToLower(args), "controlpath") {
		add = append(add, "ANSIBLE_SSH_CONTROL_PATH_DIR="+control, "RUNNER_CONTROL_PATH_DIR="+control)
	}
	return add
}

// araLabels returns labels after those that the operator has the callback of
// ARA give to each record.
func (s settings) araLabels(labels []string) string {
	if theirs, _ := s.says("ARA_DEFAULT_LABELS", "ara.default_labels"); strings.TrimSpace(theirs) != "" {
		labels = append([]string{strings.TrimSpace(theirs)}, labels...)
	}
	return strings.Join(labels, ",")
}
