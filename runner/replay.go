package runner

import (
	"errors"
	"iter"
)

// Replay makes of the events of one run what [Playbook.Run] makes of those it hears: for who has them from a file, or from
// another machine. emit is called with each, one after the other; it may be nil. hosts are those that were expected. A
// line that is no event, see [ErrStream], is left out; any other error ends the events, and the result is that of a run
// which was cut short there. What is in no event is not known: ExitCode is -1, and Stderr is empty.
func Replay(events iter.Seq2[Event, error], hosts []string, emit func(Event)) (Result, error) {
	f := newFold(hosts)
	first := true
	for e, err := range events {
		switch {
		case errors.Is(err, ErrStream):
			continue
		case err != nil:
			return f.result(), err
		case first:
			f.started, first = e.Time, false
		}
		f.add(e)
		if emit != nil {
			emit(e)
		}
	}
	return f.result(), nil
}
