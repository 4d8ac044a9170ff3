package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What the program asks of the machine it runs on.

// resumeUnit ends, after a boot, what a run had to leave.
const resumeUnit = name + "-resume.service"

// bootID tells this boot from others; empty if the kernel does not say.
func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// systemctl asks systemd something.
func systemctl(args ...string) error { return said(exec.Command("systemctl", args...)) }

// systemd implements [doctor.Shower].
type systemd struct{}

// Show asks systemctl.
func (systemd) Show(ctx context.Context, unit string, properties ...string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", "show", "--property="+strings.Join(properties, ","), unit)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	cmd.Stderr = new(strings.Builder)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("systemctl: %w: %s", err, strings.TrimSpace(fmt.Sprint(cmd.Stderr)))
	}
	said := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		said[name] = value
	}
	return said, nil
}

// order has systemd do something and does not wait for it. Root alone may: another user goes by sudo, which must have a
// rule for these very words, without a password; see docs/privileges.md.
func order(args ...string) error {
	words := append([]string{"systemctl", "--no-block"}, args...)
	if os.Geteuid() != 0 {
		words = append([]string{"sudo", "-n"}, words...)
	}
	return said(exec.Command(words[0], words[1:]...))
}

// said runs a command, and returns what it printed as the error where it failed.
func said(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(out) > 0 {
		return errors.New(filepath.Base(cmd.Path) + ": " + strings.TrimSpace(string(out)))
	}
	return err
}

// owner is the user whose a folder is, and that user's group; ourselves where there is no folder yet.
func owner(dir string) (uid, gid int) {
	if info, err := os.Stat(dir); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			return int(stat.Uid), int(stat.Gid)
		}
	}
	return os.Geteuid(), os.Getegid()
}

// mine refuses a state directory of another user, such as the one that docs/privileges.md has: what root leaves there, that
// user could not read.
func (j *job) mine() error {
	uid, _ := owner(j.State)
	if uid == os.Geteuid() {
		return nil
	}
	who := strconv.Itoa(uid)
	if u, err := user.LookupId(who); err == nil {
		who = u.Username
	}
	return fmt.Errorf("%s belongs to %s: run this as that user (sudo -H -u %s %s ...), or name another --state", j.State, who, who, name)
}

// asOwner makes root the user whose the state directory is, until the process ends: messages are that user's.
func (j *job) asOwner() error {
	uid, gid := owner(j.State)
	if os.Geteuid() != 0 || uid == 0 {
		return nil
	}
	return errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid))
}

// resumes reports whether somebody will go on with a run after a boot.
func resumes() bool { return systemctl("is-enabled", "--quiet", resumeUnit) == nil }

// shuttingDown reports whether this machine is on its way down.
func shuttingDown() bool {
	out, _ := exec.Command("systemctl", "is-system-running").Output()
	return strings.TrimSpace(string(out)) == "stopping"
}

// status shows a line in `systemctl status` of the unit that started this; see sd_notify(3). Nobody depends on it.
func status(line string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte("STATUS=" + line))
}
