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
			if p = strings.TrimSpace(p); p == "" {
				continue
			}
			p = s.path(base, s.expand(p))
			// What stays unknown is listed, too: it will be found to be missing.
			_, err := os.Stat(p)
			if (err == nil || strings.ContainsAny(p, "{$~")) && !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	identities := func(base, list string) {
		for id := range strings.SplitSeq(list, ",") {
			if _, source, ok := strings.Cut(id, "@"); ok {
				id = source
			}
			if id = strings.TrimSpace(id); !strings.HasPrefix(id, "prompt") {
				add(base, id)
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
	identities(filepath.Dir(s.file), s.ini["defaults.vault_identity_list"])
	identities(dir, s.env["ANSIBLE_VAULT_IDENTITY_LIST"])
	slices.Sort(paths)
	return paths
}

// expand replaces what Ansible replaces in a path.
func (s settings) expand(p string) string {
	p = strings.NewReplacer("{{ ANSIBLE_HOME }}", s.home(), "{{ANSIBLE_HOME}}", s.home()).Replace(p)
	return os.Expand(p, func(name string) string {
		if v, ok := s.env[name]; ok {
			return v
		}
		return "$" + name
	})
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
