package gate

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"homelab-patch-orchestrate/orchestrator"
)

// says compares what a gate said. The want "" is yes; BASE stands for base.
func says(t *testing.T, err error, base, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = strings.ReplaceAll(err.Error(), base, "BASE")
	}
	if got != want {
		t.Errorf("says %q, want %q", got, want)
	}
}

func TestHTTP(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/well", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"database": "ok"}`) })
	mux.HandleFunc("/accepted", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) })
	mux.HandleFunc("/sick", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	mux.HandleFunc("/rude", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "a\x1b[31m\r\nb\x00", strings.Repeat("x", 1000))
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("x", bodyLimit), "ok") })
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "o")
	})
	mux.HandleFunc("/near", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/well", http.StatusFound) })
	mux.HandleFunc("/far", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+"/login?next=x", http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://a b/?"+r.URL.RawQuery)
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/private", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" || r.FormValue("token") != "hunter3" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	secret := strings.Replace(server.URL, "//", "//me:hunter2@", 1)
	for _, test := range []struct {
		gate HTTP
		want string
	}{
		{HTTP{URL: server.URL + "/well"}, ""},
		{HTTP{URL: server.URL + "/well", Contains: `"ok"`}, ""},
		{HTTP{URL: server.URL + "/well", Contains: "degraded"}, `BASE/well answered 200 OK without "degraded"; it begins: {"database": "ok"}`},
		{HTTP{URL: server.URL + "/accepted"}, ""},
		{HTTP{URL: server.URL + "/accepted", Status: 200}, "BASE/accepted answered 202 Accepted, want 200"},
		{HTTP{URL: server.URL + "/accepted", Contains: "ok"}, `BASE/accepted answered 202 Accepted without "ok"; it begins: (nothing)`},
		{HTTP{URL: server.URL + "/sick"}, "BASE/sick answered 503 Service Unavailable"},
		{HTTP{URL: server.URL + "/sick", Status: 503}, ""},
		{HTTP{URL: server.URL + "/rude", Contains: "ok"}, `BASE/rude answered 200 OK without "ok"; it begins: a[31m b` + strings.Repeat("x", 100-len("a\x1b[31m\r\nb\x00"))},
		{HTTP{URL: server.URL + "/large", Contains: "ok"}, `BASE/large answered 200 OK without "ok"; it begins: ` + strings.Repeat("x", 100)},
		{HTTP{URL: server.URL + "/short", Contains: "ok"}, "BASE/short: its answer broke off: unexpected EOF"},
		{HTTP{URL: server.URL + "/near", Contains: "ok"}, ""},
		{HTTP{URL: server.URL + "/near", Status: 302}, ""},
		{HTTP{URL: server.URL + "/far"}, "BASE/far: it redirects to " + elsewhere + "/login, which is not followed"},
		{HTTP{URL: server.URL + "/loop"}, "BASE/loop: it redirects without end"},
		{HTTP{URL: secret + "/private?token=hunter3"}, ""},
		{HTTP{URL: secret + "/private?token=hunter4"}, "BASE/private answered 401 Unauthorized"},
		{HTTP{URL: secret + "/echo?token=hunter3"}, `BASE/echo: failed to parse Location header "http://a b/?…": parse "http://a b/?…": invalid character " " in host name`},
	} {
		says(t, test.gate.Check(t.Context(), orchestrator.Question{}), server.URL, test.want)
	}
	// Nobody listens, and a server without a certificate that is known.
	server.Close()
	if err := (HTTP{URL: secret + "/?token=hunter3"}).Check(t.Context(), orchestrator.Question{}); err == nil ||
		!strings.HasSuffix(err.Error(), ": connection refused") || strings.Contains(err.Error(), "hunter") {
		t.Errorf("nobody listens: %v", err)
	}
	tls := httptest.NewUnstartedServer(mux)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	if err := (HTTP{URL: tls.URL + "/well"}).Check(t.Context(), orchestrator.Question{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}

// A server that takes the connection and never answers, and one whose body never ends.
func TestHTTPHangs(t *testing.T) {
	for name, begin := range map[string]string{"no answer": "", "no end": "o"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if begin != "" {
					fmt.Fprint(w, begin)
					w.(http.Flusher).Flush()
				}
				cancel()
				<-r.Context().Done()
			}))
			defer server.Close()
			err := HTTP{URL: server.URL + "/health", Contains: "ok"}.Check(ctx, orchestrator.Question{})
			if err == nil || !strings.HasPrefix(err.Error(), server.URL+"/health") {
				t.Errorf("says %v", err)
			}
		})
	}
}
