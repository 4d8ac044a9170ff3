//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// What the scenarios share: the program on the controller, and what it leaves behind there.

const (
	program    = "homelab-patch-orchestrate"
	controller = "infra-services"
	stateDir   = "/var/lib/homelab-patch-orchestrate"
	textfiles  = "/var/lib/prometheus/node-exporter"
)

// binary is the program that all scenarios run: E2E_BINARY, or this checkout, built once.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("E2E_BINARY"); path != "" {
		return path, nil
	}
	path := filepath.Join("..", "bin", program)
	cmd := exec.Command("make", "-s", "-C", "..", "build")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &buildError{err, out}
	}
	return path, nil
})

type buildError struct {
	err error
	out []byte
}

func (e *buildError) Error() string { return "make build: " + e.err.Error() + "\n" + string(e.out) }

// onFull is onEach in the full suites. In CI, where time is short, the newer generation does: the scenarios that are not
// told apart by it run on the older one.
func onFull(t *testing.T, o e2e.Options, suite, title string, scenario func(*testing.T, *e2e.Lab, *e2e.Evidence)) {
	t.Helper()
	if os.Getenv("E2E_FULL") == "1" {
		onEach(t, o, suite, title, scenario)
		return
	}
	o.Hosts = "hosts-trixie.conf"
	lab := up(t, o)
	scenario(t, lab, e2e.Record(t, lab, suite, title))
}

// onEach runs a scenario once a generation of controllers, which differ in Debian, Ansible and Python. prox is of the
// controller's generation, saltierpoop always of the older one. Each leaves a record of its own.
func onEach(t *testing.T, o e2e.Options, suite, title string, scenario func(*testing.T, *e2e.Lab, *e2e.Evidence)) {
	t.Helper()
	for _, g := range []struct{ debian, hosts, suffix string }{
		{"bookworm", "hosts.conf", ""},
		{"trixie", "hosts-trixie.conf", "-trixie"},
	} {
		t.Run(g.debian, func(t *testing.T) {
			o.Hosts = g.hosts
			lab := up(t, o)
			if out := lab.Exec(controller, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"); out != g.debian+"\n" {
				t.Fatalf("the controller is %s", out)
			}
			scenario(t, lab, e2e.Record(t, lab, suite+g.suffix, title+", from a "+g.debian+" controller"))
		})
	}
}

// up starts a lab with the program on its controller.
func up(t *testing.T, o e2e.Options) *e2e.Lab {
	t.Helper()
	lab := e2e.Up(t, o)
	install(t, lab)
	return lab
}

func install(t *testing.T, lab *e2e.Lab) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	lab.Push(controller, path, "/usr/local/bin/"+program)
	lab.Exec(controller, "mkdir", "-p", "/etc/homelab")
}

// outcome is how one call of the program went.
type outcome struct {
	e2e.Output
	Args   []string
	Took   time.Duration
	Report *report // its journal; nil if it began no run
}

// words is all that it said.
func (o outcome) words() string { return o.Stdout + o.Stderr }

// report is the part of a journal that scenarios look at, by the names of docs/contracts.md.
type report struct {
	Version  int      `json:"version"`
	ID       string   `json:"id"`
	State    string   `json:"state"`
	Kind     string   `json:"kind"`
	Reason   string   `json:"reason"`
	ExitCode *int     `json:"exit_code"`
	Notes    []string `json:"notes"`
	Waves    []struct {
		Number int       `json:"number"`
		State  string    `json:"state"`
		Reason string    `json:"reason"`
		Began  time.Time `json:"started"`
		Ended  time.Time `json:"ended"`
		Hosts  []host    `json:"hosts"`
	} `json:"waves"`
}

type host struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Excused bool   `json:"excused"`
	Task    string `json:"task"`
	Message string `json:"message"`
	Patch   *patch `json:"patch"`
}

type patch struct {
	Packages []struct {
		Name     string `json:"name"`
		From     string `json:"from"`
		To       string `json:"to"`
		Security bool   `json:"security"`
	} `json:"packages"`
	HeldPackages   []struct{ Name string }         `json:"held_packages"`
	KeptBack       []struct{ Name, Reason string } `json:"kept_back"`
	Excluded       []struct{ Name string }         `json:"excluded"`
	Conffiles      []string                        `json:"conffiles"`
	Warnings       []string                        `json:"warnings"`
	RebootRequired bool                            `json:"reboot_required"`
	RebootReasons  []string                        `json:"reboot_reasons"`
	RebootForecast string                          `json:"reboot_forecast"`
	Rebooted       bool                            `json:"rebooted"`
	FailedUnits    struct{ After []string }        `json:"failed_units"`
	DpkgAudit      string                          `json:"dpkg_audit"`
	Reattached     bool                            `json:"reattached"`
	Failure        *struct{ Phase, Reason string } `json:"failure"`
}

// names lists the packages that changed.
func (p *patch) names() []string {
	var names []string
	for _, k := range p.Packages {
		names = append(names, k.Name)
	}
	return names
}

// host returns what the report says of a host, which must be in it.
func (o outcome) host(t *testing.T, name string) host {
	t.Helper()
	if o.Report == nil {
		t.Fatalf("%s: no run began, exit code %d\n%s", strings.Join(o.Args, " "), o.Code, o.words())
	}
	for _, w := range o.Report.Waves {
		for _, h := range w.Hosts {
			if h.Name == name {
				return h
			}
		}
	}
	t.Fatalf("run %s: host %s is not in its report", o.Report.ID, name)
	return host{}
}

// outcomes lists how the hosts came out, as "name outcome", in the order of the waves.
func (o outcome) outcomes() []string {
	if o.Report == nil {
		return nil
	}
	var all []string
	for _, w := range o.Report.Waves {
		for _, h := range w.Hosts {
			all = append(all, h.Name+" "+h.Outcome)
		}
	}
	return all
}

// want checks exit code, outcomes and words at once. No outcomes means that no run may have begun.
func (o outcome) want(t *testing.T, code int, outcomes []string, words ...string) {
	t.Helper()
	ok := o.Code == code && slices.Equal(o.outcomes(), outcomes)
	for _, w := range words {
		ok = ok && strings.Contains(o.words(), w)
	}
	if !ok {
		t.Errorf("%s: exit code %d, %q; want %d, %q, and the words %q\n%s",
			strings.Join(o.Args, " "), o.Code, o.outcomes(), code, outcomes, words, o.words())
	}
}

// run calls the program on the controller and waits for its end.
func run(t *testing.T, lab *e2e.Lab, args ...string) outcome {
	t.Helper()
	return start(t, lab, args...).wait(t)
}

// call is the program at work on the controller.
type call struct {
	lab            *e2e.Lab
	cmd            *exec.Cmd
	args           []string
	began          time.Time
	before         []string // ids of the runs that were there before
	stdout, stderr output
}

// output is what a program prints, to be read while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start calls the program and does not wait for it. It is ended with the test.
func start(t *testing.T, lab *e2e.Lab, args ...string) *call {
	t.Helper()
	c := &call{lab: lab, args: args, before: runs(lab), began: time.Now()}
	c.cmd = lab.Command(context.WithoutCancel(t.Context()), controller, append([]string{program}, args...)...)
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			c.cmd.Process.Kill()
			c.cmd.Wait()
		}
	})
	return c
}

// running waits until the call's run is in its first wave, and returns the id of the run.
func (c *call) running(t *testing.T) string {
	t.Helper()
	var id string
	e2e.Eventually(t, time.Minute, "a run begins", func() error {
		for _, i := range runs(c.lab) {
			if !slices.Contains(c.before, i) && journal(t, c.lab, i).Waves[0].State == "running" {
				id = i
				return nil
			}
		}
		return errors.New("no journal with a running wave")
	})
	return id
}

// wait returns how the call ended.
func (c *call) wait(t *testing.T) outcome {
	t.Helper()
	c.cmd.Wait() // the code tells
	o := outcome{Args: c.args, Took: time.Since(c.began)}
	o.Stdout, o.Stderr, o.Code = c.stdout.String(), c.stderr.String(), c.cmd.ProcessState.ExitCode()
	if o.Code == 125 {
		t.Fatalf("%s could not be run: %s", program, o.Stderr)
	}
	for _, id := range runs(c.lab) {
		if !slices.Contains(c.before, id) {
			r := journal(t, c.lab, id)
			o.Report = &r
		}
	}
	return o
}

// pid is the process of the call, by the lock that it holds; 0 as long as it does not.
func (c *call) pid() int {
	out := c.lab.Run(context.Background(), controller, "cat", stateDir+"/lock")
	id, _, _ := strings.Cut(strings.TrimSpace(out.Stdout), " ")
	pid, _ := strconv.Atoi(id)
	return pid
}

// heard waits until the call has said so.
func (c *call) heard(t *testing.T, words string) {
	t.Helper()
	e2e.Eventually(t, 10*time.Second, "the program says "+words, func() error {
		if said := c.stderr.String(); !strings.Contains(said, words) {
			return errors.New(said)
		}
		return nil
	})
}

// signal sends a signal to the call's process.
func (c *call) signal(t *testing.T, name string) {
	t.Helper()
	pid := c.pid()
	if comm := c.lab.Run(t.Context(), controller, "cat", "/proc/"+strconv.Itoa(pid)+"/comm").Stdout; !strings.HasPrefix(program, strings.TrimSpace(comm)) || comm == "" {
		t.Fatalf("process %d of the lock is %q", pid, comm)
	}
	c.lab.Exec(controller, "kill", "-"+name, strconv.Itoa(pid))
}

// runs lists the ids of all runs that have a journal, oldest first.
func runs(lab *e2e.Lab) []string {
	out := lab.Run(context.Background(), controller, "sh", "-c", "ls -d "+stateDir+"/runs/*/journal.json 2>/dev/null")
	var ids []string
	for _, path := range strings.Fields(out.Stdout) {
		ids = append(ids, filepath.Base(filepath.Dir(path)))
	}
	return ids
}

// journal reads the journal of a run.
func journal(t *testing.T, lab *e2e.Lab, id string) report {
	t.Helper()
	var r report
	data := lab.For(t).Exec(controller, "cat", stateDir+"/runs/"+id+"/journal.json")
	if err := json.Unmarshal([]byte(data), &r); err != nil {
		t.Fatalf("journal of %s: %v\n%s", id, err, data)
	}
	if r.Version != 1 || r.ID != id {
		t.Fatalf("journal of %s: version %d, id %q", id, r.Version, r.ID)
	}
	return r
}
