//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// Runs are stopped at random moments of their whole length, one after the other: each goes on from where the one before
// it was stopped. MOMENTS says how often (40), and MOMENTS_SEED repeats the moments of an earlier test.
func TestCancelled(t *testing.T) {
	count := number(t, "MOMENTS", 40)
	seed := number(t, "MOMENTS_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("MOMENTS=%d MOMENTS_SEED=%d", count, seed)
	lab := up(t, e2e.Options{})
	ev := e2e.Record(t, lab, "cancelled", "Stopped at random moments; the seconds are those until its end")
	ev.Lines("to have the same moments again", fmt.Sprintf("MOMENTS=%d MOMENTS_SEED=%d", count, seed))
	write(lab, controller, settings, "soak: 1s\n") // so that there is something between waves
	lab.Fault("slow", "saltierpoop", "3")

	whole := run(t, lab, "run")
	whole.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"})
	ev.Call("not stopped", whole.Output, whole.Took, last(whole.Stdout))
	c := cancels{ev: ev, whole: whole, random: rand.New(rand.NewPCG(uint64(seed), 0)), phases: map[string]int{}}
	for i, slot := range c.random.Perm(count) { // one in each part of a run, so that they are all over it
		part := (float64(slot) + c.random.Float64()) / float64(count)
		t.Run(strconv.Itoa(i+1), func(t *testing.T) { c.once(t, lab.For(t), part) })
		if i%20 == 19 || i == count-1 {
			t.Run("whole", func(t *testing.T) { c.finish(t, lab.For(t)) })
		}
	}
	t.Logf("stopped: %v", c.phases)
	if count < 20 {
		return // too few to hit each
	}
	for _, want := range []string{"before wave 0", "wave 0", "wave 1", "wave 2"} {
		if c.phases[want] == 0 {
			t.Errorf("no run was stopped in its phase %q: %v", want, c.phases)
		}
	}
}

// cancels is the chain of runs: what one leaves, the next finds.
type cancels struct {
	ev     *e2e.Evidence
	whole  outcome // a run that nobody stopped
	random *rand.Rand
	phases map[string]int
	begun  []string // hosts whose upgrade was begun and not reported yet
	flight []string // hosts that were in flight when the run before was stopped
}

// once starts a run, stops it when part of its time is over and looks at what it left.
func (c *cancels) once(t *testing.T, lab *e2e.Lab, part float64) {
	length := c.prepare(t, lab)
	at := time.Duration(part * 1.1 * float64(length))
	signals, code := []string{"TERM"}, 143
	if c.random.IntN(2) == 0 {
		signals, code = []string{"INT", "INT"}, 130
	}
	before := metrics(t, lab, controller, "patch_orchestrate.prom")

	call := start(t, lab, "run")
	ended := make(chan struct{})
	go func() { // ends with the program
		call.cmd.Wait()
		close(ended)
	}()
	select { // the moment itself, not a wait for something
	case <-time.After(at):
	case <-ended:
	}
	phase, stopped := call.stop(t, ended, signals)
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatalf("%s in %s: the program did not end\n%s", signals, phase, call.stderr.String())
	}
	took := time.Since(stopped)
	left := leftovers(lab) // before anything else, or they could have gone meanwhile
	out := call.wait(t)
	if out.Code == -1 { // as a shell says it
		out.Code = 128 + int(call.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
	}
	said := fmt.Sprintf("%s after %.1f s, %s", strings.Join(signals, " and "), at.Seconds(), phase)
	t.Logf("%s of %.1f s: exit code %d after %.1f s, %q, left: %q", said, length.Seconds(), out.Code, took.Seconds(), out.outcomes(), left)
	name, _, _ := strings.Cut(phase, ":")
	c.phases[name]++
	if len(left) > 0 {
		t.Errorf("left at its end:\n%s", strings.Join(left, "\n"))
	}
	wantQuiet(t, lab)
	wantNoZombies(t, lab)
	wantStopped(t, lab, out, phase, code, before)
	found := c.found(t, out)
	c.ev.Call(said, out.Output, took, fmt.Sprintf("%s\nleft on the controller: %d; found from before: %s", strings.Join(out.outcomes(), ", "), len(left), found))
}

// prepare waits until all hosts are up, offers the updates anew to a fleet that has made them all, and says how long a
// run will take.
func (c *cancels) prepare(t *testing.T, lab *e2e.Lab) (length time.Duration) {
	const look = `case $(systemctl is-system-running) in running | degraded) ;; *) exit 1 ;; esac
		if [ -e /var/lib/homelab-patch/before.json ] || systemctl -q is-active homelab-patch; then echo begun
		else dpkg-query -W -f '${Version}' lab-app; fi`
	done := 0
	c.begun = nil
	for i, name := range hosts {
		var out e2e.Output
		e2e.Eventually(t, 2*time.Minute, name+" is up", func() error {
			if out = lab.Run(t.Context(), name, "sh", "-c", look); out.Code != 0 {
				return fmt.Errorf("exit code %d: %s", out.Code, out.Stderr)
			}
			return nil
		})
		w := c.whole.Report.Waves[i]
		length += w.Ended.Sub(w.Began)
		switch out.Stdout {
		case "begun\n":
			c.begun = append(c.begun, name)
		case "2.0-1":
			done++
		}
	}
	if done == len(hosts) {
		downgrade(t, lab)
		return length
	}
	return length - length*time.Duration(done)/time.Duration(2*len(hosts)) // having nothing to do takes half as long
}

// downgrade makes a fleet that is up to date as it was.
func downgrade(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	const script = `export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
		[ ! -e /etc/apt/sources.list.d/slow.list ] || slow=lab-slow=1.0-1
		apt-get -qq -y --allow-downgrades install lab-app=1.0-1 lab-conf=1.0-1 lab-sec=1.0-1 linux-image-lab-amd64=1.0 \
			linux-image-6.1.0-41-lab-amd64- ${slow:-} >/dev/null
		rm -f /run/reboot-required /run/reboot-required.pkgs`
	var all sync.WaitGroup
	for _, name := range hosts {
		all.Go(func() {
			if out := lab.Run(t.Context(), name, "sh", "-ec", script); out.Code != 0 {
				t.Errorf("downgrade of %s: %s%s", name, out.Stdout, out.Stderr)
			}
		})
	}
	all.Wait()
}

// finish has a run that nobody stops: it ends well, whatever those before it left.
func (c *cancels) finish(t *testing.T, lab *e2e.Lab) {
	c.prepare(t, lab)
	out := run(t, lab, "run")
	found := c.found(t, out)
	c.ev.Call("not stopped", out.Output, out.Took, strings.Join(out.outcomes(), ", ")+"\nfound from before: "+found)
	for _, name := range hosts {
		if o := out.host(t, name).Outcome; out.Code != 0 || o != "patched" && o != "unchanged" {
			t.Errorf("exit code %d, %s is %s\n%s", out.Code, name, o, out.words())
		}
		if lab.Version(name, "lab-app") != "2.0-1" || lab.Exec(name, "dpkg", "--audit") != "" {
			t.Errorf("%s: lab-app %q, dpkg --audit: %q", name, lab.Version(name, "lab-app"), lab.Exec(name, "dpkg", "--audit"))
		}
	}
	wantQuiet(t, lab)
}

// found says what a run found from those before it, and checks that it is what was there.
func (c *cancels) found(t *testing.T, out outcome) string {
	t.Helper()
	var found, flight []string
	if out.Report != nil {
		for _, w := range out.Report.Waves {
			for _, h := range w.Hosts {
				if h.Outcome == "interrupted" {
					flight = append(flight, h.Name)
				}
				if h.Outcome != "patched" && h.Outcome != "unchanged" {
					if slices.Contains(c.flight, h.Name) { // nobody has looked yet
						flight = append(flight, h.Name)
					}
					continue
				}
				switch there := slices.Contains(c.begun, h.Name); {
				case there && !h.Patch.Reattached:
					t.Errorf("%s: an upgrade that was begun before was not found: %+v", h.Name, h.Patch)
				case h.Patch.Reattached && !there && !slices.Contains(c.flight, h.Name):
					t.Errorf("%s: nothing was begun before, and something was found: %+v", h.Name, h.Patch)
				case h.Patch.Reattached:
					found = append(found, h.Name)
				}
			}
		}
		if len(out.Report.Waves) > 0 {
			c.flight = flight
		}
	}
	if found == nil {
		return "nothing"
	}
	return "the upgrade of " + strings.Join(found, ", ")
}

// number is a number in the environment.
func number(t *testing.T, name string, without int) int {
	t.Helper()
	text, ok := os.LookupEnv(name)
	if !ok {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is no number", name, text)
	}
	return n
}
