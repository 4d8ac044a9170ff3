package runner

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	need(t, "ansible-playbook")
	got, err := Version(t.Context(), "/")
	if err != nil || !regexp.MustCompile(`^2\.\d+\.\d`).MatchString(got) {
		t.Errorf("the one that is here: %q, %v", got, err)
	}
	for _, c := range []struct{ says, version, fail string }{
		{"ansible-playbook [core 2.19.4]\n  config file = None", "2.19.4", ""},
		{"ansible-playbook [core 2.20.0rc1]", "2.20.0rc1", ""},
		{"ansible-playbook [core 2.13.13]", "2.13.13", "too old: ansible-core is 2.13.13, install 2.14"},
		{"ansible-playbook 2.10.8\n  config file = /etc/ansible/ansible.cfg", "2.10.8", "too old: ansible-core is 2.10.8"},
		{"usage: something else", "", "names no version"},
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\ncat <<'END'\n" + c.says + "\nEND\n"
		if err := os.WriteFile(filepath.Join(dir, "ansible-playbook"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+":/bin:/usr/bin")
		got, err := Version(t.Context(), "/")
		if got != c.version || (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("%q: %q, %v", c.says, got, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	var engine *EngineError
	if _, err := Version(t.Context(), "/"); !errors.As(err, &engine) || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("none is here: %v", err)
	}
}
