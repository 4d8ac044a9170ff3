package runner

import (
	"os"
	"path/filepath"
	"strings"
)

// Reads lists what Ansible would load code or settings from for a run in dir
// with the environment env, as far as it is there: its ansible.cfg and the
// folders of callback plugins. Whoever runs Ansible as root wants them to be
// root's.
func Reads(dir string, env []string) []string {
	s := readSettings(dir, env)
	var paths []string
	if s.file != "" {
		paths = append(paths, s.file)
	}
	for _, p := range strings.Split(s.callbackPath(), ":") {
		p = s.path(dir, p)
		if fi, err := os.Stat(p); err == nil && fi.IsDir() {
			paths = append(paths, filepath.Clean(p))
		}
	}
	return paths
}

// Sources lists the inventory that Ansible reads in dir when none is named, as
// far as it is there.
func Sources(dir string, env []string) []string {
	s := readSettings(dir, env)
	list, base := "/etc/ansible/hosts", dir
	if v, ok := s.says("ANSIBLE_INVENTORY"); ok {
		list = v
	} else if v, ok := s.says("defaults.inventory"); ok {
		list, base = v, filepath.Dir(s.file)
	}
	var paths []string
	for _, p := range strings.Split(list, ",") {
		p = s.path(base, strings.TrimSpace(p))
		if _, err := os.Stat(p); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}
