package orchestrator

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestOpen(t *testing.T) {
	t.Run("makes it", func(t *testing.T) {
		dir := t.TempDir() + "/var/lib/state"
		store, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{dir, dir + "/runs"} {
			if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", d, info.Mode(), err)
			}
		}
		if _, err := store.Latest(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("latest run of none: %v", err)
		}
	})
	t.Run("closes it to readers", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
			t.Errorf("mode %v", info.Mode())
		}
	})
	// A run with --state /var/lib once closed that folder to the whole machine.
	t.Run("leaves alone what is not its own", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/other", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "other files (other)") {
			t.Errorf("error %v", err)
		}
		if info, _ := os.Stat(dir); info.Mode().Perm() != 0o755 {
			t.Errorf("mode %v", info.Mode())
		}
	})
	t.Run("refuses writers", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "others may write "+dir) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("refuses a file", func(t *testing.T) {
		path := t.TempDir() + "/file"
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("refuses another user's", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a folder away")
		}
		dir := t.TempDir()
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
			t.Errorf("error %v", err)
		}
	})
}

// needTool skips a test whose tool is missing, unless everything is required.
func needTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("E2E_REQUIRED") == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("%v: apt-get install %s", err, name)
	}
	return path
}

// Root may write anywhere but on a file system that is mounted read-only.
func TestOpenReadOnly(t *testing.T) {
	unshare := needTool(t, "unshare")
	dir := t.TempDir()
	cmd := child(t, "open", dir+"/state")
	cmd.Args = []string{unshare, "--user", "--map-root-user", "--mount", "sh", "-c",
		`mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$1"`, dir, os.Args[0]}
	cmd.Path = unshare
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	if err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skipf("no mount of our own here: %v", err)
	}
	if got := string(out); !strings.Contains(got, "open the state directory") || !strings.Contains(got, syscall.EROFS.Error()) {
		t.Errorf("open said %q", got)
	}
}
