package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// maxName bounds the name of a member: a host's, for instance.
const maxName = 64 << 10

// scanner walks through a JSON text and holds no more of it than it is asked
// for, where encoding/json would hold the largest value whole. It takes NaN and
// Infinity, which Python writes, for values.
type scanner struct {
	r   *bufio.Reader
	buf bytes.Buffer
}

// next returns the next byte that is not white space.
func (s *scanner) next() (byte, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil || !blank(c) {
			return c, err
		}
	}
}

func blank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// object calls f for each member of an object; f reads its value.
func (s *scanner) object(f func(name string) error) error {
	return s.sequence('{', '}', func() error {
		raw, cut, err := s.keep(maxName)
		if err != nil {
			return err
		}
		var name string
		if cut > 0 || json.Unmarshal(raw, &name) != nil {
			return fmt.Errorf("%w: want a name, got %.40q", ErrStream, raw)
		}
		if c, err := s.next(); err != nil || c != ':' {
			return unexpected(c, err, "a colon")
		}
		return f(name)
	})
}

// array calls f for each element of an array; f reads it.
func (s *scanner) array(f func() error) error { return s.sequence('[', ']', f) }

func (s *scanner) sequence(open, end byte, f func() error) error {
	if c, err := s.next(); err != nil || c != open {
		return unexpected(c, err, string(open))
	}
	for first := true; ; first = false {
		c, err := s.next()
		switch {
		case err == nil && c == end:
			return nil
		case err == nil && first:
			s.r.UnreadByte()
		case err != nil || c != ',':
			return unexpected(c, err, "a comma or "+string(end))
		}
		if err := f(); err != nil {
			return err
		}
	}
}

func unexpected(c byte, err error, want string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: want %s, got %q", ErrStream, want, c)
}

// keep reads a value and returns its first limit bytes, valid until the next
// call, and how many more it had.
func (s *scanner) keep(limit int) (raw []byte, cut int, err error) {
	s.buf.Reset()
	w := limited{&s.buf, limit, 0}
	err = s.value(&w)
	return s.buf.Bytes(), w.cut, err
}

// limited writes the first bytes to w and counts the others.
type limited struct {
	w    io.Writer
	left int
	cut  int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(l.left, len(p))
	l.left -= n
	l.cut += len(p) - n
	if n > 0 {
		if _, err := l.w.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// value reads a value and writes it to w without the white space between its
// parts.
func (s *scanner) value(w io.Writer) error {
	c, err := s.next()
	if err == nil && (c == ',' || c == ':' || c == '}' || c == ']') {
		err = unexpected(c, nil, "a value")
	}
	if err != nil {
		return err
	}
	s.r.UnreadByte()
	depth, quoted, escaped := 0, false, false
	for {
		if _, err := s.r.Peek(1); err != nil {
			return err
		}
		b, _ := s.r.Peek(s.r.Buffered())
		start, end := 0, -1 // of what is not yet written; of the value
	scan:
		for i, c := range b {
			switch {
			case escaped:
				escaped = false
			case quoted:
				if escaped = c == '\\'; c == '"' {
					if quoted = false; depth == 0 {
						end = i + 1
						break scan
					}
				}
			case c == '"':
				quoted = true
			case c == '{', c == '[':
				depth++
			case depth == 0 && (blank(c) || c == ',' || c == '}' || c == ']'): // after a number or a word
				end = i
				break scan
			case c == '}', c == ']':
				if depth--; depth == 0 {
					end = i + 1
					break scan
				}
			case blank(c):
				if start < i {
					if _, err := w.Write(b[start:i]); err != nil {
						return err
					}
				}
				start = i + 1
			}
		}
		stop := len(b)
		if end >= 0 {
			stop = end
		}
		if start < stop {
			if _, err := w.Write(b[start:stop]); err != nil {
				return err
			}
		}
		s.r.Discard(stop)
		if end >= 0 {
			return nil
		}
	}
}
