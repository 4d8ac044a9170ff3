package tracker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const data = `{"other": {"CVE-2020-1": {"description": "x", "releases": {}}},
"openssl": {
 "CVE-2026-0001": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "3.0.17-1~deb12u1"}}},
 "CVE-2026-0002": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "3.0.15-1~deb12u1"}}},
 "CVE-2026-0003": {"releases": {"bookworm": {"status": "open"}}},
 "CVE-2026-0004": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "0"}}},
 "CVE-2026-0005": {"releases": {"trixie": {"status": "resolved", "fixed_version": "3.0.17-1~deb12u1"}}},
 "\u001b[31m": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "3.0.17-1~deb12u1"}}}
}}`

func TestFixed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tracker.json")
	if _, err := Load(path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	tr, err := Load(path, []string{"openssl"})
	if err != nil {
		t.Fatal(err)
	}
	if got := tr.Fixed("bookworm", "openssl", "3.0.15-1~deb12u1", "3.0.17-1~deb12u1"); !slices.Equal(got, []string{"CVE-2026-0001"}) {
		t.Errorf("got %v", got)
	}
	if got := tr.Fixed("bookworm", "bash", "1", "2"); got == nil || len(got) != 0 {
		t.Errorf("a package that the tracker does not have: %v", got)
	}
	for _, bad := range []string{"", "[]", data[:len(data)-2], `{"openssl": 1}`} {
		os.WriteFile(path, []byte(bad), 0o600)
		if _, err := Load(path, []string{"openssl"}); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// TestCompare asks dpkg.
func TestCompare(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip(err)
	}
	versions := []string{"1", "1.0", "1.0-1", "1.0~rc1-1", "1:0.9", "1.0-1+deb12u1", "1.0-1+b1", "1.10", "1.9", "1.09", "0", "2~", "2", "1.0a", "1.0+", "1.0-1-2"}
	const letters = "0019a~+.-Z"
	r := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		var b strings.Builder
		for range r.IntN(6) {
			b.WriteByte(letters[r.IntN(len(letters))])
		}
		versions = append(versions, "1"+strings.TrimRight(b.String(), "-")+"x")
	}
	// One shell for all pairs.
	var script strings.Builder
	for _, a := range versions {
		for _, b := range versions {
			fmt.Fprintf(&script, "dpkg --compare-versions '%s' lt '%s' && echo -1 || { dpkg --compare-versions '%s' eq '%s' && echo 0 || echo 1; }\n", a, b, a, b)
		}
	}
	cmd := exec.Command("sh")
	cmd.Stdin = strings.NewReader(script.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(out))
	for i, a := range versions {
		for j, b := range versions {
			if got := fmt.Sprint(Compare(a, b)); got != want[i*len(versions)+j] {
				t.Errorf("%s and %s: %s, dpkg says %s", a, b, got, want[i*len(versions)+j])
			}
		}
	}
}
