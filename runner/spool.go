package runner

import (
	"bytes"
	"io"
	"os"
)

// spool holds bytes that are read after all of them were written: in memory,
// or in a file where they are many.
type spool struct {
	buf  bytes.Buffer
	file *os.File
}

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.buf.Len()+len(p) > maxSpool {
		f, err := os.CreateTemp("", "ansible-results-")
		if err != nil {
			return 0, err
		}
		s.file = f
		os.Remove(f.Name())
		if _, err := f.Write(s.buf.Bytes()); err != nil {
			return 0, err
		}
		s.buf = bytes.Buffer{}
	}
	if s.file != nil {
		return s.file.Write(p)
	}
	return s.buf.Write(p)
}

// reader returns what was written, nil if nothing was.
func (s *spool) reader() (io.Reader, error) {
	if s.file != nil {
		_, err := s.file.Seek(0, io.SeekStart)
		return s.file, err
	}
	if s.buf.Len() == 0 {
		return nil, nil
	}
	return &s.buf, nil
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}
