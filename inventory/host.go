package inventory

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Host is one machine of the inventory. Printing it prints its name only: variables may hold passwords.
type Host struct {
	// Name is the host's name in the inventory, which --limit understands.
	Name string
	// Vars is every variable that applies to the host, group variables merged in by Ansible, each as its JSON and not
	// decoded until asked for. Nil for a host without variables.
	Vars map[string]json.RawMessage `json:"-"`
}

// String returns the name.
func (h Host) String() string { return h.Name }

// GoString returns the name, so that %#v does not print variables either.
func (h Host) GoString() string { return fmt.Sprintf("inventory.Host(%q)", h.Name) }

// Address returns where the host is reached: ansible_host, or the name where that is unset, empty or not text.
func (h Host) Address() string {
	if address, ok := h.Text("ansible_host"); ok && address != "" {
		return address
	}
	return h.Name
}

// Local reports whether Ansible runs the host's tasks on the machine it is started on, without ssh.
func (h Host) Local() bool {
	connection, _ := h.Text("ansible_connection")
	return connection == "local" || connection == "ansible.builtin.local"
}

// Text returns a variable that is a string, and false if it is unset or something else. Templates stay as written.
func (h Host) Text(name string) (string, bool) {
	raw, ok := h.Vars[name]
	if !ok {
		return "", false
	}
	value, ok := decode(raw).(string)
	return value, ok
}

// Bool returns a variable as a boolean, read as strictly as Ansible's type "bool": true and false, 1 and 0, and the
// words yes, on, true, y, t, 1 and no, off, false, n, f, 0 in any case. It is false without an error if the variable
// is unset, and an [*Error] if it is anything else.
func (h Host) Bool(name string) (bool, error) {
	raw, ok := h.Vars[name]
	if !ok {
		return false, nil
	}
	switch value := decode(raw).(type) {
	case bool:
		return value, nil
	case float64:
		if value == 0 || value == 1 {
			return value == 1, nil
		}
	case string:
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "yes", "on", "true", "y", "t", "1":
			return true, nil
		case "no", "off", "false", "n", "f", "0":
			return false, nil
		}
	}
	return false, &Error{
		Host:    h.Name,
		Problem: fmt.Sprintf("variable %s is neither true nor false", name),
		Hint:    "write true or false without quotes; templates are not resolved here",
	}
}

// decode returns a variable's value. Text marked !unsafe arrives as {"__ansible_unsafe": "text"} and is that text;
// anything that cannot be decoded is nil.
func decode(raw json.RawMessage) any {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil
	}
	if marked, ok := value.(map[string]any); ok && len(marked) == 1 {
		if text, ok := marked["__ansible_unsafe"]; ok {
			return text
		}
	}
	return value
}
