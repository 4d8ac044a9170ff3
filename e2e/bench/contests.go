package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"homelab-patch-orchestrate/runner"
)

//go:embed testdata
var testdata embed.FS

// fleet is the hosts of testdata/project, by wave.
var fleet = [][]string{{"a1", "a2", "a3"}, {"b1", "b2", "b3", "b4", "b5", "b6"}, {"ctl"}}

// equal are settings that the program has by default and others do not.
var equal = []string{"ANSIBLE_PIPELINING=True", "ANSIBLE_FORKS=10"}

// prepare builds the program and lays out the project.
func (b *bench) prepare() error {
	c := exec.Command("go", "build", "-trimpath", "-o", b.program, "./cmd/homelab-patch-orchestrate")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	files, err := fs.Sub(testdata, "testdata")
	if err != nil {
		return err
	}
	return os.CopyFS(b.tmp, files)
}

// in has a command do its work on dir/hosts.
func in(dir string, env []string, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = slices.Concat(os.Environ(), env, []string{"HOSTS_DIR=" + filepath.Join(dir, "hosts")})
	return c
}

// run is the whole program on the project, its files in dir.
func (b *bench) run(dir string) *exec.Cmd {
	settings := filepath.Join(dir, "settings.yaml")
	os.WriteFile(settings, []byte("{}\n"), 0o644) // a missing one is an error of the run
	return in(dir, equal, b.program, "run", "--project", b.project, "--config", settings,
		"--state", filepath.Join(dir, "state"), "--textfile", filepath.Join(dir, "run.prom"))
}

// waves compares a whole run with a script and with one playbook.
func (b *bench) waves(p *page) error {
	costs, err := contest(b.tmp, rounds,
		contestant{"homelab-patch-orchestrate run", b.run},
		contestant{"shell script, a playbook a wave", func(dir string) *exec.Cmd {
			for i, hosts := range fleet {
				os.WriteFile(fmt.Sprintf("%s/wave%d", dir, i), []byte(strings.Join(hosts, "\n")+"\n"), 0o644)
			}
			return in(dir, equal, "sh", filepath.Join(b.tmp, "waves.sh"), b.project, dir)
		}},
		contestant{"one ansible-playbook of three plays", func(dir string) *exec.Cmd {
			c := in(b.project, equal, "ansible-playbook", "bare.yml")
			c.Env = append(c.Env, "HOSTS_DIR="+filepath.Join(dir, "hosts"))
			return c
		}},
	)
	if err != nil {
		return err
	}
	p.cost("whole run", "shell script", costs[0], costs[1], 1.03,
		"`homelab-patch-orchestrate run` against [a script](../e2e/bench/testdata/waves.sh) that issues the same commands: "+
			"ansible-inventory once, then ansible-playbook with a limit for each of three waves. 10 local hosts, 10 tasks. "+
			"What planning, journal, events, metrics and the summary cost.")
	p.cost("whole run", "one bare playbook", costs[0], costs[2], 0,
		"The same against a single ansible-playbook of three plays, which has no plan, no gate and no journal: "+
			"it starts Ansible once, the run four times.")
	return nil
}

// playbooks compares the package runner with ansible-runner.
func (b *bench) playbooks(p *page) error {
	remote, end, err := b.overSSH()
	if err != nil {
		return err
	}
	defer end()
	ours := func(file, hosts string) contestant {
		return contestant{"runner.Playbook.Run, " + file + ", " + hosts, func(dir string) *exec.Cmd {
			return in(dir, nil, b.self, "playbook", b.project, file, hosts, dir)
		}}
	}
	peer := func(file, hosts string, env []string) contestant {
		return contestant{"ansible-runner, " + file + ", " + hosts, func(dir string) *exec.Cmd {
			return in(dir, env, "/usr/bin/python3", filepath.Join(b.tmp, "peer.py"), b.project, file, hosts, dir)
		}}
	}
	costs, err := contest(b.tmp, rounds, ours("patch.yml", remote), peer("patch.yml", remote, nil), peer("patch.yml", remote, equal))
	if err != nil {
		return err
	}
	light, err := contest(b.tmp, rounds, ours("light.yml", "hosts.yml"), peer("light.yml", "hosts.yml", equal))
	if err != nil {
		return err
	}
	p.written(costs[0], costs[1])
	p.cost("`Playbook.Run`", "ansible-runner, each as it ships", costs[0], costs[1], 0.90,
		"[One playbook](../e2e/bench/testdata/project/tasks.yml), 10 hosts by ssh, 10 tasks, 7 of which run a module, and no word about "+
			"settings: ours then has pipelining and 10 forks, the other Ansible's defaults. Both keep events and output in files. "+
			"What runs on the hosts is not counted.")
	p.cost("`Playbook.Run`", "ansible-runner with our settings", costs[0], costs[2], 0,
		"The same, the other told to use pipelining and 10 forks. What is left is Ansible's own work, the same on both sides.")
	p.cost("`Playbook.Run`", "ansible-runner with our settings, light tasks", light[0], light[1], 0,
		"10 local hosts and [10 tasks](../e2e/bench/testdata/project/light.yml) that Ansible does itself, so that more of the cost is that "+
			"of what runs it.")
	return nil
}

// written publishes the files that playbooks left.
func (p *page) written(ours, peer []cost) {
	var ratio []float64
	for i := range ours {
		ratio = append(ratio, ours[i].files/peer[i].files)
	}
	p.figure("files written ÷ ansible-runner's, 10 hosts × 10 tasks", "×", ratio, atMost, 0.05, fmt.Sprintf(
		"%.0f are left, the events and the log, of ansible-runner %.0f: one an event. While it runs ours has three more under /run.",
		ours[0].files, peer[0].files))
}

// playbook is the process that is measured: a program that runs one playbook.
func playbook(project, file, inventory, dir string) error {
	var files [2]*os.File
	for i, name := range []string{"events.jsonl", "ansible.log"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		files[i] = f
	}
	hosts := slices.Concat(fleet...)
	p := runner.Playbook{
		Dir: project, Playbook: file, Inventory: []string{inventory}, Hosts: hosts,
		Events: files[0], Log: files[1],
	}
	res, err := p.Run(context.Background(), nil)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if res.Hosts[h].Outcome != runner.Changed {
			return fmt.Errorf("host %s: %+v", h, res.Hosts[h])
		}
	}
	return nil
}
