package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// The waits between attempts: about the first, doubled each time, up to the longest.
const (
	firstWait   = time.Second
	longestWait = 30 * time.Second
)

// Retry makes attempts until one succeeds, the error is none that time mends, or ctx ends. It waits as long as the far
// end asks, or a while that grows, with jitter so that many who lost the same server do not come back at once. A wait
// that would outlast ctx is not begun. The error is that of the last attempt.
func Retry(ctx context.Context, n Notifier, m Message) error {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		err := n.Notify(ctx, m)
		var failed *Error
		if err == nil || ctx.Err() != nil || !errors.As(err, &failed) || !failed.Temporary() {
			return err
		}
		pause := wait/2 + rand.N(wait)
		if failed.RetryAfter > 0 {
			pause = failed.RetryAfter + rand.N(wait/4)
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= pause {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
