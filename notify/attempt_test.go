package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"homelab-patch-orchestrate/e2e/discord"
)

// Every status has a fault, and so an answer to: does another attempt help?
func TestStatuses(t *testing.T) {
	status := 0
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(status)
		io.WriteString(w, `{"code":40001,"message":"why","error":"why","retry_after":0.5}`)
	}))
	defer far.Close()
	channels := []Notifier{
		&Discord{Webhook: Secret(far.URL + "/api/webhooks/1/" + hookToken)},
		&Ntfy{URL: far.URL, Topic: "topic", Token: "tk_planted"},
		&Heartbeat{URL: Secret(far.URL + "/ping/planted")},
	}
	settings := "300 301 302 303 304 305 307 308 401 403 404 405 407 410 "
	farEnd := "408 425 429 "
	for status = 200; status < 600; status++ {
		for _, c := range channels {
			err := c.Notify(t.Context(), message(1))
			var e *Error
			if status < 300 {
				if err != nil {
					t.Errorf("%T, %d: %v", c, status, err)
				}
				continue
			}
			want := Content
			switch text := fmt.Sprint(status) + " "; {
			case status < 400, strings.Contains(settings, text):
				want = Settings
			case status >= 500, strings.Contains(farEnd, text):
				want = FarEnd
			}
			if !errors.As(err, &e) || e.Fault != want || e.Status != status || e.Temporary() != (want == FarEnd) {
				t.Errorf("%T, %d: %#v, want fault %d", c, status, err, want)
			}
			if strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), far.URL) {
				t.Errorf("%T, %d: the error tells: %v", c, status, err)
			}
		}
	}
}

func TestDiscordFaults(t *testing.T) {
	far := newStandIn(t)
	d := &Discord{Webhook: far.url()}
	for _, c := range []struct {
		fault discord.Fault
		want  Error
		kept  int
	}{
		{discord.Fault{}, Error{}, 1},
		{discord.Fault{Kind: "429", RetryAfter: 1.5}, Error{Status: 429, RetryAfter: 1500 * time.Millisecond}, 0},
		{discord.Fault{Kind: "429", RetryAfter: 3, Global: true}, Error{Status: 429, RetryAfter: 3 * time.Second}, 0},
		{discord.Fault{Kind: "500"}, Error{Status: 500}, 0},
		{discord.Fault{Kind: "401"}, Error{Status: 401, Fault: Settings}, 0},
		{discord.Fault{Kind: "die"}, Error{}, 1}, // taken, and we cannot know
		{discord.Fault{Kind: "cut"}, Error{}, 0},
		{discord.Fault{Kind: "refuse"}, Error{}, 0},
		{discord.Fault{Kind: "hang"}, Error{Err: context.DeadlineExceeded}, 0},
	} {
		far.set(t, c.fault)
		far.Forget()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if c.fault.Kind == "hang" {
			ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
		}
		start := time.Now()
		err := d.Notify(ctx, message(1))
		cancel()
		if len(far.Messages()) != c.kept {
			t.Errorf("%s: %d messages", c.fault.Kind, len(far.Messages()))
		}
		if c.fault.Kind == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Channel != "discord" || e.Status != c.want.Status || e.Fault != c.want.Fault ||
			e.RetryAfter.Round(time.Millisecond) != c.want.RetryAfter || c.want.Err != nil && !errors.Is(err, c.want.Err) {
			t.Errorf("%s: %#v", c.fault.Kind, err)
		}
		if strings.Contains(err.Error(), hookToken) || strings.Contains(err.Error(), hookID) {
			t.Errorf("%s: the error tells: %v", c.fault.Kind, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: one attempt took %v", c.fault.Kind, took)
		}
	}
	far.set(t, discord.Fault{})
	if err := (&Discord{Webhook: far.url() + "x"}).Notify(t.Context(), message(1)); err == nil {
		t.Error("a wrong token")
	}
}

func TestCheckWebhook(t *testing.T) {
	for s, good := range map[Secret]bool{
		"https://discord.com/api/webhooks/123/abc-DEF_1": true,
		"https://discord.com/api/v10/webhooks/123/abc":   true,
		"http://127.0.0.1:8080/api/webhooks/1/t/":        true,
		"": false, "discord.com/api/webhooks/1/t": false, "https://discord.com/api/webhooks/1": false,
		"https://discord.com/api/webhooks/x/t": false, "https://u:planted@discord.com/api/webhooks/1/t": false, "ftp://h/api/webhooks/1/t": false,
		"https://planted\x7f/": false,
	} {
		err := CheckWebhook(s)
		if (err == nil) != good {
			t.Errorf("CheckWebhook(%q) = %v", string(s), err)
		}
		if err != nil && strings.Contains(err.Error(), "planted") {
			t.Errorf("the error tells: %v", err)
		}
	}
}

func TestNtfyAsksAsDocumented(t *testing.T) {
	var got ntfyPayload
	var header http.Header
	var path string
	far := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		path, header = r.URL.Path, r.Header
		json.NewDecoder(r.Body).Decode(&got)
	}))
	defer far.Close()
	n := &Ntfy{URL: far.URL + "/", Topic: "topic", Token: "tk_1"}
	if err := n.Notify(t.Context(), cases()["failure"]); err != nil {
		t.Fatal(err)
	}
	if path != "/" || header.Get("Authorization") != "Bearer tk_1" || got.Topic != "topic" || got.Priority != 5 || len(got.Actions) != 2 {
		t.Errorf("%s %v %+v", path, header, got)
	}
	if shown, err := n.Payload(message(1)); err != nil || strings.Contains(string(shown), `"topic":"topic"`) {
		t.Errorf("the topic is shown: %s, %v", shown, err)
	}
}

// A name that cannot be resolved, and a server that is not there.
func TestUnanswered(t *testing.T) {
	for _, c := range []Notifier{
		&Ntfy{URL: "http://nowhere.invalid", Topic: "planted-topic"},
		&Discord{Webhook: "https://nowhere.invalid/api/webhooks/1/planted"},
		&Heartbeat{URL: "https://nowhere.invalid/planted"},
	} {
		err := c.Notify(t.Context(), message(1))
		var e *Error
		if !errors.As(err, &e) || !e.Temporary() || !strings.Contains(err.Error(), "nowhere.invalid cannot be resolved") || strings.Contains(err.Error(), "planted") {
			t.Errorf("%T: %v", c, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&Ntfy{URL: "http://127.0.0.1:1", Topic: "x"}).Notify(ctx, message(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wrapped := &url.Error{Op: "Post", URL: "https://planted", Err: errors.New("to https://planted")}
	if e := unanswered(t.Context(), "x", wrapped, "https://planted"); strings.Contains(e.Error(), "planted") {
		t.Error(e)
	}
}

func TestSecret(t *testing.T) {
	s := Secret("planted")
	for _, verb := range []string{"%v", "%s", "%q", "%x", "%#v", "%+v", "%d"} {
		if got := fmt.Sprintf(verb, s); got != redacted {
			t.Errorf("%s prints %s", verb, got)
		}
		if got := fmt.Sprintf(verb, struct{ S Secret }{s}); strings.Contains(got, "planted") || strings.Contains(got, "706c616e746564") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if text, err := json.Marshal(map[string]Secret{"x": s}); err != nil || string(text) != `{"x":"\u003credacted\u003e"}` {
		t.Errorf("%s, %v", text, err)
	}
	if fmt.Sprint(Secret("")) != "" || s.Reveal() != "planted" {
		t.Error("an empty secret, or its own text")
	}
}

func TestRetry(t *testing.T) {
	temporary := &Error{Channel: "x", Reason: "down"}
	for _, c := range []struct {
		name     string
		fail     func(Message, int) error
		deadline time.Duration
		attempts int
		least    time.Duration
		most     time.Duration
		fails    bool
	}{
		{"at once", nil, time.Minute, 1, 0, 0, false},
		{"third time", func(_ Message, n int) error {
			if n < 3 {
				return temporary
			}
			return nil
		}, time.Minute, 3, 1500 * time.Millisecond, 5 * time.Second, false},
		{"asked to wait", func(_ Message, n int) error {
			if n < 2 {
				return &Error{Channel: "x", Reason: "limit", RetryAfter: 20 * time.Second}
			}
			return nil
		}, time.Minute, 2, 20 * time.Second, 21 * time.Second, false},
		{"no wait in vain", always(&Error{Channel: "x", Reason: "limit", RetryAfter: 20 * time.Second}), 10 * time.Second, 1, 0, 0, true},
		{"settings", always(&Error{Channel: "x", Fault: Settings, Reason: "token"}), time.Minute, 1, 0, 0, true},
		{"content", always(&Error{Channel: "x", Fault: Content, Reason: "long"}), time.Minute, 1, 0, 0, true},
		{"some other error", func(Message, int) error { return io.EOF }, time.Minute, 1, 0, 0, true},
		{"to the end", always(temporary), time.Minute, 0, 15 * time.Second, time.Minute, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
			defer cancel()
			r := &recorder{fail: c.fail}
			start := time.Now()
			err := Retry(ctx, r, message(1))
			if took := time.Since(start); (err != nil) != c.fails || c.attempts > 0 && r.n != c.attempts || took < c.least || took > c.most {
				t.Errorf("%s: %v after %d attempts and %v", c.name, err, r.n, took)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // cancelled in a wait
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(700*time.Millisecond, cancel)
		start := time.Now()
		if err := Retry(ctx, &recorder{fail: always(&Error{Channel: "x", Reason: "limit", RetryAfter: time.Hour})}, message(1)); err == nil || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// What answers may be anything, and may say our own request back.
func TestErrorsDoNotTell(t *testing.T) {
	for name, answer := range map[string]string{
		"a Location that is no URL": "HTTP/1.1 302 Found\r\nLocation: https://hc.example:x/planted\r\n\r\n",
		"our request":               "/planted HTTP/1.1\r\n\r\n",
		"garbage":                   strings.Repeat("planted ", 1<<17),
		"half an answer":            "HTTP/1.1 200 OK\r\nplanted",
		"our token in the body":     "HTTP/1.1 401 Unauthorized\r\nContent-Length: 250\r\n\r\n" + `{"code":1,"error":"` + strings.Repeat("x", 175) + ` planted-token","message":"` + strings.Repeat("x", 20) + `"}` + strings.Repeat(" ", 20),
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Read(make([]byte, 4096))
				io.WriteString(c, answer)
				c.Close()
			}
		}()
		base := "http://" + l.Addr().String()
		for _, n := range []Notifier{&Heartbeat{URL: Secret(base + "/planted")}, &Ntfy{URL: base, Topic: "planted-topic", Token: "planted-token"},
			&Discord{Webhook: Secret(base + "/api/webhooks/1/planted-token")}} {
			err := n.Notify(t.Context(), message(1))
			if err == nil || strings.Contains(err.Error(), "plan") || len(err.Error()) > 600 {
				t.Errorf("%T, %s: %.300v", n, name, err)
			}
		}
		l.Close()
	}
}
