// Package e2e tests the project on real hosts: Debian with its own systemd, sshd, dpkg and reboot, in a lab
// that fits on one machine (see README.md beside this file).
//
// A test starts with [Up] and gets a [Lab] of its own; when the test ends, so does the lab.
//
//	lab := e2e.Up(t, e2e.Options{})
//	before := lab.BootID("prox")
//	lab.Exec("prox", "systemctl", "reboot")
//	e2e.Eventually(t, time.Minute, "prox came back", func() error { ... })
//
// Tests carry the build tag e2e: go test -tags e2e ./e2e/... They need root and the Debian packages listed in
// lab/needs. Where these are missing a test is skipped, or fails if E2E_REQUIRED=1.
package e2e
