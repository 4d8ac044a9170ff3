package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"homelab-patch-orchestrate/runner"
)

// many runs a plan of so many hosts a wave, with so many events of each, and returns what the store wrote: files that were
// replaced, and their bytes.
func many(t *testing.T, waves, hosts, events int) (files int, bytes int64) {
	t.Helper()
	f := newFixture(t, func(_ context.Context, w Wave, emit func(runner.Event)) (runner.Result, error) {
		for range events {
			for _, h := range w.Hosts {
				emit(runner.Event{Kind: runner.KindResult, Host: h.Name, Task: "Upgrade", Action: "command", Status: runner.StatusOK})
			}
		}
		return allWell(w), nil
	})
	f.plan = &Plan{}
	for n := range waves {
		w := Wave{Number: n, Group: fmt.Sprint("patching_wave", n)}
		for h := range hosts {
			w.Hosts = append(w.Hosts, Host{Name: fmt.Sprintf("node%d-%05d", n, h)})
		}
		f.plan.Waves = append(f.plan.Waves, w)
	}
	f.store.disk.after = func(step, path string) {
		if step != "renamed" {
			return
		}
		files++
		if fi, err := os.Stat(path); err == nil {
			bytes += fi.Size()
		}
	}
	if _, err := f.do(t.Context()); err != nil {
		t.Fatal(err)
	}
	return files, bytes
}

// The journal is written when something changes for a wave: as often for a large fleet as for a small one, and as much
// whatever its hosts say meanwhile.
func TestJournalWrites(t *testing.T) {
	files, bytes := many(t, 3, 4, 1)
	if files == 0 || bytes == 0 {
		t.Fatal("nothing was written")
	}
	if n, b := many(t, 3, 4, 500); n != files || b > bytes+bytes/50 {
		t.Errorf("with 500 events a host %d files of %d bytes in all, with one %d of %d", n, b, files, bytes)
	}
	n, b := many(t, 3, 400, 1)
	if n != files || b > 110*bytes {
		t.Errorf("with 100 times the hosts %d files of %d bytes in all, not %d of %d", n, b, files, bytes)
	}
	if most := 5*3 + 3; files > most {
		t.Errorf("%d files for 3 waves, at most %d", files, most)
	}
}

// slowly is what [Versions.reconcile] means, host by host against each before it.
func slowly(v *Versions) {
	for i := range v.Hosts {
		later := &v.Hosts[i]
		for _, earlier := range v.Hosts[:i] {
			p := ""
			for _, q := range later.Packages {
				at := slices.IndexFunc(earlier.Packages, func(e Package) bool { return e.Name == q.Name })
				if at >= 0 && earlier.Packages[at].To != q.To && q.To != "" && earlier.Packages[at].To != "" && earlier.Packages[at].Origin == q.Origin {
					p = q.Name + " " + q.To
					break
				}
			}
			if p == "" || later.Suite != earlier.Suite || later.Architecture != earlier.Architecture || !later.moved(earlier) {
				continue
			}
			later.Packages = nil
			later.Problem = fmt.Sprintf("the archive had changed when it was prepared: %s is not that of %s", p, earlier.Name)
			break
		}
	}
}

func TestReconcile(t *testing.T) {
	r, taken := rand.New(rand.NewPCG(1, 9)), 0
	for range 500 {
		var fast, slow Versions
		for n := range 2 + r.IntN(9) {
			h := HostVersions{Name: fmt.Sprint("host", n), Suite: []string{"bookworm", "trixie"}[r.IntN(2)], Archives: map[string]string{}}
			for _, archive := range []string{"main", "security"} {
				if r.IntN(4) > 0 {
					h.Archives[archive] = fmt.Sprint(r.IntN(3))
				}
			}
			for _, name := range []string{"a", "b", "c"} {
				if r.IntN(3) > 0 {
					h.Packages = append(h.Packages, Package{Name: name, To: []string{"", "1", "2"}[r.IntN(3)], Origin: []string{"main", "security"}[r.IntN(2)]})
				}
			}
			fast.Hosts, slow.Hosts = append(fast.Hosts, h), append(slow.Hosts, h)
		}
		fast.reconcile()
		slowly(&slow)
		for i, h := range fast.Hosts {
			if want := slow.Hosts[i]; h.Problem != want.Problem || (h.Packages == nil) != (want.Packages == nil) {
				t.Fatalf("%+v\nnot\n%+v\nof %+v", h, want, slow.Hosts)
			}
			if h.Problem != "" {
				taken++
			}
		}
	}
	if taken < 100 {
		t.Errorf("only %d hosts had their plan taken", taken)
	}
}

// The journal that is put together of pieces is the one that encoding/json would write, whatever a host says.
func TestJournalIsThatOfJSON(t *testing.T) {
	hostile := `x","waves":null,"hosts":null`
	report := Report{Version: 1, ID: hostile, Reason: hostile, Notes: []string{hostile}, Waves: []WaveReport{
		{State: Running, Reason: hostile, Hosts: []HostReport{{Name: "a", Message: hostile}}},
		{Number: 1, State: Pending, Hosts: []HostReport{{Name: "b"}, {Name: "c"}}}, {Number: 2, State: Pending},
	}}
	r := &Run{}
	same := func(what string) {
		t.Helper()
		got, err := r.encode(report)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := json.Marshal(report); string(got) != string(want)+"\n" {
			t.Errorf("%s:\n%s\nnot\n%s", what, got, want)
		}
	}
	same("it runs")
	report.Waves[0].State, report.Waves[0].Hosts[0].Outcome = Passed, Patched
	same("it has passed")
	report.Waves[0].Gates = []GateAnswer{{Gate: hostile}} // asked again before the next wave
	report.Waves[1].State = Running
	same("the next one runs")
	report.Waves[1].Hosts[0].Outcome = HostFailed
	same("the next one goes on")
	report.Waves = nil
	same("no waves")
	report.Waves = []WaveReport{}
	same("an empty plan")
	if r.passed[0] == nil || r.passed[1] != nil {
		t.Errorf("%d waves are kept", len(r.passed))
	}
}
