package discord

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Fault is what is wrong with a server. The zero value is nothing.
type Fault struct {
	// Kind is "" or none, or one of
	//
	//	refuse  nothing listens, and what was connected is cut off
	//	hang    requests are read and never answered
	//	429     too many requests; see RetryAfter and Global
	//	500     internal error
	//	401     not authorised
	//	die     a request is carried out, and the connection closed without an answer
	//	cut     the connection is closed before anything was carried out
	//	slow    a request is carried out after Delay seconds
	Kind       string  `json:"kind"`
	RetryAfter float64 `json:"retry_after,omitempty"` // seconds
	Global     bool    `json:"global,omitempty"`
	Delay      float64 `json:"delay,omitempty"` // seconds
	// Times is how many requests it strikes; then there is none. 0 is until another fault is set. refuse has no end.
	Times int `json:"times,omitempty"`
}

var kinds = []string{"", "none", "refuse", "hang", "429", "500", "401", "die", "cut", "slow"}

// Front is where a server is reached. It may be used at once by many.
type Front struct {
	Address string // host:port
	Handler http.Handler
	// Answer writes the answer of a server of this kind to a request that the fault 429, 500 or 401 struck.
	Answer func(w http.ResponseWriter, r *http.Request, fault Fault)

	mu       sync.Mutex
	fault    Fault
	struck   int
	changed  chan struct{} // closed when another fault is set
	server   *http.Server
	requests []Request
}

// Request is one that came in, and how it ended.
type Request struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Status int       `json:"status"` // 0: it got no answer
	Fault  string    `json:"fault,omitempty"`
	Took   float64   `json:"took"` // seconds
}

// Open begins to listen. It returns when connections are taken.
func (f *Front) Open() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open()
}

func (f *Front) open() error {
	if f.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", f.Address)
	if err != nil {
		return err
	}
	f.Address = listener.Addr().String() // a port that was chosen is kept
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	f.server = &http.Server{Handler: http.HandlerFunc(f.serve)}
	go f.server.Serve(listener)
	return nil
}

// Close stops listening and cuts all connections.
func (f *Front) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.close()
}

func (f *Front) close() error {
	if f.server == nil {
		return nil
	}
	err := f.server.Close()
	f.server = nil
	return err
}

// Set sets what is wrong from now on. Requests that hang are cut off.
func (f *Front) Set(fault Fault) error {
	if !slices.Contains(kinds, fault.Kind) {
		return fmt.Errorf("fault %q is unknown; there are %q", fault.Kind, kinds[1:])
	}
	if fault.Times < 0 || fault.Times > 0 && fault.Kind == "refuse" {
		return errors.New("times: refuse has none, and others at least 1")
	}
	if fault.Kind == "none" {
		fault.Kind = ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.struck = fault, 0
	if f.changed != nil {
		close(f.changed)
	}
	f.changed = make(chan struct{})
	if fault.Kind == "refuse" {
		return f.close()
	}
	return f.open()
}

// Fault returns what is wrong.
func (f *Front) Fault() Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

// Requests returns all that came in since the start, in the order in which they ended.
func (f *Front) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// Forget drops the list of requests.
func (f *Front) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = nil
}

// strike returns the fault that a request meets.
func (f *Front) strike() (Fault, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.fault
	f.struck++
	if fault.Times > 0 && f.struck >= fault.Times {
		f.fault = Fault{}
	}
	return fault, f.changed
}

func (f *Front) serve(w http.ResponseWriter, r *http.Request) {
	fault, changed := f.strike()
	out := &recorder{ResponseWriter: w}
	log := Request{Time: time.Now().UTC(), Method: r.Method, Fault: fault.Kind}
	defer func() {
		log.Status, log.Took = out.status, time.Since(log.Time).Seconds()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.requests = append(f.requests, log)
	}()
	switch fault.Kind {
	case "hang":
		io.Copy(io.Discard, r.Body) // else nobody would notice that the client is gone
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case "429", "500", "401":
		io.Copy(io.Discard, r.Body)
		f.Answer(out, r, fault)
	case "die":
		f.Handler.ServeHTTP(nowhere{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case "cut":
		panic(http.ErrAbortHandler)
	case "slow":
		select {
		case <-time.After(time.Duration(fault.Delay * float64(time.Second))):
		case <-changed:
		}
		fallthrough
	default:
		f.Handler.ServeHTTP(out, r)
	}
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets a reverse proxy flush.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// nowhere is an answer that nobody gets.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

// Answer is what Discord says to a request that a fault struck.
func Answer(w http.ResponseWriter, r *http.Request, fault Fault) {
	version := 10
	if found := route.FindStringSubmatch(r.URL.Path); found != nil {
		version = defaultVersion
		if found[1] != "" {
			fmt.Sscan(found[1], &version)
		}
	}
	switch fault.Kind {
	case "429":
		wait := time.Duration(fault.RetryAfter * float64(time.Second))
		if fault.Global {
			limited(w, version, wait, "global")
			return
		}
		b := bucket{limit: WebhookRate, used: WebhookRate, reset: time.Now().Add(wait)}
		b.headers(w.Header(), time.Now())
		limited(w, version, wait, "user")
	case "401":
		refusal{status: http.StatusUnauthorized, code: codeInvalidToken, message: "Invalid Webhook Token"}.write(w, version)
	default:
		refusal{status: http.StatusInternalServerError, message: "500: Internal Server Error"}.write(w, version)
	}
}

// Proxy stands before a real server, so that a front can break it.
func Proxy(target string) (http.Handler, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a server", target)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}}, nil
}

// AnswerNtfy is what ntfy says to a request that a fault struck: https://docs.ntfy.sh/publish/#limitations. Its 429 has
// no Retry-After of its own; a fault with one puts the header that another proxy may add.
func AnswerNtfy(w http.ResponseWriter, _ *http.Request, fault Fault) {
	switch fault.Kind {
	case "429":
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", fmt.Sprint(math.Ceil(fault.RetryAfter)))
		}
		answer(w, 429, map[string]any{"code": 42901, "http": 429, "error": "limit reached: too many requests",
			"link": "https://ntfy.sh/docs/publish/#limitations"})
	case "401":
		answer(w, 401, map[string]any{"code": 40101, "http": 401, "error": "unauthorized",
			"link": "https://ntfy.sh/docs/publish/#authentication"})
	default:
		answer(w, 500, map[string]any{"code": 50001, "http": 500, "error": "internal server error"})
	}
}

// Beat is a dead man's switch: whoever asks it is alive. [Front.Requests] has the beats.
func Beat(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "OK\n") }

// AnswerBeat is what one says to a request that a fault struck.
func AnswerBeat(w http.ResponseWriter, _ *http.Request, fault Fault) {
	status, err := strconv.Atoi(fault.Kind)
	if err != nil {
		status = http.StatusInternalServerError
	}
	if fault.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(math.Ceil(fault.RetryAfter)))
	}
	http.Error(w, http.StatusText(status), status)
}
