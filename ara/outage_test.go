//go:build e2efull

package ara

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

var passedAt = regexp.MustCompile(`time=(\S+) level=\S+ msg="run (passed|failed|halted)"`)

// waited is how long a run went on after its last word in the journal.
func (s said) waited(t testing.TB) time.Duration {
	t.Helper()
	found := passedAt.FindStringSubmatch(s.stderr)
	if found == nil {
		t.Fatalf("the run did not end:\n%s%s", s.stdout, s.stderr)
	}
	at, err := time.Parse(time.RFC3339Nano, found[1])
	if err != nil {
		t.Fatal(err)
	}
	return s.ended.Sub(at)
}

// TestOutages: whatever is wrong with the server, a run ends as it does without one and waits for nothing; what is left
// is on record when the server is well, each record once.
func TestOutages(t *testing.T) {
	server := newServer(t)
	ev := e2e.Record(t, nil, "ara-outages", "ARA is away: the run does not care, and nothing is lost")
	front := newFront(t, server)
	s := newSite(t, front.url())
	begin := func() said { return s.do(s.run()) }
	for _, c := range []struct {
		name   string
		breaks func()
		mend   func()
		whole  bool // on record when the run ends
	}{
		{name: "is well", breaks: func() {}, mend: func() {}, whole: true},
		{name: "refused", breaks: front.close, mend: front.open},
		{name: "hangs", breaks: func() { front.breaks(hang) }, mend: func() { front.breaks(nil) }},
		{name: "hangs from the 8th POST on", breaks: func() { front.breaks(at(8, hang)) }, mend: func() { front.breaks(nil) }},
		{name: "answers 500", breaks: func() { front.breaks(answer(500)) }, mend: func() { front.breaks(nil) }},
		{name: "answers 401", breaks: func() { front.breaks(answer(401)) }, mend: func() { front.breaks(nil) }},
		{name: "dies in the run", breaks: func() { front.breaks(at(8, func(http.ResponseWriter, *http.Request, func()) { server.kill(); cut() })) },
			mend: func() { front.breaks(nil); server.start() }},
		{name: "is not ARA", breaks: func() { front.breaks(answer(200)) }, mend: func() { front.breaks(nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			c.breaks()
			out := begin()
			wait := out.waited(t)
			_, dir := s.last()
			if out.code != 0 {
				t.Errorf("exit code %d\n%s", out.code, out.stderr)
			}
			st, _ := ReadStatus(dir)
			if st.State == "done" && !c.whole {
				t.Errorf("after the run: %+v\n%s", st, out.stderr)
			}
			if !c.whole && wait > 3*time.Second { // a busy machine; with a server that is well it may be more
				t.Errorf("the run waited %s", wait)
			}
			ev.Call("`run` while ARA "+c.name, e2e.Output{Code: out.code}, wait, strings.Join(lines(out.stderr, "ARA: "), "\n"))
			if c.whole {
				s.carriedOn(dir)
				ev.Call("", e2e.Output{}, 0, s.exact(server, dir))
				return
			}
			if again := s.do(s.command("ara", "forward")); again.code != 1 {
				t.Errorf("`ara forward` while it is away: exit code %d\n%s", again.code, again.stderr)
			}
			if status := s.do(s.command("ara", "status")); status.code != 1 || !strings.Contains(status.stdout, "waits") {
				t.Errorf("`ara status` while it is away: %+v", status)
			}
			c.mend()
			start := time.Now()
			if again := s.do(s.command("ara", "forward")); again.code != 0 {
				t.Fatalf("`ara forward` when it is back: exit code %d\n%s", again.code, again.stderr)
			}
			ev.Call("`ara forward` when it is back", e2e.Output{}, time.Since(start), s.exact(server, dir))
		})
	}
	s.t = t
	s.settings("forward: false")
	out := begin()
	ev.Call("`run` without `forward`", e2e.Output{Code: out.code}, out.waited(t), "")
	// What was never forwarded is, when somebody wants it.
	if back := s.do(s.command("ara", "backfill", "--since", "2026-01-01")); back.code != 0 {
		t.Fatalf("backfill: %+v", back)
	}
	_, dir := s.last()
	ev.Call("`ara backfill`", e2e.Output{}, 0, s.exact(server, dir))
	ev.Lines("Seconds", "of a run: from its last word in the journal to the end of its process")
}

func lines(text, with string) (found []string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, with) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// TestKilledAtEveryPost kills the program at each POST of a run: before the server gets it, and after it has done it.
func TestKilledAtEveryPost(t *testing.T) {
	server := newServer(t)
	ev := e2e.Record(t, nil, "ara-killed", "The forwarder, or the server, is killed at every POST")
	s := newSite(t, server.url())
	s.settings("forward: false")
	if out := s.do(s.run()); out.code != 0 {
		t.Fatalf("%+v", out)
	}
	id, dir := s.last()
	front := newFront(t, server)
	s.write("env", fmt.Sprintf("ARA_API_SERVER=%s\nARA_API_USERNAME=%s\nARA_API_PASSWORD=%s\n", front.url(), user, password), 0o600)
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("arrives %t", arrives), func(t *testing.T) {
			s.t = t
			s.fresh(server, dir)
			var mu sync.Mutex
			var child *exec.Cmd
			seen, kinds := map[string]bool{}, map[string]int{}
			front.breaks(func(w http.ResponseWriter, r *http.Request, pass func()) {
				if r.Method != http.MethodPost {
					pass()
					return
				}
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				mu.Lock()
				defer mu.Unlock()
				if seen[string(body)] {
					pass()
					return
				}
				seen[string(body)] = true
				kinds[strings.TrimPrefix(r.URL.Path, v1)]++
				if arrives {
					server.send(r.Method, r.URL.Path, json.RawMessage(body))
				}
				child.Process.Kill()
				cut()
			})
			kills := 0
			start := time.Now()
			for {
				c := s.command("ara", "forward", id)
				mu.Lock()
				child = c
				var stderr bytes.Buffer
				c.Stderr = &stderr
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				mu.Unlock()
				err := c.Wait()
				if err == nil {
					break
				}
				if ws := c.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() {
					t.Fatalf("%v\n%s", err, stderr.String())
				}
				if kills++; kills > 500 {
					t.Fatal("it never ends")
				}
			}
			what := "before the server gets it"
			if arrives {
				what = "after the server has done it"
			}
			ev.Call(fmt.Sprintf("`ara forward` killed at each of %d POSTs, %s", kills, what), e2e.Output{}, time.Since(start),
				fmt.Sprintf("%s; killed at: %v", s.exact(server, dir), kinds))
			if kills < 20 {
				t.Errorf("killed %d times", kills)
			}
		})
	}
	front.breaks(nil)
	t.Run("server", func(t *testing.T) {
		s.t = t
		s.fresh(server, dir)
		kills := front.some(4, 12, func(pass func()) {
			gone := make(chan struct{})
			go func() { // somewhere in what it does for a POST
				defer close(gone)
				time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
				server.cmd.Process.Kill()
			}()
			defer func() { <-gone; server.cmd.Wait(); server.start() }()
			pass()
		})
		tries, took := s.forwarded(id)
		ev.Call(fmt.Sprintf("the server killed at %d POSTs, at a random moment", *kills), e2e.Output{}, took, fmt.Sprintf("%s; `ara forward` again %d times", s.exact(server, dir), tries))
	})
	t.Run("stopped", func(t *testing.T) {
		s.t = t
		s.fresh(server, dir)
		stops := front.some(6, 4, func(pass func()) {
			server.cmd.Process.Signal(syscall.SIGSTOP)
			go func() { // the client has given up by then; the server has not
				time.Sleep(requestLimit + 2*time.Second)
				server.cmd.Process.Signal(syscall.SIGCONT)
			}()
			pass()
		})
		_, took := s.forwarded(id)
		st, _ := ReadStatus(dir)
		ev.Call(fmt.Sprintf("the server hung at %d POSTs for longer than is waited, and then did them", *stops), e2e.Output{}, took,
			fmt.Sprintf("%s; doubles found and removed: %d", s.exact(server, dir), st.Removed))
	})
}

// some has do happen to one POST of so many, and not more often than most; how often it has.
func (f *front) some(of, most int, do func(pass func())) (times *int) {
	n, times := 0, new(int)
	f.breaks(func(_ http.ResponseWriter, r *http.Request, pass func()) {
		if r.Method != http.MethodPost {
			pass()
			return
		}
		if n++; n%of != 1 || *times == most {
			pass()
			return
		}
		*times++
		do(pass)
	})
	return times
}

// forwarded forwards a run again and again until that has gone well.
func (s *site) forwarded(id string) (tries int, took time.Duration) {
	s.t.Helper()
	start := time.Now()
	for ; s.do(s.command("ara", "forward", id)).code != 0; tries++ {
		if tries > 60 {
			s.t.Fatal("it never ends")
		}
	}
	return tries, time.Since(start)
}

// fresh makes a run one that was never on record.
func (s *site) fresh(server *server, dir string) {
	s.t.Helper()
	os.Remove(filepath.Join(dir, done))
	os.Remove(filepath.Join(dir, Pending))
	if _, err := server.client().Prune(s.t.Context(), "run:"+filepath.Base(dir), time.Now().Add(time.Hour)); err != nil {
		s.t.Fatal(err)
	}
}
