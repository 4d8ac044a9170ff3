package orchestrator

import (
	"strings"
	"testing"
)

func TestUnreachable(t *testing.T) {
	for msg, want := range map[string]string{
		"Failed to connect to the host via ssh: Connection timed out during banner exchange\nConnection to 10.0.0.1 port 22 timed out": "it takes connections, and its sshd says nothing",
		"Failed to connect to the host via ssh: ssh: connect to host 10.0.0.1 port 22: Connection timed out":                           "it does not answer",
		"Failed to connect to the host via ssh: ssh: connect to host 10.0.0.1 port 22: No route to host":                               "it does not answer",
		"ssh: connect to host 192.0.2.1 port 22: Network is unreachable":                                                               "this machine has no way to its network",
		"Failed to connect to the host via ssh: ssh: connect to host 10.0.0.1 port 22: Connection refused":                             "it is up, and nothing listens",
		"Failed to connect to the host via ssh: Timeout, server 10.0.0.1 not responding.":                                              "it stopped answering",
		"root@10.0.0.1: Permission denied (publickey).":                                                                                "it does not let us in",
		"Data could not be sent to remote host 'a'. Make sure this host can be reached over SSH: [Errno 32] Broken pipe":               "its ssh connection ended at once",
		"Host key verification failed.": "its host key is not known",
	} {
		got := unreachable(msg)
		if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "("+strings.Join(strings.Fields(msg), " ")+")") {
			t.Errorf("%q: %q", msg, got)
		}
	}
	for _, msg := range []string{"something new", `no progress for 15m0s in task "Wait", so its ssh connection was ended: Data could not be sent`} {
		if got := unreachable(msg); got != msg {
			t.Errorf("%q became %q", msg, got)
		}
	}
}
