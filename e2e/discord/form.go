package discord

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// object is a JSON object as it came.
type object = map[string]any

// form is the body of a request while it is checked. Each of its methods looks at the member of o that path ends in,
// and notes what is wrong with it under the whole path. A member that is null is one that is not there.
type form struct {
	errors formErrors
	files  []string // names of those that came with it
}

// length is that of a text, as it is counted here.
func length(s string) int { return len(utf16.Encode([]rune(s))) }

// at makes the path of a member.
func at(path []string, more ...any) []string {
	path = slices.Clone(path)
	for _, p := range more {
		path = append(path, fmt.Sprint(p))
	}
	return path
}

// text returns a text of at most limit characters.
func (f *form) text(o object, limit int, path ...string) string {
	value := o[path[len(path)-1]]
	if value == nil {
		return ""
	}
	s, ok := value.(string)
	switch {
	case !ok:
		f.errors.add("STRING_TYPE_CONVERT", fmt.Sprintf("Could not interpret %q as string.", fmt.Sprint(value)), path...)
	case length(s) > limit:
		f.errors.tooLong(limit, path...)
	}
	return s
}

// filled is a text that must be there and be more than white space.
func (f *form) filled(o object, limit int, path ...string) string {
	s := f.text(o, limit, path...)
	if _, text := o[path[len(path)-1]].(string); strings.TrimSpace(s) == "" && (text || o[path[len(path)-1]] == nil) {
		f.errors.required(path...)
	}
	return s
}

// link is a URL of one of the schemes. A host without a dot is not well formed to Discord, which refuses the whole
// message for it; the documentation does not say so (https://github.com/bugsink/bugsink/issues/280).
func (f *form) link(o object, limit int, schemes []string, path ...string) string {
	s := f.text(o, limit, path...)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil {
		f.errors.add("URL_TYPE_INVALID_URL", "Not a well formed URL.", path...)
		return s
	}
	if !slices.Contains(schemes, strings.ToLower(u.Scheme)) {
		f.errors.add("URL_TYPE_INVALID_SCHEME", fmt.Sprintf("Scheme %q is not supported. Scheme must be one of ('%s').",
			u.Scheme, strings.Join(schemes, "', '")), path...)
		return s
	}
	host := u.Hostname()
	if web := u.Scheme == "http" || u.Scheme == "https"; web && !strings.Contains(strings.Trim(host, "."), ".") && net.ParseIP(host) == nil {
		f.errors.add("URL_TYPE_INVALID_URL", "Not a well formed URL.", path...)
	}
	return s
}

// integer returns a whole number between two.
func (f *form) integer(o object, least, most int64, path ...string) int64 {
	value := o[path[len(path)-1]]
	if value == nil {
		return 0
	}
	n, ok := value.(json.Number)
	i, err := strconv.ParseInt(string(n), 10, 64)
	switch {
	case !ok || err != nil:
		f.errors.add("NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not int.", fmt.Sprint(value)), path...)
	case i < least:
		f.errors.add("NUMBER_TYPE_MIN", fmt.Sprintf("int value should be greater than or equal to %d.", least), path...)
	case i > most:
		f.errors.add("NUMBER_TYPE_MAX", fmt.Sprintf("int value should be less than or equal to %d.", most), path...)
	}
	return i
}

// boolean returns a truth value.
func (f *form) boolean(o object, path ...string) bool {
	value := o[path[len(path)-1]]
	b, ok := value.(bool)
	if value != nil && !ok {
		f.errors.add("BOOLEAN_TYPE_CONVERT", "Must be either true or false.", path...)
	}
	return b
}

// timestamp is an ISO 8601 time. Of its many forms the stand-in takes that of RFC 3339 only.
func (f *form) timestamp(o object, path ...string) string {
	s := f.text(o, 64, path...)
	if s == "" {
		return ""
	}
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
		f.errors.add("DATE_TIME_TYPE_PARSE", "Could not parse "+s+". Should be ISO8601.", path...)
	}
	return s
}

// list returns the members of an array that has no more than limit of them.
func (f *form) list(o object, limit int, path ...string) []any {
	value := o[path[len(path)-1]]
	if value == nil {
		return nil
	}
	l, ok := value.([]any)
	switch {
	case !ok:
		f.errors.add("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType", path...)
	case len(l) > limit:
		f.errors.tooLong(limit, path...)
	}
	return l
}

// member is an object in another one. It is nil if it is not there.
func (f *form) member(value any, path ...string) object {
	if value == nil {
		return nil
	}
	o, ok := value.(object)
	if !ok {
		f.errors.add("MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType", path...)
	}
	return o
}

// element is an object in a list, where null is nothing that may stand for one.
func (f *form) element(value any, path ...string) object {
	if value == nil {
		f.errors.required(path...)
	}
	return f.member(value, path...)
}
