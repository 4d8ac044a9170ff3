package orchestrator

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// project writes a small project and returns its folder.
func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "site.yml", "- hosts: all")
	put(t, dir, "roles/web/tasks/main.yml", "- name: Say hello")
	put(t, dir, ".git/HEAD", "ref: refs/heads/main")
	if err := os.Symlink("site.yml", dir+"/patch.yml"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, paths ...string) Project {
	t.Helper()
	p, err := Fingerprint(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFingerprint(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string // the paths that changed
	}{
		"nothing":     {func(*testing.T, string) {}, ""},
		"same again":  {func(t *testing.T, dir string) { put(t, dir, "site.yml", "- hosts: all") }, ""},
		"content":     {func(t *testing.T, dir string) { put(t, dir, "site.yml", "- hosts: ALL") }, "site.yml"},
		"new file":    {func(t *testing.T, dir string) { put(t, dir, "group_vars/all.yml", "a: 1") }, "group_vars group_vars/all.yml"},
		"removed":     {func(t *testing.T, dir string) { os.Remove(dir + "/site.yml") }, "site.yml"},
		"mode":        {func(t *testing.T, dir string) { os.Chmod(dir+"/site.yml", 0o755) }, "site.yml"},
		"link":        {func(t *testing.T, dir string) { os.Remove(dir + "/patch.yml"); os.Symlink("x", dir+"/patch.yml") }, "patch.yml"},
		"file, link":  {func(t *testing.T, dir string) { os.Remove(dir + "/site.yml"); os.Symlink("x", dir+"/site.yml") }, "site.yml"},
		"git moves":   {func(t *testing.T, dir string) { put(t, dir, ".git/HEAD", "ref: refs/heads/other") }, ""},
		"retry file":  {func(t *testing.T, dir string) { put(t, dir, "site.retry", "db") }, ""},
		"log":         {func(t *testing.T, dir string) { put(t, dir, "ansible.log", "...") }, ""},
		"python":      {func(t *testing.T, dir string) { put(t, dir, "library/__pycache__/a.pyc", "x") }, "library"},
		"a .log role": {func(t *testing.T, dir string) { put(t, dir, "roles/audit.log/x.yml", "x") }, "roles/audit.log roles/audit.log/x.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := project(t)
			before := take(t, dir)
			test.change(t, dir)
			now := take(t, dir)
			var names []string
			for _, n := range before.changed(now) {
				rel, err := filepath.Rel(dir, n)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, rel)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("changed %q, want %q", got, test.want)
			}
			if same := before.Hash == now.Hash; same != (test.want == "") {
				t.Errorf("same hash: %t", same)
			}
		})
	}
}

func TestFingerprintOfSeveral(t *testing.T) {
	dir, other := project(t), t.TempDir()
	put(t, other, "hosts.yml", "all:")
	link := t.TempDir() + "/current"
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	before := take(t, link, other+"/hosts.yml")
	if before.Path != link || len(before.files) < 6 {
		t.Errorf("path %s, %d files", before.Path, len(before.files))
	}
	put(t, other, "hosts.yml", "none:")
	if now := take(t, link, other+"/hosts.yml"); now.Hash == before.Hash {
		t.Error("a change in the second path was not seen")
	}
	if _, err := Fingerprint(dir, other+"/gone.yml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing path: %v", err)
	}
	if _, err := Fingerprint(dir + "/.git"); err != nil {
		t.Errorf("a path that would be left out deeper down: %v", err)
	}
}

// Beyond the bound a file counts by size and time: a change of content is still seen.
func TestFingerprintBound(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "big.img", "x")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	hash := func(budget int64) string {
		h, err := fileHash(dir+"/big.img", entries[0], &budget)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	whole, stat := hash(1), hash(0)
	if err := os.Chtimes(dir+"/big.img", time.Time{}, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	if entries, err = os.ReadDir(dir); err != nil {
		t.Fatal(err)
	}
	if hash(1) != whole || hash(0) == stat {
		t.Error("want the content while the budget lasts, the time beyond it")
	}
}

func TestCommit(t *testing.T) {
	const a, b = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"none":         {nil, ""},
		"branch":       {map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": a + "\n"}, a},
		"detached":     {map[string]string{".git/HEAD": b}, b},
		"packed":       {map[string]string{".git/HEAD": "ref: refs/heads/main", ".git/packed-refs": "# pack-refs\n" + b + " refs/heads/maintenance\n" + a + " refs/heads/main\n^" + b}, a},
		"unborn":       {map[string]string{".git/HEAD": "ref: refs/heads/main"}, ""},
		"work tree":    {map[string]string{".git": "gitdir: main/.git/worktrees/x", "main/.git/worktrees/x/HEAD": "ref: refs/heads/x", "main/.git/worktrees/x/commondir": "../..", "main/.git/refs/heads/x": a}, a},
		"outside":      {map[string]string{".git/HEAD": "ref: ../secret", "secret": a}, ""},
		"not a commit": {map[string]string{".git/HEAD": "password"}, ""},
		"odd file":     {map[string]string{".git": "hello"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range test.files {
				put(t, dir, file, content)
			}
			put(t, dir, "deep/down/site.yml", "")
			if got := commit(dir + "/deep/down/site.yml"); got != test.want {
				t.Errorf("commit %q, want %q", got, test.want)
			}
		})
	}
}

// TestCommitOfGit compares with what git itself says.
func TestCommitOfGit(t *testing.T) {
	git := needTool(t, "git")
	dir := t.TempDir()
	run := func(args ...string) string {
		cmd := exec.Command(git, append([]string{"-C", dir, "-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("init", "-q")
	run("commit", "-q", "--allow-empty", "-m", "first")
	want := run("rev-parse", "HEAD")
	if got := commit(dir); got != want {
		t.Errorf("commit %q, want %q", got, want)
	}
	run("pack-refs", "--all")
	if got := commit(dir); got != want {
		t.Errorf("packed: commit %q, want %q", got, want)
	}
}
