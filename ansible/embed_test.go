package ansible

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
)

// content is a small project: a script, a role, a name with a space.
func content() fstest.MapFS {
	return fstest.MapFS{
		"ansible.cfg":                      {Data: []byte("[defaults]\n")},
		"playbooks/patch.yml":              {Data: []byte("- hosts: all\n")},
		"roles/patching/files/write.sh":    {Data: []byte("#!/bin/sh\ntrue\n")},
		"roles/patching/files/empty file":  {},
		"roles/patching/tasks/main.yml":    {Data: []byte("- ping:\n")},
		"roles/patching/library/module.py": {Data: []byte("#!/usr/bin/python3\n")},
	}
}

// tree is what is in a folder: modes of folders, modes and bytes of files.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(folder, path)
		found[name] = info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found[name] += " " + string(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnpack(t *testing.T) {
	old := syscall.Umask(0) // Modes are ours, whatever the umask.
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "state", "content")
	folder, err := unpack(content(), dir)
	must(t, err)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder above is %v, %v", info.Mode(), err)
	}
	want := map[string]string{
		".":                                "drwx------",
		"ansible.cfg":                      "-rw------- [defaults]\n",
		"playbooks":                        "drwx------",
		"playbooks/patch.yml":              "-rw------- - hosts: all\n",
		"roles":                            "drwx------",
		"roles/patching":                   "drwx------",
		"roles/patching/files":             "drwx------",
		"roles/patching/files/empty file":  "-rw------- ",
		"roles/patching/files/write.sh":    "-rwx------ #!/bin/sh\ntrue\n",
		"roles/patching/library":           "drwx------",
		"roles/patching/library/module.py": "-rwx------ #!/usr/bin/python3\n",
		"roles/patching/tasks":             "drwx------",
		"roles/patching/tasks/main.yml":    "-rw------- - ping:\n",
	}
	if got := tree(t, folder); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if name := filepath.Base(folder); filepath.Dir(folder) != dir || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(name) {
		t.Errorf("the folder is %s", folder)
	}
	if got, _ := os.ReadDir(dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

// Names, bytes and what is executable are all part of the folder's name.
func TestUnpackOfOtherContent(t *testing.T) {
	dir := t.TempDir()
	folders := map[string]bool{}
	for _, change := range []func(fstest.MapFS){
		func(fstest.MapFS) {},
		func(c fstest.MapFS) { c["ansible.cfg"].Data = []byte("[default]\n\n") },
		func(c fstest.MapFS) { c["new"] = &fstest.MapFile{} },
		func(c fstest.MapFS) { c["ansible.cfg2"] = c["ansible.cfg"]; delete(c, "ansible.cfg") },
		func(c fstest.MapFS) { delete(c, "roles/patching/files/empty file") },
	} {
		c := content()
		change(c)
		folder, err := unpack(c, dir)
		must(t, err)
		folders[folder] = true
	}
	if entries, err := os.ReadDir(dir); err != nil || len(folders) != 5 || len(entries) != 5 {
		t.Errorf("5 versions are %d folders, %d in %v, %v", len(folders), len(entries), entries, err)
	}
}

func TestUnpackMends(t *testing.T) {
	dir := t.TempDir()
	folder, err := unpack(content(), dir)
	must(t, err)
	want := tree(t, folder)
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("[defaults]\n"), 0o600))
	at := func(name string) string { return filepath.Join(folder, name) }

	for name, change := range map[string]func() error{
		"nothing":            func() error { return nil },
		"other bytes":        func() error { return os.WriteFile(at("playbooks/patch.yml"), []byte("- hosts: alL\n"), 0o600) },
		"half a file":        func() error { return os.Truncate(at("ansible.cfg"), 3) },
		"others may write":   func() error { return os.Chmod(at("ansible.cfg"), 0o666) },
		"set user id":        func() error { return os.Chmod(at("roles/patching/files/write.sh"), 0o700|fs.ModeSetuid) },
		"an open folder":     func() error { return os.Chmod(at("roles"), 0o777) },
		"the folder open":    func() error { return os.Chmod(folder, 0o755) },
		"a file gone":        func() error { return os.Remove(at("roles/patching/tasks/main.yml")) },
		"a folder gone":      func() error { return os.RemoveAll(at("roles/patching")) },
		"all gone":           func() error { return os.RemoveAll(folder) },
		"a file added":       func() error { return os.WriteFile(at("roles/patching/tasks/extra.yml"), nil, 0o600) },
		"a folder added":     func() error { return os.MkdirAll(at("roles/patching/tasks/x/y"), 0o700) },
		"a cache added":      func() error { return os.MkdirAll(at("roles/patching/library/__pycache__"), 0o700) },
		"a pipe added":       func() error { return syscall.Mkfifo(at("playbooks/pipe"), 0o600) },
		"a file is a link":   func() error { os.Remove(at("ansible.cfg")); return os.Symlink(outside, at("ansible.cfg")) },
		"a file is a folder": func() error { os.Remove(at("ansible.cfg")); return os.Mkdir(at("ansible.cfg"), 0o700) },
		"a folder is a file": func() error { os.RemoveAll(at("playbooks")); return os.WriteFile(at("playbooks"), nil, 0o600) },
		"a folder is a link": func() error {
			os.RemoveAll(at("playbooks"))
			return os.Symlink(filepath.Dir(outside), at("playbooks"))
		},
		"it is a link": func() error { os.RemoveAll(folder); return os.Symlink(filepath.Dir(outside), folder) },
		"it is a file": func() error { os.RemoveAll(folder); return os.WriteFile(folder, nil, 0o600) },
		"an unfinished one": func() error {
			os.RemoveAll(folder)
			return os.MkdirAll(filepath.Join(dir, "."+filepath.Base(folder)+".unfinished", "x"), 0o700)
		},
	} {
		must(t, change())
		again, err := unpack(content(), dir)
		if err != nil || again != folder {
			t.Fatalf("%s: unpack = %s, %v", name, again, err)
		}
		if got := tree(t, folder); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
	if data, err := os.ReadFile(outside); string(data) != "[defaults]\n" || err != nil {
		t.Errorf("a file outside is now %q, %v", data, err)
	}
}

// What is right is not written again: a run that is going on may be reading it.
func TestUnpackLeavesWhatIsRight(t *testing.T) {
	dir := t.TempDir()
	folder, err := unpack(content(), dir)
	must(t, err)
	before, err := os.Stat(filepath.Join(folder, "playbooks/patch.yml"))
	must(t, err)
	must(t, os.Remove(filepath.Join(folder, "ansible.cfg")))
	_, err = unpack(content(), dir)
	must(t, err)
	after, err := os.Stat(filepath.Join(folder, "playbooks/patch.yml"))
	must(t, err)
	if !os.SameFile(before, after) || before.ModTime() != after.ModTime() {
		t.Error("a file that was right was written again")
	}
}

func TestUnpackAtOnce(t *testing.T) {
	want, err := unpack(content(), t.TempDir())
	must(t, err)
	dir := t.TempDir()
	var wait sync.WaitGroup
	for i := range 32 {
		wait.Go(func() {
			folder, err := unpack(content(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.ReadFile(filepath.Join(folder, "playbooks/patch.yml")); err != nil {
				t.Errorf("it is back, and not complete: %v", err)
			}
			if i%4 == 0 {
				os.WriteFile(filepath.Join(folder, "extra"), nil, 0o600)
			}
		})
	}
	wait.Wait()
	folder, err := unpack(content(), dir)
	must(t, err)
	if got, want := tree(t, folder), tree(t, want); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestUnpackErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := Unpack(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("unpacked into a file: %v", err)
	}
}

// Everything in the tree is carried: go:embed leaves out names that begin with a dot or an underscore, and links.
func TestEverythingIsCarried(t *testing.T) {
	folder, err := Unpack(t.TempDir())
	must(t, err)
	for _, top := range []string{"playbooks", "roles"} {
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.Name() == "__pycache__" {
				return fs.SkipDir
			}
			if entry.IsDir() {
				return nil
			}
			want, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			got, err := os.ReadFile(filepath.Join(folder, path))
			if err != nil || string(got) != string(want) {
				t.Errorf("%s is not carried as it is: %v", path, err)
				return nil
			}
			unpacked, err := os.Stat(filepath.Join(folder, path))
			if err != nil {
				return err
			}
			if info.Mode()&0o100 != 0 && unpacked.Mode()&0o100 == 0 {
				t.Errorf("%s is executable in the tree and not unpacked: begin it with #!", path)
			}
			return nil
		})
		must(t, err)
	}
}
