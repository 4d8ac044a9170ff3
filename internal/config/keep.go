package config

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"homelab-patch-orchestrate/orchestrator"
)

// everything is the value of a bound that is none.
const everything = "all"

// keep reads the mapping, and returns everything that is wrong with it. A key that is not there stays as it is.
func (c *Config) keep(value *yaml.Node, k orchestrator.Keep) (orchestrator.Keep, error) {
	var errs []error
	var refuse refuser = func(line int, key, problem, hint string) {
		errs = append(errs, &Error{c.File, line, key, problem, hint})
	}
	if value.Kind != yaml.MappingNode {
		refuse(value.Line, "keep", "is not a mapping", `write "{runs: 200, age: 400d}"`)
		return k, errors.Join(errs...)
	}
	refuse.fields(value, `"keep"`, []string{"age", "runs"}, func(key, value *yaml.Node) {
		scalar := value.Kind == yaml.ScalarNode
		switch {
		case scalar && value.Value == everything && key.Value == "runs":
			k.Runs = 0
		case scalar && value.Value == everything:
			k.Age = 0
		case key.Value == "runs":
			n, err := strconv.Atoi(value.Value)
			if !scalar || value.Tag != "!!int" || err != nil || n < 1 {
				refuse(value.Line, key.Value, "is not a number of 1 or more", "write one such as 200, or all")
			}
			k.Runs = n
		default:
			age, ok := days(value.Value)
			if !scalar || !ok || age < keepLeast {
				refuse(value.Line, key.Value, "is not a duration of a day or more", "write days, such as 400d, or all")
			}
			k.Age = age
		}
	})
	return k, errors.Join(errs...)
}

// days reads a duration in days, or as Go has them.
func days(text string) (time.Duration, bool) {
	number, isDays := strings.CutSuffix(text, "d")
	if !isDays {
		d, err := time.ParseDuration(text)
		return d, err == nil
	}
	n, err := strconv.Atoi(number)
	const most = 36500 // a hundred years
	return time.Duration(n) * 24 * time.Hour, err == nil && n <= most
}
