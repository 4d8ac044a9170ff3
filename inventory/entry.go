package inventory

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Entry is one host of a fleet file. What is not in the file is zero, and not in hosts.yml either.
type Entry struct {
	// Name is key "name": what Ansible calls the host.
	Name string
	// Address is key "address": ansible_host, a name or an IP address; empty: the name.
	Address string
	// Port is key "port": ansible_port; 0: what ssh's own settings say.
	Port int
	// User is key "user": ansible_user; empty: what ssh's own settings say.
	User string
	// Connection is key "connection": ansible_connection, "ssh" or, of the controller only, "local"; empty: ssh.
	Connection string
	// Wave is key "wave": the N of patching_waveN.
	Wave int
	// Controller is key "controller": this host runs the patching.
	Controller bool
	// Groups is key "groups": other groups it is in.
	Groups []string

	line int
}

// entryKeys returns every key of a host.
func entryKeys() []string {
	return []string{"name", "address", "port", "user", "connection", "wave", "controller", "groups"}
}

// entry reads one host.
func (f *File) entry(line int, node *yaml.Node) {
	if node.Kind != yaml.MappingNode {
		f.refuse(line, "", "an entry is not a host", "write - {name: web, address: 192.0.2.11, user: root, wave: 0}")
		return
	}
	e := Entry{line: line}
	for i := 0; i+1 < len(node.Content); i += 2 { // so that every problem can be told with it
		if value := resolve(node.Content[i+1]); node.Content[i].Value == "name" && spelled(value.Value, "") {
			e.Name = value.Value
		}
	}
	named := e.Name
	has := map[string]bool{}
	f.fields(node, named, entryKeys(), func(key string, value *yaml.Node) {
		has[key] = true
		if problem, hint := e.set(key, value); problem != "" {
			f.refuse(value.Line, named, fmt.Sprintf("%q %s", key, problem), hint)
		}
	})
	if !has["name"] {
		f.refuse(line, "", "a host has no name", "add name:, which is what Ansible calls it")
	}
	if !has["wave"] {
		f.refuse(line, named, "is in no wave", "add wave:, a number from 0; hosts that are not patched belong into another inventory file")
	}
	if e.Connection == "local" && !e.Controller {
		f.refuse(line, named, `has connection "local", which patches the machine this runs on, and is not the controller`,
			"leave connection out, or add controller: true")
	}
	f.Hosts = append(f.Hosts, e)
}

// set puts the value of a key where it belongs, or says what is wrong with it.
func (e *Entry) set(key string, value *yaml.Node) (problem, hint string) {
	text := value.Value
	if value.Kind != yaml.ScalarNode || value.Tag != "!!str" {
		text = ""
	}
	number, notNumber := strconv.Atoi(value.Value)
	isNumber := value.Tag == "!!int" && notNumber == nil && strconv.Itoa(number) == value.Value
	switch key {
	case "name":
		e.Name = text
		if !spelled(text, "") {
			return "is not a name for a host", "write letters, digits, dots, dashes and underscores, in quotes if it is a number; an IP address belongs into address"
		}
	case "address":
		e.Address = text
		if _, err := netip.ParseAddr(text); err != nil && !spelled(text, "") {
			return "is not an address", "write an IP address or a name, without user and port; a template belongs into host_vars, as ansible_host"
		}
	case "port":
		if e.Port = number; !isNumber || number < 1 || number > 65535 {
			return "is not a port", "write a number from 1 to 65535"
		}
	case "user":
		e.User = text
		if !spelled(text, `@\+$`) {
			return "is not a user's name", "write the user that ssh logs in as, in quotes if it is a number"
		}
	case "connection":
		if e.Connection = text; text != "ssh" && text != "local" {
			return "is neither ssh nor local", "write one of them; others belong into host_vars, as ansible_connection"
		}
	case "wave":
		if e.Wave = number; !isNumber || number < 0 {
			return "is not the number of a wave", "write 0, 1, 2 or more"
		}
	case "controller":
		if e.Controller = value.Value == "true"; value.Tag != "!!bool" || !e.Controller && value.Value != "false" {
			return "is neither true nor false", "write one of them"
		}
	case "groups":
		return e.setGroups(value)
	}
	return "", ""
}

// setGroups reads the list of groups.
func (e *Entry) setGroups(value *yaml.Node) (problem, hint string) {
	if value.Kind != yaml.SequenceNode {
		return "is not a list", "write [one, another]"
	}
	for _, item := range value.Content {
		item = resolve(item)
		name := item.Value
		switch {
		case item.Kind != yaml.ScalarNode || item.Tag != "!!str" || !spelled(name, "") || strings.ContainsAny(name, ".-") || name[0] < 'A' || name[0] == '_':
			return "has an entry that is not a group's name", "write letters, digits and underscores, a letter first"
		case name == Controller || name == Targets || strings.HasPrefix(name, WavePrefix):
			return "has " + name, "leave it out: the keys wave and controller say it"
		case name == "all" || name == "ungrouped":
			return "has " + name, "leave it out: Ansible says who is in it"
		case slices.Contains(e.Groups, name):
			return "has " + name + " twice", "keep one of them"
		}
		e.Groups = append(e.Groups, name)
	}
	return "", ""
}

// reached returns where ssh would go, in a form in which two that are the same look the same.
func (e Entry) reached() string {
	host := strings.TrimSuffix(strings.ToLower(cmp.Or(e.Address, e.Name)), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(cmp.Or(e.Port, 22)))
}

// spelled reports whether a word has letters, digits, dots, dashes, underscores and what more allows, and neither
// begins with a dot or a dash nor is longer than a name in DNS may be.
func spelled(word, more string) bool {
	const first = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
	return word != "" && len(word) <= 253 && strings.Contains(first, word[:1]) && strings.Trim(word, first+".-"+more) == ""
}
