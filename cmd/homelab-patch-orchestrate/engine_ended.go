package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// events opens the events of the run to add to them, for this engine alone. A line that was cut short is ended first: the
// next one, which says of what the events after it are, would be lost with it.
func (l local) events() (*os.File, error) {
	f, err := l.append("events.jsonl")
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: another engine is at work on this run: %w", f.Name(), err)
	}
	if err := endLine(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		_, err = f.Write([]byte("\n"))
	}
	return err
}

// ended returns how a wave came out, if the events say that it had come to its end on all its hosts before the process that
// ran it died; else a result that is not complete. emit is called with its events, as it was then.
func (l local) ended(events *os.File, w orchestrator.Wave, emit func(runner.Event)) (runner.Result, error) {
	var at, begin, from, to int64
	of := false // the wave
	for e, err := range runner.Decode(io.NewSectionReader(events, 0, 1<<62)) {
		if err != nil && !errors.Is(err, runner.ErrStream) {
			return runner.Result{}, err
		}
		at += int64(e.Size)
		switch {
		case err != nil:
			of = false // what is not known could have been the start of another
		case e.Kind == runner.KindStart:
			begin, of = at-int64(e.Size), slices.Contains(e.Labels, waveLabel(w.Number))
		case e.Kind == runner.KindStats && of:
			of = false
			if !slices.ContainsFunc(w.Names(), func(h string) bool { _, told := e.Stats[h]; return !told }) {
				from, to = begin, at
			}
		}
	}
	if to == 0 {
		return runner.Result{}, nil
	}
	return runner.Replay(runner.Decode(io.NewSectionReader(events, from, to-from)), w.Names(), emit)
}
