package ara_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"homelab-patch-orchestrate/ara"
)

func TestFirst(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	text, _ := os.ReadFile("../runner/testdata/outcomes-2.14.jsonl")
	text = regexp.MustCompile(`"id":"id(\d+)"`).ReplaceAllFunc(text, func(b []byte) []byte {
		var n int
		fmt.Sscanf(string(b), `"id":"id%d"`, &n)
		return fmt.Appendf(nil, `"id":"00000000-0000-0000-0000-%012d"`, n)
	})
	os.WriteFile(filepath.Join(dir, "events.jsonl"), text, 0o600)
	f := &ara.Forwarder{Client: s.client(), Dir: dir, Labels: []string{"run:x"}}
	if err := f.Open(); err != nil {
		t.Fatal(err)
	}
	if err := f.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(t.Context(), func([]string) []ara.Record { return []ara.Record{{"k", "text", "v"}} }); err != nil {
		t.Fatal(err)
	}
	fmt.Println(s.counts())
	st, err := ara.ReadStatus(dir)
	fmt.Printf("%+v %v\n", st, err)
	for _, p := range s.all("playbooks") {
		fmt.Println(p)
	}
	for _, p := range s.all("hosts") {
		fmt.Println(p)
	}
}
