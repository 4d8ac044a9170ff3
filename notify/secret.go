package notify

import (
	"fmt"
	"strings"
)

// Secret is a text that must not be seen: it prints, in every format, as <redacted>. The zero value is no secret and
// prints as nothing.
type Secret string

const redacted = "<redacted>"

// String returns "<redacted>", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format makes every verb, %#v and %x included, print what [Secret.String] returns.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText makes JSON and the like hold what [Secret.String] returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// hide replaces every secret in a text. Belt and braces: nothing should have put one there.
func hide(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, string(s), redacted)
		}
	}
	return text
}
