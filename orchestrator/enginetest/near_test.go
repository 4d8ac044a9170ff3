package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// near is the engine: what of it is on this machine.
type near struct {
	url      string // of the run
	deadline time.Duration
}

// errGone is why it gives up.
var errGone = errors.New("it has not been heard of")

// Run implements [orchestrator.Engine].
func (n near) Run(ctx context.Context, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	wave := fmt.Sprintf("%s/%d", n.url, w.Number)
	res, err := runner.Replay(n.events(ctx, wave, w.Names()), w.Names(), emit)
	switch {
	case ctx.Err() != nil && !res.Complete:
		// The far end is told, and not waited for: it may be gone.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.deadline)
		defer cancel()
		request(last, http.MethodDelete, wave, nil)
		return res, fmt.Errorf("cancelled: %w (%w)", ctx.Err(), context.Cause(ctx))
	case err != nil:
		return res, &runner.EngineError{Problem: "the engine is gone", Err: err}
	case !res.Complete:
		return res, &runner.EngineError{Problem: "the engine broke off"}
	}
	return res, nil
}

// events are those of a wave, which is begun if it was not. Where the stream breaks they go on at the offset it had come to.
func (n near) events(ctx context.Context, wave string, hosts []string) iter.Seq2[runner.Event, error] {
	return func(yield func(runner.Event, error) bool) {
		offset, last, begun := 0, time.Now(), false
		body, _ := json.Marshal(hosts)
		for ctx.Err() == nil {
			if time.Since(last) > n.deadline {
				yield(runner.Event{}, fmt.Errorf("%w for %s", errGone, n.deadline))
				return
			}
			call, cancel := context.WithCancel(ctx)
			alive := time.AfterFunc(n.deadline-time.Since(last), cancel)
			heard := func() { last = time.Now(); alive.Reset(n.deadline) }
			whole := false
			if !begun {
				if r, err := request(call, http.MethodPut, wave, bytes.NewReader(body)); err == nil {
					r.Close()
					begun = true
					heard()
				}
			}
			if begun {
				if r, err := request(call, http.MethodGet, fmt.Sprintf("%s?offset=%d", wave, offset), nil); err == nil {
					whole = lines(r, heard, func(line []byte) bool {
						offset += len(line)
						for e, err := range runner.Decode(bytes.NewReader(line)) {
							if !yield(e, err) {
								return false
							}
						}
						return true
					})
					r.Close()
				}
			}
			alive.Stop()
			cancel()
			if whole {
				return
			}
			select { // a moment, before it is asked again
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// lines hands on each whole line but empty ones, which are signs of life, and reports whether the stream came to its end.
func lines(r io.Reader, heard func(), take func([]byte) bool) bool {
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadBytes('\n')
		switch {
		case err == io.EOF:
			return len(line) == 0
		case err != nil: // half a line is asked for again
			return false
		}
		heard()
		if len(line) > 1 && !take(line) {
			return true
		}
	}
}

func request(ctx context.Context, method, url string, body io.Reader) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err == nil && answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		err = errors.New(answer.Status)
	}
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}
