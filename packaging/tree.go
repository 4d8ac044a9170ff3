package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"homelab-patch-orchestrate/ansible"
)

const (
	share = "usr/share/" + name
	doc   = "usr/share/doc/" + name
)

// tree makes the folder that becomes the package of a binary.
func (p packager) tree(dir, binary string) error {
	t := tree{root: dir}
	t.copy(binary, "usr/bin/"+name, 0o755)
	t.copyTo("ansible/roles/patch-controller/files", unitFolder)
	t.manual(filepath.Join(p.work, "manual"))

	carried, err := ansible.Unpack(filepath.Join(p.work, "content"))
	if err != nil {
		return err
	}
	t.copyTo(carried, share+"/ansible")
	for _, path := range []string{"ansible/ansible.cfg", "ansible/inventory", "ansible/secrets", "monitoring/prometheus", "monitoring/alertmanager", "monitoring/grafana"} {
		t.tracked(path, share)
	}
	t.tracked("README.md", doc)
	t.tracked("docs", doc)
	// so that links from one page to another lead somewhere
	t.link(share+"/docs", "../doc/"+name+"/docs")
	t.link(doc+"/ansible", "../../"+name+"/ansible")
	t.link(doc+"/monitoring", "../../"+name+"/monitoring")

	t.copy("packaging/lintian-overrides", "usr/share/lintian/overrides/"+name, 0o644)
	t.legal(p, binary)
	if t.err != nil {
		return t.err
	}
	return t.modes()
}

// unitFolder is the one that Debian 13 allows. Debian 12, where /lib is a link to it, reads it as well.
const unitFolder = "usr/lib/systemd/system"

// tree is a folder in the making. After its first error it does nothing more.
type tree struct {
	root string
	err  error
}

func (t *tree) write(name string, data []byte, mode fs.FileMode) {
	if t.err != nil {
		return
	}
	path := filepath.Join(t.root, name)
	if t.err = os.MkdirAll(filepath.Dir(path), 0o755); t.err == nil {
		t.err = os.WriteFile(path, data, mode)
	}
	if t.err == nil { // whatever the umask is
		t.err = os.Chmod(path, mode)
	}
}

func (t *tree) copy(from, to string, mode fs.FileMode) {
	data, err := os.ReadFile(from)
	if t.err = errors.Join(t.err, err); t.err == nil {
		t.write(to, data, mode)
	}
}

func (t *tree) link(name, target string) {
	if t.err == nil {
		t.err = os.Symlink(target, filepath.Join(t.root, name))
	}
}

// compress writes a file as Debian wants text in /usr/share to be: with neither time nor name in it.
func (t *tree) compress(name string, data []byte) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(data)
		err = errors.Join(err, z.Close())
	}
	if t.err = errors.Join(t.err, err); t.err == nil {
		t.write(name, b.Bytes(), 0o644)
	}
}

// script copies a file that is run where it says by what.
func (t *tree) script(from, to string) {
	data, err := os.ReadFile(from)
	if t.err = errors.Join(t.err, err); t.err != nil {
		return
	}
	mode := fs.FileMode(0o644)
	if bytes.HasPrefix(data, []byte("#!")) {
		mode = 0o755
	}
	t.write(to, data, mode)
}

// copyTo copies all that is below a folder.
func (t *tree) copyTo(from, to string) {
	if t.err != nil {
		return
	}
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err == nil {
			t.script(path, filepath.Join(to, rel))
		}
		return err
	})
	t.err = errors.Join(t.err, err)
}

// tracked copies the files below a path of the checkout that git knows, and that are not Go's.
func (t *tree) tracked(path, to string) {
	list, err := output(nil, "git", "ls-files", "-z", "--", path)
	if err == nil && list == "" {
		err = fmt.Errorf("git knows no file %s", path)
	}
	if t.err = errors.Join(t.err, err); t.err != nil {
		return
	}
	for file := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		if !strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.yml") {
			t.script(file, filepath.Join(to, file))
		}
	}
}

// manual takes what the program wrote of itself.
func (t *tree) manual(dir string) {
	for from, to := range map[string]string{
		"bash": "usr/share/bash-completion/completions/" + name,
		"zsh":  "usr/share/zsh/vendor-completions/_" + name,
		"fish": "usr/share/fish/vendor_completions.d/" + name + ".fish",
	} {
		t.copy(filepath.Join(dir, "completion."+from), to, 0o644)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err == nil && len(pages) == 0 {
		err = fmt.Errorf("no man pages in %s", dir)
	}
	t.err = errors.Join(t.err, err)
	for _, page := range pages {
		data, err := os.ReadFile(page)
		t.err = errors.Join(t.err, err)
		t.compress("usr/share/man/man1/"+filepath.Base(page)+".gz", data)
	}
}

// legal writes changelog and copyright.
func (t *tree) legal(p packager, binary string) {
	markdown, err := os.ReadFile("CHANGELOG.md")
	licence, err2 := os.ReadFile("LICENSE")
	if t.err = errors.Join(t.err, err, err2); t.err != nil {
		return
	}
	log, err := changelog(string(markdown), p.version, p.date)
	t.err = errors.Join(t.err, err)
	t.compress(doc+"/changelog.gz", []byte(log))
	sources, err := linked(binary)
	if t.err = errors.Join(t.err, err); t.err != nil {
		return
	}
	text, err := copyright(string(licence), sources)
	t.err = errors.Join(t.err, err)
	t.write(doc+"/copyright", []byte(text), 0o644)
}

// modes gives every folder a mode that no umask has a part in. Times are nfpm's, which sets them all.
func (t *tree) modes() error {
	return filepath.WalkDir(t.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o755)
	})
}
