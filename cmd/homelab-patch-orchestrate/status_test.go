package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

func (b *bench) status(args ...string) result {
	b.t.Helper()
	return b.do(b.bare(append([]string{"status", "--state", b.path("state"), "--config", b.path("settings.yaml")}, args...)...))
}

// A run that somebody else has started is seen as it goes, and is not held up by who looks.
func TestStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "{}\n")
	r := b.status()
	if r.code != 0 || exists(b.path("state")) {
		t.Errorf("without a run: %+v", r)
	}
	wants(t, "without a run", r.stdout, "there is no run: ", "does not exist")

	c, _ := b.waiting()
	b.eventually("the host waits", func() bool {
		r = b.status()
		return strings.Contains(r.stdout, "  one       Wait")
	})
	if r.code != 0 || r.stderr != "" {
		t.Errorf("under way: %+v", r)
	}
	wants(t, "under way", r.stdout, "wave 0  running", "wave 1  pending  1 host", "  two       waiting", "0 of 3 hosts ended")
	var s runStatus
	r = b.status("--json")
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || s.Process == nil || *s.Process != c.Process.Pid || s.State != "running" ||
		len(s.Waves) != 3 || !s.Waves[0].Hosts[0].Busy || s.Waves[0].Hosts[0].Task != "Wait" || s.Exit != nil {
		t.Errorf("--json: %v %+v", err, s)
	}

	follow := b.bare("status", "--follow", "--state", b.path("state"), "--config", b.path("settings.yaml"))
	out, said := &output{}, &output{}
	follow.Stdout, follow.Stderr = out, said
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { follow.Process.Kill(); follow.Wait() })
	b.eventually("follow has seen the run", func() bool { return strings.Contains(said.String(), "wave 0 of 3 waves is running") })
	b.release()
	follow.Wait()
	c.Wait()
	if code := follow.ProcessState.ExitCode(); code != 0 || strings.Contains(out.String()+said.String(), "\x1b") {
		t.Errorf("follow: exit code %d\n%s%s", code, out, said)
	}
	wants(t, "follow", out.String(), "passed in", "3 patched", "report: ")
	wants(t, "follow, as it goes", said.String(), `msg="host patched"`, "host=two", `msg="wave passed"`, `msg="run passed"`)
	if r = b.status(); r.code != 0 || !strings.Contains(r.stdout, "3 patched") {
		t.Errorf("after the run: %+v", r)
	}
}

// A run whose process was killed is not called one under way.
func TestStatusOfTheDead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, _ := b.waiting()
	c.Process.Kill()
	c.Wait()
	b.orphaned()
	r := b.status()
	if r.code != 0 {
		t.Errorf("%+v", r)
	}
	wants(t, "after its death", r.stdout, "wave 0  running", "its process is gone (the process that ran it ended, and the machine did not)", "resume")
	var s runStatus
	if err := json.Unmarshal([]byte(b.status("--json").stdout), &s); err != nil || s.Process != nil || s.State != "running" || !strings.Contains(s.Words, "is gone") {
		t.Errorf("--json: %v %+v", err, s)
	}
	follow := b.bare("status", "-f", "--state", b.path("state"), "--config", b.path("settings.yaml"))
	out, said := &output{}, &output{}
	follow.Stdout, follow.Stderr = out, said
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { follow.Process.Kill(); follow.Wait() })
	b.eventually("follow says so", func() bool { return strings.Contains(said.String(), "its process is gone") })
	if r := b.do(b.bare("finalize", "--state", b.path("state"), "--config", b.path("settings.yaml"), "--textfile", b.path("run.prom"))); r.code != 0 {
		t.Fatalf("finalize: %+v", r)
	}
	follow.Wait()
	if code := follow.ProcessState.ExitCode(); code != 0 || !strings.Contains(out.String(), "interrupted in") {
		t.Errorf("follow: exit code %d\n%s%s", code, out, said)
	}
}

func TestStatusRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(0, "--wave", "0")
	id := b.journal().ID
	journal := filepath.Join("state", "runs", id, "journal.json")
	whole, err := os.ReadFile(b.path(journal))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, code int, words string, args ...string) {
		t.Helper()
		r := b.status(args...)
		if r.code != code || r.stdout != "" || !strings.Contains(r.stderr, words) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d\n%s%s", what, r.code, code, r.stdout, r.stderr)
		}
	}
	b.write(journal, string(whole[:len(whole)/2]))
	refused("a truncated journal", 1, "journal.json is damaged")
	refused("a truncated journal", 1, "journal.json is damaged", "--follow")
	b.write(journal, `{"version":99}`)
	refused("a newer journal", 1, "has version 99, and this program knows 1")
	refused("both", 2, "leave --follow or --json out", "--follow", "--json")
	if err := os.Chmod(b.path("state"), 0o777); err != nil {
		t.Fatal(err)
	}
	refused("a state directory that others may write", 1, "others may write")
}

// What is being written is read when it is whole; what is around a wave is not of its hosts.
func TestOnlookerReadsAlong(t *testing.T) {
	t.Parallel()
	store, err := orchestrator.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	const id = "20261122T040000Z-1a2b3c"
	dir := runDir(store, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	report := orchestrator.Report{Version: 1, ID: id, State: orchestrator.Running, Waves: (&orchestrator.Plan{Waves: []orchestrator.Wave{
		{Number: 0, Hosts: []orchestrator.Host{{Name: "a"}, {Name: "b"}}}}}).Pending()}
	save := func() {
		t.Helper()
		data, err := json.Marshal(report)
		if err == nil {
			err = orchestrator.ReplaceFile(filepath.Join(dir, "journal.json"), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	events, err := os.Create(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	s := &onlooker{store: store}
	host := func(i int) (h struct {
		busy bool
		task string
		o    orchestrator.Outcome
	}) {
		t.Helper()
		if err := s.look(); err != nil {
			t.Fatal(err)
		}
		known := s.known.Waves()[0].Hosts[i]
		h.busy, h.task, h.o = known.Busy, known.Task, known.Outcome
		return h
	}
	save()
	events.WriteString(`{"kind":"start","time":1,"labels":["wave:0","preflight"]}` + "\n" + `{"kind":"begin","time":2,"task":"Ahead","host":"a"}` + "\n" +
		`{"kind":"start","time":2,"labels":["prepare"]}` + "\n" + `{"kind":"begin","time":2.5,"task":"Plan","host":"a"}` + "\n")
	if h := host(0); h.task != "" {
		t.Errorf("what looks ahead: %+v", h)
	}
	report.Waves[0].State, report.Waves[0].Started = orchestrator.Running, time.Unix(3, 0)
	save()
	events.WriteString(`{"kind":"start","time":3,"labels":["wave:0"]}` + "\n" + `{"kind":"begin","time":4,"task":"Look","ho`)
	if h := host(0); h.task != "" {
		t.Errorf("half a line: %+v", h)
	}
	events.WriteString(`st":"a"}` + "\nnot an event\n" + `{"kind":"begin","time":5,"task":"Look","host":"b"}` + "\n")
	if h := host(0); !h.busy || h.task != "Look" {
		t.Errorf("the whole line: %+v", h)
	}
	if h := host(1); !h.busy {
		t.Errorf("after a line that is none: %+v", h)
	}
	report.Waves[0].Hosts[0].Outcome = orchestrator.Patched
	report.Waves[0].State = orchestrator.Soaking
	save()
	if h := host(0); h.busy || h.o != orchestrator.Patched {
		t.Errorf("with its outcome: %+v", h)
	}
	if got := s.known.Status(); !strings.HasPrefix(got, "wave 0 of 1 wave is soaking") {
		t.Error(got)
	}
}

// A run goes from one journal to the next as it went.
func TestChanged(t *testing.T) {
	t.Parallel()
	waves := func() []orchestrator.WaveReport {
		return (&orchestrator.Plan{Waves: []orchestrator.Wave{{Number: 0, Hosts: []orchestrator.Host{{Name: "a"}}}, {Number: 3, Hosts: []orchestrator.Host{{Name: "b"}}}}}).Pending()
	}
	old, now := orchestrator.Report{ID: "r", State: orchestrator.Running, Waves: waves()}, orchestrator.Report{ID: "r", State: orchestrator.Interrupted, Waves: waves()}
	old.Waves[0].State = orchestrator.Running
	now.Waves[0].State, now.Waves[0].Hosts[0].Outcome = orchestrator.Passed, orchestrator.HostFailed
	now.Waves[1].State = orchestrator.Running
	var got []string
	for _, c := range changed(old, now) {
		where := "run"
		if c.Wave != nil {
			where = waveLabel(*c.Wave)
		}
		got = append(got, where+" "+c.Host+" "+c.To)
	}
	if want := "wave:0 a failed,wave:0  passed,wave:3  running,run  interrupted"; strings.Join(got, ",") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if more := changed(now, now); len(more) != 0 {
		t.Errorf("%v", more)
	}
}

// statuses listens as systemd does.
func (b *bench) statuses() (socket string, said func() []string) {
	b.t.Helper()
	socket = filepath.Join(b.t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	var mu sync.Mutex
	var lines []string
	go func() { // ends with the socket
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			lines = append(lines, strings.TrimPrefix(string(buf[:n]), "STATUS="))
			mu.Unlock()
		}
	}()
	return socket, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, lines...)
	}
}

// systemctl status says what is true, in each state.
func TestStatusLine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("settings.yaml", "soak: 1s\ngates:\n  - name: fine\n    command: [/bin/true]\n")
	socket, said := b.statuses()
	c := b.command()
	c.Env = append(c.Env, "NOTIFY_SOCKET="+socket)
	if r := b.do(c); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	all := strings.Join(said(), "\n")
	rest := all
	for _, line := range []string{
		"asking Ansible who is to be patched",
		"the run begins; hosts well so far: 0, lost: 0, of 3",
		"wave 0 of 3 waves is running, 0 of 1 host ended; hosts well so far: 0, lost: 0, of 3",
		"wave 0 of 3 waves is running, 1 of 1 host ended; hosts well so far: 1, lost: 0, of 3",
		"wave 0 is soaking until ",
		"gate fine is asked, after wave 0; hosts well so far: 1",
		"wave 0 of 3 waves is passed; hosts well so far: 1",
		"gate fine is asked, before wave 1; hosts well so far: 1",
		"wave 1 of 3 waves is running, 0 of 1 host ended",
		"wave 2 of 3 waves is running, 0 of 1 host ended; hosts well so far: 2",
		"gate fine is asked, after wave 2; hosts well so far: 3",
		"the run is passed; hosts well so far: 3, lost: 0, of 3",
	} {
		i := strings.Index(rest, line)
		if i < 0 {
			t.Errorf("%q is missing, or comes too early:\n%s", line, all)
			continue
		}
		rest = rest[i+len(line):]
	}
	if i := strings.Index(all, "wave 0 is soaking until"); strings.Contains(all[max(0, i):], "wave 0 of 3 waves is soaking;") {
		t.Errorf("until when is soon forgotten:\n%s", all)
	}
	if strings.Contains(all, "wave 2 is soaking until") {
		t.Errorf("the last wave does not soak:\n%s", all)
	}

	os.Remove(b.path("touched"))
	b.waiting()
	c = b.command("--wait", "1s")
	c.Env = append(c.Env, "NOTIFY_SOCKET="+socket)
	if r := b.do(c); r.code != 5 {
		t.Fatalf("%+v", r)
	}
	if all := strings.Join(said(), "\n"); !strings.Contains(all, "waiting for at most 1s: another run is under way: ") {
		t.Error(all)
	}
}
