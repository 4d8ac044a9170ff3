package orchestrator

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHoldFile(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/MAINTENANCE"
	hold := HoldFile(path)
	check := func(name string, held bool, want string) {
		t.Helper()
		got, reason, err := hold()
		if err != nil || got != held || reason != want {
			t.Errorf("%s: held %t, reason %q, error %v; want %t, %q", name, got, reason, err, held, want)
		}
	}
	check("missing", false, "")
	put(t, dir, "MAINTENANCE", "")
	check("touched", true, path+" exists")
	put(t, dir, "MAINTENANCE", "disk \x1b[31mswap\x00 \xff\nsecond line")
	check("with words", true, "disk [31mswap ("+path+")")
	put(t, dir, "MAINTENANCE", strings.Repeat("x", 1<<20))
	check("long", true, strings.Repeat("x", 200)+" ("+path+")")
	os.Remove(path)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	check("a folder", true, path+" exists")
	os.Remove(path)
	if err := os.Symlink("nowhere", path); err != nil {
		t.Fatal(err)
	}
	check("a dangling link", true, path+" exists")

	put(t, dir, "file", "")
	if held, _, err := HoldFile(dir + "/file/MAINTENANCE")(); held || err == nil {
		t.Errorf("under a file: held %t, error %v", held, err)
	}
	if (&HeldError{}).Error() != "held" {
		t.Error((&HeldError{}).Error())
	}
}

func TestHoldWithAnEnd(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) time.Time { return now.Add(d).Truncate(time.Second) }
	path := t.TempDir() + "/etc/homelab/MAINTENANCE"
	for _, c := range []struct {
		name, file string
		want       string // in the reason
		since      time.Time
		until      time.Time
		expired    bool
	}{
		{"set", "disks\nuntil: " + at(time.Hour).Format(time.RFC3339) + "\nsince: 2026-01-02T03:04:05Z\n", "disks (" + path + "), until ",
			time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), at(time.Hour), false},
		{"expired", "disks\nuntil: 2026-01-02T03:04:05Z\n", "), expired on ", time.Time{}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), true},
		{"by hand", "disks\n\nuntil:2026-01-02\nthe rest\n", " and still holds", time.Time{}, time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local), true},
		{"no time", "disks\nuntil: tomor\x1brow", `, until "tomorrow", which is no time`, time.Time{}, time.Time{}, false},
		{"beyond all", "disks\nuntil: 9999-01-02", `, until "9999-01-02", which is no time`, time.Time{}, time.Time{}, false},
		{"the end alone", "until: 2026-01-02", "until: 2026-01-02 (", time.Time{}, time.Time{}, false}, // the first line is the reason
		{"no reason", "\nuntil: 2026-01-02", path + " exists, expired on ", time.Time{}, time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local), true},
	} {
		if err := (Hold{Path: path, Reason: "x"}).Set(); err != nil { // makes the folders
			t.Fatal(err)
		}
		put(t, filepath.Dir(path), "MAINTENANCE", c.file)
		h, err := ReadHold(path)
		if err != nil || h == nil {
			t.Fatalf("%s: %v, %v", c.name, h, err)
		}
		if !h.Until.Equal(c.until) || h.Expired(now) != c.expired || !c.since.IsZero() && !h.Since.Equal(c.since) || c.since.IsZero() && time.Since(h.Since) > time.Hour {
			t.Errorf("%s: %+v", c.name, h)
		}
		held, reason, err := HoldFile(path)()
		if !held || err != nil || !strings.Contains(reason, c.want) || strings.Contains(reason, "\x1b") {
			t.Errorf("%s: held %t, %q, %v; want %q", c.name, held, reason, err, c.want)
		}
	}
}

func TestHoldSetAndClear(t *testing.T) {
	dir := t.TempDir() + "/holds"
	now := time.Now().Truncate(time.Second)
	for _, want := range []Hold{
		{Path: dir + "/prox", Reason: "disks: new ones, é", Since: now, Until: now.Add(time.Hour)},
		{Path: dir + "/prox", Reason: "until: " + strings.Repeat("x", 250), Since: now},
		{Path: dir + "/prox", Since: now, Until: now.Add(-time.Hour)},
	} {
		if err := want.Set(); err != nil {
			t.Fatal(err)
		}
		got, err := ReadHold(want.Path)
		want.Reason = want.Reason[:min(len(want.Reason), ReasonLimit)]
		if err != nil || got.Reason != want.Reason || !got.Since.Equal(want.Since) || !got.Until.Equal(want.Until) || got.Bad != "" {
			t.Errorf("set %+v\nread %+v, %v", want, got, err)
		}
	}
	info, err := os.Stat(dir + "/prox")
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	put(t, dir, ".hold-123", "what a process left that was killed")
	put(t, dir, "nas", "")
	all, err := ReadHostHolds(dir)
	if err != nil || len(all) != 2 || all["prox"] == nil || all["nas"] == nil {
		t.Errorf("%v, %v", all, err)
	}
	holds := HostHolds(dir)
	for host, want := range map[string]bool{"prox": true, "nas": true, "web": false, "": false, ".hold-123": false, "..": false, "../holds/prox": false, "a\x00": false} {
		if held, reason, err := holds(host); held != want || err != nil || (reason != "") != want {
			t.Errorf("%q: held %t, %q, %v", host, held, reason, err)
		}
		_, err := HostHoldPath(dir, host)
		if usable := want || host == "web"; (err == nil) != usable {
			t.Errorf("HostHoldPath(%q): %v", host, err)
		}
	}
	if err := all["prox"].Clear(); err != nil {
		t.Error(err)
	}
	if err := all["prox"].Clear(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cleared twice: %v", err)
	}
	if h, err := ReadHold(dir + "/prox"); h != nil || err != nil {
		t.Errorf("%+v, %v", h, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if all, err := ReadHostHolds(dir + "/missing"); len(all) != 0 || err != nil {
		t.Errorf("no folder: %v, %v", all, err)
	}
	if _, err := ReadHostHolds(dir + "/nas"); err == nil {
		t.Error("a file for a folder: no error")
	}
	if held, _, err := HostHolds(dir + "/nas")("prox"); held || err == nil {
		t.Errorf("a file for a folder: held %t, %v", held, err)
	}
	if err := (Hold{Path: dir + "/nas/prox"}).Set(); err == nil {
		t.Error("set below a file: no error")
	}
	if err := os.Mkdir(dir+"/folder", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (Hold{Path: dir + "/folder"}).Set(); err == nil {
		t.Error("set over a folder: no error")
	}
	if left, err := filepath.Glob(dir + "/.*"); len(left) != 1 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// FuzzHold reads what anybody may have put there: it is a hold, and one line of it is safe to print.
func FuzzHold(f *testing.F) {
	f.Add([]byte("disks\nuntil: 2026-12-01T18:00:00Z\nsince: 2026-01-01\n"))
	f.Add([]byte("\xff\x00\x1b]0;x\a\r\nuntil: \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h := Hold{Path: "/x"}
		h.parse(bytes.NewReader(text))
		if got := h.Text(time.Now()); got != printable(got) || len(got) > 2*4096+100 || len(h.Reason) > ReasonLimit {
			t.Errorf("%q", got)
		}
		if at := h.Until; !at.IsZero() && !sane(at) {
			t.Errorf("until %v", at)
		}
	})
}
