package discord

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// open starts a front with its control, on loopback.
func open(t *testing.T, front *Front, server *Server) (url string, control *httptest.Server) {
	t.Helper()
	front.Address = "127.0.0.1:0"
	if err := front.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	control = httptest.NewServer(Control(front, server))
	t.Cleanup(control.Close)
	return "http://" + front.Address, control
}

func put(t *testing.T, control *httptest.Server, fault string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", control.URL+"/fault", strings.NewReader(fault))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func get(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// client makes a connection a request: one that is used again hides how the last one ended.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// send posts a message, and gives up after a while.
func send(url string, patience time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", url+path, strings.NewReader(`{"content":"a"}`))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

func TestFaults(t *testing.T) {
	server := &Server{ID: "7", Token: "secret"}
	front := &Front{Handler: server, Answer: Answer}
	url, control := open(t, front, server)
	const patient = 10 * time.Second
	kept := 0
	for _, c := range []struct {
		fault  string
		status int   // of the answer
		err    error // in place of one
		keeps  int
		check  func(h http.Header) bool
	}{
		{`{"kind":"none"}`, 204, nil, 1, nil},
		{`{"kind":"refuse"}`, 0, syscall.ECONNREFUSED, 0, nil},
		{`{"kind":"none"}`, 204, nil, 1, nil}, // the same port listens again
		{`{"kind":"hang"}`, 0, context.DeadlineExceeded, 0, nil},
		{`{"kind":"429","retry_after":1.5}`, 429, nil, 0, func(h http.Header) bool {
			return h.Get("Retry-After") == "2" && h.Get("X-RateLimit-Scope") == "user" && h.Get("X-RateLimit-Remaining") == "0"
		}},
		{`{"kind":"429","retry_after":60,"global":true}`, 429, nil, 0, func(h http.Header) bool {
			return h.Get("Retry-After") == "60" && h.Get("X-RateLimit-Global") == "true" && h.Get("X-RateLimit-Remaining") == ""
		}},
		{`{"kind":"500"}`, 500, nil, 0, nil},
		{`{"kind":"401"}`, 401, nil, 0, nil},
		{`{"kind":"die"}`, 0, io.EOF, 1, nil},
		{`{"kind":"cut"}`, 0, errAny, 0, nil},
		{`{"kind":"slow","delay":0.2}`, 204, nil, 1, nil},
		{`{"kind":"none"}`, 204, nil, 1, nil},
	} {
		if status := put(t, control, c.fault); status != 204 {
			t.Fatalf("set %s: %d", c.fault, status)
		}
		server.Forget() // the rates
		patience := patient
		if c.err == context.DeadlineExceeded {
			patience = 200 * time.Millisecond
		}
		began := time.Now()
		resp, err := send(url, patience)
		kept = len(server.Messages())
		switch {
		case c.err == errAny && err != nil:
		case !errors.Is(err, c.err), err == nil && resp.StatusCode != c.status, err == nil && c.check != nil && !c.check(resp.Header):
			t.Errorf("%s: %+v, %v", c.fault, resp, err)
		}
		if kept != c.keeps {
			t.Errorf("%s: %d messages kept, want %d", c.fault, kept, c.keeps)
		}
		if strings.Contains(c.fault, "slow") && time.Since(began) < 200*time.Millisecond {
			t.Errorf("slow took %v", time.Since(began))
		}
	}

	var requests []Request
	for deadline := time.Now().Add(patient); len(requests) < 11 && time.Now().Before(deadline); { // the hung one may end last
		get(t, control.URL+"/requests", &requests)
	}
	var seen []string
	for _, r := range requests {
		seen = append(seen, r.Fault)
	}
	if len(requests) != 11 { // all but the refused one
		t.Errorf("%d requests: %q", len(requests), seen)
	}
	var messages []Message
	get(t, control.URL+"/messages", &messages)
	if len(messages) != kept {
		t.Errorf("control has %d messages", len(messages))
	}
	for _, bad := range []string{`{"kind":"flood"}`, `{"kind":"refuse","times":1}`, `{"what":"429"}`, `{`} {
		if status := put(t, control, bad); status != 400 {
			t.Errorf("%s: %d", bad, status)
		}
	}
}

var errAny = errors.New("any")

// A fault with a number of times strikes that often; a hang ends when the fault does.
func TestFaultEnds(t *testing.T) {
	server := &Server{ID: "7", Token: "secret"}
	front := &Front{Handler: server, Answer: Answer}
	url, _ := open(t, front, server)
	if err := front.Set(Fault{Kind: "500", Times: 2}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{500, 500, 204} {
		if resp, err := send(url, time.Minute); err != nil || resp.StatusCode != want {
			t.Errorf("request %d: %v %v, want %d", i, resp, err, want)
		}
	}

	if err := front.Set(Fault{Kind: "hang"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := send(url, time.Minute)
		done <- err
	}()
	for !front.hasStruck() {
		time.Sleep(time.Millisecond)
	}
	if err := front.Set(Fault{}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the request that hung: %v", err)
	}
	if n := len(server.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func (f *Front) hasStruck() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.struck > 0
}

// The same front before another server.
func TestProxy(t *testing.T) {
	var asked []string
	ntfy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Host+" "+r.Header.Get("X-Forwarded-For")+" "+r.Header.Get("Authorization"))
		io.WriteString(w, "{}\n")
	}))
	defer ntfy.Close()
	handler, err := Proxy(ntfy.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := &Front{Handler: handler, Answer: AnswerNtfy}
	url, control := open(t, front, nil)
	get := func() (int, string, http.Header) {
		r, _ := http.NewRequest("GET", url+"/topic/json?poll=1", nil)
		r.Host, r.Header = "ntfy", http.Header{"Authorization": {"Bearer tk_x"}}
		resp, err := client.Do(r)
		if err != nil {
			return 0, err.Error(), nil
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), resp.Header
	}
	if status, body, _ := get(); status != 200 || body != "{}\n" {
		t.Errorf("%d %s", status, body)
	}
	for _, c := range []struct {
		fault  string
		status int
		body   string
	}{
		{`{"kind":"429"}`, 429, `"code":42901`}, {`{"kind":"401"}`, 401, `"code":40101`}, {`{"kind":"500"}`, 500, `"code":50001`},
		{`{"kind":"die"}`, 0, "EOF"}, {`{"kind":"refuse"}`, 0, "refused"},
	} {
		if status := put(t, control, c.fault); status != 204 {
			t.Fatalf("set %s: %d", c.fault, status)
		}
		if status, body, h := get(); status != c.status || !strings.Contains(body, c.body) || h.Get("Retry-After") != "" {
			t.Errorf("%s: %d %s", c.fault, status, body)
		}
	}
	want := "GET /topic/json?poll=1 ntfy 127.0.0.1 Bearer tk_x"
	if len(asked) != 2 || asked[0] != want { // the one without a fault, and the one whose answer was lost
		t.Errorf("the server was asked %q", asked)
	}
	ntfy.Close()
	front.Set(Fault{})
	if status, _, _ := get(); status != 502 {
		t.Errorf("a server that is down: %d", status)
	}
}

func TestBeat(t *testing.T) {
	front := &Front{Handler: http.HandlerFunc(Beat), Answer: AnswerBeat}
	url, _ := open(t, front, nil)
	for _, c := range []struct {
		kind   string
		status int
	}{{"none", 200}, {"429", 429}, {"401", 401}, {"500", 500}, {"none", 200}} {
		if err := front.Set(Fault{Kind: c.kind}); err != nil {
			t.Fatal(err)
		}
		if resp, err := send(url, time.Minute); err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: %v, %v", c.kind, resp, err)
		}
	}
	if n := len(front.Requests()); n != 5 {
		t.Errorf("%d requests", n)
	}
}
