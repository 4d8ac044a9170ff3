// Package gate asks whether a fleet is well: by HTTP, by a command, by a query of Prometheus, and by the failed units of
// the hosts that were just patched. The Check of each type is one of an [orchestrator.Gate]:
//
//	orchestrator.Gate{Name: "grafana", Timeout: 10 * time.Second, Check: gate.HTTP{URL: "http://grafana:3000/"}.Check}
//
// Whatever cannot be told is an error, which means no. An error is one line for people. It holds no query and no password
// of a URL.
package gate

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// longest is how many characters of what others wrote are shown.
const longest = 300

// line makes one printable line of what others wrote, and cuts it.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > longest {
		s = string(runes[:longest]) + "…"
	}
	return s
}

// fresh opens a connection for each question: one that is open already may go on answering for a server that takes no
// new ones.
func fresh() http.RoundTripper {
	return &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
}

// shown is a URL without what may be secret in it.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// plain is why a request failed, without the URL, which [*url.Error] shows whole, and without its secrets, should a
// server repeat them.
func plain(err error, u *url.URL) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	text := err.Error()
	password, _ := u.User.Password()
	for _, secret := range []string{u.RawQuery, password, url.QueryEscape(password)} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return line(text)
}
