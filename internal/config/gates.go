package config

import (
	"errors"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"
)

// Gate is one entry of key "gates". Exactly one of URL, Command and Query is set; what belongs to another is zero.
type Gate struct {
	// Name is key "name": what people call it; no other gate has it.
	Name string
	// Timeout is key "timeout", for http and command: how long the answer may take; 0 when it was not written.
	Timeout time.Duration

	// URL is key "http": asked for with GET.
	URL string
	// Status is key "status": of a healthy answer; 0 when it was not written.
	Status int
	// Contains is key "contains": what a healthy answer holds; empty is anything.
	Contains string

	// Command is key "command": a program and its arguments. The program is an absolute path, or a name without a slash.
	Command []string

	// Query is key "promql": it must be empty.
	Query string
	// Server is key "server": URL of Prometheus.
	Server string
	// For is key "for": how long the query is asked again; 0 when it was not written.
	For time.Duration
	// InstanceLabel is key "instance_label": which label says what a series is about; empty when it was not written.
	InstanceLabel string
	// Instances is key "instances": by host of the inventory, what that label says; nil when it was not written.
	Instances map[string]string
}

// GatePrograms returns the paths of the programs that gates run, without those that are looked for in PATH.
func (c Config) GatePrograms() (paths []string) {
	for _, g := range c.Gates {
		if len(g.Command) > 0 && filepath.IsAbs(g.Command[0]) {
			paths = append(paths, g.Command[0])
		}
	}
	return paths
}

// FailedUnitsGate is the name of the gate that is there without being configured.
const FailedUnitsGate = "failed-units"

// gateKeys is every key of a gate, and the kind it belongs to; "" is every kind.
func gateKeys() map[string][]string {
	return map[string][]string{
		"name": {"http", "command", "promql"}, "timeout": {"http", "command"},
		"http": nil, "status": {"http"}, "contains": {"http"},
		"command": nil,
		"promql":  nil, "server": {"promql"}, "for": {"promql"}, "instance_label": {"promql"}, "instances": {"promql"},
	}
}

// gates reads the list, and returns everything that is wrong with it.
func (c *Config) gates(value *yaml.Node) (all []Gate, err error) {
	if value.Kind != yaml.SequenceNode {
		return nil, &Error{c.File, value.Line, "gates", "is not a list", `write one "- name: …" for each gate`}
	}
	var errs []error
	lines := map[string]int{}
	for _, item := range value.Content {
		g, problems := c.gate(resolve(item))
		errs = append(errs, problems...)
		if line, twice := lines[g.Name]; twice && g.Name != "" {
			errs = append(errs, &Error{c.File, item.Line, "name", "is that of the gate on line " + strconv.Itoa(line), "give it another one"})
		}
		lines[g.Name] = item.Line
		all = append(all, g)
	}
	return all, errors.Join(errs...)
}

// gate reads one gate.
func (c *Config) gate(item *yaml.Node) (g Gate, errs []error) {
	var refuse refuser = func(line int, key, problem, hint string) {
		errs = append(errs, &Error{c.File, line, key, problem, hint})
	}
	if item.Kind != yaml.MappingNode {
		refuse(item.Line, "gates", "has an entry that is not a mapping", "write name: and one of http:, command: and promql:")
		return g, errs
	}
	keys := gateKeys()
	kind := ""
	written := refuse.fields(item, "a gate", slices.Sorted(maps.Keys(keys)), func(key, value *yaml.Node) {
		kinds := keys[key.Value]
		if kinds == nil && kind != "" {
			refuse(key.Line, key.Value, "is in a gate that has "+strconv.Quote(kind), "make two gates of it")
			return
		} else if kinds == nil {
			kind = key.Value
		}
		if problem, hint := c.setGate(&g, key.Value, value); problem != "" {
			refuse(value.Line, key.Value, problem, hint)
		}
	})
	if written["name"] == 0 {
		refuse(item.Line, "gates", "has a gate without a name", "add name:, which is what messages call it")
	}
	if kind == "" {
		refuse(item.Line, "gates", "has a gate that asks nothing", "add http: URL, command: [PROGRAM] or promql: QUERY")
		return g, errs
	}
	if kind == "promql" && written["server"] == 0 {
		refuse(item.Line, "promql", "needs a server", "add server: with the URL of Prometheus")
	}
	for i := 0; i+1 < len(item.Content); i += 2 {
		key := item.Content[i]
		if kinds := keys[key.Value]; kinds != nil && !slices.Contains(kinds, kind) {
			refuse(key.Line, key.Value, "does not belong to a gate with "+strconv.Quote(kind), "it is for "+strings.Join(kinds, " and "))
		}
	}
	return g, errs
}

// setGate puts the value of one key where it belongs, or says what is wrong with it. It never repeats the value: a URL
// may hold a password.
func (c *Config) setGate(g *Gate, key string, value *yaml.Node) (problem, hint string) {
	text := value.Value
	isText := value.Kind == yaml.ScalarNode && value.Tag == "!!str"
	switch key {
	case "name":
		switch {
		case !isText || strings.TrimSpace(text) == "":
			return "is not a word", "write a short name"
		case len(text) > 60 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
			return "is longer than 60 characters, or cannot be printed", "write a short name"
		case text == FailedUnitsGate:
			return "is that of the gate which asks for failed units", "write another one"
		}
		g.Name = text
	case "http", "server":
		u, err := url.Parse(text)
		if !isText || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return "is not a URL", "write one such as http://grafana:3000/api/health"
		}
		if key == "http" {
			g.URL = text
		} else if u.RawQuery != "" || u.Fragment != "" {
			return "has a query", "write the base URL of Prometheus"
		} else {
			g.Server = text
		}
	case "status":
		number, err := strconv.Atoi(text)
		if value.Tag != "!!int" || err != nil || number < 200 || number > 599 {
			return "is not a status of HTTP", "write a number from 200 to 599"
		}
		g.Status = number
	case "contains", "promql", "instance_label":
		if !isText || strings.TrimSpace(text) == "" {
			return "is not a text", "put it in quotes"
		}
		*map[string]*string{"contains": &g.Contains, "promql": &g.Query, "instance_label": &g.InstanceLabel}[key] = text
	case "timeout", "for":
		length, err := time.ParseDuration(text)
		if value.Kind != yaml.ScalarNode || err != nil {
			return "is not a duration", "write a number with its unit, such as 10s or 5m"
		}
		if length < time.Second {
			return "is too short", "write a duration of 1s or more"
		}
		*map[string]*time.Duration{"timeout": &g.Timeout, "for": &g.For}[key] = length
	case "command":
		g.Command, problem = c.command(value)
		return problem, "write a list: the program and its arguments, such as [/usr/local/bin/check-dns, --strict]"
	case "instances":
		if value.Kind != yaml.MappingNode || len(value.Content) == 0 {
			return "is not a mapping", "write HOST: VALUE, a host of the inventory and what its label says"
		}
		g.Instances = map[string]string{}
		for i := 0; i+1 < len(value.Content); i += 2 {
			host, label := value.Content[i], resolve(value.Content[i+1])
			if _, twice := g.Instances[host.Value]; twice || label.Kind != yaml.ScalarNode || label.Value == "" || host.Value == "" {
				return "has a host twice, or one without a value", "write HOST: VALUE once for each"
			}
			g.Instances[host.Value] = label.Value
		}
	}
	return "", ""
}

// command returns a program and its arguments, or what is wrong with them.
func (c *Config) command(value *yaml.Node) (argv []string, problem string) {
	if value.Kind != yaml.SequenceNode || len(value.Content) == 0 {
		return nil, "is not a list"
	}
	for i, item := range value.Content {
		item = resolve(item)
		text := item.Value
		switch {
		case item.Kind != yaml.ScalarNode || item.Tag != "!!str" && item.Tag != "!!int":
			return nil, "has an argument that is not a text"
		case strings.Contains(text, "\x00"):
			return nil, "has a NUL"
		case i == 0 && strings.Contains(text, "/"):
			path, problem := c.path(item)
			if problem != "" {
				return nil, problem
			}
			text = path
		case i == 0 && text == "":
			return nil, "has no program"
		}
		argv = append(argv, text)
	}
	return argv, ""
}
