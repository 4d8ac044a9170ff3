package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// PrivateKey looks at the controller's own ssh key. None there is fine: the inventory may name another.
func PrivateKey(path string) []Check {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Check{well(Key, "there is no %s: the inventory or ssh's own settings name the key", path)}
	case err != nil:
		return []Check{warning(Key, "ls -l "+word(path), "nobody knows whether the key can be used: %v", err)}
	case info.Mode().Perm()&0o077 != 0:
		return []Check{failure(Key, "chmod 0600 "+word(path), "others can read %s: ssh does not use it", path)}
	}
	f, err := os.Open(path)
	if err != nil {
		return []Check{failure(Key, "ls -l "+word(path), "the key cannot be read: %v", err)}
	}
	f.Close()
	return []Check{well(Key, "%s is there, and private", path)}
}

// Login is how ssh is called for a host, as the inventory says.
type Login struct {
	Host    string // name in the inventory
	Address string
	Port    string   // empty: what ssh's settings say
	User    string   // empty: the same
	Args    []string // more arguments of the inventory
}

// Pinned looks whether ssh knows the key of a host that it has reached: else it believes whoever answers.
func Pinned(ctx context.Context, l Login) []Check {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	args := append([]string{"-G"}, l.Args...)
	if l.Port != "" {
		args = append(args, "-p", l.Port)
	}
	if l.User != "" {
		args = append(args, "-l", l.User)
	}
	said, err := exec.CommandContext(ctx, "ssh", append(args, "--", l.Address)...).Output() // -G connects to nothing
	if err != nil {
		return on(l.Host, warning(Key, "ssh -G "+word(l.Address), "nobody knows whether its host key is pinned: ssh -G: %v", err))
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(said)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		settings[name] = value
	}
	name := settings["hostkeyalias"]
	if name == "" {
		name = settings["hostname"]
		if port := settings["port"]; port != "" && port != "22" {
			name = "[" + name + "]:" + port
		}
	}
	if command := settings["knownhostscommand"]; command != "" && command != "none" {
		return on(l.Host, well(Key, "its host key is known by %s", command))
	}
	for _, file := range strings.Fields(settings["userknownhostsfile"] + " " + settings["globalknownhostsfile"]) {
		if rest, ok := strings.CutPrefix(file, "~/"); ok {
			file = os.Getenv("HOME") + "/" + rest
		}
		if exec.CommandContext(ctx, "ssh-keygen", "-F", name, "-f", file).Run() == nil {
			return on(l.Host, well(Key, "its host key is pinned in %s", file))
		}
	}
	return on(l.Host, warning(Key, "patching_ssh_host_keys in host_vars, then site.yml (docs/install.md); or log in once by hand",
		"its host key is not pinned: whoever answers at %s is believed", name))
}
