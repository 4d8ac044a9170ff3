// Package tracker tells which vulnerabilities an upgrade mends, by a local copy of Debian's security tracker, the file
// https://security-tracker.debian.org/tracker/data/json. It goes to no network.
//
//	t, err := tracker.Load(path, []string{"openssl"})
//	ids := t.Fixed("bookworm", "openssl", "3.0.15-1~deb12u1", "3.0.17-1~deb12u1")
package tracker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
)

// sizeLimit is several times the tracker's whole data.
const sizeLimit = 1 << 30

// Tracker is what the copy says of some source packages.
type Tracker struct {
	issues map[string]map[string]issue // by source package and id
}

type issue struct {
	Releases map[string]struct {
		Status       string `json:"status"`
		FixedVersion string `json:"fixed_version"`
	} `json:"releases"`
}

// id is how issues are called: CVE-2026-1234, TEMP-0000000-ABCDEF.
var id = regexp.MustCompile(`^[A-Z]+-[0-9A-Za-z-]+$`)

// Load reads what the copy at path has about the source packages. The error of a missing file is one that errors.Is
// [os.ErrNotExist].
func Load(path string, sources []string) (*Tracker, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	t := &Tracker{issues: map[string]map[string]issue{}}
	if err := t.read(io.LimitReader(file, sizeLimit), sources); err != nil {
		return nil, fmt.Errorf("%s is no copy of the security tracker's data: %w", path, err)
	}
	return t, nil
}

// read takes one package after the other: the whole is some 70 MB, of which a plan needs little.
func (t *Tracker) read(r io.Reader, sources []string) error {
	dec := json.NewDecoder(r)
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return errors.Join(err, errors.New("it is no object"))
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		source, _ := name.(string)
		if !slices.Contains(sources, source) {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		var issues map[string]issue
		if err := dec.Decode(&issues); err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		t.issues[source] = issues
	}
	_, err := dec.Token()
	return err
}

// Fixed returns the issues of a source package that are open in the version from and fixed in the version to, sorted.
func (t *Tracker) Fixed(suite, source, from, to string) []string {
	ids := []string{}
	for name, i := range t.issues[source] {
		r, known := i.Releases[suite]
		if !known || r.Status != "resolved" || r.FixedVersion == "" || r.FixedVersion == "0" || !id.MatchString(name) {
			continue // 0 is a release that never had it
		}
		if Compare(from, r.FixedVersion) < 0 && Compare(to, r.FixedVersion) >= 0 {
			ids = append(ids, name)
		}
	}
	slices.Sort(ids)
	return ids
}
