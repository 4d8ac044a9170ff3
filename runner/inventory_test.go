package runner

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
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
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Inventory(ctx, dir, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := Inventory(t.Context(), filepath.Join(dir, "gone")); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("error %v", err)
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	need(t, "ansible")
	dir := project(t, map[string]string{
		"a": "[web]\nh1\nh2\n[db]\nh3\n", "some": "h1\n\n h3 \n", "empty": "\n",
	})
	for pattern, want := range map[string][]string{
		"web[0]:db": {"h1", "h3"}, "h?:&db": {"h3"}, "all,!h2": {"h1", "h3"}, "@some": {"h1", "h3"}, "nobody": nil, "web:&db": nil,
		// Ansible takes a limit without a pattern for no limit at all.
		",": nil, ":": nil, " ": nil, "": nil,
		// A port is no second pattern.
		"all:9": nil,
	} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			got, err := Match(t.Context(), dir, pattern, "a")
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%v %v, want %v", got, err, want)
			}
		})
	}
	for _, limit := range []string{"@empty", ",@empty, ", "@empty,!h1"} {
		if got, err := Match(t.Context(), dir, limit, "a"); err == nil {
			t.Errorf("limit %q names %v", limit, got)
		}
	}
	if got, err := Match(t.Context(), dir, "@gone", "a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing limit file: %v %v", got, err)
	}
	if got, err := Match(t.Context(), dir, "web", "gone"); err == nil {
		t.Errorf("a missing inventory has %v", got)
	}
}
