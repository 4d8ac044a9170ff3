package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

func TestProblems(t *testing.T) {
	setting := &config.Error{File: "/etc/x", Line: 2, Key: "forks", Problem: "is not a whole number", Hint: "write one"}
	host := &inventory.Error{Host: "prox", Problem: "is in no wave", Hint: "add it"}
	trust := &config.TrustError{Found: []config.Untrusted{{Path: "/a", Problem: "can be written by everyone", Mend: "chmod go-w /a"}, {Path: "/b", Problem: "belongs to user 7", Mend: "chown root /b"}}}
	got := Problems(Fleet, Error, fmt.Errorf("load: %w", errors.Join(setting, &orchestrator.PlanError{Err: errors.Join(host, trust)}, errors.New("else"))), "look")
	want := []Check{
		{Fleet, "", Error, `/etc/x:2: "forks" is not a whole number`, "write one"},
		{Fleet, "prox", Error, "is in no wave", "add it"},
		{Fleet, "", Error, "/a can be written by everyone: a run refuses it", "chmod go-w /a"},
		{Fleet, "", Error, "/b belongs to user 7: a run refuses it", "chown root /b"},
		{Fleet, "", Error, "else", "look"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := Problems(Fleet, Error, nil, ""); len(got) > 0 {
		t.Errorf("of nothing: %v", got)
	}
	wants(t, "no Ansible", Engine("", &runner.EngineError{Problem: "ansible-playbook not found", Err: exec.ErrNotFound}), "error ansible-playbook not found", "apt-get install ansible-core")
	wants(t, "an Ansible", Engine("2.14.18", nil))
}

type far struct{ err error }

func (f far) Reach(context.Context) error             { return f.err }
func (f far) Version(context.Context) (string, error) { return "1.5.8", f.err }

func TestChannels(t *testing.T) {
	ctx, down := t.Context(), far{errors.New("discord: no answer in time")}
	wants(t, "no channel", Channels(ctx, "/etc/env", config.Channels{}, nil, nil), "warning /etc/env names no channel")
	wants(t, "there", Channels(ctx, "/etc/env", config.Channels{}, nil, []Far{{"ntfy", far{}}}))
	wants(t, "down", Channels(ctx, "/etc/env", config.Channels{}, nil, []Far{{"ntfy", far{}}, {"discord", down}}), "warning discord: no answer", "notify test")
	private := &config.Error{File: "/etc/env", Problem: "refused: others can read it", Hint: "chmod 0600 /etc/env"}
	wants(t, "not private", Channels(ctx, "/etc/env", config.Channels{}, private, nil), "warning /etc/env: refused", "fix: chmod 0600 /etc/env")
	mistyped := config.Channels{Warnings: []string{`/etc/env:3: NTFY_URLL is not a setting (did you mean NTFY_URL?)`}}
	wants(t, "mistyped", Channels(ctx, "/etc/env", mistyped, nil, []Far{{"ntfy", far{}}}), "warning /etc/env:3: NTFY_URLL is not a setting fix: did you mean NTFY_URL?")

	wants(t, "ARA is not wanted", ARA(ctx, nil, false, "/etc/env"))
	wants(t, "ARA is named nowhere", ARA(ctx, nil, true, "/etc/env"), "warning the setting ara.forward", "ARA_API_SERVER=")
	wants(t, "ARA answers", ARA(ctx, far{}, true, "/etc/env"))
	wants(t, "ARA is down", ARA(ctx, down, true, "/etc/env"), "warning discord", "ara status")
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "id")
	wants(t, "no key of ours", PrivateKey(key))
	put(t, dir, "id", "")
	wants(t, "private", PrivateKey(key))
	os.Chmod(key, 0o640)
	wants(t, "for all to read", PrivateKey(key), "error others can read", "fix: chmod 0600 "+key)

	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal("openssh-client is not installed")
		}
		t.Skip("openssh-client is not installed")
	}
	known := filepath.Join(dir, "known_hosts")
	put(t, dir, "known_hosts", "[192.0.2.1]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk3sJzUiN6Sz7kLbdqNUOeYTBiUNMmHGiYQMeCkYOOk\n")
	args := []string{"-F", "none", "-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=/dev/null"}
	wants(t, "pinned", Pinned(t.Context(), Login{Host: "a", Address: "192.0.2.1", Port: "2222", User: "root", Args: args}))
	wants(t, "pinned at another port", Pinned(t.Context(), Login{Host: "a", Address: "192.0.2.1", Args: args}), "warning its host key is not pinned: whoever answers at 192.0.2.1", "patching_ssh_host_keys")
	wants(t, "arguments that are none", Pinned(t.Context(), Login{Host: "a", Address: "192.0.2.1", Args: []string{"-o", "Nonsense=1"}}), "warning nobody knows whether its host key is pinned")
}
