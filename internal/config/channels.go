package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"homelab-patch-orchestrate/inventory"
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

	named map[string]place // keys that are there, whether their value can be used or not
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
// thing that is wrong, each an [*Error]. What can be used is returned all the same; what cannot is empty. No error quotes
// a value.
func LoadChannels(path, credentials string) (Channels, error) {
	c := Channels{named: map[string]place{}}
	text, err := private(path)
	var errs []error
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	errs = append(errs, c.parse(path, text)...)
	if credentials != "" {
		for key := range c.keys() {
			file := filepath.Join(credentials, key)
			value, err := os.ReadFile(file)
			if err == nil {
				err = c.set(key, string(value), place{file: file})
			} else if errors.Is(err, fs.ErrNotExist) {
				continue
			} else {
				c.named[key] = place{file: file}
				err = fmt.Errorf("read the credential: %w", err)
			}
			if err != nil {
				errs = append(errs, err)
			}
		}
	}
	return c, errors.Join(append(errs, c.check()...)...)
}

// parse reads the lines of the file.
func (c *Channels) parse(path, text string) (errs []error) {
	keys, lines := c.keys(), map[string]int{}
	refuse := func(line int, key, problem, hint string) {
		errs = append(errs, &Error{path, line, key, problem, hint})
	}
	for n, line := range strings.Split(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if key = strings.TrimSpace(key); !ok {
			refuse(n, "", "this is not KEY=VALUE", "write one a line; what is for people begins with #")
			continue
		}
		base, isFile := strings.CutSuffix(key, "_FILE")
		if !isFile || keys[base] == nil {
			base, isFile = key, false
		}
		if keys[base] == nil {
			hint := "the keys are " + strings.Join(slices.Sorted(maps.Keys(keys)), ", ")
			if near := inventory.Nearest(key, slices.Collect(maps.Keys(lower(keys)))); near != "" {
				hint = "did you mean " + strings.ToUpper(near) + "?"
			}
			problem := printable(key) + " is not a setting"
			c.Warnings = append(c.Warnings, (&Error{File: path, Line: n, Problem: problem, Hint: hint}).Error())
			continue
		}
		where := place{path, n}
		c.named[base] = where
		if line, twice := lines[base]; twice {
			refuse(n, key, fmt.Sprintf("is on line %d already", line), "keep one of them; this one counts until then")
		}
		lines[base] = n
		value, problem, hint := unquote(strings.TrimSpace(value))
		if problem != "" {
			refuse(n, key, problem, hint)
			continue
		}
		if isFile {
			if !filepath.IsAbs(value) {
				refuse(n, key, "is not an absolute path", "write one that begins with /")
				continue
			}
			held, err := private(value)
			if err != nil {
				refuse(n, key, "names a file that cannot be used: "+err.Error(), "mend that file, or name another one")
				continue
			}
			value = held
		}
		if err := c.set(base, value, where); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// set puts a value where it belongs.
func (c *Channels) set(key, value string, where place) error {
	c.named[key] = where
	value = strings.TrimSpace(value)
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return where.refuse(key, "has a space or a line end in it", "take it out; what is for people goes onto a line of its own, with a # before it")
	}
	switch field := c.keys()[key].(type) {
	case *string:
		*field = value
	case *notify.Secret:
		*field = notify.Secret(value)
	}
	return nil
}

// check empties what cannot be used, and returns why. It quotes nothing.
func (c *Channels) check() (errs []error) {
	refuse := func(key, problem, hint string) {
		errs = append(errs, c.named[key].refuse(key, problem, hint))
	}
	if c.Discord != "" {
		if err := notify.CheckWebhook(c.Discord); err != nil {
			refuse("DISCORD_WEBHOOK_URL", "cannot be used: "+err.Error(), "Discord shows it in the channel's settings, under Integrations")
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
			refuse(u.key, "is not a URL", "write one like https://host.example")
		case parsed.User != nil && u.key != "HEARTBEAT_URL":
			refuse(u.key, "has a password in it", "take it out; for ntfy there is NTFY_TOKEN")
		default:
			continue
		}
		*u.value = ""
	}
	c.Heartbeat = notify.Secret(beat)
	if t := c.NtfyTopic.Reveal(); t != "" && !regexp.MustCompile(`^[-_A-Za-z0-9]{1,64}$`).MatchString(t) { // https://docs.ntfy.sh/publish
		refuse("NTFY_PATCH_TOPIC", "is no topic", "write letters, digits, - and _, at most 64")
		c.NtfyTopic = ""
	}
	has := func(key string) bool { return c.named[key] != place{} }
	switch {
	case has("ARA_API_PASSWORD") && !has("ARA_API_USERNAME"):
		refuse("ARA_API_PASSWORD", "is set and ARA_API_USERNAME is not: ARA wants both or none", "add ARA_API_USERNAME")
	case !has("ARA_API_PASSWORD") && has("ARA_API_USERNAME"):
		refuse("ARA_API_USERNAME", "is set and ARA_API_PASSWORD is not: ARA wants both or none", "add ARA_API_PASSWORD or ARA_API_PASSWORD_FILE")
	}
	switch {
	case has("NTFY_URL") && !has("NTFY_PATCH_TOPIC"):
		refuse("NTFY_URL", "is set and NTFY_PATCH_TOPIC is not: which topic?", "add NTFY_PATCH_TOPIC")
	case !has("NTFY_URL") && has("NTFY_PATCH_TOPIC"):
		refuse("NTFY_PATCH_TOPIC", "is set and NTFY_URL is not: which server?", "add NTFY_URL")
	case !has("NTFY_URL") && has("NTFY_TOKEN"):
		refuse("NTFY_TOKEN", "is set and NTFY_URL is not: which server?", "add NTFY_URL and NTFY_PATCH_TOPIC")
	}
	return errs
}

// place is where a key is.
type place struct {
	file string
	line int // 0: the file is the value
}

func (p place) refuse(key, problem, hint string) error {
	return &Error{p.file, p.line, key, problem, hint}
}

// private reads a file that nobody but root and ourselves can read or change. Root takes one of a user of the system's as
// well: the program may be that user's (docs/privileges.md), and a hold is set by root.
func private(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe would wait for somebody to write
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	refuse := func(problem, hint string) (string, error) {
		return "", &Error{File: path, Problem: problem, Hint: hint}
	}
	if !info.Mode().IsRegular() {
		return refuse("refused: it is not a file", "put a file there, or name one")
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() && (os.Geteuid() != 0 || stat.Uid >= People) {
		return refuse(fmt.Sprintf("refused: it belongs to user %d", stat.Uid), "chown root "+quote(path))
	}
	if info.Mode().Perm()&0o077 != 0 {
		return refuse("refused: others can read it", "chmod 0600 "+quote(path))
	}
	data, err := read(path)
	return string(data), err
}

// unquote takes the quotes from a value, or says what is wrong with them. Nothing in it is expanded: a token may have a
// $ in it.
func unquote(s string) (value, problem, hint string) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return s, "", ""
	}
	if len(s) < 2 || s[len(s)-1] != s[0] {
		return "", "has a quote that is not closed", "close it, or leave it out"
	}
	s = s[1 : len(s)-1]
	if strings.ContainsAny(s, `"\`) {
		return "", "has a quote or a backslash inside its quotes", "leave the outer ones out"
	}
	return s, "", ""
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
