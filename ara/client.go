// Package ara keeps ARA's record of what Ansible did, by its REST API: no part of ARA is needed on the controller.
//
//	f := ara.Forwarder{Client: &ara.Client{Server: "http://ara:8000"}, Dir: runFolder}
//	err := f.Open()
//	err = f.Send(ctx)               // what events.jsonl has so far
//	err = f.Finish(ctx, records)    // when the run has ended
//	f.Close()
//
// # What it guarantees
//
//   - Each record is made exactly once, whatever dies at whatever moment: progress is on disk, and before a POST that may
//     have been made already the server is asked for its record, by the very microsecond in which it began. When a
//     playbook ends, the server's own counts are compared, and what it has twice after all is removed.
//   - One playbook of ARA is one ansible-playbook. Its labels are those of the run: [runner.Playbook].Labels.
//   - What no_log hides was never in the events. Module arguments and files that only hold variables are not recorded.
//   - No error has the password in it.
//
// # What it does not do
//
// It does not decide anything about a run, and nothing in a run waits for it.
package ara

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// requestLimit bounds one request where the context does not.
const requestLimit = 15 * time.Second

// answerLimit is more than an answer of ours has: a page of what it lists.
const answerLimit = 16 << 20

// Client asks the REST API of one ARA server. It may be used by several goroutines at once.
type Client struct {
	Server   string // base URL, such as https://ara.example.net
	User     string // of basic authentication; empty sends none
	Password string

	once sync.Once
	http *http.Client

	mu    sync.Mutex
	asked time.Time // of the request under way; zero if there is none
	fails bool      // the last request had no answer, or none of use
}

// slow is how long an answer may take of a server that is not hung.
const slow = time.Second

// Answers reports whether it is worth to wait for the server: what it was asked last it answered, and what it is asked now
// it was not asked long ago.
func (c *Client) Answers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.fails && (c.asked.IsZero() || time.Since(c.asked) < slow)
}

// Format makes every verb print the server alone.
func (c *Client) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "ARA at %s", c.Server) }

// Version asks which version of ARA answers. It is an error if what answers is not ARA, or has no API v1.
func (c *Client) Version(ctx context.Context) (string, error) {
	var is struct {
		Kind, Version string
		API           []string
	}
	if err := c.do(ctx, http.MethodGet, "/api/", nil, &is); err != nil {
		return "", err
	}
	if is.Kind != "ara" {
		return "", &Error{Request: "GET /api/", Status: http.StatusNotFound, Reason: "what answers is not ARA; look at ARA_API_SERVER"}
	}
	for _, api := range is.API {
		if strings.HasSuffix(api, "/v1/") {
			return is.Version, nil
		}
	}
	return is.Version, &Error{Request: "GET /api/", Status: http.StatusNotFound,
		Reason: fmt.Sprintf("ARA %s has no API v1, which is the one that is spoken here", is.Version)}
}

// post makes a record and returns its id.
func (c *Client) post(ctx context.Context, kind string, body any) (int64, error) {
	var made struct{ ID int64 }
	err := c.do(ctx, http.MethodPost, v1+kind, body, &made)
	if err == nil && made.ID == 0 {
		err = &Error{Request: "POST " + kind, Reason: "the answer has no id"}
	}
	return made.ID, err
}

// get reads a record into answer.
func (c *Client) get(ctx context.Context, kind string, id int64, answer any) error {
	return c.do(ctx, http.MethodGet, one(kind, id), nil, answer)
}

// patch changes a record.
func (c *Client) patch(ctx context.Context, kind string, id int64, body any) error {
	return c.do(ctx, http.MethodPatch, one(kind, id), body, nil)
}

// remove deletes a record; one that is gone is no error.
func (c *Client) remove(ctx context.Context, kind string, id int64) error {
	err := c.do(ctx, http.MethodDelete, one(kind, id), nil, nil)
	if status(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// query is what a list is asked for.
type query map[string]any

// started is part of a query: records that began at that microsecond.
func (q query) started(at string) query {
	q["started_after"], q["started_before"] = at, at
	return q
}

// list calls each with every record of a kind that the query finds.
func (c *Client) list(ctx context.Context, kind string, what query, each func(row)) error {
	const page = 250
	for offset := 0; ; offset += page {
		var got struct {
			Count   int
			Results []row
		}
		q := url.Values{"limit": {fmt.Sprint(page)}, "offset": {fmt.Sprint(offset)}, "order": {"id"}}
		for k, v := range what {
			q.Set(k, fmt.Sprint(v))
		}
		if err := c.do(ctx, http.MethodGet, v1+kind+"?"+q.Encode(), nil, &got); err != nil {
			return err
		}
		for _, r := range got.Results {
			each(r)
		}
		if len(got.Results) == 0 || offset+len(got.Results) >= got.Count {
			return nil
		}
	}
}

// Prune removes the playbooks with a label that began before a time, and says how many.
func (c *Client) Prune(ctx context.Context, label string, before time.Time) (removed int, err error) {
	var ids []int64
	err = c.list(ctx, "playbooks", query{"label": label, "started_before": stamp(before)}, func(r row) { ids = append(ids, r.ID) })
	for _, id := range ids {
		if err == nil {
			err = c.remove(ctx, "playbooks", id)
		}
		if err == nil {
			removed++
		}
	}
	return removed, err
}

// row is what of a listed record tells it from others.
type row struct {
	ID      int64
	Path    string
	Key     string
	Started time.Time
	Task    int64
	Host    int64
	Labels  []struct{ Name string }
}

const v1 = "/api/v1/"

// one is the path of a record.
func one(kind string, id int64) string { return fmt.Sprintf("%s%s/%d", v1, kind, id) }

// do makes one request. Its error is an [*Error].
func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	c.mu.Lock()
	c.asked = time.Now()
	c.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, requestLimit) // http.Client.Timeout would start a goroutine each time
	err := c.request(limited, method, path, body, answer)
	cancel()
	var e *Error
	c.mu.Lock()
	c.asked, c.fails = time.Time{}, errors.As(err, &e) && e.Temporary()
	c.mu.Unlock()
	return err
}

func (c *Client) request(ctx context.Context, method, path string, body, answer any) error {
	what, _, _ := strings.Cut(method+" "+strings.TrimPrefix(path, v1), "?")
	text := []byte(nil)
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return &Error{Request: what, Status: http.StatusBadRequest, Reason: "it cannot be written as JSON: " + err.Error()}
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.Server, "/")+path, bytes.NewReader(text))
	if err != nil {
		return &Error{Request: what, Status: http.StatusNotFound, Reason: "ARA_API_SERVER is not a URL"}
	}
	req.Header.Set("User-Agent", "homelab-patch-orchestrate")
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.User != "" {
		req.SetBasicAuth(c.User, c.Password)
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return c.unanswered(ctx, what, err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	switch {
	case resp.StatusCode/100 != 2:
		return c.answered(what, resp.StatusCode, said)
	case err != nil:
		return c.unanswered(ctx, what, err)
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(said, answer); err != nil {
		return &Error{Request: what, Status: http.StatusNotFound, Reason: "the answer is no JSON: is ARA_API_SERVER the base URL of an ARA server?"}
	}
	return nil
}

func (c *Client) client() *http.Client {
	c.once.Do(func() {
		c.http = &http.Client{
			Transport:     transport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it could take the password elsewhere
		}
	})
	return c.http
}

// limit cuts a text to at most n characters that ARA takes: it counts them, and wants no NUL.
func limit(s string, n int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// PlaybookPage returns the address of a playbook's page.
func PlaybookPage(server string, id int64) string {
	return fmt.Sprintf("%s/playbooks/%d.html", strings.TrimRight(server, "/"), id)
}

// LabelPage returns the address of the list of the playbooks that have a label.
func LabelPage(server, label string) string {
	return strings.TrimRight(server, "/") + "/?" + url.Values{"label": {label}}.Encode()
}
