package main

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// docPage is a Markdown file of the checkout.
type docPage struct {
	path, text string
	fenced     []string // the lines of its fenced blocks
	prose      string   // what is outside of them
}

// docPages are those that people read; records of what was seen are left out. Their words are of an earlier commit.
func docPages(t *testing.T) (all []docPage) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && slices.Contains([]string{".git", "dist", "bin", "evidence", "testdata"}, entry.Name()) {
			return filepath.SkipDir
		}
		if err != nil || filepath.Ext(path) != ".md" || entry.Name() == "CHANGELOG.md" {
			return err
		}
		text, err := os.ReadFile(path)
		p, inside := docPage{path: path, text: string(text)}, false
		for line := range strings.Lines(p.text) {
			switch {
			case strings.HasPrefix(strings.TrimSpace(line), "```"):
				inside = !inside
			case inside:
				p.fenced = append(p.fenced, strings.TrimRight(line, "\n"))
			default:
				p.prose += line
			}
		}
		if inside {
			t.Errorf("%s: a fenced block has no end", path)
		}
		all = append(all, p)
		return err
	})
	if err != nil || len(all) < 30 {
		t.Fatalf("%d pages, %v", len(all), err)
	}
	return all
}

var (
	quoted    = regexp.MustCompile("`([^`\n]+)`")
	ourOutput = regexp.MustCompile(`^homelab-patch-orchestrate(:| \d)`) // what it says, beginning with its name
)

// Each command line of this program that a page shows, in a block or in the text, is one that the program takes.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, p := range docPages(t) {
		lines := slices.Clone(p.fenced)
		for _, q := range quoted.FindAllStringSubmatch(p.prose, -1) {
			words := strings.Fields(q[1])
			if c, rest, err := commands(&printer{}, new(int), false).Find(words[min(1, len(words)):]); err != nil || !c.HasParent() || len(rest) > 0 {
				lines = append(lines, q[1]) // else a command is only named
			}
		}
		for _, line := range lines {
			at := strings.Index(line, name+" ")
			switch {
			case at < 0, ourOutput.MatchString(line[at:]):
			case at > 0 && !strings.ContainsAny(line[at-1:at], " (|") && !strings.HasSuffix(line[:at], "bin/"): // the name of something else
			case slices.ContainsFunc([]string{"systemctl ", "journalctl ", "apt", "cp ", "systemd-analyze "}, func(other string) bool { return strings.Contains(line[:at], other) }):
			default:
				seen++
				if _, err := taken(line[at:]); err != nil {
					t.Errorf("%s: %s\n\t%v", p.path, line, err)
				}
			}
		}
	}
	if seen < 80 {
		t.Errorf("only %d commands were found", seen)
	}
}

var target = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)

// Each target of make that is named is one.
func TestDocsTargets(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	seen := 0
	for _, p := range docPages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z0-9-]*)").FindAllStringSubmatch(strings.Join(p.fenced, "\n")+"\n"+p.prose, -1) {
			if seen++; !slices.Contains(targets, m[1]) {
				t.Errorf("%s: make %s: there is no such target", p.path, m[1])
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d targets were found", seen)
	}
}

var (
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)|src="([^"]+)"`)
	recording = regexp.MustCompile(`\.Record\(t, \w+, "([a-z-]+)"`)
	unit      = regexp.MustCompile(`homelab-[a-z-]+\.(?:service|timer|socket|path)`)
	ours      = regexp.MustCompile("`((?:ansible|ara|cmd|docs|e2e|internal|metrics|monitoring|notify|orchestrator|packaging|runner)/[^`\\s]+)`")
)

// Each link leads to a file of the checkout and a heading of it; each file and unit that is named is there.
func TestDocsNames(t *testing.T) {
	t.Parallel()
	anchors := map[string][]string{}
	all := docPages(t)
	for _, p := range all {
		anchors[filepath.Clean(p.path)] = headings(p.prose)
	}
	// Units are files of the roles, or a module of them makes them; evidence is written by tests.
	units, recorded := map[string]bool{}, map[string]bool{}
	for _, root := range []string{"../../ansible/roles", "../../ara", "../../e2e", "../../orchestrator"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			units[strings.TrimSuffix(filepath.Base(path), ".j2")] = true
			if err != nil || filepath.Ext(path) != ".py" && !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, u := range unit.FindAllString(string(text), -1) {
				units[u] = units[u] || filepath.Ext(path) == ".py"
			}
			for _, m := range recording.FindAllStringSubmatch(string(text), -1) {
				recorded["evidence/"+m[1]+".md"] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range all {
		for _, m := range link.FindAllStringSubmatch(p.prose, -1) {
			to, err := url.Parse(m[1] + m[2])
			switch {
			case err != nil:
				t.Errorf("%s: %v", p.path, err)
				continue
			case to.Scheme != "":
				continue
			}
			file := filepath.Clean(p.path)
			if to.Path != "" {
				file = filepath.Join(filepath.Dir(p.path), to.Path)
			}
			if !exists(file) && recorded[to.Path] { // its test has yet to be run
				continue
			}
			if !exists(file) {
				t.Errorf("%s: the link %s leads nowhere", p.path, m[1])
			} else if to.Fragment != "" && !slices.Contains(anchors[file], to.Fragment) {
				t.Errorf("%s: the link %s leads to no heading; they are %v", p.path, m[1], anchors[file])
			}
		}
		for _, u := range unit.FindAllString(p.text, -1) {
			if !units[u] {
				t.Errorf("%s: there is no unit %s", p.path, u)
			}
		}
		for _, m := range ours.FindAllStringSubmatch(p.prose, -1) {
			path, _, _ := strings.Cut(m[1], ":")
			if strings.ContainsAny(path, "<>*{…") || exists(filepath.Join("../..", path)) || exists(filepath.Join(filepath.Dir(p.path), path)) {
				continue
			}
			t.Errorf("%s: there is no %s", p.path, m[1])
		}
	}
}

// headings are those of a page as a link names them, by GitHub's rules.
func headings(text string) (all []string) {
	for line := range strings.Lines(text) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		title = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(strings.TrimSpace(title), "$1")
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		n := 0
		for _, other := range all {
			if other == anchor || strings.HasPrefix(other, anchor+"-") && strings.Trim(other[len(anchor)+1:], "0123456789") == "" {
				n++
			}
		}
		if n > 0 {
			anchor = fmt.Sprintf("%s-%d", anchor, n)
		}
		all = append(all, anchor)
	}
	return all
}
