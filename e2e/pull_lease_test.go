//go:build e2e && e2efull

package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// spell is when something was at work on a host, by that host's clock.
type spell struct {
	what       string
	begin, end float64
}

// TestPullLease starts a pull and a patch of the same host together, fifty times and each time at other moments. Who was at
// work when is told by neither of them: plays before and after all others of site.yml note the time, and systemd's journal
// has when the patch unit was started and when it ended.
func TestPullLease(t *testing.T) {
	rounds := 50
	if n, err := strconv.Atoi(os.Getenv("E2E_ROUNDS")); err == nil {
		rounds = n
	}
	const host = "prox"
	lab := e2e.Up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "pull-lease", "A pull and a patch of the same host, started together")
	serveRepository(t, lab)
	lab.Shell(controller, "mkdir -p /etc/ansible && cp /root/homelab/inventory/hosts.yml /etc/ansible/hosts.yml")
	play := func(moment string) string {
		return "- name: Witness\n  hosts: prox\n  gather_facts: false\n  tasks:\n" +
			"    - {name: Note the " + moment + ", ansible.builtin.shell: 'echo " + moment + " $(date +%s.%N) >>/root/witness', changed_when: false}\n"
	}
	site := lab.Exec(controller, "cat", "/root/homelab/playbooks/site.yml")
	write(lab, controller, "/root/homelab/playbooks/site.yml", play("begin")+strings.TrimPrefix(site, "---\n")+play("end"))
	push(lab, "witnesses")
	converge := lab.Run(t.Context(), controller, "sh", "-c", "cd /root/homelab && exec ansible-playbook -i inventory/hosts.yml playbooks/site.yml")
	if converge.Code != 0 {
		t.Fatalf("site.yml: %s%s", converge.Stdout, converge.Stderr)
	}
	out := run(t, lab, "run", "--limit", host) // its restart, and what else there is
	out.want(t, 0, []string{host + " patched"})
	wantPull(t, lab, host, pulled(t, lab, host), true, "failed=0")
	keepJournals(lab, host)
	write(lab, host, "/root/witness", "")
	since := strings.TrimSpace(lab.Exec(host, "date", "+%s"))

	random := rand.New(rand.NewPCG(6, 4))
	skipped := 0
	began := time.Now()
	for round := range rounds {
		lab.Exec(host, "apt-get", "-qq", "-y", "--allow-downgrades", "install", "lab-app=1.0-1")
		// A run takes some seconds until it is at the host's upgrade, a pull one until it has looked for the lease.
		patchAfter, pullAfter := time.Duration(random.IntN(4000))*time.Millisecond, time.Duration(random.IntN(9000))*time.Millisecond
		patch, pull := time.After(patchAfter), time.After(pullAfter)
		done := make(chan e2e.Output, 1)
		go func() {
			<-pull
			done <- lab.Run(context.WithoutCancel(t.Context()), host, "systemctl", "start", pullUnit)
		}()
		<-patch
		out := run(t, lab, "run", "--limit", host)
		first := <-done
		if first.Code != 0 {
			t.Fatalf("round %d: the pull: %s", round, first.Stderr)
		}
		out.want(t, 0, []string{host + " patched"})
		if got := lab.Version(host, "lab-app"); got != "2.0-1" {
			t.Errorf("round %d: the patch is lost: lab-app %q", round, got)
		}
		if metrics(t, lab, host, "ansible_pull.prom")[`homelab_ansible_pull_skipped{reason="lease"}`] == 1 {
			skipped++
			wantPull(t, lab, host, pulled(t, lab, host), true, "failed=0") // as the timer would, at its next time
		}
		wantMetrics(t, lab, host, "ansible_pull.prom", map[string]float64{"last_exit_code": 0, `skipped{reason="lease"}`: 0})
		if t.Failed() {
			t.Fatalf("round %d: the patch after %s, the pull after %s", round, patchAfter, pullAfter)
		}
	}
	took := time.Since(began)

	pulls, patches := pullSpans(t, lab, host), patchSpans(t, lab, host, since)
	if len(pulls) != rounds || len(patches) != rounds {
		t.Errorf("%d pulls and %d patches were at work in %d rounds", len(pulls), len(patches), rounds)
	}
	nearest, waited := 1e9, 0
	for _, a := range pulls {
		for _, b := range patches {
			gap := max(a.begin-b.end, b.begin-a.end)
			if gap < 0 {
				t.Errorf("both were at work: %+v, %+v", a, b)
			}
			nearest = min(nearest, gap)
			// A patch takes the lease, then waits for the end of the pull's unit. Ansible ends a second or two after the last play.
			if after := b.begin - a.end; after > 0 && after < 3 {
				waited++
			}
		}
	}
	if rounds >= 50 && (skipped == 0 || waited == 0) {
		t.Errorf("they did not meet: pulls skipped %d, patches begun when a pull had just ended %d", skipped, waited)
	}
	ev.Lines("What happened", fmt.Sprintf("%d rounds in %.0f s: the pull was skipped %d times and done afterwards; %d patches were begun within 3 s of the end of a pull",
		rounds, took.Seconds(), skipped, waited),
		fmt.Sprintf("at work: %d pulls, %d patches, never both; the shortest time between the two %.2f s", len(pulls), len(patches), nearest))
	var all []string
	for _, s := range sorted(append(slices.Clone(pulls), patches...)) {
		all = append(all, fmt.Sprintf("%9.2f to %9.2f  %s", s.begin-pulls[0].begin, s.end-pulls[0].begin, s.what))
	}
	ev.Lines("Who was at work, in seconds", all...)
}

func sorted(spans []spell) []spell {
	slices.SortFunc(spans, func(a, b spell) int { return cmp.Compare(a.begin, b.begin) })
	return spans
}

// pullSpans reads what the witnesses in site.yml have noted.
func pullSpans(t *testing.T, lab *e2e.Lab, host string) (spans []spell) {
	t.Helper()
	for line := range strings.Lines(lab.Exec(host, "cat", "/root/witness")) {
		moment, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		at, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
			t.Fatalf("witness: %q", line)
		case moment == "begin":
			spans = append(spans, spell{"pull", at, 0})
		case len(spans) == 0 || spans[len(spans)-1].end != 0:
			t.Fatalf("an end without a begin: %q", line)
		default:
			spans[len(spans)-1].end = at
		}
	}
	for _, s := range spans {
		if s.end == 0 {
			t.Errorf("a pull that did not end: %+v", s)
		}
	}
	return spans
}

// patchSpans reads systemd's own words on the patch unit.
func patchSpans(t *testing.T, lab *e2e.Lab, host, since string) (spans []spell) {
	t.Helper()
	for line := range strings.Lines(lab.Exec(host, "journalctl", "-q", "-o", "short-unix", "--since=@"+since, "_PID=1", "UNIT=homelab-patch.service")) {
		text, _, _ := strings.Cut(line, " ")
		at, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
			t.Fatalf("journal: %q", line)
		case strings.Contains(line, "Started homelab-patch.service"):
			spans = append(spans, spell{"patch", at, 0})
		case strings.Contains(line, "homelab-patch.service: Deactivated successfully"):
			spans[len(spans)-1].end = at
		}
	}
	return spans
}
