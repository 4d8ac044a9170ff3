package ara

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is wrong is said in words, whether it may pass by itself is known, and the password is in none of them.
func TestErrors(t *testing.T) {
	t.Parallel()
	server := shared(t)
	front := newFront(t, server)
	free := free(t)
	for _, c := range []struct {
		name   string
		client *Client
		fault  func(http.ResponseWriter, *http.Request, func())
		words  string
		passes bool // by itself
	}{
		{"refused", &Client{Server: "http://127.0.0.1:" + free, User: user, Password: password}, nil, "connection refused", true},
		{"no such host", &Client{Server: "http://ara.invalid"}, nil, "no such host", true},
		{"hangs", nil, hang, "no answer in time", true},
		{"cut", nil, func(http.ResponseWriter, *http.Request, func()) { cut() }, "closed before there was an answer", true},
		{"500", nil, answer(500), "answered 500", true},
		{"429", nil, answer(429), "answered 429", true},
		{"404", nil, answer(404), "answered 404", false},
		{"301", nil, answer(301), "redirects", false},
		{"no JSON", nil, answer(200), "is ARA_API_SERVER the base URL", false},
		{"other JSON", nil, func(w http.ResponseWriter, _ *http.Request, _ func()) { fmt.Fprint(w, `{"kind":"other"}`) }, "what answers is not ARA", false},
		{"API v2", nil, func(w http.ResponseWriter, _ *http.Request, _ func()) {
			fmt.Fprint(w, `{"kind":"ara","version":"9.0","api":["http://x/api/v2/"]}`)
		}, "ARA 9.0 has no API v1", false},
		{"echo", nil, func(w http.ResponseWriter, r *http.Request, _ func()) {
			u, p, _ := r.BasicAuth()
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"you":"%s %s"}`, u, p)
		}, "<redacted>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := c.client
			if client == nil {
				client = front.client()
			}
			front.breaks(c.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if c.name == "hangs" {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			_, err := client.Version(ctx)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.words) || e.Temporary() != c.passes {
				t.Errorf("%v; temporary %t", err, e != nil && e.Temporary())
			}
			if all := fmt.Sprintf("%v %+v %#v %v %+v", err, err, err, client, client); strings.Contains(all, password) {
				t.Errorf("the password is in %s", all)
			}
		})
	}
	// Reading is for everybody on this server, writing is not.
	if v, err := (&Client{Server: server.url() + "/"}).Version(t.Context()); v != "1.5.8" || err != nil {
		t.Errorf("version %q, %v", v, err)
	}
	_, err := (&Client{Server: server.url(), User: user, Password: "wrong-hush"}).post(t.Context(), "playbooks", thing{})
	var e *Error
	if !errors.As(err, &e) || e.Status != 401 || e.Temporary() || e.Refused() || strings.Contains(err.Error(), "wrong-hush") {
		t.Errorf("a wrong password: %v", err)
	}
	_, err = server.client().post(t.Context(), "playbooks", thing{"path": strings.Repeat("x", 300), "ansible_version": "1"})
	if !errors.As(err, &e) || !e.Refused() || !strings.Contains(err.Error(), "255") {
		t.Errorf("a long name: %v", err)
	}
}

// What is not to be recorded is replaced, wherever it is.
func TestIgnore(t *testing.T) {
	t.Parallel()
	i := Ignore{Facts: []string{"ansible_*_key"}, Arguments: []string{"inv*"}, Results: []string{"diff", "std???"}, Files: []string{"*secret*", "/etc/x"}}
	content, facts := i.result([]byte(`{"_ansible_x":1,"diff":{"a":1},"n":12345678901234567890,"results":[{"stdout":"x","_ansible_y":1,"rc":1.50}],
		"ansible_facts":{"ansible_env":{"A":"hush"},"ansible_dsa_key":"hush","ansible_ssh_host_key":"hush","ansible_os":"x"}}`))
	const want = `{"ansible_facts":{"ansible_dsa_key":"not saved: ara.ignore","ansible_env":"not saved: ara.ignore","ansible_os":"x","ansible_ssh_host_key":"not saved: ara.ignore"},` +
		`"diff":"not saved: ara.ignore","n":12345678901234567890,"results":[{"rc":1.50,"stdout":"not saved: ara.ignore"}]}`
	if got := text(content); got != want || len(facts) != 4 {
		t.Errorf("content\n%s, want\n%s", got, want)
	}
	if got := text(i.arguments([]byte(`{"inventory":["x"],"extra_vars":["x"],"forks":5}`))); got != `{"extra_vars":"not saved: ara.ignore","forks":5,"inventory":"not saved: ara.ignore"}` {
		t.Errorf("arguments %s", got)
	}
	dir := t.TempDir()
	began := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		text, want string
		changed    time.Time
	}{
		"plain.yml":    {"- hosts: all\n", "- hosts: all\n", began.Add(-time.Hour)},
		"blank.yml":    {" \n", "(the file is empty)", began.Add(-time.Hour)},
		"zero.yml":     {"a\x00b\xff", "a\uFFFDb\uFFFD", began.Add(-time.Hour)},
		"a_secret.yml": {"hush", notSaved, began.Add(-time.Hour)},
		"changed.yml":  {"hush", "not saved: the file was changed", began.Add(time.Minute)},
		"large.yml":    {strings.Repeat("x", fileLimit+5), strings.Repeat("x", fileLimit) + "\n… and more", began.Add(-time.Hour)},
	} {
		path := filepath.Join(dir, name)
		os.WriteFile(path, []byte(c.text), 0o600)
		os.Chtimes(path, c.changed, c.changed)
		if got := i.content(path, began); !strings.HasPrefix(got, c.want) || strings.Contains(got, "hush") {
			t.Errorf("%s: %.100q, want %.100q", name, got, c.want)
		}
	}
	if got := i.content(filepath.Join(dir, "gone"), began); got != "not saved: the file could not be read" {
		t.Errorf("a missing file: %s", got)
	}
}
