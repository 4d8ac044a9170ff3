package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// InterruptError says that someone stopped the run. It holds the cause of the context's end, if that was it.
type InterruptError struct {
	Reason string
	Err    error // nil if the run was stopped between waves
}

// Error returns the reason.
func (e *InterruptError) Error() string { return e.Reason }

// Unwrap returns the cause.
func (e *InterruptError) Unwrap() error { return e.Err }

// code returns the exit code that a shell expects of a process ended by the signal.
func (e *InterruptError) code() int {
	var s *SignalError
	var down *ShutdownError
	switch {
	case errors.As(e.Err, &s):
		if number, ok := s.Signal.(syscall.Signal); ok {
			return 128 + int(number)
		}
	case errors.As(e.Err, &down):
		return 128 + int(syscall.SIGTERM)
	}
	return ExitInterrupted
}

// SignalError is a signal as the cause of a context's end: cancel(&SignalError{Signal: s}), with the cancel of
// [context.WithCancelCause]. errors.Is takes it for a [context.Canceled].
type SignalError struct {
	Signal os.Signal
}

// Error names the signal.
func (e *SignalError) Error() string {
	switch e.Signal {
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return fmt.Sprintf("signal %v", e.Signal)
}

// Is makes errors.Is(err, context.Canceled) true.
func (e *SignalError) Is(target error) bool { return target == context.Canceled }

// ShutdownError is the shutdown of this machine as the cause of a context's end. A run that it ends is left to
// [Orchestrator.Resume] after the next boot. errors.Is takes it for a [context.Canceled].
type ShutdownError struct{}

// Error says what happens.
func (e *ShutdownError) Error() string { return "this machine is being shut down" }

// Is makes errors.Is(err, context.Canceled) true.
func (e *ShutdownError) Is(target error) bool { return target == context.Canceled }
