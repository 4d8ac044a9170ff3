package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestARA(t *testing.T) {
	cfg, err := Load(write(t, `ara:
  forward: true
  keep: 90d
  ignore:
    facts: ["ansible_*_key*"]
    arguments: inventory
    results: [diff, "stdout*"]
    files: ["*secret*"]
`), true)
	want := ARA{Forward: true, Keep: 90 * 24 * time.Hour, Facts: []string{"ansible_*_key*"}, Arguments: []string{"inventory"},
		Results: []string{"diff", "stdout*"}, Files: []string{"*secret*"}}
	if err != nil || !reflect.DeepEqual(cfg.ARA, want) {
		t.Errorf("%+v, %v", cfg.ARA, err)
	}
	for text, words := range map[string]string{
		"ara: true\n":                                 `1: "ara" is not a mapping`,
		"ara:\n  foward: true\n":                      `2: "foward" is not a setting of "ara" (did you mean "forward"?)`,
		"ara:\n  forward: maybe\n":                    `2: "forward" is neither true nor false`,
		"ara:\n  keep: 90\n":                          `2: "keep" is not a duration of a day or more (write days, such as 90d)`,
		"ara:\n  keep: 90m\n":                         `2: "keep" is not a duration of a day or more`,
		"ara:\n  ignore: [x]\n":                       `2: "ignore" is not a mapping`,
		"ara:\n  ignore:\n    secrets: x\n":           `3: "secrets" is not a setting of "ignore"`,
		"ara:\n  ignore:\n    facts: ['[', ok, '']\n": `3: "facts" is not a pattern`,
		"ara:\n  forward: true\n  forward: true\n":    `3: "forward" is on line 2 already`,
		"ara:\n  forward: 1\n  keep: x\n":             `3: "keep" is not a duration`,
	} {
		_, err := Load(write(t, text), true)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v\nwant %s", text, err, words)
		}
	}
}

func TestARAPassword(t *testing.T) {
	for text, words := range map[string]string{
		"ARA_API_SERVER=http://ara:8000\nARA_API_USERNAME=u\nARA_API_PASSWORD=hush\n": "",
		"ARA_API_SERVER=http://ara:8000\nARA_API_PASSWORD=hush\n":                     "ARA wants both or none",
		"ARA_API_SERVER=http://ara:8000\nARA_API_USERNAME=u\n":                        "ARA wants both or none",
		"ARA_API_SERVER=http://u:hush@ara:8000\n":                                     "has a password in it",
	} {
		path := write(t, text)
		c, err := LoadChannels(path, "")
		if (err == nil) != (words == "") || err != nil && (!strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%q: %v", text, err)
		}
		if words == "" && (c.ARA != "http://ara:8000" || c.ARAUser != "u" || c.ARAPassword.Reveal() != "hush") {
			t.Errorf("%+v", c)
		}
	}
}
