package ara

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
)

// Ignore says what is not recorded: patterns as those of a shell, by what they are matched with. The value is replaced,
// so that it can be seen that there was one.
type Ignore struct {
	Facts     []string // names of facts; ansible_env is always left out
	Arguments []string // names of ansible-playbook's arguments, such as extra_vars, which is always left out
	Results   []string // names of values in a result, at any depth
	Files     []string // paths, or their last part
}

// notSaved stands for what is ignored.
const notSaved = "not saved: ara.ignore"

// matches reports whether a name is one of the patterns. A pattern that is none matches nothing; the settings refuse it.
func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}

// arguments are those of the command line, for the record.
func (i Ignore) arguments(data json.RawMessage) map[string]any {
	args, ok := decode(data).(map[string]any)
	if !ok {
		return map[string]any{} // ARA takes no null
	}
	for name := range args {
		if name == "extra_vars" || matches(i.Arguments, name) {
			args[name] = notSaved
		}
	}
	return args
}

// result is the content of a result, without what Ansible keeps for itself, and the facts in it, if there are any.
func (i Ignore) result(data json.RawMessage) (content, facts map[string]any) {
	content, ok := i.clean(decode(data)).(map[string]any)
	if !ok {
		return map[string]any{}, nil
	}
	facts, _ = content["ansible_facts"].(map[string]any)
	for name := range facts {
		if name == "ansible_env" || name == "env" || matches(i.Facts, name) {
			facts[name] = notSaved
		}
	}
	return content, facts
}

func (i Ignore) clean(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			switch {
			case strings.HasPrefix(name, "_ansible_"):
				delete(v, name)
			case matches(i.Results, name):
				v[name] = notSaved
			default:
				v[name] = i.clean(value)
			}
		}
	case []any:
		for n, value := range v {
			v[n] = i.clean(value)
		}
	}
	return v
}

// decode reads JSON and leaves its numbers as they are written.
func decode(data json.RawMessage) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

// fileLimit is how much of a file is recorded.
const fileLimit = 1 << 20

// content is what a file had in it at a time: when its playbook began. ARA wants some text of each.
func (i Ignore) content(file string, at time.Time) string {
	if matches(i.Files, file) || matches(i.Files, path.Base(file)) {
		return notSaved
	}
	f, err := os.Open(file)
	if err != nil {
		return "not saved: the file could not be read"
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil || !fi.Mode().IsRegular():
		return "not saved: the file could not be read"
	case fi.ModTime().After(at):
		return fmt.Sprintf("not saved: the file was changed at %s, after the playbook had begun", fi.ModTime().UTC().Format(time.RFC3339))
	}
	data, err := io.ReadAll(io.LimitReader(f, fileLimit+1))
	if err != nil {
		return "not saved: the file could not be read"
	}
	text := string(data)
	if len(data) > fileLimit {
		text = text[:fileLimit] + "\n… and more"
	}
	if text = limit(text, len(text)+1); strings.TrimSpace(text) == "" {
		return "(the file is empty)"
	}
	return text
}
