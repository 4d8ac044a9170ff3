package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"homelab-patch-orchestrate/runner"
)

// brokeTrailer is the HTTP trailer that says why a wave has no recap.
const brokeTrailer = "Engine-Broke"

// far is the far end of [Engine]: a program of its own, which carries out each wave of a run once, with the ansible-playbook
// that it finds in PATH, keeps the events in a file, and hands them out from any offset. It is here to show that nothing
// else of the program has to change for such an engine, and is no example of a safe one: it asks nobody who he is.
type far struct {
	dir string // of its runs

	mu    sync.Mutex
	waves map[string]*execution // by run and wave
}

// Far serves a far end, its runs in a folder, on a port of this machine, whose address it prints. It serves until its standard
// input ends: then who started it has died.
func Far(args []string) error {
	if len(args) != 1 {
		return errors.New("name the folder of its runs")
	}
	dir, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f := &far{dir: dir, waves: map[string]*execution{}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /{run}/{wave}", f.begin)
	mux.HandleFunc("GET /{run}/{wave}", f.tell)
	mux.HandleFunc("DELETE /{run}/{wave}", f.cancel)
	fmt.Println(l.Addr())
	go func() { // ends with the process
		io.Copy(io.Discard, os.Stdin)
		l.Close()
	}()
	return http.Serve(l, mux)
}

func (f *far) key(r *http.Request) string {
	return filepath.Join(f.dir, r.PathValue("run"), "wave-"+r.PathValue("wave")+".jsonl")
}

func (f *far) execution(r *http.Request) *execution {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waves[f.key(r)]
}

// begin carries out a wave, unless that is under way or has come to its end: the same run and wave is one execution. One
// that was cut short is begun anew.
func (f *far) begin(w http.ResponseWriter, r *http.Request) {
	var hosts []string
	err := json.NewDecoder(r.Body).Decode(&hosts)
	if err == nil {
		err = f.carryOut(f.key(r), r.PathValue("run"), r.PathValue("wave"), hosts)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

func (f *far) carryOut(key, run, wave string, hosts []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.waves[key]; x != nil {
		if _, _, over, complete, _ := x.state(); !over || complete {
			return nil
		}
	}
	dir := filepath.Dir(key)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(key, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	x := &execution{log: log, more: make(chan struct{}), done: make(chan struct{})}
	// What an earlier process of the far end began may still be at work: it holds the lock.
	if err := syscall.Flock(int(log.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		log.Close()
		return fmt.Errorf("wave %s is under way: %w", wave, err)
	}
	for e, err := range runner.Decode(io.NewSectionReader(log, 0, 1<<62)) {
		x.whole += int64(e.Size)
		x.complete = err == nil && e.Kind == runner.KindStats
	}
	if x.complete { // and an earlier process of the far end has seen it to its end
		x.end(true, nil)
		f.waves[key] = x
		return nil
	}
	x.whole = 0
	if err := log.Truncate(0); err != nil {
		log.Close()
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.cancel, f.waves[key] = cancel, x
	p := runner.Playbook{
		Dir: dir, Playbook: "patch.yml", Inventory: []string{"hosts"}, Hosts: hosts, Labels: []string{"run:" + run, "wave:" + wave},
		Events: x, Inherit: []*os.File{log}, Grace: time.Second,
	}
	go func() { // ends with the wave
		res, err := p.Run(ctx, nil)
		cancel()
		x.end(res.Complete, err)
	}()
	return nil
}

// cancel returns when the wave has ended.
func (f *far) cancel(w http.ResponseWriter, r *http.Request) {
	x := f.execution(r)
	if x == nil || x.cancel == nil {
		return
	}
	x.cancel()
	select {
	case <-x.done:
	case <-r.Context().Done():
	}
}

// tell writes the events from an offset on, to the end of the wave, with a sign of life where there is none for a while.
func (f *far) tell(w http.ResponseWriter, r *http.Request) {
	x := f.execution(r)
	if x == nil {
		http.NotFound(w, r)
		return
	}
	log, err := os.Open(f.key(r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer log.Close()
	w.Header().Set("Trailer", brokeTrailer)
	offset, _ := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
	for {
		whole, more, over, _, broke := x.state()
		switch n := whole - offset; {
		case n > 0:
			if _, err := io.Copy(w, io.NewSectionReader(log, offset, n)); err != nil {
				return
			}
			offset = whole
		case over:
			w.Header().Set(brokeTrailer, broke)
			return
		default:
			io.WriteString(w, "\n")
		}
		http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-time.After(20 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
}
