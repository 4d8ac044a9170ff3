package main

import (
	"os"
	"path/filepath"
	"strings"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/runner"
)

// trust refuses to run what others could have written. A person may run what she likes as herself; root and a user of the
// system's, whom systemd starts and sudo lets become root, may not.
func (j *job) trust() error {
	if os.Geteuid() >= config.People {
		return nil
	}
	paths := append(j.contents(), runner.Reads(j.Project, j.environ())...)
	if j.File != "" {
		paths = append(paths, j.File)
	}
	if j.planFile != "" {
		paths = append(paths, j.planFile)
	}
	paths = append(paths, j.GatePrograms()...)
	return config.Trusted(os.Geteuid(), paths...)
}

// contents are the files a run is made of: the project and the inventory. They
// must be root's, and must not change under a run.
func (j *job) contents() []string {
	var paths []string
	if j.named || j.carried && !j.readOnly {
		paths = append(paths, j.Project)
	}
	if !j.carried {
		paths = append(paths, j.Playbook)
	}
	if !j.carried && !j.named { // the playbook's folder may hold anything besides
		for _, beside := range []string{
			"ansible.cfg", "*.yml", "*.yaml", "roles", "tasks", "handlers", "vars", "defaults", "files", "templates",
			"library", "module_utils", "collections", "*_plugins", "group_vars", "host_vars",
		} {
			found, _ := filepath.Glob(filepath.Join(j.Project, beside))
			paths = append(paths, found...)
		}
	}
	sources := j.Inventory
	if len(sources) == 0 {
		sources = runner.Sources(j.Project, j.environ())
	}
	for _, s := range sources {
		if strings.Contains(s, ",") { // a list of hosts
			continue
		}
		paths = append(paths, s)
		for _, beside := range []string{"group_vars", "host_vars", "hooks"} {
			if p := filepath.Join(filepath.Dir(s), beside); exists(p) {
				paths = append(paths, p)
			}
		}
	}
	return paths
}
