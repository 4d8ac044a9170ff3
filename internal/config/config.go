// Package config reads the program's own settings, /etc/homelab/patch-orchestrate.yaml, and refuses files that others
// could have written.
//
//	cfg, err := config.Load(path, false) // a missing file is the defaults
//	err = config.Trusted(os.Geteuid(), cfg.Project, path) // as root only
//
// # Reading
//
// A file is read strictly: an unknown key, a key written twice, a value of another type, a number below zero or a
// duration without a unit is an [*Error] with file and line, and all of them are told at once. Every relative path is
// relative to the folder the file is in, whichever folder the program is started from.
//
// # Trust
//
// What root runs must be root's. [Trusted] looks at files, everything below folders, and the folders above them.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gopkg.in/yaml.v3"

	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
)

// Config is the settings of the program. All paths are absolute or empty.
type Config struct {
	// File is the file the settings are from; empty when there was none.
	File string
	// Project is key "project": the folder ansible-playbook is started in. Empty: the carried playbook and roles.
	Project string
	// Inventory is key "inventory": one path or a list of paths for ansible-playbook -i. Empty: what the project says.
	Inventory []string
	// Playbook is key "playbook": the playbook of every wave. Empty: the project's or the carried one.
	Playbook string
	// State is key "state": the folder of lock, journal and unpacked content; default /var/lib/homelab-patch-orchestrate.
	State string
	// Textfile is key "textfile": where the metrics are written; default
	// /var/lib/prometheus/node-exporter/patch_orchestrate.prom.
	Textfile string
	// Forks is key "forks": hosts Ansible works on at a time, 1 or more; 0, the default: what ansible.cfg says.
	Forks int
	// Budget is key "budget": failed and unreachable hosts a wave may have before the run halts; default 0.
	Budget int
	// Soak is key "soak": the wait after a passed wave; default 0.
	Soak time.Duration
	// HostDeadline is key "host_deadline": the ssh processes of a host without progress for this long are ended; more
	// than 0, default 15 minutes.
	HostDeadline time.Duration
	// WaveDeadline is key "wave_deadline": a wave that takes longer is cancelled; more than 0, default 3 hours.
	WaveDeadline time.Duration
	// EngineUpgrade is key "engine_upgrade": the controller may get another minor version of Python or Ansible in a run.
	EngineUpgrade bool
	// Versions is key "versions": pinned or latest. Empty, the default, is pinned for a full run of the carried playbook, and
	// latest for any other.
	Versions string
	// Tracker is key "security_tracker": a local copy of Debian's security tracker, for plan; default
	// /var/lib/homelab-patch-orchestrate/security-tracker.json. It need not exist.
	Tracker string
	// Hold is key "hold": while this file exists, nothing is patched; default /etc/homelab/MAINTENANCE.
	Hold string
	// HostHolds is key "host_holds": a host is not patched while this folder has a file with its name; default
	// /etc/homelab/holds.
	HostHolds string
	// Schedule is keys "window", "blackout" and "timezone": when waves may begin; default always. Its location is nil
	// if no zone is named.
	Schedule orchestrator.Schedule
	// PrivateKey is key "private_key": the ssh key used where the inventory names none and this file exists; default
	// /etc/homelab/patch-controller/id_ed25519.
	PrivateKey string
	// NotifyEnv is key "notify_env": the file with the channels, read by [LoadChannels]; default
	// /etc/homelab/patching-notify.env.
	NotifyEnv string
	// Send is key "send": which summaries are sent: always (the default), change or failure.
	Send string
	// Gates is key "gates": what is asked after each wave and before the next; default none.
	Gates []Gate
	// FailedUnits is key "failed_units": whether units that failed since a host was patched halt a run of the carried
	// role; default true.
	FailedUnits bool
	// ARA is key "ara": what is put on record there; default nothing.
	ARA ARA
	// Keep is key "keep": which runs stay in the state directory; default the latest 200, of the last 400 days.
	Keep orchestrator.Keep
}

// Default returns the settings of an empty file.
func Default() Config {
	return Config{
		State:        "/var/lib/homelab-patch-orchestrate",
		Textfile:     "/var/lib/prometheus/node-exporter/patch_orchestrate.prom",
		HostDeadline: 15 * time.Minute,
		WaveDeadline: 3 * time.Hour,
		Hold:         "/etc/homelab/MAINTENANCE",
		HostHolds:    "/etc/homelab/holds",
		PrivateKey:   "/etc/homelab/patch-controller/id_ed25519",
		NotifyEnv:    "/etc/homelab/patching-notify.env",
		Send:         "always",
		FailedUnits:  true,
		Tracker:      "/var/lib/homelab-patch-orchestrate/security-tracker.json",
		Keep:         orchestrator.Keep{Runs: 200, Age: 400 * 24 * time.Hour},
	}
}

// sizeLimit is more than any settings need, and keeps a wrong path from filling memory.
const sizeLimit = 1 << 20

// Load reads the settings in the file at path. A missing file is [Default] unless it is required; then the error is
// one that errors.Is fs.ErrNotExist. A path that is a link to nothing is never taken for a missing file.
func Load(path string, required bool) (Config, error) {
	cfg, err := LoadUsable(path, required)
	if err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// LoadUsable is [Load] for who looks for all that is wrong, elsewhere too: with an error it returns what could be
// understood all the same, and the default of what could not.
func LoadUsable(path string, required bool) (Config, error) {
	cfg := Default()
	if path == "" && !required {
		return cfg, nil
	}
	file, err := filepath.Abs(path)
	if err != nil {
		return cfg, fmt.Errorf("read configuration: %w", err)
	}
	data, err := read(file)
	if errors.Is(err, fs.ErrNotExist) && !required {
		if _, linkErr := os.Lstat(file); errors.Is(linkErr, fs.ErrNotExist) {
			return cfg, nil
		}
	}
	if err != nil {
		return cfg, fmt.Errorf("read configuration: %w", err)
	}
	cfg.File = file
	return cfg, cfg.parse(data)
}

// read returns the content of a file that is not absurdly large.
func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, sizeLimit+1))
	if err == nil && len(data) > sizeLimit {
		err = &Error{File: file, Problem: fmt.Sprintf("is larger than %d bytes", sizeLimit), Hint: "name the right file"}
	}
	return data, err
}

// parse sets what the YAML says, and returns everything that is wrong with it.
func (c *Config) parse(data []byte) error {
	root, err := inventory.Document(c.File, data)
	var bad *inventory.Error
	switch {
	case errors.As(err, &bad):
		return &Error{File: bad.File, Line: bad.Line, Problem: bad.Problem, Hint: bad.Hint}
	case root == nil || root.Tag == "!!null": // Empty, or comments only.
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return &Error{File: c.File, Line: root.Line, Problem: "not a list of settings", Hint: "write one \"key: value\" a line"}
	}
	var errs []error
	lines := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if line, twice := lines[key.Value]; twice {
			errs = append(errs, &Error{c.File, key.Line, key.Value, fmt.Sprintf("is on line %d already", line), "keep one of them"})
			continue
		}
		lines[key.Value] = key.Line
		if err := c.set(key, value); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
