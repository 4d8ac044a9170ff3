package ara

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// front stands before the real server and breaks what the test says; all else it passes on.
type front struct {
	t    testing.TB
	addr string
	http *http.Server

	mu    sync.Mutex
	to    *server
	fault func(w http.ResponseWriter, r *http.Request, pass func())
	posts []string // kinds, in their order
}

func newFront(t testing.TB, to *server) *front {
	t.Helper()
	f := &front{t: t, addr: "127.0.0.1:" + free(t), to: to}
	f.open()
	t.Cleanup(f.close)
	return f
}

func (f *front) url() string { return "http://" + f.addr }

func (f *front) client() *Client { return &Client{Server: f.url(), User: user, Password: password} }

// open listens. close, and who asks is refused.
func (f *front) open() {
	f.t.Helper()
	var l net.Listener
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if l, err = net.Listen("tcp", f.addr); err == nil {
			break
		}
		if time.Now().After(deadline) {
			f.t.Fatal(err)
		}
	}
	target, err := url.Parse(f.to.url())
	if err != nil {
		f.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{DisableKeepAlives: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { // the server is gone, and so is the connection
			panic(http.ErrAbortHandler)
		},
	}
	f.http = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		if r.Method == http.MethodPost {
			f.posts = append(f.posts, r.URL.Path[len(v1):])
		}
		fault := f.fault
		f.mu.Unlock()
		pass := func() { proxy.ServeHTTP(w, r) }
		if fault == nil {
			pass()
			return
		}
		fault(w, r, pass)
	})}
	go f.http.Serve(l)
}

func (f *front) close() { f.http.Close() }

// breaks says what is done instead of passing on; nil is nothing.
func (f *front) breaks(fault func(w http.ResponseWriter, r *http.Request, pass func())) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// hang answers nothing, until who asked has gone.
func hang(_ http.ResponseWriter, r *http.Request, _ func()) {
	io.Copy(io.Discard, r.Body) // only then net/http sees that
	<-r.Context().Done()
}

func answer(status int) func(http.ResponseWriter, *http.Request, func()) {
	return func(w http.ResponseWriter, _ *http.Request, _ func()) {
		http.Error(w, "<h1>Server Error</h1>", status)
	}
}

// cut ends the connection without an answer.
func cut() { panic(http.ErrAbortHandler) }
