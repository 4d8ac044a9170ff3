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
	var refuse refuser = func(line int, key, problem, hint string) {
		errs = append(errs, &Error{c.File, line, key, problem, hint})
	}
	pairs := func(n *yaml.Node, of string, known []string, set func(key, value *yaml.Node)) {
		if n.Kind != yaml.MappingNode {
			refuse(n.Line, of, "is not a mapping", `write "forward: true" below it`)
			return
		}
		refuse.fields(n, strconv.Quote(of), known, set)
	}
	lists := map[string]*[]string{"facts": &a.Facts, "arguments": &a.Arguments, "results": &a.Results, "files": &a.Files}
	pairs(value, "ara", []string{"forward", "keep", "ignore"}, func(key, value *yaml.Node) {
		switch key.Value {
		case "forward":
			if value.Tag != "!!bool" {
				refuse(value.Line, key.Value, "is neither true nor false", "write one of them")
			}
			a.Forward = strings.EqualFold(value.Value, "true")
		case "keep":
			keep, ok := days(value.Value)
			if value.Kind != yaml.ScalarNode || !ok || keep < keepLeast {
				refuse(value.Line, key.Value, "is not a duration of a day or more", "write days, such as 90d")
			}
			a.Keep = keep
		case "ignore":
			pairs(value, "ignore", slices.Sorted(maps.Keys(lists)), func(key, value *yaml.Node) {
				for _, item := range items(value) {
					item = resolve(item)
					if _, err := path.Match(item.Value, ""); item.Kind != yaml.ScalarNode || item.Tag != "!!str" || item.Value == "" || err != nil {
						refuse(item.Line, key.Value, "is not a pattern", "write a name, or one with * and ? in quotes; or a list of them")
						continue
					}
					*lists[key.Value] = append(*lists[key.Value], item.Value)
				}
			})
		}
	})
	return a, errors.Join(errs...)
}
