package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // as the program has it

	"homelab-patch-orchestrate/orchestrator"
)

// write makes a settings file and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "patch-orchestrate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoad(t *testing.T) {
	file := write(t, `# The controller of a small fleet.
project: /srv/ansible/
inventory: [hosts.yml, &more ../more/, "/etc/ansible/hosts"]
playbook: playbooks/patch.yml
state: state
textfile: /run/x.prom
forks: 3
budget: 1
soak: 1m30s
host_deadline: 20m
wave_deadline: 4h
hold: hold
host_holds: holds
window:
  - Sun 03:00-08:00
  - daily 22:00-02:00
blackout: 2026-12-24
timezone: Australia/Lord_Howe
private_key: *more
notify_env: notify.env
send: change
versions: pinned
security_tracker: tracker.json
failed_units: false
gates:
  - name: grafana
    http: http://grafana:3000/api/health
  - {name: dns, command: [./check-dns, 192.0.2.1], timeout: 20s}
`)
	dir := filepath.Dir(file)
	sunday, _ := orchestrator.ParseWindow("Sun 03:00-08:00")
	nightly, _ := orchestrator.ParseWindow("daily 22:00-02:00")
	day, _ := orchestrator.ParseBlackout("2026-12-24")
	zone, err := time.LoadLocation("Australia/Lord_Howe")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		File:         file,
		Project:      "/srv/ansible",
		Inventory:    []string{dir + "/hosts.yml", filepath.Dir(dir) + "/more", "/etc/ansible/hosts"},
		Playbook:     dir + "/playbooks/patch.yml",
		State:        dir + "/state",
		Textfile:     "/run/x.prom",
		Forks:        3,
		Budget:       1,
		Soak:         90 * time.Second,
		HostDeadline: 20 * time.Minute,
		WaveDeadline: 4 * time.Hour,
		Hold:         dir + "/hold",
		HostHolds:    dir + "/holds",
		Schedule:     orchestrator.Schedule{Windows: []orchestrator.Window{sunday, nightly}, Blackouts: []orchestrator.Blackout{day}, Location: zone},
		PrivateKey:   filepath.Dir(dir) + "/more",
		NotifyEnv:    dir + "/notify.env",
		Send:         "change",
		Versions:     "pinned",
		Tracker:      dir + "/tracker.json",
		Gates: []Gate{
			{Name: "grafana", URL: "http://grafana:3000/api/health"},
			{Name: "dns", Command: []string{dir + "/check-dns", "192.0.2.1"}, Timeout: 20 * time.Second},
		},
		Keep: Default().Keep,
	}
	for _, path := range []string{file, relative(t, file)} {
		got, err := Load(path, true)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Load(%s):\n got %+v\nwant %+v", path, got, want)
		}
	}
}

// relative returns the path as seen from a folder the process is moved to.
func relative(t *testing.T, file string) string {
	t.Chdir(filepath.Dir(filepath.Dir(file)))
	return filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
}

func TestLoadOneInventory(t *testing.T) {
	file := write(t, "inventory: hosts.yml\nsoak: 0\n")
	got, err := Load(file, true)
	if want := []string{filepath.Join(filepath.Dir(file), "hosts.yml")}; err != nil || !reflect.DeepEqual(got.Inventory, want) {
		t.Errorf("inventory = %v, %v; want %v", got.Inventory, err, want)
	}
}

// The defaults are written in README and man page: changing one is a change for everybody.
func TestDefaults(t *testing.T) {
	want := Config{
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
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	for _, path := range []string{"", missing} {
		if got, err := Load(path, false); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Load(%q) = %+v, %v", path, got, err)
		}
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n"} {
		file := write(t, text)
		want.File = file
		if got, err := Load(file, true); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Load of %q = %+v, %v", text, got, err)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "missing.yaml"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a required file that is missing: %v", err)
	}
	link := filepath.Join(dir, "link.yaml")
	if err := os.Symlink("nothing.yaml", link); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(link, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link to nothing counts as no settings: %v", err)
	}
	if _, err := Load(dir, false); err == nil {
		t.Error("a folder counts as a settings file")
	}
	if _, err := Load(filepath.Join(write(t, ""), "below"), false); err == nil {
		t.Error("a path below a file counts as no settings")
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // one a problem, each "line: rest"
	}{
		{"forks: 3\nplaybok: x.yml\n", []string{`2: "playbok" is not a setting (did you mean "playbook"?)`}},
		{"Host-Deadline: 3m\n", []string{`1: "Host-Deadline" is not a setting (did you mean "host_deadline"?)`}},
		{"xxx_deadline: 3m\n", []string{`1: "xxx_deadline" is not a setting (did you mean "host_deadline"?)`}},
		{"discord: x\n", []string{`1: "discord" is not a setting (there are ara, blackout, budget, engine_upgrade`}},
		{"<<: {forks: 1}\n", []string{`1: "<<" is not a setting (there are `}},
		{"\tforks: 1\n", []string{`1: found character that cannot start any token (mend it there`}},
		{"forks: 1\nstate: *planted\n", []string{`2: a value begins with *, which makes it an alias (put it in quotes)`}},
		{"forks: 1\nstate: \x01\n", []string{`2: a character that YAML cannot have (take it out, and save the file as UTF-8)`}},
		{"forks: 1\n# \xe9t\xe9\n", []string{`2: a character that YAML cannot have`}},
		{"forks: [1\nbudget: 2\n", []string{`2: did not find expected ',' or ']' (mend`}},
		{"state: \"a\nbudget: 1\n", []string{`3: found unexpected end of stream`}},
		{"forks: 3\nsoak: 1m\nforks: 4\n", []string{`3: "forks" is on line 1 already (keep one of them)`}},
		{"soak: 90\n", []string{`1: "soak" is not a duration (write a number with its unit, such as 90s, 15m or 1h30m)`}},
		{"soak: [1m]\n", []string{`1: "soak" is not a duration`}},
		{"soak: -1m\n", []string{`1: "soak" is too short`}},
		{"wave_deadline: 0s\n", []string{`1: "wave_deadline" is too short`}},
		{"budget: -1\n", []string{`1: "budget" is too small (write a number of 0 or more)`}},
		{"forks: 0\n", []string{`1: "forks" is too small (write a number of 1 or more)`}},
		{"forks: '3'\n", []string{`1: "forks" is not a whole number (write one such as 1)`}},
		{"forks: 1.5\n", []string{`1: "forks" is not a whole number`}},
		{"forks: 99999999999999999999\n", []string{`1: "forks" is not a whole number`}},
		{"state:\n", []string{`1: "state" is not a path`}},
		{"state: ''\n", []string{`1: "state" is empty`}},
		{"state: ~/x\n", []string{`1: "state" begins with ~`}},
		{"state: \"a\\0b\"\n", []string{`1: "state" has a NUL`}},
		{"project: [a]\n", []string{`1: "project" is not a path`}},
		{"inventory:\n  - a\n  - {b: c}\n", []string{`2: "inventory" is not a path`}},
		{"inventory: 'a,b'\n", []string{`1: "inventory" has a comma`}},
		{"window: Sun 3-8\n", []string{`1: "window" cannot be used: window "Sun 3-8": "3" is no time of day; write one such as`}},
		{"window:\n  - daily 01:00-02:00\n  - Son 01:00-02:00\n", []string{`3: "window" cannot be used: window "Son 01:00-02:00": "Son" is no day`}},
		{"window: {Sun: x}\n", []string{`1: "window" is not a text`}},
		{"window:\n", []string{`1: "window" is not a text`}},
		{"blackout: [2026-12-24, 2026-02-30]\n", []string{`1: "blackout" cannot be used: blackout "2026-02-30": "2026-02-30" is no day`}},
		{"blackout: 20261224\n", []string{`1: "blackout" is not a text`}},
		{"timezone: Berlin\n", []string{`1: "timezone" is not a time zone (write a name such as Europe/Berlin`}},
		{"timezone: ''\n", []string{`1: "timezone" is not a time zone`}},
		{"timezone: [UTC]\n", []string{`1: "timezone" is not a time zone`}},
		{"timezone: ../UTC\n", []string{`1: "timezone" is not a time zone`}},
		{"- forks\n", []string{`1: not a list of settings`}},
		{"forks: 1\n---\nforks: 2\n", []string{`2: a second YAML document`}},
		{"forks: 1\n\tbudget: 2\n", []string{`2: found a tab character that violates indentation`}},
		{"forks: 1\n---\n\tx\n", []string{`3: found character that cannot start any token`}},
		{"fork: 1\nsoak: x\nbudget: y\n", []string{`1: "fork" is not`, `2: "soak" is not`, `3: "budget" is not`}},
	} {
		file := write(t, c.text)
		cfg, err := Load(file, false)
		if err == nil || !reflect.DeepEqual(cfg, Config{}) {
			t.Errorf("Load of %q = %+v, %v", c.text, cfg, err)
			continue
		}
		var problem *Error
		if !errors.As(err, &problem) || problem.File != file {
			t.Errorf("Load of %q: %v is no *Error with the file", c.text, err)
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(c.want) {
			t.Errorf("Load of %q tells %d problems, want %d:\n%v", c.text, len(lines), len(c.want), err)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(lines[i], file+":"+want) || strings.Contains(lines[i], "planted") {
				t.Errorf("Load of %q:\n got %s\nwant …:%s", c.text, lines[i], want)
			}
		}
		mends(t, file, err)
	}
}

// Who looks for all that is wrong gets what could be understood.
func TestLoadUsable(t *testing.T) {
	for _, c := range []struct {
		text string
		keys []string
		only bool
	}{
		{"budget: 2\n", nil, true},
		{"forks: many\nbudget: 2\n", []string{"forks"}, true},
		{"forks: many\nbudget: 2\nsoak: x\n", []string{"forks", "soak"}, true},
		{"forks: many\nbudget: 2\nsoak: x\n", []string{"forks"}, false},
		{"fork: 1\nbudget: 2\n", []string{"forks"}, false},
		{"gates: [{name: a}]\nbudget: 2\n", []string{"forks"}, false},
	} {
		cfg, err := LoadUsable(write(t, c.text), false)
		if cfg.Budget != 2 || cfg.State != Default().State || Only(err, c.keys...) != c.only {
			t.Errorf("%q: budget %d, state %s, only %v is %v: %v", c.text, cfg.Budget, cfg.State, c.keys, !c.only, err)
		}
	}
	if _, err := LoadUsable(write(t, "{"), false); err == nil || Only(err) {
		t.Errorf("no settings at all: %v", err)
	}
}

// mends fails if a problem of a file does not say where in it, and how to mend it.
func mends(t *testing.T, file string, err error) {
	t.Helper()
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			mends(t, file, one)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.File != file || e.Line < 1 || e.Problem == "" || e.Hint == "" && !strings.Contains(e.Problem, "; write ") {
		t.Errorf("no place, or no way to mend it: %v", err)
	}
}

func TestLoadRefusesALargeFile(t *testing.T) {
	file := write(t, strings.Repeat("#", sizeLimit+1))
	if _, err := Load(file, false); err == nil || !strings.Contains(err.Error(), file+": is larger than 1048576 bytes (") {
		t.Errorf("Load of a large file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("project: /srv/ansible\ninventory: [a, b]\nforks: 3\nsoak: 1m\n")
	f.Add("gates:\n- &a {name: x, http: http://x/, status: 200, timeout: 1s}\n- *a\n- {name: y, promql: up, server: http://p, instances: {a: b}}\n")
	f.Add("state: &a x\nhold: *a\n---\n")
	f.Add("window: [daily 01:00-02:00, Sun 3-8]\nblackout: 2026-02-30\ntimezone: x\nsend: x\nfailed_units: x\nbudgt: -1\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		c.File = "/etc/homelab/patch-orchestrate.yaml"
		if err := c.parse([]byte(text)); err != nil {
			mends(t, c.File, err)
			return
		}
		if c.Forks < 0 || c.Budget < 0 || c.Soak < 0 || c.HostDeadline <= 0 || c.WaveDeadline <= 0 {
			t.Errorf("accepted %+v", c)
		}
		for _, path := range append([]string{c.State, c.Textfile, c.Hold, c.PrivateKey}, c.Inventory...) {
			if !filepath.IsAbs(path) {
				t.Errorf("accepted the path %q", path)
			}
		}
	})
}
