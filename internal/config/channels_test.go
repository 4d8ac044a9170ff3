package config

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode"
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

// Every mistake is told with its place and how to mend it; what is right beside it is used; nothing of a value is in an
// error.
func TestBadChannels(t *testing.T) {
	const hook = "DISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/1/abc\n"
	const ntfy = "NTFY_URL=https://n.example\nNTFY_PATCH_TOPIC=t\n"
	for _, c := range []struct {
		text string
		want []string // one a problem, each "line: rest"
	}{
		{"planted secret line\n" + hook, []string{`1: this is not KEY=VALUE (write one a line`}},
		{hook + ntfy + "NTFY_TOKEN='planted\n", []string{`4: "NTFY_TOKEN" has a quote that is not closed (close it`}},
		{hook + ntfy + `NTFY_TOKEN="plan\"ted"`, []string{`4: "NTFY_TOKEN" has a quote or a backslash inside its quotes (leave the outer ones out)`}},
		{hook + ntfy + "NTFY_TOKEN=planted tail\n", []string{`4: "NTFY_TOKEN" has a space or a line end in it (take it out`}},
		{hook + ntfy + "NTFY_TOKEN_FILE=planted\n", []string{`4: "NTFY_TOKEN_FILE" is not an absolute path (write one that begins with /)`}},
		{hook + ntfy + "NTFY_TOKEN_FILE=/missing/secret\n", []string{`4: "NTFY_TOKEN_FILE" names a file that cannot be used: open /missing/secret: no such file or directory (mend`}},
		{hook + ntfy + "NTFY_TOKEN_FILE=/dev/null\n", []string{`4: "NTFY_TOKEN_FILE" names a file that cannot be used: /dev/null: refused: it is not a file`}},
		{hook + ntfy + "NTFY_TOKEN=planted\nNTFY_TOKEN=planted2\n", []string{`5: "NTFY_TOKEN" is on line 4 already (keep one of them`}},
		{hook + ntfy + "NTFY_TOKEN=planted\nNTFY_URL_FILE=planted\n", []string{`5: "NTFY_URL_FILE" is not an absolute path`, `5: "NTFY_URL_FILE" is on line 2 already`}},
		{hook + "NTFY_URL=https://planted:planted@ntfy.example\nNTFY_PATCH_TOPIC=t\n", []string{`2: "NTFY_URL" has a password in it (take it out`}},
		{hook + "# c\n\nNTFY_URL=planted\nNTFY_PATCH_TOPIC=t\n", []string{`4: "NTFY_URL" is not a URL (write one like https://`}},
		{hook + "NTFY_URL=https://ntfy.example\n", []string{`2: "NTFY_URL" is set and NTFY_PATCH_TOPIC is not: which topic? (add NTFY_PATCH_TOPIC)`}},
		{hook + "NTFY_URL=https://n.example\nNTFY_PATCH_TOPIC=planted/topic\n", []string{`3: "NTFY_PATCH_TOPIC" is no topic (write letters`}},
		{hook + "NTFY_TOKEN=planted\n", []string{`2: "NTFY_TOKEN" is set and NTFY_URL is not: which server? (add NTFY_URL and NTFY_PATCH_TOPIC)`}},
		{hook + "NTFY_PATCH_TOPIC=planted\n", []string{`2: "NTFY_PATCH_TOPIC" is set and NTFY_URL is not: which server? (add NTFY_URL)`}},
		{"DISCORD_WEBHOOK_URL=https://discord.com/planted\n", []string{`1: "DISCORD_WEBHOOK_URL" cannot be used: its path is not`}},
		{"DISCORD_WEBHOOK_URL=planted\n", []string{`1: "DISCORD_WEBHOOK_URL" cannot be used: it is not a URL`}},
		{hook + "HEARTBEAT_URL=gopher://planted\n", []string{`2: "HEARTBEAT_URL" is not a URL (write`}},
		{hook + "GRAFANA_URL=https://planted:planted@grafana.example\n", []string{`2: "GRAFANA_URL" has a password in it (take it out`}},
		{hook + "GRAFANA_URL=x\nRUNBOOK_URL=y\n", []string{`2: "GRAFANA_URL" is not`, `3: "RUNBOOK_URL" is not`}},
	} {
		file := env(t, c.text)
		got, err := LoadChannels(file, "")
		if err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		mends(t, file, err)
		lines := strings.Split(err.Error(), "\n")
		slices.Sort(lines) // the order of what is found at the end is not that of the lines
		if len(lines) != len(c.want) {
			t.Errorf("%q tells %d problems, want %d:\n%v", c.text, len(lines), len(c.want), err)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(lines[i], file+":"+want) {
				t.Errorf("%q:\n got %s\nwant …:%s", c.text, lines[i], want)
			}
		}
		if bad := strings.HasPrefix(c.text, "DISCORD") && !strings.HasPrefix(c.text, hook); (got.Discord == "") != bad || !got.Wanted("discord") {
			t.Errorf("%q: what is right is lost, or what is wrong is used: %+v", c.text, got)
		}
		if strings.Contains(c.text, "NTFY") != got.Wanted("ntfy") || strings.Contains(c.text, "HEART") != got.Wanted("heartbeat") {
			t.Errorf("%q: ntfy %t, heartbeat %t", c.text, got.Wanted("ntfy"), got.Wanted("heartbeat"))
		}
	}
	c, err := LoadChannels(env(t, "NTFY_TOKN=planted\nplanted!x=1\nDISCORD_WEBHOOK=x\n"), "")
	if err != nil || len(c.Warnings) != 3 || !strings.Contains(c.Warnings[0], "did you mean NTFY_TOKEN?") || !strings.Contains(c.Warnings[2], "did you mean DISCORD_WEBHOOK_URL?") ||
		!strings.Contains(c.Warnings[1], ":2: this is not a setting (the keys are ARA_API_PASSWORD, ARA_API_SERVER, ARA_API_USERNAME, DISCORD_WEBHOOK_URL, ") ||
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
	if _, err := LoadChannels(t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "it is not a file (put a file there") {
		t.Errorf("a folder: %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadChannels(pipe, ""); err == nil || !strings.Contains(err.Error(), "it is not a file") { // and does not wait
		t.Errorf("a pipe: %v", err)
	}
	if os.Geteuid() == 0 {
		os.Chown(file, 998, 998)
		if _, err := LoadChannels(file, ""); err != nil {
			t.Errorf("of a user of the system's: %v", err)
		}
		os.Chown(file, 12345, 12345)
		if _, err := LoadChannels(file, ""); err == nil || !strings.Contains(err.Error(), "belongs to user 12345 (chown root "+file) {
			t.Error(err)
		}
	}
}

// Whatever is in the file: no panic, no value in an error, and what is accepted can be used.
func FuzzChannels(f *testing.F) {
	f.Add("DISCORD_WEBHOOK_URL=\"https://discord.com/api/webhooks/1/abc\"\nexport NTFY_URL=https://n.example\nNTFY_PATCH_TOPIC='t'\nNTFY_TOKEN_FILE=/x\n")
	f.Add("; c\n# c\nNTFY_TOKN=x\nGRAFANA_URL=https://u:p@h\nHEARTBEAT_URL=https://u:p@h\n\x00=\xff")
	f.Fuzz(func(t *testing.T, text string) {
		c := Channels{named: map[string]place{}}
		errs := append(c.parse("/etc/homelab/patching-notify.env", strings.ReplaceAll(text, "_FILE", "")), c.check()...)
		for _, err := range errs {
			mends(t, "/etc/homelab/patching-notify.env", err)
		}
		for _, said := range append(c.Warnings, fmt.Sprint(errs)) {
			if strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("it tells %q", said)
			}
		}
		for key, value := range map[string]string{"NTFY_URL": c.NtfyURL, "ARA": c.ARA, "GRAFANA": c.Grafana, "RUNBOOK": c.Runbook, "HEARTBEAT": c.Heartbeat.Reveal()} {
			if u, err := url.Parse(value); value != "" && (err != nil || u.Host == "" || u.User != nil && key != "HEARTBEAT") {
				t.Errorf("accepted %s=%q", key, value)
			}
		}
	})
}
