//go:build e2e

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Hosts and waves are those of the inventory, and a real bash offers them.
func TestCompleteInventory(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "inventory: hosts.yml\nstate: "+b.path("state")+"\n")
	for line, want := range map[string]string{
		"run --limit":     "ctl\twave 2 nas\tin no wave one\twave 0 two\twave 1",
		"waves --wave":    "0\tone 1\ttwo 2\tctl",
		"hold set --host": "ctl\twave 2 nas\tin no wave one\twave 0 two\twave 1",
	} {
		words := strings.Fields(line)
		last := len(words) - 1
		if got, _ := b.completed(append(words[:last:last], "--config", "settings.yaml", words[last], "")...); strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if exists(b.path("state")) {
		t.Error("it made a state directory")
	}

	// The shell finds the program by its name.
	b.write("bin/"+name, "#!/bin/sh\nexec "+os.Args[0]+" \"$@\"\n")
	if err := os.Chmod(b.path("bin/"+name), 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("complete.bash", `. /usr/share/bash-completion/bash_completion || exit 1
. <(homelab-patch-orchestrate completion bash)
ask() {
	COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
	read -ra COMP_WORDS <<<"$1"
	case $1 in *' ') COMP_WORDS+=('') ;; esac
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	__start_homelab-patch-orchestrate
	echo "$1: ${COMPREPLY[*]}"
}
ask 'homelab-patch-orchestrate run --config settings.yaml --limit o'
ask 'homelab-patch-orchestrate waves --config settings.yaml --wave 1'
ask 'homelab-patch-orchestrate explain --config settings.yaml n'
ask 'homelab-patch-orchestrate hold set --config settings.yaml --host t'
ask 'homelab-patch-orchestrate rollb'
`)
	c := exec.Command("bash", "complete.bash")
	c.Dir, c.Env = b.dir, append(b.bare().Env, "PATH="+filepath.Join(b.dir, "bin")+":"+os.Getenv("PATH"))
	r := b.do(c)
	if strings.Contains(r.stderr, "bash_completion: No such file") && os.Getenv("E2E_REQUIRED") == "" {
		t.Skip("bash-completion is not installed")
	}
	for _, want := range []string{"--limit o: one", "--wave 1: 1", " n: nas", "--host t: two", "rollb: rollback"} {
		wants(t, "bash", r.stdout+r.stderr, want)
	}
}
