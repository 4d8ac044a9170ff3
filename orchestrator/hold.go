package orchestrator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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

// Hold is a hold file. Anything that exists at its path is a hold, whatever is in it; in a file, the first line is the
// reason, and lines "until: TIME" and "since: TIME" after it may say more. A hold does not end by itself: past its
// end it still holds.
type Hold struct {
	Path   string
	Reason string    // may be empty
	Since  time.Time // what the file says, or when it was written last
	Until  time.Time // zero: no end is known
	// Bad is an end that the file has and that nobody understands; empty if there is none.
	Bad string
}

// ReasonLimit is how much of a reason is shown, in bytes.
const ReasonLimit = 200

// ReadHold returns the hold at a path, or nil if nothing is there. What cannot be read of it holds without a reason.
func ReadHold(path string) (*Hold, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for a hold: %w", err)
	}
	h := &Hold{Path: path, Since: info.ModTime()}
	if !info.Mode().IsRegular() {
		return h, nil // reading a pipe would wait for ever
	}
	file, err := os.Open(path)
	if err != nil {
		return h, nil
	}
	defer file.Close()
	h.parse(file)
	return h, nil
}

// parse reads the lines of a hold file, as far as they can be read and printed.
func (h *Hold) parse(file io.Reader) {
	lines := bufio.NewReader(io.LimitReader(file, 4096))
	for number := 0; ; number++ {
		line, err := lines.ReadString('\n')
		line = printable(line)
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		at, bad := ParseTime(value, time.Local)
		switch {
		case number == 0:
			h.Reason = printable(line[:min(len(line), ReasonLimit)])
		case key == "until" && bad == nil:
			h.Until = at
		case key == "until":
			h.Bad = value
		case key == "since" && bad == nil:
			h.Since = at
		}
		if err != nil {
			return
		}
	}
}

// printable returns a line without what a terminal could obey.
func printable(line string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(line, "")))
}

// Expired reports whether the hold is past its end. It holds all the same.
func (h Hold) Expired(now time.Time) bool { return !h.Until.IsZero() && !now.Before(h.Until) }

// Text says why there is a hold and until when, for people.
func (h Hold) Text(now time.Time) string {
	text := fmt.Sprintf("%s (%s)", h.Reason, h.Path)
	if h.Reason == "" {
		text = h.Path + " exists"
	}
	switch end := h.Until.Local().Format(instant); {
	case h.Bad != "":
		return text + ", until " + strconv.Quote(h.Bad) + ", which is no time"
	case h.Until.IsZero():
		return text
	case h.Expired(now):
		return text + ", expired on " + end + " and still holds"
	default:
		return text + ", until " + end
	}
}

// Set puts the hold on disk, whole or not at all, also through a power cut. Its folder is made if it is missing.
// Everybody may read it.
func (h Hold) Set() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("set the hold: %w", err)
		}
	}()
	if err := (disk{}).mkdir(filepath.Dir(h.Path), 0o755); err != nil {
		return err
	}
	text := printable(h.Reason) + "\n"
	if !h.Until.IsZero() {
		text += "until: " + h.Until.Format(time.RFC3339) + "\n"
	}
	text += "since: " + h.Since.Format(time.RFC3339) + "\n"
	return ReplaceFile(h.Path, []byte(text), 0o644)
}

// Clear removes the hold, durably.
func (h Hold) Clear() error {
	if err := os.Remove(h.Path); err != nil {
		return fmt.Errorf("clear the hold: %w", err)
	}
	return (disk{}).sync(filepath.Dir(h.Path))
}

// HoldFile returns a function for [Orchestrator].Hold: there is a hold while anything exists at path. The reason names
// the path, the first line of the file, and the end of the hold.
func HoldFile(path string) func() (held bool, reason string, err error) {
	return func() (bool, string, error) {
		h, err := ReadHold(path)
		if h == nil {
			return false, "", err
		}
		return true, h.Text(time.Now()), nil
	}
}

// HostHolds returns a function that says whether one host is held, as [HoldFile] does for the fleet: there is a hold
// while dir has a file with the host's name. A host whose name no file can have is never held so.
func HostHolds(dir string) func(host string) (held bool, reason string, err error) {
	return func(host string) (bool, string, error) {
		path, err := HostHoldPath(dir, host)
		if err != nil {
			return false, "", nil
		}
		return HoldFile(path)()
	}
}

// HostHoldPath returns where the hold of a host is. It refuses a name that would be another place, or none.
func HostHoldPath(dir, host string) (string, error) {
	if host == "" || len(host) > 255 || host[0] == '.' || strings.ContainsAny(host, "/\x00") || host != printable(host) {
		return "", fmt.Errorf("host %q cannot be held by itself: its name is none that a file in %s can have", host, dir)
	}
	return filepath.Join(dir, host), nil
}

// ReadHostHolds returns the hold of each host that has one in dir; none if there is no such folder.
func ReadHostHolds(dir string) (map[string]*Hold, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for holds of hosts: %w", err)
	}
	holds := map[string]*Hold{}
	for _, e := range entries {
		path, err := HostHoldPath(dir, e.Name())
		if err != nil {
			continue // no host's
		}
		h, err := ReadHold(path)
		if err != nil {
			return nil, err
		}
		if h != nil {
			holds[e.Name()] = h
		}
	}
	return holds, nil
}

// ParseTime reads a time that a person wrote: RFC 3339, or 2026-12-01 18:00 at loc, or 2026-12-01, which is the first
// minute of that day.
func ParseTime(text string, loc *time.Location) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, loc); err == nil && sane(at) {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write one such as 2026-12-01, \"2026-12-01 18:00\" or 2026-12-01T18:00:00Z", text)
}
