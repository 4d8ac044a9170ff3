// Package homelab has no code of its own: it keeps the rules of docs/design.md about who may import whom.
package homelab

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const ours = "homelab-patch-orchestrate/"

// rooms lists every package that may be imported or that imports, and what of ours it may import itself. A package
// below one listed follows its rules. "*" is everything.
func rooms() map[string][]string {
	return map[string][]string{
		"cmd":                {"*"},
		"e2e":                {"*"},
		"ansible":            nil,
		"inventory":          nil,
		"metrics":            nil,
		"monitoring":         nil,
		"notify":             nil,
		"runner":             nil,
		"orchestrator":       {"runner", "inventory", "internal/failpoint"},
		"packaging":          {"ansible"},
		"ara":                {"runner"},
		"internal/doctor":    {"internal/config", "inventory", "orchestrator", "runner"},
		"internal/failpoint": nil,
		"internal/tracker":   nil,
		"internal/config":    {"inventory", "notify", "orchestrator"},
		"internal/gate":      {"orchestrator", "runner"},
		"internal/message":   {"orchestrator", "notify"},
		"internal/past":      {"orchestrator", "runner"},
		"internal/report":    {"orchestrator", "runner"},
		"internal/tui":       {"orchestrator", "runner"},
	}
}

// outsiders lists every package of others that we know of, and the rooms that may import it.
func outsiders() map[string][]string {
	return map[string][]string{
		"github.com/apenella/go-ansible":     {"runner"},
		"github.com/bwmarrin/discordgo":      {"notify"},
		"github.com/chromedp":                {"e2e"},
		"github.com/charmbracelet/x/ansi":    {"internal/tui"},
		"github.com/prometheus/client_model": {"metrics"},
		"github.com/prometheus/common":       {"metrics"},
		"github.com/rogpeppe/go-internal":    {"cmd"},
		"github.com/spf13/cobra":             {"cmd"},
		"github.com/spf13/pflag":             {"cmd"},
		"gopkg.in/yaml.v3":                   {"internal/config", "inventory"},
		"golang.org/x":                       {"*"},
	}
}

// pkg is a package and what it imports, its tests left out: they may import what they like.
type pkg struct {
	ImportPath string
	Imports    []string
}

// within reports whether a package is the named one or one below it, another major version included.
func within(path, name string) bool {
	return path == name || strings.HasPrefix(path, name+"/")
}

// room returns the entry of rooms a package of ours belongs to, or "".
func room(path string) string {
	path = strings.TrimPrefix(path, ours)
	for name := range rooms() {
		if within(path, name) {
			return name
		}
	}
	return ""
}

// broken returns a sentence for each rule a package breaks.
func broken(p pkg) (rules []string) {
	from := room(p.ImportPath)
	if from == "" && len(p.Imports) > 0 {
		return []string{p.ImportPath + " is in no room: add it to docs/design.md and to rooms"}
	}
	for _, path := range p.Imports {
		if strings.HasPrefix(path, ours) {
			to := room(path)
			if to != from && !slices.Contains(rooms()[from], to) && !slices.Contains(rooms()[from], "*") {
				rules = append(rules, p.ImportPath+" imports "+path)
			}
			continue
		}
		if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
			continue // The standard library.
		}
		allowed := false
		for name, in := range outsiders() {
			if within(path, name) && (slices.Contains(in, from) || slices.Contains(in, "*")) {
				allowed = true
			}
		}
		if !allowed {
			rules = append(rules, p.ImportPath+" imports "+path)
		}
	}
	return rules
}

// packages reads the import clauses of every Go file below the folder of this test. It asks no go command: go test
// would not notice that its answer has changed, and repeat an old result.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	found := map[string]*pkg{}
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && name != "." && (strings.ContainsAny(name[:1], "._") || name == "testdata") {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		clause, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		path := ours + filepath.ToSlash(filepath.Dir(file))
		if found[path] == nil {
			found[path] = &pkg{ImportPath: path}
		}
		for _, spec := range clause.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[path].Imports = append(found[path].Imports, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhoImportsWhom(t *testing.T) {
	found := packages(t)
	for _, room := range []string{"cmd/homelab-patch-orchestrate", "runner", "inventory", "metrics", "ara"} {
		if found[ours+room] == nil {
			t.Errorf("package %s is not looked at", room)
		}
	}
	for _, p := range found {
		for _, rule := range broken(*p) {
			t.Error(rule)
		}
	}
}

// The rules of docs/design.md, each with an import that breaks it.
func TestRulesBite(t *testing.T) {
	for _, c := range []struct{ from, path string }{
		{"runner", ours + "inventory"},
		{"runner/internal/x", ours + "orchestrator"},
		{"inventory", ours + "runner"},
		{"notify", ours + "internal/config"},
		{"metrics", ours + "orchestrator"},
		{"orchestrator", ours + "notify"},
		{"orchestrator", ours + "metrics"},
		{"orchestrator", ours + "ara"},
		{"orchestrator", ours + "ansible"},
		{"ara", ours + "orchestrator"},
		{"ara", ours + "notify"},
		{"internal/report", ours + "notify"},
		{"internal/config", ours + "runner"},
		{"internal/gate", ours + "internal/config"},
		{"internal/doctor", ours + "notify"},
		{"internal/common", "fmt"},
		{"orchestrator", "github.com/apenella/go-ansible/v2/pkg/execute"},
		{"internal/config", "github.com/spf13/cobra"},
		{"cmd/homelab-patch-orchestrate", "github.com/bwmarrin/discordgo"},
		{"cmd/homelab-patch-orchestrate", "github.com/prometheus/common/expfmt"},
		{"orchestrator", "gopkg.in/yaml.v3"},
		{"cmd/homelab-patch-orchestrate", "example.com/stranger"},
	} {
		if rules := broken(pkg{ImportPath: ours + c.from, Imports: []string{c.path}}); len(rules) != 1 {
			t.Errorf("%s may import %s", c.from, c.path)
		}
	}
	for _, c := range []struct{ from, path string }{
		{"orchestrator", ours + "runner"},
		{"runner", ours + "runner/internal/x"},
		{"runner", "github.com/apenella/go-ansible/v2/pkg/execute"},
		{"ara", ours + "runner"},
		{"internal/config", ours + "notify"},
		{"cmd/homelab-patch-orchestrate", ours + "metrics"},
		{"cmd/homelab-patch-orchestrate", "github.com/spf13/cobra/doc"},
		{"metrics", "encoding/json"},
	} {
		if rules := broken(pkg{ImportPath: ours + c.from, Imports: []string{c.path}}); len(rules) != 0 {
			t.Errorf("%s may not import %s", c.from, c.path)
		}
	}
}
