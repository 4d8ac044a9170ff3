package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func env(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "patching-notify.env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadChannels(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("tk_from_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := env(t, `# one channel each
DISCORD_WEBHOOK_URL="https://discord.com/api/webhooks/1/abc"
export NTFY_URL=https://ntfy.example
NTFY_PATCH_TOPIC = 'homelab-patch-critical-b4e9'
NTFY_TOKEN_FILE=`+token+`
; and where links lead
GRAFANA_URL=https://grafana.example/$HOME
HEARTBEAT_URL=https://u:p@hc.example/ping/1
`)
	c, err := LoadChannels(file, "")
	if err != nil || len(c.Warnings) > 0 {
		t.Fatal(err, c.Warnings)
	}
	if c.Discord.Reveal() != "https://discord.com/api/webhooks/1/abc" || c.NtfyURL != "https://ntfy.example" || c.NtfyTopic.Reveal() != "homelab-patch-critical-b4e9" ||
		c.NtfyToken.Reveal() != "tk_from_file" || c.Grafana != "https://grafana.example/$HOME" || c.Heartbeat.Reveal() != "https://u:p@hc.example/ping/1" {
		t.Errorf("%+v", c)
	}
	if text := fmt.Sprintf("%+v", c); strings.Contains(text, "tk_") || strings.Contains(text, "b4e9") || strings.Contains(text, "ping") {
		t.Errorf("it tells: %s", text)
	}

	// systemd's credentials win, and need no file.
	if err := os.WriteFile(filepath.Join(dir, "NTFY_URL"), []byte("https://other.example"), 0o400); err != nil {
		t.Fatal(err)
	}
	if c, err := LoadChannels(file, dir); err != nil || c.NtfyURL != "https://other.example" || c.NtfyToken.Reveal() != "tk_from_file" {
		t.Errorf("%+v, %v", c, err)
	}
	os.WriteFile(filepath.Join(dir, "NTFY_PATCH_TOPIC"), []byte("t\n"), 0o400)
	if c, err := LoadChannels(filepath.Join(dir, "missing"), dir); err != nil || c.NtfyURL != "https://other.example" || c.NtfyTopic.Reveal() != "t" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := LoadChannels(filepath.Join(dir, "missing"), ""); err != nil || c.NtfyURL != "" {
		t.Errorf("nothing at all: %+v, %v", c, err)
	}
}

// Every mistake is told with its place; what is right beside it is used; nothing of a value is in an error.
func TestBadChannels(t *testing.T) {
	const hook = "DISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/1/abc\n"
	for text, want := range map[string]string{
		"planted secret line\n" + hook:                                        ":1: not KEY=VALUE",
		"NTFY_TOKEN='planted\n" + hook:                                        ":1: NTFY_TOKEN has a quote that is not closed",
		`NTFY_TOKEN="plan\"ted"` + "\n" + hook:                                ":1: NTFY_TOKEN has a quote or a backslash",
		"NTFY_TOKEN=planted tail\n" + hook:                                    "NTFY_TOKEN has a space or a line end in it",
		"NTFY_TOKEN_FILE=planted\n" + hook:                                    "NTFY_TOKEN_FILE is not an absolute path",
		"NTFY_TOKEN_FILE=/missing/secret\n" + hook:                            "no such file",
		"NTFY_URL=https://planted:planted@ntfy.example\n" + hook:              "NTFY_URL has a password in it",
		"NTFY_URL=planted\n" + hook:                                           "NTFY_URL is not a URL",
		"NTFY_URL=https://ntfy.example\n" + hook:                              "NTFY_PATCH_TOPIC is not: which topic?",
		"NTFY_URL=https://n.example\nNTFY_PATCH_TOPIC=planted/topic\n" + hook: "NTFY_PATCH_TOPIC is no topic",
		"NTFY_TOKEN=planted\n" + hook:                                         "NTFY_URL is not: which server?",
		"DISCORD_WEBHOOK_URL=https://discord.com/planted\n":                   "DISCORD_WEBHOOK_URL: its path is not",
		"HEARTBEAT_URL=gopher://planted\n" + hook:                             "HEARTBEAT_URL is not a URL",
		"GRAFANA_URL=https://planted:planted@grafana.example\n" + hook:        "GRAFANA_URL has a password",
	} {
		c, err := LoadChannels(env(t, text), "")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if bad := strings.HasPrefix(text, "DISCORD"); (c.Discord == "") != bad || !c.Wanted("discord") {
			t.Errorf("%q: what is right is lost, or what is wrong is used: %+v", text, c)
		}
		if strings.Contains(text, "NTFY") != c.Wanted("ntfy") || strings.Contains(text, "HEART") != c.Wanted("heartbeat") {
			t.Errorf("%q: ntfy %t, heartbeat %t", text, c.Wanted("ntfy"), c.Wanted("heartbeat"))
		}
	}
	c, err := LoadChannels(env(t, "NTFY_TOKN=planted\nplanted!x=1\nDISCORD_WEBHOOK=x\n"), "")
	if err != nil || len(c.Warnings) != 3 || !strings.Contains(c.Warnings[0], "did you mean NTFY_TOKEN?") || !strings.Contains(c.Warnings[2], "did you mean DISCORD_WEBHOOK_URL?") ||
		strings.Contains(strings.Join(c.Warnings, " "), "planted") {
		t.Errorf("%q, %v", c.Warnings, err)
	}
}

func TestChannelsAreSecret(t *testing.T) {
	file := env(t, "NTFY_URL=https://ntfy.example\nNTFY_PATCH_TOPIC=t\n")
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o620} {
		os.Chmod(file, mode)
		if c, err := LoadChannels(file, ""); err == nil || !strings.Contains(err.Error(), "chmod 0600 "+file) || c.NtfyURL != "" {
			t.Errorf("mode %o: %+v, %v", mode, c, err)
		}
	}
	os.Chmod(file, 0o400)
	if _, err := LoadChannels(file, ""); err != nil {
		t.Error(err)
	}
	if _, err := LoadChannels(t.TempDir(), ""); err == nil {
		t.Error("a folder")
	}
	if os.Geteuid() == 0 {
		os.Chown(file, 12345, 12345)
		if _, err := LoadChannels(file, ""); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Error(err)
		}
	}
}
