package sim

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
)

// execution is a wave that the far end carries out, or has carried out. It takes the events as they come.
type execution struct {
	log    *os.File
	cancel context.CancelFunc // nil if it was over from the beginning
	done   chan struct{}      // closed when it is over

	mu       sync.Mutex
	written  int64
	whole    int64         // of it, to the end of the last line
	more     chan struct{} // closed when there is more, or it is over
	over     bool
	complete bool   // its recap is there
	broke    string // why it is not, in one line
}

// Write implements [io.Writer] for the events, which come in pieces.
func (x *execution) Write(p []byte) (int, error) {
	n, err := x.log.Write(p)
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := bytes.LastIndexByte(p[:n], '\n'); i >= 0 {
		x.whole = x.written + int64(i) + 1
		close(x.more)
		x.more = make(chan struct{})
	}
	x.written += int64(n)
	return n, err
}

// end says that there will be no more; err is why there is no recap.
func (x *execution) end(complete bool, err error) {
	x.log.Close()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over, x.complete = true, complete
	if err != nil {
		x.broke = strings.Join(strings.Fields(err.Error()), " ")
	}
	close(x.more)
	close(x.done)
}

func (x *execution) state() (whole int64, more <-chan struct{}, over, complete bool, broke string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.whole, x.more, x.over, x.complete, x.broke
}
