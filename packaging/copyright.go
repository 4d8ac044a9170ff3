package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// source is somebody's code in the program, and where its licence is.
type source struct {
	name string // as in "files of"
	dir  string
}

// linked lists what the program is made of besides our own: Go's library, then the modules.
func linked(binary string) ([]source, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	root, err := output(nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	sources := []source{{"std@" + info.GoVersion, root}}
	args := []string{"go", "list", "-m", "-f", "{{.Path}}@{{.Version}} {{.Dir}}"}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			return nil, fmt.Errorf("%s is replaced: whose licence is it?", dep.Path)
		}
		args = append(args, dep.Path)
	}
	list, err := output(nil, args...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(list) {
		module, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			return nil, fmt.Errorf("the source of %s is not on this machine: go mod download", module)
		}
		sources = append(sources, source{module, dir})
	}
	return sources, nil
}

// copyright is debian/copyright of a program that has sources in it. A licence that is not known is an error.
func copyright(licence string, sources []source) (string, error) {
	var b strings.Builder
	b.WriteString("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n" +
		"Upstream-Name: " + name + "\n" +
		"Source: the repository that the program's manual is from; make deb\n" +
		"Comment: The program is one static binary. What is linked into it is named\n" +
		" go/MODULE@VERSION/* here, and go/std@VERSION/* for Go's own library.\n")
	own := source{name: "*"}
	if err := stanza(&b, own, licence, ""); err != nil {
		return "", err
	}
	for _, s := range sources {
		text, notice, err := terms(s.dir)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.name, err)
		}
		s.name = "go/" + s.name + "/*"
		if err := stanza(&b, s, text, notice); err != nil {
			return "", err
		}
	}
	if strings.Contains(b.String(), "Apache-2.0\n") {
		b.WriteString("\nLicense: Apache-2.0\n On Debian systems, the text of this licence is in\n /usr/share/common-licenses/Apache-2.0.\n")
	}
	return b.String(), nil
}

// terms reads licence and notice of a folder; a notice is rare.
func terms(dir string) (licence, notice string, err error) {
	for _, file := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", "", err
		}
		more, err := os.ReadFile(filepath.Join(dir, "NOTICE"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", "", err
		}
		return string(text), string(more), nil
	}
	return "", "", errors.New("there is no licence in it")
}

var holder = regexp.MustCompile(`(?mi)^[ \t]*copyright[ \t]+((?:\(c\)|©|[0-9]).*?)[ \t]*$`)

// stanza writes what one source's terms are. All of the text is there, but of Apache's, which Debian has.
func stanza(b *strings.Builder, s source, licence, notice string) error {
	kind, err := classify(licence)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	var holders []string
	for _, m := range holder.FindAllStringSubmatch(licence+"\n"+notice, -1) {
		if who := strings.TrimSpace(regexp.MustCompile(`(?i)^(\(c\)|©)`).ReplaceAllString(m[1], "")); !strings.Contains(strings.Join(holders, "\n"), who) {
			holders = append(holders, who)
		}
	}
	if len(holders) == 0 { // Apache's says it in each file
		holders = []string{"the authors of " + strings.TrimSuffix(s.name, "/*")}
	}
	fmt.Fprintf(b, "\nFiles: %s\nCopyright: %s\nLicense: %s\n", s.name, strings.Join(holders, "\n "), kind)
	if kind != "Apache-2.0" {
		b.WriteString(quote(licence))
	}
	if notice != "" {
		b.WriteString("Comment: its NOTICE is\n" + quote(notice))
	}
	return nil
}

// classify names a licence in Debian's words.
func classify(text string) (string, error) {
	text = strings.Join(strings.Fields(text), " ")
	has := func(words string) bool { return strings.Contains(text, words) }
	expat := has("Permission is hereby granted, free of charge, to any person obtaining a copy")
	apache := has("Apache License") && has("Version 2.0") || has("Licensed under the Apache License, Version 2.0")
	bsd := has("Redistribution and use in source and binary forms, with or without modification, are permitted")
	switch {
	case expat && apache && !bsd:
		return "Expat and Apache-2.0", nil
	case expat && !apache && !bsd:
		return "Expat", nil
	case apache && !expat && !bsd:
		return "Apache-2.0", nil
	case bsd && !expat && !apache && has("Neither the name"):
		return "BSD-3-clause", nil
	case bsd && !expat && !apache:
		return "BSD-2-clause", nil
	}
	return "", errors.New("its licence is none that is known here")
}

// quote is a text as a field of Debian's control files has it.
func quote(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		if line = strings.TrimRight(strings.ReplaceAll(line, "\t", "    "), " \r\n"); line == "" {
			line = "."
		}
		b.WriteString(" " + line + "\n")
	}
	return b.String()
}
