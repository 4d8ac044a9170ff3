package runner

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	drain    = 500 * time.Millisecond // how long a silent pipe is still read after the engine's end
	drainMax = 1 << 20                // bytes still read then: more than any pipe holds
)

// output reads a pipe to its end or, after the engine's end, until it holds
// nothing more: a process that was left alive on purpose may keep the other
// end open for ever, or write to it for ever. However slow its reader is, all
// that the engine wrote is read.
type output struct {
	f     *os.File
	done  <-chan struct{} // closed at the engine's end
	once  sync.Once
	after int // bytes read since
}

func (o *output) Read(p []byte) (int, error) {
	o.once.Do(func() {
		go func() { // ends with the engine
			<-o.done
			o.f.SetReadDeadline(time.Now()) // wakes a waiting read
		}()
	})
	n, err := o.f.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if o.after > drainMax {
			return 0, io.EOF
		}
		o.f.SetReadDeadline(time.Now().Add(drain))
		n, err = o.f.Read(p)
		o.after += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n, io.EOF
		}
		o.f.SetReadDeadline(time.Unix(1, 0)) // come back here
	}
	return n, err
}

func (o *output) Close() error { return o.f.Close() }

// tail keeps the last max bytes written to it.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p[max(0, len(p)-t.max):]...)
	if n := len(t.buf) - t.max; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

// String returns it as text: what is not UTF-8 is replaced.
func (t *tail) String() string { return strings.ToValidUTF8(string(t.buf), "\uFFFD") }

// serial lets stdout and stderr go to one writer. An error of that is kept from
// the engine's side: output that cannot be stored must not stop the run.
type serial struct {
	mu  sync.Mutex
	w   io.Writer
	err error // the first of w
}

func (s *serial) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.w.Write(p); err != nil && s.err == nil {
		s.err = err
	}
	return len(p), nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// lastLines returns the last n lines of s that are not blank.
func lastLines(s string, n int) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimRight(line, " \t\r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
