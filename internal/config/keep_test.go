package config

import (
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

func TestKeep(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]orchestrator.Keep{
		"{}\n":                           {Runs: 200, Age: 400 * day},
		"keep: {runs: 5}\n":              {Runs: 5, Age: 400 * day},
		"keep: {age: 36h, runs: all}\n":  {Age: 36 * time.Hour},
		"keep:\n  age: all\n  runs: 1\n": {Runs: 1},
		"keep: {runs: 5, age: 30d}\n":    {Runs: 5, Age: 30 * day},
	} {
		if cfg, err := Load(write(t, text), true); err != nil || cfg.Keep != want {
			t.Errorf("%q: %+v, %v", text, cfg.Keep, err)
		}
	}
	for text, words := range map[string]string{
		"keep: 200\n":                   `1: "keep" is not a mapping (write "{runs: 200, age: 400d}")`,
		"keep: {run: 5}\n":              `1: "run" is not a setting of "keep" (did you mean "runs"?)`,
		"keep: {runs: 0}\n":             `1: "runs" is not a number of 1 or more (write one such as 200, or all)`,
		"keep: {runs: -1}\n":            `"runs" is not a number of 1 or more`,
		"keep: {runs: [1]}\n":           `"runs" is not a number of 1 or more`,
		"keep: {runs: 10d}\n":           `"runs" is not a number of 1 or more`,
		"keep: {age: 400}\n":            `"age" is not a duration of a day or more (write days, such as 400d, or all)`,
		"keep: {age: 0d}\n":             `"age" is not a duration of a day or more`,
		"keep: {age: 23h}\n":            `"age" is not a duration of a day or more`,
		"keep: {age: 9999999999d}\n":    `"age" is not a duration of a day or more`,
		"keep: {age: -400d}\n":          `"age" is not a duration of a day or more`,
		"keep:\n  runs: x\n  age: 1s\n": `3: "age" is not`,
	} {
		if _, err := Load(write(t, text), true); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v\nwant %s", text, err, words)
		}
	}
}
