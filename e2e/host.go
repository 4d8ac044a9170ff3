//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// BootID is the boot_id of host, new with each boot; "" while the host is off.
func (l *Lab) BootID(host string) string {
	out := l.Run(l.t.Context(), host, "cat", "/proc/sys/kernel/random/boot_id")
	if out.Code != 0 {
		return ""
	}
	return strings.TrimSpace(out.Stdout)
}

// Boots counts how often host was switched on or rebooted. The count is kept outside the host.
func (l *Lab) Boots(host string) int {
	l.t.Helper()
	log, err := os.ReadFile(filepath.Join(l.Dir(), host+".boots"))
	if err != nil {
		l.t.Fatalf("boots of %s: %v", host, err)
	}
	return strings.Count(string(log), " boot\n")
}

// Version is the installed version of a package, "" if it is not installed.
func (l *Lab) Version(host, name string) string {
	out := l.Run(l.t.Context(), host, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name)
	version, ok := strings.CutPrefix(out.Stdout, "installed ")
	if !ok {
		return ""
	}
	return version
}

// Pending lists the packages that `apt-get upgrade --with-new-pkgs` would install or upgrade, sorted, after
// the package lists were refreshed.
func (l *Lab) Pending(host string) []string {
	l.t.Helper()
	l.Exec(host, "apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")
	var names []string
	for line := range strings.Lines(l.Exec(host, "apt-get", "-s", "upgrade", "--with-new-pkgs")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Inst" {
			names = append(names, f[1])
		}
	}
	slices.Sort(names)
	return names
}

// DpkgEntry is one line of dpkg.log.
type DpkgEntry struct {
	Time   time.Time // to the second, in UTC
	Action string    // startup, install, upgrade, configure, remove, purge, status, trigproc, conffile
	Args   []string  // for install and upgrade: package:architecture, old version, new version
}

// DpkgLog reads dpkg.log of host. It is empty when the lab starts.
func (l *Lab) DpkgLog(host string) []DpkgEntry {
	l.t.Helper()
	var entries []DpkgEntry
	for line := range strings.Lines(l.Exec(host, "cat", "/var/log/dpkg.log")) {
		f := strings.Fields(line)
		if len(f) < 3 {
			l.t.Fatalf("dpkg.log of %s: unexpected line %q", host, line)
		}
		at, err := time.Parse(time.DateTime, f[0]+" "+f[1])
		if err != nil {
			l.t.Fatalf("dpkg.log of %s: %v", host, err)
		}
		entries = append(entries, DpkgEntry{Time: at, Action: f[2], Args: f[3:]})
	}
	return entries
}

// Files lists names, types, modes, owners and contents (as SHA-256) of all files below dirs, sorted. No dirs
// means /var/lib/dpkg and /etc. Times are left out: two equal lists mean that nothing was changed.
func (l *Lab) Files(host string, dirs ...string) []string {
	l.t.Helper()
	if len(dirs) == 0 {
		dirs = []string{"/var/lib/dpkg", "/etc"}
	}
	const script = `find "$@" -xdev -printf '%p %y %m %U:%G %l\n'
		find "$@" -xdev -type f -print0 | xargs -0r sha256sum`
	list := l.Exec(host, append([]string{"sh", "-euc", script, "sh"}, dirs...)...)
	lines := strings.Split(strings.TrimSpace(list), "\n")
	slices.Sort(lines)
	return lines
}

// Hash is one SHA-256, in hexadecimal, over what [Lab.Files] lists.
func (l *Lab) Hash(host string, dirs ...string) string {
	l.t.Helper()
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(l.Files(host, dirs...), "\n"))))
}

// WatchMemory looks each second at what the hosts use, as the lab counts it: memory of processes, and of their disks, which
// are memory here. The function it returns ends that, and returns the most of the controller and of all hosts together. Where the machine does not count it, that is said instead.
func (l *Lab) WatchMemory() func() []string {
	root := filepath.Join("/sys/fs/cgroup/memory", filepath.Base(l.Dir()))
	most, stop, done := map[string]int64{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			all := int64(0)
			files, _ := filepath.Glob(root + "/*/memory.stat")
			for _, file := range files {
				text, _ := os.ReadFile(file)
				n := int64(0)
				for line := range strings.Lines(string(text)) {
					if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "total_rss" || name == "total_shmem" {
						bytes, _ := strconv.ParseInt(value, 10, 64)
						n += bytes >> 20
					}
				}
				name := filepath.Base(filepath.Dir(file))
				most[name] = max(most[name], n)
				all += n
			}
			most[""] = max(most[""], all)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() []string {
		close(stop)
		<-done
		var lines []string
		for name, n := range most {
			switch {
			case name == "":
				lines = append(lines, fmt.Sprintf("all hosts together: %d MiB", n))
			case name == "infra-services":
				lines = append(lines, fmt.Sprintf("the controller: %d MiB", n))
			}
		}
		if most[""] == 0 {
			return []string{"this machine does not count it"}
		}
		slices.Sort(lines)
		return lines
	}
}
