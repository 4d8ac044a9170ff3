package ara

import (
	"context"
	"time"
)

// How long Follow waits before it looks again: for more events, and after an error.
const (
	lookEvery  = time.Second
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// Follow sends events as they are written, whatever the server does, until ended is closed: then it sends what is left,
// and returns nil if that was all. Once ended is closed, or ctx has ended, it tries nothing a second time: what is left is for
// another process. An error of the server before that is tried again after 1 s, 2 s, and so on up to a minute.
func (f *Forwarder) Follow(ctx context.Context, ended <-chan struct{}) error {
	retry := firstRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	over := false
	for {
		select {
		case <-ended:
			over = true
		case <-timer.C:
		case <-ctx.Done():
		}
		err := f.Send(ctx)
		switch {
		case over || ctx.Err() != nil:
			return err
		case err != nil:
			timer.Reset(retry)
			retry = min(2*retry, lastRetry)
		default:
			timer.Reset(lookEvery)
			retry = firstRetry
		}
	}
}
