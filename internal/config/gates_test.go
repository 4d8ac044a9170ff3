package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The example in docs/configure.md is read as it says.
func TestGatesOfTheManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/configure.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(gates:.*?)```").FindStringSubmatch(string(page))
	if found == nil {
		t.Fatal("docs/configure.md has no example of gates")
	}
	file := write(t, found[1])
	got, err := Load(file, true)
	if err != nil {
		t.Fatal(err)
	}
	want := []Gate{
		{Name: "grafana", URL: "http://grafana:3000/api/health", Contains: `"database": "ok"`, Timeout: 10 * time.Second},
		{Name: "login", URL: "https://git.example.net/", Status: 302},
		{Name: "dns", Command: []string{"/usr/local/bin/check-dns", "--strict"}, Timeout: 30 * time.Second},
		{Name: "alerts", Query: `ALERTS{alertstate="firing", severity="critical"}`, Server: "http://prometheus:9090", For: 10 * time.Minute,
			InstanceLabel: "instance", Instances: map[string]string{"prox": "prox.lan:9100", "web": "web.lan:9100"}},
	}
	if !reflect.DeepEqual(got.Gates, want) || got.FailedUnits {
		t.Errorf("got %+v, failed_units %t", got.Gates, got.FailedUnits)
	}
	if paths := got.GatePrograms(); !reflect.DeepEqual(paths, []string{"/usr/local/bin/check-dns"}) {
		t.Errorf("programs %q", paths)
	}
}

func TestGatesRefused(t *testing.T) {
	for _, c := range []struct {
		text string // after "gates:"
		want []string
	}{
		{" grafana\n", []string{`1: "gates" is not a list`}},
		{"\n", []string{`1: "gates" is not a list`}},
		{"\n- grafana\n", []string{`2: "gates" has an entry that is not a mapping`}},
		{"\n- http: http://x/\n", []string{`2: "gates" has a gate without a name`}},
		{"\n- name: x\n", []string{`2: "gates" has a gate that asks nothing (add http: URL, command: [PROGRAM] or promql: QUERY)`}},
		{"\n- {name: '', http: http://x/}\n", []string{`2: "name" is not a word`}},
		{"\n- {name: 7, http: http://x/}\n", []string{`2: "name" is not a word`}},
		{"\n- {name: \"a\\nb\", http: http://x/}\n", []string{`2: "name" is longer than 60 characters, or cannot be printed`}},
		{"\n- {name: failed-units, http: http://x/}\n", []string{`2: "name" is that of the gate which asks for failed units`}},
		{"\n- {name: x, http: http://x/}\n- {name: x, command: [y]}\n", []string{`3: "name" is that of the gate on line 2`}},
		{"\n- name: x\n  http: http://x/\n  command: [y]\n", []string{`4: "command" is in a gate that has "http" (make two gates of it)`}},
		{"\n- name: x\n  http:\n", []string{`3: "http" is not a URL`}},
		{"\n- {name: x, http: grafana:3000}\n", []string{`2: "http" is not a URL`}},
		{"\n- {name: x, http: 'ftp://x/'}\n", []string{`2: "http" is not a URL`}},
		{"\n- {name: x, http: 'http:///x'}\n", []string{`2: "http" is not a URL`}},
		{"\n- name: x\n  url: http://x/\n", []string{`3: "url" is not a setting of a gate (there are command, contains, for, http`, `2: "gates" has a gate that asks nothing`}},
		{"\n- name: x\n  http: http://x/\n  containz: y\n", []string{`4: "containz" is not a setting of a gate (did you mean "contains"?)`}},
		{"\n- name: x\n  name: y\n  http: http://x/\n", []string{`3: "name" is on line 2 already`}},
		{"\n- {name: x, http: http://x/, status: ok}\n", []string{`2: "status" is not a status of HTTP`}},
		{"\n- {name: x, http: http://x/, status: 99}\n", []string{`2: "status" is not a status of HTTP`}},
		{"\n- {name: x, http: http://x/, status: '200'}\n", []string{`2: "status" is not a status of HTTP`}},
		{"\n- {name: x, http: http://x/, contains: true}\n", []string{`2: "contains" is not a text (put it in quotes)`}},
		{"\n- {name: x, http: http://x/, timeout: 10}\n", []string{`2: "timeout" is not a duration (write a number with its unit, such as 10s or 5m)`}},
		{"\n- {name: x, http: http://x/, timeout: 0s}\n", []string{`2: "timeout" is too short`}},
		{"\n- {name: x, http: http://x/, for: 5m}\n", []string{`2: "for" does not belong to a gate with "http" (it is for promql)`}},
		{"\n- {name: x, status: 200, command: [y]}\n", []string{`2: "status" does not belong to a gate with "command" (it is for http)`}},
		{"\n- {name: x, command: y}\n", []string{`2: "command" is not a list`}},
		{"\n- {name: x, command: []}\n", []string{`2: "command" is not a list`}},
		{"\n- {name: x, command: ['']}\n", []string{`2: "command" has no program`}},
		{"\n- {name: x, command: [y, [z]]}\n", []string{`2: "command" has an argument that is not a text`}},
		{"\n- {name: x, command: [y, true]}\n", []string{`2: "command" has an argument that is not a text`}},
		{"\n- {name: x, command: [\"y\\0\"]}\n", []string{`2: "command" has a NUL`}},
		{"\n- {name: x, command: [~/y]}\n", []string{`2: "command" begins with ~`}},
		{"\n- {name: x, promql: up == 0}\n", []string{`2: "promql" needs a server`}},
		{"\n- {name: x, promql: '', server: http://p/}\n", []string{`2: "promql" is not a text`}},
		{"\n- {name: x, promql: up == 0, server: 'http://p/?x'}\n", []string{`2: "server" has a query`}},
		{"\n- {name: x, promql: up == 0, server: http://p/, for: soon}\n", []string{`2: "for" is not a duration`}},
		{"\n- {name: x, promql: up == 0, server: http://p/, timeout: 5m}\n", []string{`2: "timeout" does not belong to a gate with "promql" (it is for http and command)`}},
		{"\n- {name: x, promql: up == 0, server: http://p/, instances: [prox]}\n", []string{`2: "instances" is not a mapping`}},
		{"\n- {name: x, promql: up == 0, server: http://p/, instances: {prox: }}\n", []string{`2: "instances" has a host twice, or one without a value`}},
		{"\n- name: x\n  http: secret\n- name: y\n  command: z\n", []string{`3: "http" is not a URL`, `5: "command" is not a list`}},
	} {
		file := write(t, "gates:"+c.text)
		_, err := Load(file, false)
		var problem *Error
		if !errors.As(err, &problem) || problem.File != file {
			t.Errorf("Load of %q: %v", c.text, err)
			continue
		}
		mends(t, file, err)
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(c.want) {
			t.Errorf("Load of %q tells %d problems, want %d:\n%v", c.text, len(lines), len(c.want), err)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(lines[i], file+":"+want) || strings.Contains(lines[i], "secret") {
				t.Errorf("Load of %q:\n got %s\nwant …:%s", c.text, lines[i], want)
			}
		}
	}
	if _, err := Load(write(t, "failed_units: 'no'\n"), false); err == nil || !strings.Contains(err.Error(), `1: "failed_units" is neither true nor false`) {
		t.Errorf("failed_units: %v", err)
	}
}

// A gate may be an alias, and a program that is a bare name is looked for in PATH.
func TestGatesRead(t *testing.T) {
	file := write(t, "gates:\n- &x {name: x, command: [y, 5]}\n- {name: z, command: [../z/../c, '']}\nfailed_units: true\n")
	got, err := Load(file, false)
	want := []Gate{{Name: "x", Command: []string{"y", "5"}}, {Name: "z", Command: []string{filepath.Join(filepath.Dir(file), "../c"), ""}}}
	if err != nil || !reflect.DeepEqual(got.Gates, want) || !got.FailedUnits {
		t.Errorf("got %+v, %v", got.Gates, err)
	}
	if paths := got.GatePrograms(); len(paths) != 1 || paths[0] != want[1].Command[0] {
		t.Errorf("programs %q", paths)
	}
}
