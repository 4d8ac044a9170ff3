package config

import (
	"errors"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// ARA is key "ara": what is put on record there. Which server it is, [Channels] says.
type ARA struct {
	// Forward is key "forward": whether runs are put on record; default false.
	Forward bool
	// Keep is key "keep": playbooks of ours that began longer ago are removed from the server by the next run; 0, the
	// default, keeps them for ever.
	Keep time.Duration
	// Facts, Arguments, Results and Files are the patterns of key "ignore".
	Facts, Arguments, Results, Files []string
}

// keepLeast is the shortest time that records are kept: a wrong unit must not empty the server.
const keepLeast = 24 * time.Hour

// ara reads the mapping, and returns everything that is wrong with it.
func (c *Config) ara(value *yaml.Node) (a ARA, err error) {
	var errs []error
	refuse := func(n *yaml.Node, key, problem, hint string) {
		errs = append(errs, &Error{c.File, n.Line, key, problem, hint})
	}
	pairs := func(n *yaml.Node, of string, known []string, set func(key, value *yaml.Node)) {
		if n.Kind != yaml.MappingNode {
			refuse(n, of, "is not a mapping", `write "forward: true" below it`)
			return
		}
		written := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if !slices.Contains(known, key.Value) {
				refuse(key, key.Value, "is not a setting of "+strconv.Quote(of), unknown(key.Value, known))
				continue
			}
			if line, twice := written[key.Value]; twice {
				refuse(key, key.Value, "is on line "+strconv.Itoa(line)+" already", "keep one of them")
				continue
			}
			written[key.Value] = key.Line
			set(key, resolve(n.Content[i+1]))
		}
	}
	lists := map[string]*[]string{"facts": &a.Facts, "arguments": &a.Arguments, "results": &a.Results, "files": &a.Files}
	pairs(value, "ara", []string{"forward", "keep", "ignore"}, func(key, value *yaml.Node) {
		switch key.Value {
		case "forward":
			if value.Tag != "!!bool" {
				refuse(value, key.Value, "is neither true nor false", "write one of them")
			}
			a.Forward = strings.EqualFold(value.Value, "true")
		case "keep":
			keep, err := time.ParseDuration(value.Value)
			if value.Kind != yaml.ScalarNode || err != nil || keep < keepLeast {
				refuse(value, key.Value, "is not a duration of a day or more", "write hours, such as 2160h for 90 days")
			}
			a.Keep = keep
		case "ignore":
			pairs(value, "ignore", slices.Sorted(maps.Keys(lists)), func(key, value *yaml.Node) {
				for _, item := range items(value) {
					item = resolve(item)
					if _, err := path.Match(item.Value, ""); item.Kind != yaml.ScalarNode || item.Tag != "!!str" || item.Value == "" || err != nil {
						refuse(item, key.Value, "is not a pattern", "write a name, or one with * and ? in quotes; or a list of them")
						continue
					}
					*lists[key.Value] = append(*lists[key.Value], item.Value)
				}
			})
		}
	})
	return a, errors.Join(errs...)
}
