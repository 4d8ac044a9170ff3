//go:build !failpoints

package orchestrator

// failpoint is where a program built with the tag failpoints can be made to die.
func failpoint(string) {}
