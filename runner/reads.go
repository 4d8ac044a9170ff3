package runner

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Reads lists what Ansible would load code or settings from for a run in dir
// with the environment env, besides the project and its inventory, as far as
// it is there: ansible.cfg, the folders of plugins, roles and collections, and
// the vault password. Whoever runs Ansible as root wants them to be root's.
func Reads(dir string, env []string) []string {
	s := readSettings(dir, env)
	var paths []string
	add := func(base, list string) {
		for p := range strings.SplitSeq(list, ":") {
			p = s.path(base, strings.TrimSpace(p))
			if _, err := os.Stat(p); err == nil && !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	home := s.home()
	add(dir, home+"/plugins:"+home+"/roles:"+home+"/collections:/usr/share/ansible:/etc/ansible/roles")
	if s.file != "" {
		add("/", s.file)
	}
	for key, value := range s.ini {
		if name, ok := strings.CutPrefix(key, "defaults."); ok && loads(name) {
			add(filepath.Dir(s.file), value)
		}
	}
	for key, value := range s.env {
		if name, ok := strings.CutPrefix(key, "ANSIBLE_"); ok && loads(strings.ToLower(name)) {
			add(dir, value)
		}
	}
	slices.Sort(paths)
	return paths
}

// loads reports whether a setting names what is run or read for its content.
func loads(name string) bool {
	switch name {
	case "library", "module_utils", "roles_path", "collections_path", "collections_paths", "vault_password_file":
		return true
	}
	return strings.HasSuffix(name, "_plugins")
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
