package main

import (
	"fmt"
	"regexp"
	"time"
)

var (
	tagged = regexp.MustCompile(`^v([0-9]+(?:\.[0-9]+)*)(?:-(rc\.?[0-9]+))?(?:-([0-9]+)-g([0-9a-f]+))?(-dirty)?$`)
	bare   = regexp.MustCompile(`^([0-9a-f]{7,64})(-dirty)?$`)
)

// debianVersion is the version of a package of what git describes, so that dpkg sorts versions as commits were made: a
// candidate before its release, commits after a tag behind it, and before the first tag by their time.
func debianVersion(described string, committed time.Time) (string, error) {
	dirty := func(mark string) string {
		if mark == "" {
			return ""
		}
		return "+dirty"
	}
	if m := tagged.FindStringSubmatch(described); m != nil {
		version := m[1]
		if m[2] != "" {
			version += "~" + m[2]
		}
		if m[3] != "" {
			version += "+" + m[3] + ".g" + m[4]
		}
		return version + dirty(m[5]), nil
	}
	if m := bare.FindStringSubmatch(described); m != nil {
		return "0.0~" + committed.UTC().Format("20060102150405") + "." + m[1] + dirty(m[2]), nil
	}
	return "", fmt.Errorf("the tag of %q is no version: name tags v1.2.3 or v1.2.3-rc1, or give one with -version", described)
}
