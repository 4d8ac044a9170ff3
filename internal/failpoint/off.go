//go:build !failpoints

// Package failpoint lets tests end the program at moments that are named in its code. A program that was built without
// the tag failpoints has none.
package failpoint

// At is a moment. Without the tag failpoints it does nothing.
func At(string) {}
