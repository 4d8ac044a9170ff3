package notify

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e/discord"
)

var update = flag.Bool("update", false, "rewrite testdata")

// golden compares a text with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s: go test -update shows the difference\n%s", path, got)
	}
}

// standIn is Discord as it documents itself, on loopback.
type standIn struct {
	*discord.Server
	front *discord.Front
}

const (
	hookID    = "1234567890"
	hookToken = "planted-TOKEN_of-the-webhook"
)

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	s := &standIn{Server: &discord.Server{ID: hookID, Token: hookToken, NoChannelRate: true}}
	s.front = &discord.Front{Address: "127.0.0.1:0", Handler: s.Server, Answer: discord.Answer}
	if err := s.front.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.front.Close() })
	return s
}

func (s *standIn) url() Secret {
	return Secret("http://" + s.front.Address + "/api/webhooks/" + hookID + "/" + hookToken)
}

func (s *standIn) set(t *testing.T, f discord.Fault) {
	t.Helper()
	if err := s.front.Set(f); err != nil {
		t.Fatal(err)
	}
}

// recorder is a notifier that keeps what it got, and fails as it is told.
type recorder struct {
	mu   sync.Mutex
	got  []Message
	fail func(m Message, attempt int) error
	n    int
}

func (r *recorder) Notify(_ context.Context, m Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if r.fail != nil {
		if err := r.fail(m, r.n); err != nil {
			return err
		}
	}
	r.got = append(r.got, m)
	return nil
}

func (r *recorder) titles() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, m := range r.got {
		all = append(all, m.Title)
	}
	return strings.Join(all, " ")
}

// always fails in one way.
func always(e *Error) func(Message, int) error { return func(Message, int) error { return e } }

func message(n int) Message {
	return Message{ID: fmt.Sprintf("m%d", n), Title: fmt.Sprintf("m%d", n), Time: time.Now().Add(time.Duration(n) * time.Millisecond)}
}
