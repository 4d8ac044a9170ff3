package orchestrator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// ErrHeld says that a hold forbade the run before anything was touched: errors.Is(err, ErrHeld). The error is a
// [*HeldError].
var ErrHeld = errors.New("held")

// HeldError says why there is a hold.
type HeldError struct {
	Reason string // may be empty
}

// Error returns the reason.
func (e *HeldError) Error() string {
	if e.Reason == "" {
		return ErrHeld.Error()
	}
	return ErrHeld.Error() + ": " + e.Reason
}

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// HoldFile returns a function for [Orchestrator].Hold: there is a hold while anything exists at path. The reason names
// the path and the first line of the file.
func HoldFile(path string) func() (held bool, reason string, err error) {
	return func() (bool, string, error) {
		info, err := os.Lstat(path)
		if errors.Is(err, os.ErrNotExist) {
			return false, "", nil
		}
		if err != nil {
			return false, "", fmt.Errorf("look for a hold: %w", err)
		}
		if info.Mode().IsRegular() {
			if line := firstLine(path); line != "" {
				return true, fmt.Sprintf("%s (%s)", line, path), nil
			}
		}
		return true, fmt.Sprintf("%s exists", path), nil
	}
}

// firstLine returns the first line of a file, as far as it can be read and printed.
func firstLine(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	line, _ := bufio.NewReader(io.LimitReader(file, 200)).ReadString('\n')
	line = strings.ToValidUTF8(strings.TrimSpace(line), "")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, line)
}
