package config

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
)

// Error is one thing that is wrong in a settings file, and how to mend it. Several come joined by [errors.Join].
type Error struct {
	// File is the file's absolute path.
	File string
	// Line is where in the file, counted from 1; 0 when unknown.
	Line int
	// Key is the key concerned; empty when the problem is the file's.
	Key string
	// Problem says what is wrong, to be read after the key.
	Problem string
	// Hint says what to write; may be empty.
	Hint string
}

// Error returns "file:line: key problem (hint)".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(strconv.Quote(e.Key) + " ")
	}
	b.WriteString(e.Problem)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Only reports whether all that is wrong in settings is the values of keys among these. It is true of nil.
func Only(err error, keys ...string) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err == nil
	}
	for _, one := range joined.Unwrap() {
		var e *Error
		if nested, ok := one.(interface{ Unwrap() []error }); ok {
			if !Only(nested.(error), keys...) {
				return false
			}
		} else if !errors.As(one, &e) || !slices.Contains(keys, e.Key) {
			return false
		}
	}
	return true
}

// known returns every key of the file, and where its value goes.
func (c *Config) known() map[string]any {
	return map[string]any{
		"project": &c.Project, "inventory": &c.Inventory, "playbook": &c.Playbook,
		"state": &c.State, "textfile": &c.Textfile, "hold": &c.Hold, "security_tracker": &c.Tracker, "host_holds": &c.HostHolds, "private_key": &c.PrivateKey,
		"notify_env": &c.NotifyEnv, "send": word{&c.Send, []string{"always", "change", "failure"}},
		"versions": word{&c.Versions, []string{"pinned", "latest"}},
		"forks":    &c.Forks, "budget": &c.Budget, "engine_upgrade": &c.EngineUpgrade,
		"gates": &c.Gates, "failed_units": &c.FailedUnits, "ara": &c.ARA, "keep": &c.Keep,
		"window": &c.Schedule.Windows, "blackout": &c.Schedule.Blackouts, "timezone": &c.Schedule.Location,
		"soak": &c.Soak, "host_deadline": &c.HostDeadline, "wave_deadline": &c.WaveDeadline,
	}
}

// word is one of a few.
type word struct {
	to  *string
	few []string
}

// set puts the value of one key where it belongs.
func (c *Config) set(key, value *yaml.Node) error {
	known := c.known()
	field, ok := known[key.Value]
	if !ok {
		e := &Error{File: c.File, Line: key.Line, Key: key.Value, Problem: "is not a setting"}
		e.Hint = unknown(key.Value, slices.Sorted(maps.Keys(known)))
		return e
	}
	refuse := func(problem, hint string) error {
		return &Error{File: c.File, Line: value.Line, Key: key.Value, Problem: problem, Hint: hint}
	}
	value = resolve(value)
	// Zero forks or an instant deadline would stop every run before it began.
	positive := key.Value == "forks" || strings.HasSuffix(key.Value, "_deadline")
	switch field := field.(type) {
	case word:
		if !slices.Contains(field.few, value.Value) {
			return refuse("is none of "+strings.Join(field.few, ", "), "write one of them")
		}
		*field.to = value.Value
	case *string:
		path, problem := c.path(value)
		if problem != "" {
			return refuse(problem, "write a path")
		}
		*field = path
	case *[]string:
		for _, item := range items(value) {
			path, problem := c.path(resolve(item))
			if strings.Contains(path, ",") {
				problem = "has a comma, which makes it a list of host names to Ansible"
			}
			if problem != "" {
				return refuse(problem, "write a path, or a list of paths")
			}
			*field = append(*field, path)
		}
	case *[]Gate:
		gates, err := c.gates(value)
		if err != nil {
			return err
		}
		*field = gates
	case *ARA:
		ara, err := c.ara(value)
		if err != nil {
			return err
		}
		*field = ara
	case *orchestrator.Keep:
		keep, err := c.keep(value, *field)
		if err != nil {
			return err
		}
		*field = keep
	case *bool:
		if value.Tag != "!!bool" {
			return refuse("is neither true nor false", "write one of them")
		}
		*field = strings.EqualFold(value.Value, "true")
	case *[]orchestrator.Window:
		return c.texts(key, value, func(text string) error {
			w, err := orchestrator.ParseWindow(text)
			*field = append(*field, w)
			return err
		})
	case *[]orchestrator.Blackout:
		return c.texts(key, value, func(text string) error {
			b, err := orchestrator.ParseBlackout(text)
			*field = append(*field, b)
			return err
		})
	case **time.Location:
		zone, err := time.LoadLocation(value.Value)
		if value.Kind != yaml.ScalarNode || value.Tag != "!!str" || value.Value == "" || err != nil {
			return refuse("is not a time zone", "write a name such as Europe/Berlin, or leave it out for the system's zone")
		}
		*field = zone
	case *int:
		number, err := strconv.Atoi(value.Value)
		if value.Tag != "!!int" || err != nil {
			return refuse("is not a whole number", "write one such as "+strconv.Itoa(max(*field, 1)))
		}
		if number < 0 || positive && number == 0 {
			return refuse("is too small", "write a number of "+least(positive)+" or more")
		}
		*field = number
	case *time.Duration:
		length, err := time.ParseDuration(value.Value)
		if value.Kind != yaml.ScalarNode || err != nil {
			return refuse("is not a duration", "write a number with its unit, such as 90s, 15m or 1h30m")
		}
		if length < 0 || positive && length == 0 {
			return refuse("is too short", "write a duration of "+least(positive)+"s or more")
		}
		*field = length
	}
	return nil
}

// texts gives each text of a value, which is one or a list, to parse.
func (c *Config) texts(key, value *yaml.Node, parse func(string) error) error {
	for _, item := range items(value) {
		item = resolve(item)
		// A day is a time to YAML.
		if item.Kind != yaml.ScalarNode || item.Tag != "!!str" && item.Tag != "!!timestamp" {
			return &Error{File: c.File, Line: item.Line, Key: key.Value, Problem: "is not a text", Hint: "write one, or a list of them"}
		}
		if err := parse(item.Value); err != nil {
			return &Error{File: c.File, Line: item.Line, Key: key.Value, Problem: "cannot be used: " + err.Error()}
		}
	}
	return nil
}

// items returns the values of a list, or the one there is.
func items(value *yaml.Node) []*yaml.Node {
	if value.Kind == yaml.SequenceNode {
		return value.Content
	}
	return []*yaml.Node{value}
}

// least is the smallest number allowed, as text.
func least(positive bool) string {
	if positive {
		return "1"
	}
	return "0"
}

// path returns an absolute path, or what is wrong with the value.
func (c *Config) path(value *yaml.Node) (path, problem string) {
	switch {
	case value.Kind != yaml.ScalarNode || value.Tag != "!!str":
		return "", "is not a path"
	case value.Value == "":
		return "", "is empty"
	case strings.Contains(value.Value, "\x00"):
		return "", "has a NUL"
	case strings.HasPrefix(value.Value, "~"):
		return "", "begins with ~, which only a shell knows"
	case filepath.IsAbs(value.Value):
		return filepath.Clean(value.Value), ""
	}
	return filepath.Join(filepath.Dir(c.File), value.Value), ""
}

// unknown says what may have been meant by a key that is none, or which there are.
func unknown(key string, known []string) string {
	if near := inventory.Nearest(key, known); near != "" {
		return "did you mean " + strconv.Quote(near) + "?"
	}
	return "there are " + strings.Join(known, ", ")
}

// refuser notes that something is wrong with a key.
type refuser func(line int, key, problem, hint string)

// fields gives set each key of a mapping that is known and there for the first time, with what its value stands for, and
// returns the line of each. of says of what it is a setting.
func (refuse refuser) fields(mapping *yaml.Node, of string, known []string, set func(key, value *yaml.Node)) (lines map[string]int) {
	lines = map[string]int{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key := mapping.Content[i]
		line, twice := lines[key.Value]
		switch {
		case !slices.Contains(known, key.Value):
			refuse(key.Line, key.Value, "is not a setting of "+of, unknown(key.Value, known))
		case twice:
			refuse(key.Line, key.Value, "is on line "+strconv.Itoa(line)+" already", "keep one of them")
		default:
			lines[key.Value] = key.Line
			set(key, resolve(mapping.Content[i+1]))
		}
	}
	return lines
}

// resolve follows a YAML alias to the value it stands for.
func resolve(value *yaml.Node) *yaml.Node {
	if value.Kind == yaml.AliasNode {
		return value.Alias
	}
	return value
}
