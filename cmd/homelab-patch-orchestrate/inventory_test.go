package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const fleetText = `# Ours.
hosts:
  - {name: one, address: 192.0.2.1, user: root, wave: 0}   # first

  # Last.
  - {name: ctl, connection: local, wave: 3, controller: true}
`

// inventory runs `inventory` and wants an exit code.
func (b *bench) inventory(code int, args ...string) result {
	b.t.Helper()
	r := b.do(b.bare(append([]string{"inventory"}, append(args, "--fleet", "inv/fleet.yaml")...)...))
	if r.code != code {
		b.t.Errorf("inventory %v: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
	}
	return r
}

func (b *bench) content(name string) string {
	data, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Helper()
		b.t.Fatal(err)
	}
	return string(data)
}

// tree is every file of the bench, with its mode, what it holds and when it was written.
func (b *bench) tree() string {
	b.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(b.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			all.Write(data)
			return err
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all.String()
}

func TestInventoryRender(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	b.write("inv/fleet.yaml", fleetText)
	b.write("inv/host_vars/one.yml", "# a person's\n")
	before := b.tree()
	r := b.inventory(1, "render", "--check")
	wants(t, "stdout", r.stdout, "--- "+b.path("inv/hosts.yml")+"\n", "@@ -0,0 +1,", "+    one:\n")
	wants(t, "stderr", r.stderr, "hosts.yml is not what", "inventory render --fleet "+b.path("inv/fleet.yaml"))
	if b.tree() != before {
		t.Error("--check wrote something")
	}
	if r = b.inventory(0, "render"); r.stdout != b.path("inv/hosts.yml")+" is written: 2 hosts in waves 0, 3\n" {
		t.Errorf("render: %s", r.stdout)
	}
	if info, err := os.Stat(b.path("inv/hosts.yml")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	left, _ := filepath.Glob(b.path("inv/.*"))
	if more, _ := filepath.Glob(b.path("inv/*")); len(left) != 0 || len(more) != 3 || b.content("inv/host_vars/one.yml") != "# a person's\n" {
		t.Errorf("there are %v %v", left, more)
	}
	before = b.tree()
	if r = b.inventory(0, "render", "--check"); r.stdout+r.stderr != "" {
		t.Errorf("nothing to say: %s%s", r.stdout, r.stderr)
	}
	wants(t, "render again", b.inventory(0, "render").stdout, "is up to date")
	if b.tree() != before {
		t.Error("what is right was written again")
	}
	b.write("inv/fleet.yaml", strings.Replace(fleetText, "root", "admin", 1))
	r = b.inventory(1, "render", "--check")
	wants(t, "stdout", r.stdout, "\n-      ansible_user: root\n+      ansible_user: admin\n")
	b.write("inv/fleet.yaml", strings.Replace(fleetText, "wave: 3", "wave: 12", 1))
	wants(t, "stderr", b.inventory(0, "render").stderr, "warning: wave 12: the carried playbook has waves up to 9")
}

func TestInventoryAdd(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	b.write("inv/fleet.yaml", fleetText)
	if err := os.Chmod(b.path("inv/fleet.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := b.inventory(0, "add", "two", "--wave", "1", "--user", "root", "--address", "192.0.2.2", "--port", "2222", "--group", "web", "--group", "lan")
	if got, want := b.content("inv/fleet.yaml"), fleetText+"  - {name: two, address: 192.0.2.2, port: 2222, user: root, wave: 1, groups: [web, lan]}\n"; got != want {
		t.Errorf("the fleet file is\n%s", got)
	}
	if info, err := os.Stat(b.path("inv/fleet.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode was changed: %v, %v", info, err)
	}
	wants(t, "stdout", r.stdout, "has two\n", "is written: 3 hosts in waves 0, 1, 3",
		"patches two in wave 1, after wave 0 (one), before wave 3 (ctl).", "on the console of two:",
		b.path("inv/host_vars/two.yml"), "patching_ssh_host_keys:", "ansible-playbook -i "+b.path("inv/hosts.yml")+" playbooks/site.yml")
	b.inventory(0, "render", "--check")
	r = b.inventory(0, "add", "three", "--wave", "0")
	wants(t, "stdout", r.stdout, "patches three in wave 0, with one, the first, before wave 1 (two).")
	wants(t, "hosts.yml", b.content("inv/hosts.yml"), "    three:\n", "      ansible_port: 2222\n", "    web:\n      hosts:\n        two:\n")

	// What the program says is what the waves are.
	if _, err := exec.LookPath("ansible-inventory"); err == nil {
		b.write("settings.yaml", "{}\n")
		r = b.do(b.bare("waves", "--inventory", "inv/hosts.yml", "--config", "settings.yaml", "--state", b.path("state")))
		if got := strings.Join(strings.Fields(r.stdout), " "); r.code != 0 || !strings.Contains(got, "0 one 192.0.2.1 0 three three 1 two 192.0.2.2 3 ctl local the controller, last") {
			t.Errorf("waves: %d %s%s", r.code, r.stdout, r.stderr)
		}
	}
	before := b.tree()
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"two", "--wave", "0"}, []string{"nothing was written: ", "fleet.yaml: host two: the host on line 7 has this name (give"}},
		{[]string{"four", "--wave", "0", "--address", "192.0.2.1"}, []string{"host four: is reached at 192.0.2.1:22, as is host one on line 3"}},
		{[]string{"four", "--wave", "3"}, []string{"fleet.yaml:6: host ctl", "shares the last wave with four", "such as wave: 4"}},
		{[]string{"four", "--wave", "4"}, []string{"fleet.yaml:6: host ctl", "patched before patching_wave4"}},
		{[]string{"four", "--wave", "-1"}, []string{`"wave" is not the number of a wave (write 0, 1, 2 or more)`}},
		{[]string{"four", "--wave", "0", "--group", "all"}, []string{`"groups" has all (leave it out`}},
		{[]string{"four", "--wave", "0", "--port", "70000"}, []string{`"port" is not a port (write`}},
		{[]string{"web[1:3]", "--wave", "0"}, []string{`"name" is not a name for a host (write`}},
		{[]string{"four"}, []string{"say with --wave"}},
		{[]string{"--wave", "0"}, []string{"HOST is missing"}},
	} {
		wants(t, strings.Join(c.args, " "), b.inventory(2, append([]string{"add"}, c.args...)...).stderr, c.words...)
	}
	if b.tree() != before {
		t.Error("something was written all the same")
	}
}

// Nothing is overwritten that is somebody else's, and no link is replaced.
func TestInventoryKeepsFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make  func(b *bench) error
		words []string
	}{
		"a person's hosts.yml": {func(b *bench) error { b.write("inv/hosts.yml", "all:\n"); return nil },
			[]string{"hosts.yml was not rendered, so it is not overwritten", "hosts.yml.orig"}},
		"an empty hosts.yml": {func(b *bench) error { b.write("inv/hosts.yml", ""); return nil }, []string{"was not rendered"}},
		"a link for hosts.yml": {func(b *bench) error { return os.Symlink("fleet.yaml", b.path("inv/hosts.yml")) },
			[]string{"hosts.yml is a link: remove it, or work in the folder of " + "%/inv/fleet.yaml"}},
		"a link to nothing for hosts.yml": {func(b *bench) error { return os.Symlink("nothing", b.path("inv/hosts.yml")) }, []string{"hosts.yml is a link"}},
		"a folder for hosts.yml":          {func(b *bench) error { return os.Mkdir(b.path("inv/hosts.yml"), 0o755) }, []string{"hosts.yml is not a file"}},
		"a link for fleet.yaml": {func(b *bench) error {
			return os.Rename(b.path("inv/fleet.yaml"), b.path("real.yaml"))
		}, []string{"there is no fleet file %/inv/fleet.yaml: write one"}},
		"no fleet.yaml": {func(b *bench) error {
			if err := os.Rename(b.path("inv/fleet.yaml"), b.path("real.yaml")); err != nil {
				return err
			}
			return os.Symlink("../real.yaml", b.path("inv/fleet.yaml"))
		}, []string{"fleet.yaml is a link: remove it, or work in the folder of %/real.yaml (--fleet)"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			b := &bench{t, dir}
			b.write("inv/fleet.yaml", fleetText)
			if err := c.make(b); err != nil {
				t.Fatal(err)
			}
			before := b.tree()
			for _, args := range [][]string{{"render"}, {"render", "--check"}, {"add", "two", "--wave", "1"}} {
				r := b.inventory(2, args...)
				for _, word := range c.words {
					wants(t, strings.Join(args, " "), r.stderr, strings.ReplaceAll(word, "%", b.dir))
				}
			}
			if b.tree() != before {
				t.Error("something was written")
			}
		})
	}
	if os.Geteuid() != 0 {
		return
	}
	// What root renders its runs believe, so what it is made of must be root's.
	b := &bench{t, t.TempDir()}
	b.write("inv/fleet.yaml", fleetText)
	os.Chmod(b.path("inv/fleet.yaml"), 0o666)
	for _, args := range [][]string{{"render"}, {"add", "two", "--wave", "1"}} {
		wants(t, strings.Join(args, " "), b.inventory(2, args...).stderr, "fleet.yaml can be written by everyone", "chmod go-w")
	}
	if exists(b.path("inv/hosts.yml")) || b.content("inv/fleet.yaml") != fleetText {
		t.Error("something was written")
	}
	b.inventory(1, "render", "--check") // which writes nothing
}

// A disk that takes nothing: both files are as they were.
func TestInventoryWriteFails(t *testing.T) {
	t.Parallel()
	b := &bench{t, t.TempDir()}
	b.write("inv/fleet.yaml", fleetText)
	c := b.bare("inventory", "add", "two", "--wave", "1", "--fleet", "inv/fleet.yaml")
	c.Args = append([]string{"prlimit", "--fsize=10", "--"}, c.Args...)
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip("prlimit is not installed")
	}
	c.Path = prlimit
	if r := b.do(c); r.code != 1 || !strings.Contains(r.stderr, "write "+b.path("inv/fleet.yaml")+": ") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	left, _ := filepath.Glob(b.path("inv/.*"))
	if b.content("inv/fleet.yaml") != fleetText || exists(b.path("inv/hosts.yml")) || len(left) > 0 {
		t.Errorf("left behind: %v, and the fleet file is\n%s", left, b.content("inv/fleet.yaml"))
	}
}
