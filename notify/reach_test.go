package notify

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whether a channel is there is asked for in ways that send nothing, and no error shows what is secret.
func TestReach(t *testing.T) {
	status, asked := http.StatusOK, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization")
		w.WriteHeader(status)
	}))
	defer server.Close()
	discord := &Discord{Webhook: Secret(server.URL + "/api/webhooks/1/planted-secret")}
	ntfy := &Ntfy{URL: server.URL + "/", Topic: "planted-topic", Token: "planted-token"}
	beat := &Heartbeat{URL: Secret(server.URL + "/ping/planted-secret")}

	if err := discord.Reach(t.Context()); err != nil || asked != "GET /api/webhooks/1/planted-secret " {
		t.Errorf("Discord: %v, asked %s", err, asked)
	}
	if err := ntfy.Reach(t.Context()); err != nil || asked != "GET /v1/health " {
		t.Errorf("ntfy: %v, asked %s", err, asked)
	}
	asked = ""
	if err := beat.Reach(t.Context()); err != nil || asked != "" {
		t.Errorf("heartbeat: %v, asked %s", err, asked)
	}

	status = http.StatusNotFound
	if err := discord.Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "404") || strings.Contains(err.Error(), "planted") {
		t.Errorf("Discord has no such webhook: %v", err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	there := "http://" + closed.Addr().String()
	for _, far := range []interface{ Reach(context.Context) error }{
		&Discord{Webhook: Secret(there + "/api/webhooks/1/planted-secret")}, &Ntfy{URL: there, Topic: "planted-topic"}, &Heartbeat{URL: Secret(there + "/planted-secret")},
	} {
		err := far.Reach(t.Context())
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "planted") {
			t.Errorf("%T without a server: %v", far, err)
		}
	}
	if err := (&Discord{Webhook: "planted-secret"}).Reach(t.Context()); err == nil || strings.Contains(err.Error(), "planted") {
		t.Errorf("no webhook: %v", err)
	}
}
