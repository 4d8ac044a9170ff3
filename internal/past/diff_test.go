package past

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	o "homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// TestDiff holds what differs between two runs of three hosts against testdata.
func TestDiff(t *testing.T) {
	pkg := func(name, to string) o.Package {
		return o.Package{Name: name, From: "1", To: to, Security: name == "openssl"}
	}
	a, b := one(o.Passed, 0, "", o.HostReport{Outcome: o.Patched, Patch: &o.Patch{Packages: []o.Package{pkg("openssl", "2"), pkg("vim", "2"), pkg("same", "2")}}}),
		budget(failed("lock", "held"))
	a.Engine, b.Engine = "2.14.18", "2.19.4"
	a.Project, b.Budget = &o.Project{Path: "/p", Commit: "abc", Hash: strings.Repeat("1", 64)}, 2
	b.Waves[0].Hosts[0].Patch.Packages = []o.Package{pkg("openssl", "3"), pkg("same", "2"), pkg("relic", "")}
	b.Waves[1].Hosts = []o.HostReport{{Name: "new", Outcome: o.Unchanged, Patch: &o.Patch{Packages: []o.Package{pkg("relic", "")}}}}
	b.Waves[2].Number = 3
	b.Waves[0].Gates = []o.GateAnswer{{Gate: "dns"}}
	text, err := json.MarshalIndent(Diff(a, b), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "diff.json", string(text)+"\n")
	for _, list := range []string{"settings", "hosts_added", "hosts_gone", "hosts", "packages"} {
		text, _ := json.Marshal(Diff(a, a))
		if !strings.Contains(string(text), fmt.Sprintf("%q:[]", list)) {
			t.Errorf("a run differs from itself: %s", text)
		}
	}
}

// Times and differences grow with the hosts: a list in a list would make 3,000 hosts a hundred times what 300 are.
func TestThreeThousandHosts(t *testing.T) {
	few, many := lookBack(t, 300), lookBack(t, 3000)
	if many > 50*few {
		t.Errorf("300 hosts took %v, 3,000 took %v", few, many)
	}
}

// lookBack compares two runs of n hosts, and takes the times of one; it returns how long that took.
func lookBack(t *testing.T, n int) time.Duration {
	var a, b o.Report
	a.Waves, b.Waves = make([]o.WaveReport, 1), make([]o.WaveReport, 1)
	for i := range n {
		packages := make([]o.Package, 20)
		for j := range packages {
			packages[j] = o.Package{Name: fmt.Sprint("p", j), To: fmt.Sprint(i % 3)}
		}
		h := o.HostReport{Name: fmt.Sprint("host", i), Outcome: o.Patched, Patch: &o.Patch{Packages: packages}}
		a.Waves[0].Hosts = append(a.Waves[0].Hosts, h)
		if i%10 == 0 {
			h.Outcome, h.Patch = o.HostFailed, nil
		}
		b.Waves[0].Hosts = append(b.Waves[0].Hosts, h)
	}
	begin := time.Now()
	d := Diff(a, b)
	if len(d.Hosts) != n/10 || len(d.Packages) != 20*3 {
		t.Errorf("%d hosts and %d packages differ", len(d.Hosts), len(d.Packages))
	}
	times, err := Timings(stream(n, 30), "")
	if err != nil || len(times.Tasks) != 30 || len(times.Hosts) != n || times.Tasks[0].Hosts != n {
		t.Errorf("%d tasks, %d hosts, %v", len(times.Tasks), len(times.Hosts), err)
	}
	return time.Since(begin)
}

// stream is the events of hosts that each have tasks, the first task taking longest.
func stream(hosts, tasks int) iter.Seq2[runner.Event, error] {
	return func(yield func(runner.Event, error) bool) {
		for task := range tasks {
			for host := range hosts {
				began := start.Add(time.Duration(task) * time.Minute)
				e := runner.Event{Kind: runner.KindResult, Host: fmt.Sprint("host", host), Task: fmt.Sprint("task", task), Path: "p.yml:1",
					Started: began, Time: began.Add(time.Duration(tasks-task) * time.Second)}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

func TestTimings(t *testing.T) {
	lines := `{"kind":"start","time":1,"version":"2.14"}
{"kind":"begin","time":1,"task":"slow","host":"a"}
{"kind":"result","time":9,"started":1,"task":"slow","path":"x.yml:1","host":"a","status":"ok","data":{}}
{"kind":"result","time":4,"started":1,"task":"slow","path":"x.yml:1","host":"b","status":"failed","data":{}}
{"kind":"result","time":9.5,"started":9,"task":"quick","path":"x.yml:2","host":"a","status":"ok","data":{}}
{"kind":"result","time":3,"started":5,"task":"clock set back","path":"x.yml:3","host":"b","status":"ok","data":{}}
{"kind":"result","time":9.5,"star`
	times, err := Timings(runner.Decode(strings.NewReader(lines)), "")
	if err != nil {
		t.Fatal(err)
	}
	want := Times{Bad: 1, Tasks: []TaskTime{
		{"slow", "x.yml:1", 2, 8, "a", 11}, {"quick", "x.yml:2", 1, 0.5, "a", 0.5}, {"clock set back", "x.yml:3", 1, 0, "b", 0},
	}, Hosts: []HostTime{{"a", 8.5, "slow", 8}, {"b", 3, "slow", 3}}}
	if !slices.Equal(times.Tasks, want.Tasks) || !slices.Equal(times.Hosts, want.Hosts) || times.Bad != want.Bad {
		t.Errorf("%+v\nwant %+v", times, want)
	}
	times, err = Timings(runner.Decode(strings.NewReader(lines)), "b")
	if err != nil || len(times.Hosts) != 1 || times.Tasks[0] != (TaskTime{"slow", "x.yml:1", 1, 3, "b", 3}) {
		t.Errorf("of one host: %+v, %v", times, err)
	}
}
