package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/internal/config"
)

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

func TestDebianVersion(t *testing.T) {
	for described, want := range map[string]string{
		"v1.2.3":                       "1.2.3",
		"v1.2.3-dirty":                 "1.2.3+dirty",
		"v1.2.3-rc1":                   "1.2.3~rc1",
		"v1.2.3-rc.2-7-g0123abcd":      "1.2.3~rc.2+7.g0123abcd",
		"v1.2.3-12-g0123abcd-dirty":    "1.2.3+12.g0123abcd+dirty",
		"0123abcd":                     "0.0~20270131120000.0123abcd",
		"0123abcd-dirty":               "0.0~20270131120000.0123abcd+dirty",
		"nightly":                      "",
		"v1.2.3-beta":                  "",
		"1.2.3":                        "",
		"v1.2.3; rm -rf /":             "",
		"release-1-4-g0123abcd":        "",
		"v1.2.3-rc1\nv1.2.3-4-g012345": "",
	} {
		got, err := debianVersion(described, noon)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", described, got, err, want)
		}
	}
}

// dpkg itself says which of two versions is newer.
func TestVersionsSort(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	var before string
	for i, described := range []string{"ffffffff", "00000000", "v0.1.0-rc1", "v0.1.0-rc1-3-gffffffff", "v0.1.0", "v0.1.0-9-gffffffff", "v0.1.0-10-g00000000", "v0.1.1", "v0.10.0"} {
		now, err := debianVersion(described, noon.Add(time.Duration(i)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if before != "" {
			if err := exec.Command("dpkg", "--compare-versions", before, "lt", now).Run(); err != nil {
				t.Errorf("%s is not older than %s: %v", before, now, err)
			}
		}
		before = now
	}
}

func TestChangelog(t *testing.T) {
	const markdown = `# Changelog

- not an entry

## Unreleased

- [FEATURE] one: a line that is so long that it has to be broken somewhere, and goes on after that.
- [BUGFIX] two

## 1.0.0 / 2026-12-24

- [CHANGE] three
`
	got, err := changelog(markdown, "1.1.0", noon)
	want := `homelab-patch-orchestrate (1.1.0) unstable; urgency=medium

  * [FEATURE] one: a line that is so long that it has to be broken somewhere,
    and goes on after that.
  * [BUGFIX] two

 -- ` + maintainer + `  Sun, 31 Jan 2027 12:00:00 +0000

homelab-patch-orchestrate (1.0.0) unstable; urgency=medium

  * [CHANGE] three

 -- ` + maintainer + `  Thu, 24 Dec 2026 00:00:00 +0000
`
	if got != want+"\n" && got != want || err != nil {
		t.Errorf("%v\n%s", err, got)
	}
	for _, bad := range []string{"", "# Changelog\n\n## Unreleased\n", "## a\n- x\n## b\n- y\n", "## a\n- x\n## 1 / 2026-02-30\n- y\n"} {
		if got, err := changelog(bad, "1", noon); err == nil {
			t.Errorf("%q is %q", bad, got)
		}
	}
}

func TestCopyright(t *testing.T) {
	mit := "MIT License\n\nCopyright (c) 2026 Somebody\n\nPermission is hereby granted, free of charge, to any\nperson obtaining a copy"
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	apache := folder(map[string]string{"LICENSE": "Apache License\n Version 2.0, January 2004\n Copyright [yyyy] [name]", "NOTICE": "Copyright 2015 Those Authors\n\nthank you"})
	got, err := copyright(mit, []source{{"example.com/a@v1.0.0", apache}, {"example.com/b@v2.0.0", folder(map[string]string{"COPYING": mit})}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nFiles: *\nCopyright: 2026 Somebody\nLicense: Expat\n MIT License\n .\n Copyright",
		"\nFiles: go/example.com/a@v1.0.0/*\nCopyright: 2015 Those Authors\nLicense: Apache-2.0\nComment: its NOTICE is\n Copyright 2015 Those Authors\n .\n thank you\n",
		"\nFiles: go/example.com/b@v2.0.0/*\nCopyright: 2026 Somebody\nLicense: Expat\n MIT",
		"\nLicense: Apache-2.0\n On Debian systems",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not there: %q in\n%s", want, got)
		}
	}
	for name, files := range map[string]map[string]string{
		"no licence":      {},
		"unknown licence": {"LICENSE": "all rights reserved"},
		"two of them":     {"LICENSE": mit + " Redistribution and use in source and binary forms, with or without modification, are permitted"},
	} {
		if _, err := copyright(mit, []source{{"example.com/c@v1", folder(files)}}); err == nil || !strings.Contains(err.Error(), "example.com/c@v1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The settings of the package are comments alone, and have the keys of docs/configure.md; each line is one that the
// program accepts, and says the program's own default where there is one.
func TestDefaultSettings(t *testing.T) {
	const file = "patch-orchestrate.yaml"
	as, err := config.Load(file, true)
	if err != nil {
		t.Fatal(err)
	}
	as.File = ""
	if want := config.Default(); !reflect.DeepEqual(as, want) {
		t.Errorf("as shipped, it says %+v\nand the defaults are  %+v", as, want)
	}

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shipped := map[string]string{}
	var open strings.Builder
	for line := range strings.Lines(string(text)) {
		if m := regexp.MustCompile(`^#([a-z_]+): (.+)\n$`).FindStringSubmatch(line); m != nil {
			shipped[m[1]] = m[2]
			open.WriteString(line[1:])
		} else if !strings.HasPrefix(line, "# ") && line != "\n" {
			t.Errorf("neither a setting nor a comment: %q", line)
		}
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "configure.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Settings of the orchestrator\n")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(table, -1) {
		documented[m[1]] = m[2]
	}
	if len(documented) < 10 {
		t.Fatalf("docs/configure.md: only %d keys were found", len(documented))
	}
	for key, value := range documented {
		if _, ok := shipped[key]; !ok {
			t.Errorf("%s has no %s", file, key)
		}
		if word, ok := strings.CutPrefix(value, "`"); ok && strings.TrimSuffix(word, "`") != shipped[key] {
			t.Errorf("%s: %s in docs/configure.md, and %s here", key, value, shipped[key])
		}
	}
	for key := range shipped {
		if _, ok := documented[key]; !ok {
			t.Errorf("docs/configure.md has no %s", key)
		}
	}

	every := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(every, []byte(open.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	opened, err := config.Load(every, true)
	if err != nil {
		t.Fatalf("with every line opened: %v", err)
	}
	if len(opened.Schedule.Windows) != 1 || len(opened.Gates) != 1 {
		t.Errorf("with every line opened: %+v", opened)
	}
}

// What is written into each package is git's, and the program's own: nothing that lies about here.
func TestTree(t *testing.T) {
	t.Chdir("..")
	stray := filepath.Join("packaging", "stray-of-a-test.md")
	if err := os.WriteFile(stray, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(stray)
	tr := tree{root: t.TempDir()}
	tr.tracked("docs", doc)
	tr.tracked("packaging", doc)
	tr.tracked("monitoring/prometheus", share)
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	names := files(t, tr.root)
	if !slices.Contains(names, doc+"/docs/install.md") || !slices.Contains(names, share+"/monitoring/prometheus/alerts/patching.yml") {
		t.Errorf("not there: %q", names)
	}
	for _, name := range names {
		if strings.Contains(name, "stray") || strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.yml") {
			t.Errorf("%s is in the package", name)
		}
	}
	if tr.tracked("nowhere", doc); tr.err == nil {
		t.Error("a path that git does not know is no error")
	}
}

func files(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(root, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
