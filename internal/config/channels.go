package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"homelab-patch-orchestrate/notify"
)

// Channels is what /etc/homelab/patching-notify.env says: where messages go, and where their links lead.
type Channels struct {
	// Discord is DISCORD_WEBHOOK_URL: the webhook of a channel.
	Discord notify.Secret
	// NtfyURL is NTFY_URL: an ntfy server.
	NtfyURL string
	// NtfyTopic is NTFY_PATCH_TOPIC, such as homelab-patch-critical-b4e9: who knows it may be able to read it.
	NtfyTopic notify.Secret
	// NtfyToken is NTFY_TOKEN, an access token that may publish; empty for none.
	NtfyToken notify.Secret
	// Heartbeat is HEARTBEAT_URL: asked for at the end of each full run that went well.
	Heartbeat notify.Secret
	// ARA, Grafana and Runbook are ARA_API_SERVER, GRAFANA_URL and RUNBOOK_URL: base URLs of links.
	ARA, Grafana, Runbook string
	// ARAUser and ARAPassword are ARA_API_USERNAME and ARA_API_PASSWORD, for a server that wants them.
	ARAUser     string
	ARAPassword notify.Secret
	// Warnings are unknown keys, each with the nearest one known.
	Warnings []string

	named map[string]bool // keys that are there, whether their value can be used or not
}

// Wanted reports whether a key of the channel is set, also one whose value cannot be used. channel is discord, ntfy or
// heartbeat.
func (c Channels) Wanted(channel string) bool {
	for key := range c.named {
		if strings.HasPrefix(key, strings.ToUpper(channel)+"_") {
			return true
		}
	}
	return false
}

// keys returns every key of the file, and where its value goes.
func (c *Channels) keys() map[string]any {
	return map[string]any{
		"DISCORD_WEBHOOK_URL": &c.Discord, "NTFY_URL": &c.NtfyURL, "NTFY_PATCH_TOPIC": &c.NtfyTopic, "NTFY_TOKEN": &c.NtfyToken,
		"HEARTBEAT_URL": &c.Heartbeat, "ARA_API_SERVER": &c.ARA, "ARA_API_USERNAME": &c.ARAUser, "ARA_API_PASSWORD": &c.ARAPassword,
		"GRAFANA_URL": &c.Grafana, "RUNBOOK_URL": &c.Runbook,
	}
}

// LoadChannels reads the file at path, KEY=VALUE a line as systemd's EnvironmentFile, where KEY_FILE=PATH names a file
// that holds the value. A systemd credential by the name of a key, in the folder credentials, wins over the file; so a
// missing file is no error.
//
// Neither the file nor one that it names may be readable by others: its error says so and is joined with every other
// thing that is wrong. What can be used is returned all the same; what cannot is empty. No error quotes a value.
func LoadChannels(path, credentials string) (Channels, error) {
	c := Channels{named: map[string]bool{}}
	var errs []error
	keys := c.keys()
	set := func(key, value, where string) {
		c.named[key] = true
		value = strings.TrimSpace(value)
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			errs = append(errs, fmt.Errorf("%s: %s has a space or a line end in it", where, key))
			return
		}
		switch field := keys[key].(type) {
		case *string:
			*field = value
		case *notify.Secret:
			*field = notify.Secret(value)
		}
	}
	text, err := private(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		where := fmt.Sprintf("%s:%d", path, n+1)
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if key = strings.TrimSpace(key); !ok {
			errs = append(errs, fmt.Errorf("%s: not KEY=VALUE", where))
			continue
		}
		if base := strings.TrimSuffix(key, "_FILE"); keys[base] != nil {
			c.named[base] = true
		}
		value, err := unquote(strings.TrimSpace(value))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s %w", where, key, err))
			continue
		}
		if base, isFile := strings.CutSuffix(key, "_FILE"); isFile && keys[base] != nil {
			if !filepath.IsAbs(value) {
				errs = append(errs, fmt.Errorf("%s: %s is not an absolute path", where, key))
			} else if held, err := private(value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", where, key, err))
			} else {
				set(base, held, value)
			}
			continue
		}
		if keys[key] == nil {
			said := fmt.Sprintf("%s: %s is not a setting", where, printable(key))
			if near := nearest(key, lower(keys)); near != "" {
				said += "; did you mean " + strings.ToUpper(near) + "?"
			}
			c.Warnings = append(c.Warnings, said)
			continue
		}
		set(key, value, where)
	}
	if credentials != "" {
		for key := range keys {
			file := filepath.Join(credentials, key)
			value, err := os.ReadFile(file)
			if err == nil {
				set(key, string(value), file)
			} else if !errors.Is(err, fs.ErrNotExist) {
				c.named[key] = true
				errs = append(errs, fmt.Errorf("read the credential: %w", err))
			}
		}
	}
	return c, errors.Join(append(errs, c.check()...)...)
}

// check empties what cannot be used, and returns why. It quotes nothing.
func (c *Channels) check() (errs []error) {
	if c.Discord != "" {
		if err := notify.CheckWebhook(c.Discord); err != nil {
			errs = append(errs, fmt.Errorf("DISCORD_WEBHOOK_URL: %w", err))
			c.Discord = ""
		}
	}
	beat := c.Heartbeat.Reveal()
	for _, u := range []struct {
		key   string
		value *string
	}{{"NTFY_URL", &c.NtfyURL}, {"HEARTBEAT_URL", &beat}, {"ARA_API_SERVER", &c.ARA}, {"GRAFANA_URL", &c.Grafana}, {"RUNBOOK_URL", &c.Runbook}} {
		if *u.value == "" {
			continue
		}
		parsed, err := url.Parse(*u.value)
		switch {
		case err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "":
			errs = append(errs, fmt.Errorf("%s is not a URL like https://host.example", u.key))
		case parsed.User != nil && u.key != "HEARTBEAT_URL":
			errs = append(errs, fmt.Errorf("%s has a password in it: take it out (ntfy: use NTFY_TOKEN)", u.key))
		default:
			continue
		}
		*u.value = ""
	}
	c.Heartbeat = notify.Secret(beat)
	if t := c.NtfyTopic.Reveal(); t != "" && !regexp.MustCompile(`^[-_A-Za-z0-9]{1,64}$`).MatchString(t) { // https://docs.ntfy.sh/publish
		errs = append(errs, errors.New("NTFY_PATCH_TOPIC is no topic: letters, digits, - and _, at most 64"))
		c.NtfyTopic = ""
	}
	if c.named["ARA_API_PASSWORD"] != c.named["ARA_API_USERNAME"] {
		errs = append(errs, errors.New("of ARA_API_USERNAME and ARA_API_PASSWORD only one is set: ARA wants both or none"))
	}
	switch {
	case c.named["NTFY_URL"] && !c.named["NTFY_PATCH_TOPIC"]:
		errs = append(errs, errors.New("NTFY_URL is set and NTFY_PATCH_TOPIC is not: which topic?"))
	case !c.named["NTFY_URL"] && (c.named["NTFY_PATCH_TOPIC"] || c.named["NTFY_TOKEN"]):
		errs = append(errs, errors.New("NTFY_PATCH_TOPIC or NTFY_TOKEN is set and NTFY_URL is not: which server?"))
	}
	return errs
}

// private reads a file that nobody but root and ourselves can read or change.
func private(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", path)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return "", fmt.Errorf("refused: %s belongs to user %d (chown root %s)", path, stat.Uid, path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("refused: others can read %s (chmod 0600 %s)", path, path)
	}
	data, err := read(path)
	return string(data), err
}

// unquote takes the quotes from a value. Nothing in it is expanded: a token may have a $ in it.
func unquote(s string) (string, error) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return s, nil
	}
	if len(s) < 2 || s[len(s)-1] != s[0] {
		return "", errors.New("has a quote that is not closed")
	}
	s = s[1 : len(s)-1]
	if strings.ContainsAny(s, `"\`) {
		return "", errors.New(`has a quote or a backslash inside its quotes: leave the outer ones out`)
	}
	return s, nil
}

// printable is the key as it may be shown: a line of nonsense could be a secret.
func printable(key string) string {
	bad := func(r rune) bool {
		return !slices.Contains([]rune("_"), r) && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}
	if key == "" || len(key) > 40 || strings.ContainsFunc(key, bad) {
		return "this"
	}
	return key
}

func lower(keys map[string]any) map[string]any {
	low := map[string]any{}
	for k, v := range keys {
		low[strings.ToLower(k)] = v
	}
	return low
}
