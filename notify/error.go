package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Fault says whose a failed attempt is.
type Fault int

// Faults.
const (
	FarEnd   Fault = iota // the far end or the way to it, for now: another attempt may help
	Settings              // address or token: every message fails until they are mended
	Content               // this message: it will never be taken
)

// Error is a failed attempt. errors.Is finds the end of a context in it.
type Error struct {
	Channel    string        // discord, ntfy or heartbeat
	Fault      Fault         //
	Status     int           // of HTTP; 0 if there was no answer
	RetryAfter time.Duration // how long the far end asks to be left alone; 0 if it does not say
	Reason     string        // in words, without secrets
	Err        error         // context.Canceled, context.DeadlineExceeded or nil
}

// Error names the channel and says what is wrong.
func (e *Error) Error() string {
	s := e.Channel + ": " + e.Reason
	if e.Fault == Settings {
		s += "; look at the settings of the channel"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same attempt may succeed later with nobody doing anything.
func (e *Error) Temporary() bool { return e.Fault == FarEnd }

// judge returns the fault behind an HTTP status that is no success.
func judge(status int) Fault {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests,
		status >= 500:
		return FarEnd
	case status < 400, status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound,
		status == http.StatusMethodNotAllowed, status == http.StatusProxyAuthRequired, status == http.StatusGone:
		return Settings // a redirect, too: following it could take the token elsewhere
	}
	return Content
}

// answered is the error of an answer that is no success.
func answered(channel string, resp *http.Response, said string) *Error {
	e := &Error{Channel: channel, Status: resp.StatusCode, Fault: judge(resp.StatusCode)}
	e.Reason = fmt.Sprintf("the server answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if said != "" {
		e.Reason += ": " + said
	}
	if s, err := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64); err == nil && s > 0 && e.Fault == FarEnd {
		e.RetryAfter = seconds(s)
	}
	return e
}

// seconds bounds what a far end may ask for: an hour is long enough to be left alone.
func seconds(s float64) time.Duration { return time.Duration(min(s, 3600) * float64(time.Second)) }

// unanswered is the error of an attempt without an answer, in words of ours: Go's own hold the URL, and what a far end
// said that speaks no HTTP, which may be our own request.
func unanswered(ctx context.Context, channel string, err error, secrets ...Secret) *Error {
	e := &Error{Channel: channel, Fault: FarEnd}
	if ctx.Err() != nil {
		e.Err = ctx.Err()
	}
	var in *url.Error
	if errors.As(err, &in) {
		err = in.Err
	}
	var dns *net.DNSError
	var timeout net.Error
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled):
		e.Reason = "given up before there was an answer"
	case errors.As(err, &dns):
		e.Reason = "the name " + dns.Name + " cannot be resolved: " + dns.Err
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Reason = "no answer in time"
	case errors.As(err, &cert): // names and dates of certificates
		e.Reason = "its certificate is not trusted: " + cert.Err.Error()
	case errors.As(err, &op) && op.Op == "dial": // an address, and what the kernel says of it
		e.Reason = op.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op):
		e.Reason = "the connection was closed before there was an answer"
	default:
		e.Reason = "what answered does not speak HTTP as it should"
	}
	e.Reason = cut(line(hide(e.Reason, secrets...)), 300, octets)
	return e
}
