package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lab is a running lab of e2e/lab: a controller, in the last wave, and the hosts of the wave before.
type lab struct {
	conf  string
	hosts []string // that are patched
	last  bool     // the controller is one of them
}

const controller = "infra-services"

// labUp starts a lab of so many hosts that are patched, with the program on its controller. With last that is one of them.
func (b *bench) labUp(hosts int, last bool) (*lab, error) {
	l := &lab{conf: filepath.Join(b.tmp, "lab", "hosts.conf"), last: last}
	nodes := hosts
	if last {
		nodes--
	}
	for i := range nodes {
		l.hosts = append(l.hosts, fmt.Sprintf("node%02d", i+1))
	}
	if last {
		l.hosts = append(l.hosts, controller)
	}
	if err := l.do("down"); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"up", strconv.Itoa(nodes)},
		{"push", controller, b.program, "/usr/local/bin/homelab-patch-orchestrate"},
		{"push", controller, filepath.Join(b.tmp, "lab", "usual.yml"), "/root/usual.yml"},
		{"push", controller, filepath.Join(b.tmp, "lab", "floor.sh"), "/root/floor.sh"},
	} {
		if err := l.do(args...); err != nil {
			l.down()
			return nil, err
		}
	}
	return l, nil
}

func (l *lab) down() error { return l.do("down") }

func (l *lab) command(args ...string) *exec.Cmd {
	c := exec.Command("e2e/lab/lab", args...)
	c.Env = append(os.Environ(), "LAB_CONF="+l.conf)
	if os.Getenv("LAB_NAME") == "" {
		c.Env = append(c.Env, "LAB_NAME=bench")
	}
	return c
}

func (l *lab) do(args ...string) error {
	if out, err := l.command(args...).CombinedOutput(); err != nil {
		return fmt.Errorf("lab %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// everywhere runs a shell script on all hosts at a time.
func (l *lab) everywhere(script string) error {
	var g sync.WaitGroup
	errs := make([]error, len(l.hosts))
	for i, h := range l.hosts {
		g.Go(func() { errs[i] = l.do("exec", h, "sh", "-euc", script) })
	}
	g.Wait()
	return errors.Join(errs...)
}

var consumed = regexp.MustCompile(`CPU time consumed: (.+)`)

// measure runs a command on the controller as a unit of its own: what it cost is all that ran there for it, also what it left
// behind, such as masters of ssh.
func (l *lab) measure(args ...string) (cost, error) {
	c := l.command(append([]string{"exec", controller, "systemd-run", "--wait", "--pipe", "--collect",
		"--property=CPUAccounting=yes", "--setenv=HOME=/root", "--working-directory=/root", "--"}, args...)...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	before, start := l.hostsCPU(), time.Now()
	err := c.Run()
	took := cost{wall: time.Since(start).Seconds(), hosts: l.hostsCPU() - before}
	if err != nil {
		return took, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out.Bytes())
	}
	m := consumed.FindSubmatch(out.Bytes())
	if m == nil {
		return took, fmt.Errorf("%s: systemd-run does not say what it cost\n%s", strings.Join(args, " "), out.Bytes())
	}
	cpu, err := time.ParseDuration(strings.NewReplacer(" ", "", "min", "m").Replace(strings.TrimSpace(string(m[1]))))
	took.cpu = cpu.Seconds()
	return took, err
}

// hostsCPU is what all hosts but the controller have consumed, in seconds; 0 where the machine does not count it.
func (l *lab) hostsCPU() (seconds float64) {
	dir, err := l.command("run-dir").Output()
	if err != nil {
		return 0
	}
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		files, _ := filepath.Glob(filepath.Join(root, filepath.Base(strings.TrimSpace(string(dir))), "node*", "cpu.stat"))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			usec, _, _ := strings.Cut(strings.TrimPrefix(string(text), "usage_usec "), "\n")
			n, _ := strconv.ParseFloat(usec, 64)
			seconds += n / 1e6
		}
		if len(files) > 0 {
			return seconds
		}
	}
	return 0
}

// output is what a shell script prints on a host.
func (l *lab) output(host, script string) (string, error) {
	out, err := l.command("exec", host, "sh", "-euc", script).Output()
	return string(out), why(err)
}
