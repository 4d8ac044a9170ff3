package sim

import (
	"bufio"
	"bytes"
	"cmp"
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

// Engine is an [orchestrator.Engine] whose waves run elsewhere: what of it is on the controller. At its other end is [Far].
type Engine struct {
	URL      string        // of the run at the far end
	Deadline time.Duration // when it is given up: so long after it was heard of last
}

// errGone is why it gives up.
var errGone = errors.New("it has not been heard of")

// Run implements [orchestrator.Engine].
func (n Engine) Run(ctx context.Context, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	far := &wave{url: fmt.Sprintf("%s/%d", n.URL, w.Number), deadline: n.Deadline, hosts: w.Names()}
	res, err := runner.Replay(far.events(ctx), far.hosts, emit)
	switch {
	case res.Complete:
		return res, nil
	case ctx.Err() != nil:
		// It returns when nothing is at work there any more, and is not waited for longer than for anything else: the far
		// end may be gone.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.Deadline)
		defer cancel()
		if answer, err := far.ask(last, http.MethodDelete, "", nil); err == nil {
			answer.Body.Close()
		}
		return res, fmt.Errorf("cancelled: %w (%w)", ctx.Err(), context.Cause(ctx))
	case err != nil:
		return res, &runner.EngineError{Problem: "the far engine is gone", Err: err}
	}
	return res, &runner.EngineError{Problem: "the far engine broke off", Detail: far.broke}
}

// wave is one at the far end, as far as it is known.
type wave struct {
	url      string
	deadline time.Duration
	hosts    []string

	begun   bool
	refused error // the last answer that was a no, since it was heard of: that tells more than how a later question broke
	offset  int   // of the events that came
	broke   string
}

// events are those of the wave, which is begun if it was not. Where the stream breaks they go on at the offset it had come to.
func (v *wave) events(ctx context.Context) iter.Seq2[runner.Event, error] {
	return func(yield func(runner.Event, error) bool) {
		last, why := time.Now(), error(nil)
		for ctx.Err() == nil {
			if since := time.Since(last); since > v.deadline {
				yield(runner.Event{}, fmt.Errorf("%w for %s (%w)", errGone, v.deadline, cmp.Or(v.refused, why)))
				return
			}
			call, cancel := context.WithCancel(ctx)
			alive := time.AfterFunc(v.deadline-time.Since(last), cancel)
			heard := func() { last, v.refused = time.Now(), nil; alive.Reset(v.deadline) }
			var over bool
			over, why = v.listen(call, heard, yield)
			alive.Stop()
			cancel()
			if over {
				return
			}
			select { // a moment, before it is asked again
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// listen yields events until the stream ends or breaks, and reports whether no more are wanted, or else why it broke.
func (v *wave) listen(ctx context.Context, heard func(), yield func(runner.Event, error) bool) (over bool, err error) {
	if !v.begun {
		hosts, err := json.Marshal(v.hosts)
		if err != nil {
			return false, err
		}
		answer, err := v.ask(ctx, http.MethodPut, "", bytes.NewReader(hosts))
		if err != nil {
			return false, err
		}
		answer.Body.Close()
		v.begun = true
		heard()
	}
	answer, err := v.ask(ctx, http.MethodGet, fmt.Sprintf("?offset=%d", v.offset), nil)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	b := bufio.NewReader(answer.Body)
	for {
		line, err := b.ReadBytes('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			v.broke = answer.Trailer.Get(brokeTrailer)
			return true, nil
		case err != nil: // half a line is asked for again
			return false, err
		}
		heard()
		if len(line) == 1 { // a sign of life
			continue
		}
		v.offset += len(line)
		for e, err := range runner.Decode(bytes.NewReader(line)) {
			if !yield(e, err) {
				return true, nil
			}
		}
	}
}

// ask makes one request. Any answer but 200 is an error.
func (v *wave) ask(ctx context.Context, method, query string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, v.url+query, body)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		answer.Body.Close()
		v.refused = fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(said))
		return nil, v.refused
	}
	return answer, nil
}
