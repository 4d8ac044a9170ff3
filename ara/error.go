package ara

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Error is a request that ARA did not do.
type Error struct {
	Request string // such as "POST results"
	Status  int    // of HTTP; 0 if there was no answer
	Reason  string // in words, without secrets
	Err     error  // context.Canceled, context.DeadlineExceeded or nil
}

// Error says what was asked for and what came back.
func (e *Error) Error() string { return "ARA: " + e.Request + ": " + e.Reason }

func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same request may succeed later with nobody doing anything.
func (e *Error) Temporary() bool {
	return e.Status == 0 || e.Status >= 500 || e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooManyRequests
}

// Refused reports whether the server will never take this very record.
func (e *Error) Refused() bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired, http.StatusRequestTimeout,
		http.StatusTooManyRequests:
		return false
	}
	return e.Status >= 400 && e.Status < 500
}

// refused reports whether an error says that the server will never take a record.
func refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Refused()
}

// status returns the HTTP status in an error, 0 if it is none of ours.
func status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// answered is the error of an answer that is no success.
func (c *Client) answered(what string, code int, said []byte) *Error {
	e := &Error{Request: what, Status: code, Reason: fmt.Sprintf("the server answered %d %s", code, http.StatusText(code))}
	switch {
	case code/100 == 3:
		e.Status, e.Reason = http.StatusNotFound, e.Reason+": put the URL that it redirects to into ARA_API_SERVER"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Reason += "; look at ARA_API_USERNAME and ARA_API_PASSWORD"
	case bytes.HasPrefix(bytes.TrimSpace(said), []byte("{")):
		e.Reason += ": " + c.clean(string(said))
	}
	return e
}

// unanswered is the error of a request without a whole answer. Go's own words are not used but for what a dial says.
func (c *Client) unanswered(ctx context.Context, what string, err error) *Error {
	e := &Error{Request: what, Err: ctx.Err()}
	var in *url.Error
	if errors.As(err, &in) {
		err = in.Err
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		e.Reason = "given up before there was an answer"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Reason = "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Reason = "the connection was closed before there was an answer"
	default:
		e.Reason = c.clean(err.Error())
	}
	return e
}

// clean makes one short line of a text, without the password: belt and braces.
func (c *Client) clean(s string) string {
	if c.Password != "" {
		s = strings.ReplaceAll(s, c.Password, "<redacted>")
	}
	return limit(strings.Join(strings.Fields(s), " "), 300)
}
