package orchestrator

import "strings"

// sshSays pairs what ssh says of a host that it cannot reach with what that means, and where to look. The first that fits counts.
var sshSays = []struct {
	says, problem, look string
	cause               Cause
}{
	{"banner exchange", "it takes connections, and its sshd says nothing", "the host hangs or is overloaded, look at its console", CauseSilent},
	{"Connection refused", "it is up, and nothing listens on its ssh port", "look whether sshd runs", CauseRefused},
	{"No route to host", "it does not answer", "it is off, or its network is down", CauseNoAnswer},
	{"Network is unreachable", "this machine has no way to its network", "look at the routes and the address here", CauseRoutes},
	{"Connection timed out", "it does not answer", "it is off, its network is down, or a firewall is in between", CauseNoAnswer},
	{"not responding", "it stopped answering", "it hangs, or the link to it was lost", CauseLink},
	{"Could not resolve hostname", "its name is not known to the resolver", "set ansible_host, or look at DNS", CauseName},
	{"HOST IDENTIFICATION HAS CHANGED", "its host key is not the known one", "if it was installed anew, replace it in known_hosts", CauseHostKey},
	{"Host key verification failed", "its host key is not known", "log in once by hand, or add it to known_hosts", CauseHostKey},
	{"Permission denied", "it does not let us in", "look at the user, the key, and its authorized_keys", CauseLogin},
	// 2.19 often says no more than this.
	{"Data could not be sent", "its ssh connection ended at once", "the host hangs or is overloaded, or its network is down", CauseSilent},
}

// Unreachable says in words of an operator why ssh did not reach a host, by what it said, and where to look. Both are
// empty for what is not known.
func Unreachable(msg string) (problem, look string) {
	for _, s := range sshSays {
		if strings.Contains(msg, s.says) {
			return s.problem, s.look
		}
	}
	return "", ""
}

// unreachable puts why a host was not reached into words of an operator; what ssh said follows.
func unreachable(msg string) string {
	if strings.HasPrefix(msg, "no progress for ") { // its connection was ended here
		return msg
	}
	if problem, look := Unreachable(msg); problem != "" {
		return problem + ": " + look + " (" + strings.Join(strings.Fields(msg), " ") + ")"
	}
	return msg
}
