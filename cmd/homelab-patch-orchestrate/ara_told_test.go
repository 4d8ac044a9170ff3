package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"homelab-patch-orchestrate/ara"
	"homelab-patch-orchestrate/orchestrator"
)

// waiting is a run with a thousand bytes of events, and somebody who puts it on record.
func waiting(t *testing.T) (o *onRecord, run string, said func() string) {
	t.Helper()
	store, lock := lockedStore(t)
	defer lock.Close()
	r, err := lock.Begin()
	if err != nil {
		t.Fatal(err)
	}
	(&orchestrator.Orchestrator{}).Fail(t.Context(), r, errors.New("on purpose"))
	out, err := os.Create(filepath.Join(t.TempDir(), "err"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	if err := os.WriteFile(filepath.Join(r.Dir, "events.jsonl"), []byte(strings.Repeat(" ", 999)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ara.Mark(r.Dir); err != nil {
		t.Fatal(err)
	}
	o = &onRecord{out: &printer{out: out, err: out}, store: store, post: &post{ara: &ara.Client{Server: "http://127.0.0.1:1"}}}
	return o, r.ID, func() string {
		text, _ := os.ReadFile(out.Name())
		return string(text)
	}
}

// at says that so many bytes of the events are on record.
func at(t *testing.T, o *onRecord, run string, offset int) {
	t.Helper()
	text, err := json.Marshal(map[string]int{"version": 1, "offset": offset})
	if err == nil {
		err = os.WriteFile(filepath.Join(o.dir(run), ara.Pending), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Who waits is told after ten seconds, and less and less often, how far it is and when it will be over.
func TestTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, run, said := waiting(t)
		end := o.told(run)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if said() != "" {
			t.Errorf("at once: %s", said())
		}
		at(t, o, run, 20)
		time.Sleep(2 * time.Second) // to the 11th
		at(t, o, run, 300)
		time.Sleep(20 * time.Second) // to the 31st
		time.Sleep(3 * time.Minute)  // to the 211th: once a minute
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(said()), "\n")
		want := fmt.Sprintf("%s: run %s: ", name, run)
		if len(lines) != 5 || lines[0] != want+"2 % on record, about 9 min to go" || lines[1] != want+"30 % on record, about 70 s to go" {
			t.Errorf("%d lines:\n%s", len(lines), said())
		}
		before := said()
		end()
		time.Sleep(time.Hour)
		if said() != before {
			t.Errorf("after its end:\n%s", said())
		}
	})
}

// A call whose time is over says what is on record, who goes on, and nothing of a server that has done its work. A run
// that another process has is spoken of if it was named.
func TestTimeIsOver(t *testing.T) {
	// Not beside others: what another test forks has our locks until it has become its program.
	o, run, said := waiting(t)
	at(t, o, run, 340)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	// The one that the file is of.
	o.post.ara.Server = ""
	err := o.all(ctx, []string{run}, false)
	if err == nil || !strings.Contains(err.Error(), "run "+run+": 34 % on record") || !strings.Contains(err.Error(), "`ara forward "+run+"`") {
		t.Errorf("%v", err)
	}
	if s, err := ara.ReadStatus(o.dir(run)); err != nil || s.Error != "" || s.State != "waiting" || s.Offset != 340 {
		t.Errorf("%+v, %v", s, err)
	}
	busy := ara.Forwarder{Client: o.post.ara, Dir: o.dir(run)}
	if err := busy.Open(); err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, named := range []bool{false, true} {
		if err := o.all(t.Context(), []string{run}, named); err != nil || strings.Contains(said(), "34 % on record; another process") != named {
			t.Errorf("named %t: %v\n%s", named, err, said())
		}
	}
}
