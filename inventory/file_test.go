package inventory

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// small is a fleet as people write one.
const small = `# The fleet.
hosts:
  - name: web     # the first
    address: 192.0.2.11
    user: root
    wave: 0
    groups: [web_servers, canaries]

  - {name: "control", connection: local, wave: 3, controller: true}   # last
# End.
`

func fleetFile(t testing.TB, text string) *File {
	t.Helper()
	f, err := ParseFile("fleet.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseFile(t *testing.T) {
	f := fleetFile(t, small)
	want := []Entry{
		{Name: "web", Address: "192.0.2.11", User: "root", Groups: []string{"web_servers", "canaries"}},
		{Name: "control", Connection: "local", Wave: 3, Controller: true},
	}
	if got := bare(f.Hosts); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	fleet := Fleet{Controller: "control", Waves: []Wave{{0, "patching_wave0", []string{"web"}}, {3, "patching_wave3", []string{"control"}}}}
	if got := f.Fleet(); !reflect.DeepEqual(got, fleet) {
		t.Errorf("got %+v", got)
	}
	if string(f.Text()) != small {
		t.Errorf("the text is another")
	}
	// All that may be left out is, and an alias is what it stands for.
	f = fleetFile(t, "hosts: [{name: a, wave: 0, user: &u x@EXAMPLE, port: 2222, address: 'fe80::1%eth0', controller: false, groups: []}, {name: b, user: *u, wave: 9, controller: true, connection: ssh}]")
	want = []Entry{{Name: "a", User: "x@EXAMPLE", Port: 2222, Address: "fe80::1%eth0"}, {Name: "b", User: "x@EXAMPLE", Wave: 9, Controller: true, Connection: "ssh"}}
	if got := bare(f.Hosts); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// Every row is refused with file, line and how to mend it, and every problem of it is told.
func TestParseFileRefuses(t *testing.T) {
	const c = "- {name: c, wave: 9, controller: true}\n"
	for _, row := range []struct {
		text string
		want []string // one a problem, each "line: rest"
	}{
		{"", []string{`1: there are no hosts (write hosts: and below it`}},
		{"# nothing\n", []string{`1: there are no hosts`}},
		{"null\n", []string{`1: there are no hosts`}},
		{"- name: a\n", []string{`1: there are no hosts`}},
		{"hosts:\n", []string{`1: there are no hosts`}},
		{"hosts: []\n", []string{`1: there are no hosts`}},
		{"hosts:\n  web: {wave: 0}\n", []string{`2: there are no hosts`}},
		{"{}\n", []string{`1: there is no "hosts" (write hosts: and below it`}},
		{"host:\n" + c, []string{`1: "host" is not a key (did you mean "hosts"?)`, `1: there is no "hosts"`}},
		{"hosts:\n" + c + "vars: {}\n", []string{`3: "vars" is not a key (the keys are hosts)`}},
		{"hosts:\n" + c + "hosts:\n" + c, []string{`3: "hosts" is on line 1 already (keep one of them)`}},
		{"hosts:\n" + c + "---\nhosts:\n" + c, []string{`3: a second YAML document (keep one)`}},
		{"hosts:\n" + c + "---\n\tx\n", []string{`4: found character that cannot start any token (mend it there`}},
		{"\thosts:\n" + c, []string{`1: found character that cannot start any token (mend it there`}},
		{"hosts:\n" + c + "\t- {name: d, wave: 1}\n", []string{`3: found character that cannot start any token (mend it there or near it: indent with spaces`}},
		{"hosts:\n" + c + "- {name: *x, wave: 0}\n", []string{`3: a value begins with *, which makes it an alias (put it in quotes)`}},
		{"hosts:\n# \x07\n" + c, []string{`2: a character that YAML cannot have (take it out`}},
		{"hosts:\n" + c + "- web\n", []string{`3: an entry is not a host (write - {name: web`}},
		{"hosts:\n" + c + "- [web]\n", []string{`3: an entry is not a host`}},
		{"hosts:\n" + c + "-\n", []string{`3: an entry is not a host`}},
		{"hosts:\n" + c + "- {wave: 0}\n", []string{`3: a host has no name (add name:`}},
		{"hosts:\n" + c + "- {name: web}\n", []string{`3: host web: is in no wave (add wave:, a number from 0`}},
		{"hosts:\n" + c + "- name: web\n  wavee: 0\n", []string{`3: host web: is in no wave`, `4: host web: "wavee" is not a key (did you mean "wave"?)`}},
		{"hosts:\n" + c + "- name: web\n  wave: 0\n  Adress: x\n", []string{`5: host web: "Adress" is not a key (did you mean "address"?)`}},
		{"hosts:\n" + c + "- name: web\n  wave: 0\n  ansible_become: true\n", []string{`5: host web: "ansible_become" is not a key (the keys are name, address, port,`}},
		{"hosts:\n" + c + "- name: web\n  wave: 0\n  wave: 1\n", []string{`5: host web: "wave" is on line 4 already`}},
		{"hosts:\n" + c + "- name: web\n  <<: {user: x}\n  wave: 0\n", []string{`4: host web: "<<" is not a key`}},
		{"hosts:\n" + c + "- name: web\n  ? {a: b}\n  : x\n  wave: 0\n", []string{`4: host web: "" is not a key`}},

		{"hosts:\n" + c + "- {name: , wave: 0}\n", []string{`3: "name" is not a name for a host (write letters`}},
		{"hosts:\n" + c + "- {name: 7, wave: 0}\n", []string{`3: host 7: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: 'web[1:3]', wave: 0}\n", []string{`3: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: '{{ x }}', wave: 0}\n", []string{`3: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: -oX, wave: 0}\n", []string{`3: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: ../x, wave: 0}\n", []string{`3: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: 'a,c', wave: 0}\n", []string{`3: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: \"a\\nb\", wave: 0}\n", []string{`3: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: '2001:db8::1', wave: 0}\n", []string{`3: "name" is not a name for a host (write letters, digits, dots, dashes and underscores, in quotes if it is a number; an IP address belongs into address)`}},
		{"hosts:\n" + c + "- {name: [web], wave: 0}\n", []string{`3: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: !vault web, wave: 0}\n", []string{`3: host web: "name" is not a name for a host`}},
		{"hosts:\n" + c + "- {name: all, wave: 0}\n", []string{`3: host all: the name is a group or a pattern to Ansible and could select other hosts (rename the host and put the address into address)`}},
		{"hosts:\n" + c + "- {name: ungrouped, wave: 0}\n", []string{`3: host ungrouped: the name is a group`}},
		{"hosts:\n" + c + "- {name: patching_wave9, wave: 0}\n", []string{`3: host patching_wave9: the name is a group`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [web]}\n", []string{`3: host web: the name is a group`}},
		{"hosts:\n" + c + "- {name: web, wave: 0}\n- {name: web, wave: 1}\n", []string{`4: host web: the host on line 3 has this name (give one of them another, or delete it)`}},

		{"hosts:\n" + c + "- {name: web, wave: 0, address: root@x}\n", []string{`3: host web: "address" is not an address (write an IP address or a name, without user and port`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, address: '{{ x }}'}\n", []string{`3: host web: "address" is not an address`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, address: '-oProxyCommand=x'}\n", []string{`3: host web: "address" is not an address`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, address: 'x:22'}\n", []string{`3: host web: "address" is not an address`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, address: }\n", []string{`3: host web: "address" is not an address`}},
		{"hosts:\n" + c + "- {name: a, wave: 0, address: Web.lan}\n- {name: b, wave: 0, address: web.LAN.}\n", []string{`4: host b: is reached at web.lan:22, as is host a on line 3 (give one of them another address, or delete it`}},
		{"hosts:\n" + c + "- {name: a, wave: 0}\n- {name: b, wave: 0, address: a, port: 22}\n", []string{`4: host b: is reached at a:22, as is host a on line 3`}},
		{"hosts:\n" + c + "- {name: a, wave: 0, address: '2001:db8::1'}\n- {name: b, wave: 0, address: '2001:DB8:0::1'}\n", []string{`4: host b: is reached at [2001:db8::1]:22`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, port: 0}\n", []string{`3: host web: "port" is not a port (write a number from 1 to 65535)`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, port: 65536}\n", []string{`3: host web: "port" is not a port`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, port: '22'}\n", []string{`3: host web: "port" is not a port`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, user: a b}\n", []string{`3: host web: "user" is not a user's name (write the user`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, user: 1000}\n", []string{`3: host web: "user" is not a user's name`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, user: '{{ x }}'}\n", []string{`3: host web: "user" is not a user's name`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, connection: docker}\n", []string{`3: host web: "connection" is neither ssh nor local (write one of them`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, connection: local}\n", []string{`3: host web: has connection "local", which patches the machine this runs on, and is not the controller (leave connection out`}},

		{"hosts:\n" + c + "- {name: web, wave: -1}\n", []string{`3: host web: "wave" is not the number of a wave (write 0, 1, 2 or more)`}},
		{"hosts:\n" + c + "- {name: web, wave: 1.5}\n", []string{`3: host web: "wave" is not the number of a wave`}},
		{"hosts:\n" + c + "- {name: web, wave: 01}\n", []string{`3: host web: "wave" is not the number of a wave`}},
		{"hosts:\n" + c + "- {name: web, wave: 0x1}\n", []string{`3: host web: "wave" is not the number of a wave`}},
		{"hosts:\n" + c + "- {name: web, wave: '0'}\n", []string{`3: host web: "wave" is not the number of a wave`}},
		{"hosts:\n" + c + "- {name: web, wave: }\n", []string{`3: host web: "wave" is not the number of a wave`}},
		{"hosts:\n" + c + "- {name: web, wave: [0, 1]}\n", []string{`3: host web: "wave" is not the number of a wave`}},
		{"hosts:\n" + c + "- {name: web, wave: 99999999999999999999}\n", []string{`3: host web: "wave" is not the number of a wave`}},
		{"hosts:\n" + c + "- {name: web, wave: 9}\n", []string{`2: host c, group patching_wave9: the controller shares the last wave with web (move it to a wave of its own, such as wave: 10)`}},
		{"hosts:\n" + c + "- {name: web, wave: 12}\n", []string{`2: host c, group patching_wave9: the controller is patched before patching_wave12 (move it to a wave of its own after wave: 12, such as wave: 13)`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, controller: yes}\n", []string{`3: host web: "controller" is neither true nor false (write one of them)`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, controller: True}\n", []string{`3: host web: "controller" is neither true nor false`}},
		{"hosts:\n- {name: web, wave: 0}\n", []string{`2: group patch_controller: there is no controller (write controller: true at the one host that runs the patching)`}},
		{"hosts:\n" + c + "- {name: d, wave: 10, controller: true}\n", []string{`3: group patch_controller: there is more than one controller: c, d (write controller: true at the one host`}},

		{"hosts:\n" + c + "- {name: web, wave: 0, groups: x}\n", []string{`3: host web: "groups" is not a list (write [one, another])`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [x-y]}\n", []string{`3: host web: "groups" has an entry that is not a group's name (write letters, digits and underscores, a letter first)`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [_meta]}\n", []string{`3: host web: "groups" has an entry that is not a group's name`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [1a]}\n", []string{`3: host web: "groups" has an entry that is not a group's name`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [[x]]}\n", []string{`3: host web: "groups" has an entry that is not a group's name`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [x, x]}\n", []string{`3: host web: "groups" has x twice (keep one of them)`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [all]}\n", []string{`3: host web: "groups" has all (leave it out`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [patching_targets]}\n", []string{`3: host web: "groups" has patching_targets (leave it out: the keys wave and controller say it)`}},
		{"hosts:\n" + c + "- {name: web, wave: 0, groups: [patching_wave1]}\n", []string{`3: host web: "groups" has patching_wave1 (leave it out`}},

		{"hosts:\n- {name: a, wave: -1}\n- {name: b}\n- {nam: c, wave: 0}\n", []string{
			`2: host a: "wave" is not`, `3: host b: is in no wave`, `4: "nam" is not a key (did you mean "name"?)`, `4: a host has no name`}},
	} {
		f, err := ParseFile("fleet.yaml", []byte(row.text))
		if err == nil || f != nil {
			t.Errorf("accepted %q", row.text)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(row.want) {
			t.Errorf("%q tells %d problems, want %d:\n%v", row.text, len(lines), len(row.want), err)
			continue
		}
		for i, e := range problems(t, err) {
			if !strings.HasPrefix(lines[i], "fleet.yaml:"+row.want[i]) {
				t.Errorf("%q:\n got %s\nwant …:%s", row.text, lines[i], row.want[i])
			}
			if e.File != "fleet.yaml" || e.Line < 1 || e.Hint == "" {
				t.Errorf("%q: no place, or no way to mend it: %v", row.text, e)
			}
		}
	}
	_, err := ParseFile("fleet.yaml", make([]byte, sizeLimit+1))
	if err == nil || !strings.Contains(err.Error(), "fleet.yaml: is larger than 1048576 bytes (name the right file)") {
		t.Errorf("a large file: %v", err)
	}
}

// Adding keeps every byte that was there, and writes the host as the one before it is written.
func TestAdd(t *testing.T) {
	host := Entry{Name: "db", Address: "192.0.2.7", User: "yes", Port: 2222, Wave: 1, Groups: []string{"databases"}}
	const block = "name: db\n%[1]saddress: 192.0.2.7\n%[1]sport: 2222\n%[1]suser: \"yes\"\n%[1]swave: 1\n%[1]sgroups: [databases]\n"
	const flow = "{name: db, address: 192.0.2.7, port: 2222, user: \"yes\", wave: 1, groups: [databases]}\n"
	for _, c := range []struct{ before, added, after string }{
		{small[:strings.Index(small, "# End")], "  - " + flow, "# End.\n"},
		{"hosts:\n- {name: c, wave: 2, controller: true}", "\n- " + flow, ""},
		{"hosts:\n- {name: c, wave: 2,\n   controller: true}\n", "- " + flow, "\n# x\n"},
		{"hosts:\n    -   wave: 2\n        controller: true\n\n        # of c\n        name: c\n        # more of c\n", fmt.Sprintf("    - "+block, "      "), "\n    # not of c\n\n"},
		{"hosts:\n- name: c\n# not of c\n  wave: 2\n  controller: true\n", fmt.Sprintf("- "+block, "  "), "# End"},
		{"hosts:\n-\n  name: c\n  wave: 2\n  controller: true\n", fmt.Sprintf("- "+block, "  "), "...\n"},
	} {
		f := fleetFile(t, c.before+c.after)
		with, err := f.Add(host)
		if err != nil {
			t.Errorf("%q: %v", c.before, err)
			continue
		}
		if got := string(with.Text()); got != c.before+c.added+c.after {
			t.Errorf("%q became\n%s", c.before, got)
		}
		if string(f.Text()) != c.before+c.after || len(f.Hosts) != len(with.Hosts)-1 {
			t.Errorf("%q: the file itself was changed", c.before)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	for _, c := range []struct {
		text string
		add  Entry
		want string
	}{
		{small, Entry{Name: "web"}, "fleet.yaml: host web: the host on line 3 has this name"},
		{small, Entry{Name: "x", Address: "192.0.2.11"}, "fleet.yaml: host x: is reached at 192.0.2.11:22, as is host web on line 3"},
		{small, Entry{Name: "x", Wave: 3}, "fleet.yaml:9: host control, group patching_wave3: the controller shares the last wave with x"},
		{small, Entry{Name: "x", Wave: -1}, `fleet.yaml: host x: "wave" is not the number of a wave`},
		{small, Entry{Name: "x", Wave: 5, Controller: true}, "fleet.yaml: group patch_controller: there is more than one controller: control, x"},
		{small, Entry{Name: "web_servers"}, "fleet.yaml: host web_servers: the name is a group"},
		{small, Entry{Name: "x", Groups: []string{"web"}}, "fleet.yaml:3: host web: the name is a group"},
		{small, Entry{Name: "x\n- y"}, `fleet.yaml: "name" is not a name for a host`},
		{small, Entry{Name: "x", User: "a, wave: 1"}, `fleet.yaml: host x: "user" is not`},
		{"hosts: [{name: c, wave: 2, controller: true}]\n", Entry{Name: "x"}, "fleet.yaml:1: host x: cannot be added to a list that is written like this (write one host a line, or add it by hand: - {name: x, wave: 0})"},
		{"hosts:\n- {name: c, wave: 2, controller: true\n}\n", Entry{Name: "x", User: "y"}, "fleet.yaml:2: host x: cannot be added to a list that is written like this (write one host a line, or add it by hand: - {name: x, user: \"y\", wave: 0})"},
	} {
		f := fleetFile(t, c.text)
		with, err := f.Add(c.add)
		var e *Error
		if with != nil || !errors.As(err, &e) || e.Hint == "" || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.add, err, c.want)
		}
		if string(f.Text()) != c.text {
			t.Errorf("%+v: the file itself was changed", c.add)
		}
	}
}

// The example is one: its hosts.yml is what its fleet.yaml says.
func TestExampleIsRendered(t *testing.T) {
	text, err := os.ReadFile("../ansible/inventory/fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../ansible/inventory/hosts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if got := fleetFile(t, string(text)).Render(); string(got) != string(want) {
		t.Errorf("go run ./cmd/homelab-patch-orchestrate inventory render --fleet ansible/inventory/fleet.yaml:\n%s", got)
	}
	if Rendered(text) || !Rendered(want) {
		t.Error("who wrote it is not seen")
	}
}

// The example of the manual is a fleet.
func TestManualIsRead(t *testing.T) {
	page, err := os.ReadFile("../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "```yaml\n")
	text, _, closed := strings.Cut(text, "```")
	if !found || !closed {
		t.Fatal("docs/fleet.md has no example")
	}
	if f := fleetFile(t, text); len(f.Hosts) != 3 || f.Fleet().Controller != "infra-services" {
		t.Errorf("it is read as %+v", f.Hosts)
	}
}
