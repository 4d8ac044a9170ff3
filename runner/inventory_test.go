package runner

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInventory(t *testing.T) {
	t.Parallel()
	need(t, "ansible-inventory")
	dir := project(t, map[string]string{
		"a":                     "[web]\nh1 n=1\n",
		"b.yml":                 "db:\n  hosts:\n    h2:\n",
		"broken.yml":            "all: [\n",
		"both/1":                "[web]\nh1\n",
		"both/2":                "[web]\nh3\n",
		"sealed/hosts":          "[web]\nh1\n",
		"sealed/group_vars/web": vaultedVars,
	})
	for name, c := range map[string]struct {
		sources []string
		want    string // in the answer, without white space
		fail    string // in the error
	}{
		"two":           {sources: []string{filepath.Join(dir, "a"), "b.yml"}, want: `"db":{"hosts":["h2"]}`},
		"a folder":      {sources: []string{"both"}, want: `"hosts":["h1","h3"]`},
		"a list":        {sources: []string{"x,y,"}, want: `"hosts":["x","y"]`},
		"a missing one": {sources: []string{"a", "gone"}, fail: "gone"},
		"a broken one":  {sources: []string{"a", "broken.yml"}, fail: "broken.yml"},
		"a sealed one":  {sources: []string{"sealed/hosts"}, fail: "vault"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := Inventory(t.Context(), dir, c.sources...)
			if c.fail != "" {
				var engine *EngineError
				if !errors.As(err, &engine) || !strings.Contains(err.Error(), c.fail) || strings.Contains(err.Error(), "S3CRET") {
					t.Errorf("error %v, want %q", err, c.fail)
				}
				return
			}
			if squeezed := strings.Join(strings.Fields(string(out)), ""); err != nil || !strings.Contains(squeezed, c.want) || !json.Valid(out) {
				t.Errorf("%s\n%v", out, err)
			}
		})
	}
	logging := project(t, map[string]string{"ansible.cfg": "[defaults]\nlog_path = ansible.log\n", "a": "[web]\nh1 n=S3CRET\n"})
	if out, err := Inventory(t.Context(), logging, "a"); err != nil || !strings.Contains(string(out), "S3CRET") {
		t.Errorf("%s\n%v", out, err)
	}
	if text, err := os.ReadFile(filepath.Join(logging, "ansible.log")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Ansible logs what it says of hosts: %s, %v", text, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Inventory(ctx, dir, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := Inventory(t.Context(), filepath.Join(dir, "gone")); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("error %v", err)
	}
}
