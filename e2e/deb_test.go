//go:build e2e

package e2e_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildDeb makes the package of this checkout for the controllers of the lab, and returns its file and version.
func buildDeb(t *testing.T, args ...string) (file, version string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", append([]string{"run", "./packaging", "-out", dir}, args...)...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go run ./packaging: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*_amd64.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages: %q, %v", found, err)
	}
	out, err := exec.Command("dpkg-deb", "--field", found[0], "Version").Output()
	if err != nil {
		t.Fatal(err)
	}
	return found[0], strings.TrimSpace(string(out))
}
