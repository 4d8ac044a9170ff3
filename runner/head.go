package runner

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// decoder decodes lines. Most words of a stream come again and again, such as names of hosts and tasks: they are kept, so
// that an event costs no allocation for them.
type decoder struct {
	words map[string]string
	heads bool // without Data
	h     head // of the line under way
	raw   []byte
}

// What is kept of words: so many, then it begins anew, and none that is long.
const (
	maxWords = 1 << 15
	maxWord  = 256
)

func newDecoder() *decoder { return &decoder{words: map[string]string{}} }

func (d *decoder) word(b []byte) string {
	if len(b) > maxWord {
		return string(b)
	}
	if s, ok := d.words[string(b)]; ok {
		return s
	}
	if len(d.words) >= maxWords {
		clear(d.words)
	}
	s := string(b)
	d.words[s] = s
	return s
}

// head decodes the part of a line before its data, as the callback plugin writes it. What is spelled in any other way it
// leaves to encoding/json, which takes ten times as long.
func (d *decoder) head(line []byte) error {
	d.h = head{}
	if p := (parser{d: d, rest: line}); p.head(&d.h) {
		return nil
	}
	d.h = head{}
	return json.Unmarshal(line, &d.h)
}

// parser reads the members of an object without white space. It returns false at what it does not know.
type parser struct {
	d    *decoder
	rest []byte
}

func (p *parser) eat(c byte) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) head(h *head) bool {
	if !p.eat('{') {
		return false
	}
	for {
		key, plain := p.quoted()
		if !plain || !p.eat(':') || !p.member(h, key) {
			return false
		}
		if p.eat('}') {
			return len(p.rest) == 0
		}
		if !p.eat(',') {
			return false
		}
	}
}

func (p *parser) member(h *head, key []byte) bool {
	switch string(key) {
	case "kind":
		return p.text((*string)(&h.Kind))
	case "time":
		return p.number(&h.Time)
	case "version":
		return p.text(&h.Version)
	case "labels":
		return p.list(&h.Labels)
	case "play":
		return p.text(&h.Play)
	case "task":
		return p.text(&h.Task)
	case "role":
		return p.text(&h.Role)
	case "id":
		return p.text(&h.TaskID)
	case "path":
		return p.text(&h.Path)
	case "action":
		return p.text(&h.Action)
	case "host":
		return p.text(&h.Host)
	case "status":
		return p.text((*string)(&h.Status))
	case "ignored":
		return p.boolean(&h.Ignored)
	case "item":
		return p.text(&h.Item)
	case "delegated":
		return p.text(&h.Delegated)
	case "started":
		return p.number(&h.Started)
	case "handler":
		return p.boolean(&h.Handler)
	case "tags":
		return p.list(&h.Tags)
	case "msg":
		return p.text(&h.Msg)
	}
	return false // attempts and cut are rare
}

// quoted reads a string and returns what is between its quotes. It is plain if that is what it says.
func (p *parser) quoted() (text []byte, plain bool) {
	if !p.eat('"') {
		return nil, false
	}
	for i, c := range p.rest {
		switch {
		case c == '"':
			text, p.rest = p.rest[:i], p.rest[i+1:]
			return text, true
		case c == '\\' || c < ' ' || c > '~':
			return nil, false
		}
	}
	return nil, false
}

func (p *parser) text(to *string) bool {
	whole := p.rest
	if text, plain := p.quoted(); plain {
		*to = p.d.word(text)
		return true
	}
	end := 1 // of a string with escapes
	for end < len(whole) && whole[end] != '"' {
		if whole[end] == '\\' {
			end++
		}
		end++
	}
	if len(whole) == 0 || whole[0] != '"' || end >= len(whole) || json.Unmarshal(whole[:end+1], to) != nil {
		return false
	}
	p.rest = whole[end+1:]
	return true
}

// number reads digits, with at most one point between them.
func (p *parser) number(to *float64) bool {
	i, point := 0, -1
	for ; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c >= '0' && c <= '9':
			continue
		case c == '.' && point < 0 && i > 0:
			point = i
			continue
		}
		break
	}
	if i == 0 || point == i-1 || p.rest[0] == '0' && i > 1 && point != 1 {
		return false
	}
	n, err := strconv.ParseFloat(string(p.rest[:i]), 64)
	*to, p.rest = n, p.rest[i:]
	return err == nil
}

func (p *parser) boolean(to *bool) bool {
	for _, word := range []string{"true", "false"} {
		if bytes.HasPrefix(p.rest, []byte(word)) {
			*to, p.rest = word == "true", p.rest[len(word):]
			return true
		}
	}
	return false
}

func (p *parser) list(to *[]string) bool {
	if !p.eat('[') {
		return false
	}
	*to = []string{}
	if p.eat(']') {
		return true
	}
	for {
		var s string
		if !p.text(&s) {
			return false
		}
		*to = append(*to, s)
		if p.eat(']') {
			return true
		}
		if !p.eat(',') {
			return false
		}
	}
}
