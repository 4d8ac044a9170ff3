package orchestrator

import (
	"os"
	"strings"
	"testing"
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
	check("with words", true, "disk [31mswap  ("+path+")")
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
