//go:build e2e

package ara

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The process dies before the server gets the n-th POST, or before it gets the answer: whoever comes next makes what is
// missing, and nothing twice.
func TestKilled(t *testing.T) {
	t.Parallel()
	server := shared(t)
	s := tell(t)
	s.wave(0)
	s.write()
	front := newFront(t, server)
	kills := 0
	for {
		ctx, die := context.WithCancel(t.Context())
		fresh := 0
		front.breaks(func(w http.ResponseWriter, r *http.Request, pass func()) {
			if r.Method != http.MethodPost || strings.HasSuffix(r.URL.Path, "/hosts") {
				pass()
				return
			}
			if fresh++; fresh < 5 { // some way on each time
				pass()
				return
			}
			if kills%2 == 0 { // it arrives, and the answer does not
				body, _ := io.ReadAll(r.Body)
				server.send(r.Method, r.URL.Path, json.RawMessage(body))
			}
			die()
			cut()
		})
		before, _ := os.ReadFile(filepath.Join(s.dir, Pending))
		f := s.open(front.client())
		err := f.Send(ctx)
		if err == nil {
			front.breaks(nil)
			if err := f.Finish(t.Context(), told()); err != nil {
				t.Fatal(err)
			}
			break
		}
		f.lock.Close() // by the kernel, and nothing was written
		if err := os.WriteFile(filepath.Join(s.dir, Pending), before, 0o600); err != nil {
			t.Fatal(err)
		}
		if kills++; kills > 50 {
			t.Fatal(err)
		}
	}
	if kills < 2 {
		t.Errorf("killed %d times", kills)
	}
	s.once(server, 1)
}

// A server that was given up for hung does what it was asked to after it has said that the record is not there.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	server := shared(t)
	s := tell(t)
	s.wave(0)
	s.write()
	front := newFront(t, server)
	late := map[string]int{"playbooks": 1, "plays": 2, "tasks": 2, "results": 3}
	count := map[string]int{}
	var held []func()
	front.breaks(func(w http.ResponseWriter, r *http.Request, pass func()) {
		kind := strings.TrimPrefix(r.URL.Path, v1)
		if r.Method != http.MethodPost {
			pass()
			return
		}
		if count[kind]++; count[kind] != late[kind] {
			pass()
			if late[kind] > 0 && count[kind] == late[kind]+1 { // it was made a second time, and now the first one comes
				for _, h := range held {
					h()
				}
				held = nil
			}
			return
		}
		body, _ := io.ReadAll(r.Body)
		held = append(held, func() { server.send(http.MethodPost, r.URL.Path, json.RawMessage(body)) })
		cut()
	})
	f := s.open(front.client())
	defer f.Close()
	for tries := 0; ; tries++ {
		if err := f.Send(t.Context()); err == nil {
			break
		} else if tries > 10 {
			t.Fatal(err)
		}
	}
	if err := f.Finish(t.Context(), told()); err != nil {
		t.Fatal(err)
	}
	s.once(server, 1)
	if st, _ := ReadStatus(s.dir); st.Removed != len(late) {
		t.Errorf("%d doubles were removed, want %d", st.Removed, len(late))
	}
}

// A playbook that somebody has deleted meanwhile is let go, and the next one is on record.
func TestGone(t *testing.T) {
	t.Parallel()
	server := shared(t)
	s, all := begun(t, 6)
	f := s.open(server.client())
	if err := f.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := (&Forwarder{Client: server.client(), Dir: s.dir}).Open(); !errors.Is(err, ErrBusy) {
		t.Errorf("two at once: %v", err)
	}
	f.Close()
	if n, err := server.client().Prune(t.Context(), s.label, time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("pruned what is young: %d, %v", n, err)
	}
	if n, err := server.client().Prune(t.Context(), s.label, time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Fatalf("pruned %d, %v", n, err)
	}
	s.lines = all
	s.wave(1)
	s.write()
	err := s.whole(server.client())
	// Other tests write to the same SQLite, which answers 500 to one of many at once. It is for the next try.
	for e := (*Error)(nil); errors.As(err, &e) && e.Temporary() && t.Context().Err() == nil; e = nil {
		err = s.whole(server.client())
	}
	if err != nil {
		t.Fatal(err)
	}
	books := server.labelled(s.label)
	if len(books) != 1 || len(server.of("results", int64(books[0]["id"].(float64)))) != waveHas["results"] {
		t.Errorf("playbooks %v", books)
	}
	if st, err := ReadStatus(s.dir); st.Gone != 1 || st.State != "done" || err != nil {
		t.Errorf("status %+v %v", st, err)
	}
}

// Follow puts on record what comes, as it comes, and outlives a server that is away.
func TestFollow(t *testing.T) {
	t.Parallel()
	server := shared(t)
	s, all := begun(t, 8)
	front := newFront(t, server)
	front.close()
	f := s.open(front.client())
	defer f.Close()
	ended, result := make(chan struct{}), make(chan error)
	go func() { result <- f.Follow(t.Context(), ended) }()
	wait := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	wait("it never asked", func() bool { st, err := ReadStatus(s.dir); return err == nil && st.Error != "" })
	if front.client().Answers() == false {
		t.Error("a client that was never asked answers")
	}
	front.open()
	wait("it never came", func() bool { return len(server.labelled(s.label)) == 1 })
	file, err := os.OpenFile(filepath.Join(s.dir, events), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rest := strings.Join(all[8:], "\n")
	file.WriteString(rest[:len(rest)/2]) // in the middle of a line
	file.WriteString(rest[len(rest)/2:] + "\n")
	close(ended)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(t.Context(), told()); err != nil {
		t.Fatal(err)
	}
	s.once(server, 1)
}

// begun is a story of one wave of which so many lines are written, and all of them.
func begun(t *testing.T, lines int) (s *story, all []string) {
	t.Helper()
	s = tell(t)
	s.wave(0)
	all = s.lines
	s.lines = all[:lines]
	s.write()
	return s, all
}

// once fails unless every record of so many waves is there exactly once.
func (s *story) once(server *server, waves int) {
	s.t.Helper()
	books := server.labelled(s.label)
	if len(books) != waves {
		s.t.Fatalf("%d playbooks, want %d", len(books), waves)
	}
	for _, b := range books {
		for kind, want := range waveHas {
			rows := server.of(kind, int64(b["id"].(float64)))
			seen := map[string]bool{}
			for _, r := range rows {
				seen[text([]any{r["uuid"], r["name"], r["path"], r["task"], r["host"], r["started"], r["key"]})] = true
			}
			if len(rows) != want || len(seen) != want {
				s.t.Errorf("playbook %v has %d %s, %d of them different, want %d", b["id"], len(rows), kind, len(seen), want)
			}
		}
		if b["status"] != "completed" || b["ended"] == nil {
			s.t.Errorf("playbook %v is %v, ended %v", b["id"], b["status"], b["ended"])
		}
	}
	if st, err := ReadStatus(s.dir); err != nil || st.State != "done" || st.Offset != st.Size || len(st.Playbooks) != waves || st.Error != "" {
		s.t.Errorf("status %+v, %v", st, err)
	}
}
