package sim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"homelab-patch-orchestrate/runner"
)

// TestMain lets the test binary be the stand-in, by the name that it is called.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "ansible-playbook", "ansible-inventory", "far-engine":
		os.Exit(Main(os.Args))
	case "controller":
		os.Exit(control())
	}
	os.Exit(m.Run())
}

// standin is the path of the stand-in.
func standin(t *testing.T) string {
	t.Helper()
	return called(t, t.TempDir(), "ansible-playbook")
}

// called is the test binary by another name.
func called(t *testing.T, dir, name string) string {
	t.Helper()
	self, err := os.Executable()
	path := filepath.Join(dir, name)
	if err == nil {
		err = os.Symlink(self, path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run has the stand-in play the script on all its hosts.
func run(t *testing.T, ctx context.Context, s Script, p runner.Playbook, emit func(runner.Event)) (runner.Result, error) {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "script.json")
	if err := s.Save(script); err != nil {
		t.Fatal(err)
	}
	p.Dir, p.Bin, p.Playbook, p.Inventory, p.Hosts = dir, standin(t), "patch.yml", []string{"hosts"}, s.Names()
	p.Env = append(p.Env, ScriptVar+"="+script)
	return p.Run(ctx, emit)
}

// TestFaults has each fault come out as what it is.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := Script{Hosts: 30, Waves: 2, Tasks: 4, Bytes: 1000, Took: 2, Faults: map[string]Fault{
		"node00001": {Kind: Failed, Task: 2}, "node00002": {Kind: Unreachable, Task: 1}, "node00003": {Kind: Flood, Task: 2, Bytes: 3 << 20},
		"node00004": {Kind: Stall, Task: 2, Seconds: 600}, "node00005": {Kind: Slow, Task: 2, Seconds: 60},
	}}
	cut := 0
	took := map[string]time.Duration{}
	res, err := run(t, t.Context(), s, runner.Playbook{}, func(e runner.Event) {
		cut += e.Cut
		if e.Kind == runner.KindResult {
			took[e.Host] = max(took[e.Host], e.Time.Sub(e.Started))
		}
	})
	if err != nil || !res.Complete || res.ExitCode != 4 {
		t.Fatalf("%+v, %v", res, err)
	}
	for h, want := range map[string]runner.Outcome{
		"node00000": runner.Changed, "node00001": runner.Failed, "node00002": runner.Unreachable, "node00003": runner.Changed,
		"node00004": runner.Unreachable, "node00005": runner.Changed,
	} {
		if got := res.Hosts[h]; got.Outcome != want {
			t.Errorf("host %s: %+v, want %s", h, got, want)
		}
	}
	if cut < 2<<20 {
		t.Errorf("of the flood %d bytes were left out", cut)
	}
	for h, want := range map[string]time.Duration{"node00000": 2 * time.Second, "node00004": 10 * time.Minute, "node00005": time.Minute} {
		if got := took[h].Round(time.Second); got != want {
			t.Errorf("host %s took %s, want %s", h, got, want)
		}
	}
}

// TestKilled ends in the middle of a line.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := Script{Hosts: 5, Waves: 2, Tasks: 3, Faults: map[string]Fault{"node00002": {Kind: Killed, Task: 1}}}
	res, err := run(t, t.Context(), s, runner.Playbook{}, nil)
	var broke *runner.EngineError
	if !errors.As(err, &broke) || res.Complete || res.Hosts["node00002"].Outcome != runner.Interrupted {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestPace has scripted time really pass, and ends when it is told to.
func TestPace(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := Script{Hosts: 5, Waves: 2, Tasks: 3, Took: 3600, Pace: 1}
	res, err := run(t, ctx, s, runner.Playbook{}, func(e runner.Event) {
		if e.Kind == runner.KindBegin && e.Host == "node00004" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || res.ExitCode != Interrupted {
		t.Errorf("%+v, %v", res, err)
	}
	for h, r := range res.Hosts {
		if r.Outcome != runner.Interrupted {
			t.Errorf("host %s: %+v", h, r)
		}
	}
}

// TestWaves has each host in one wave.
func TestWaves(t *testing.T) {
	for _, s := range []Script{{Hosts: 3000, Waves: 10}, {Hosts: 7, Waves: 4}, {Hosts: 2, Waves: 2}} {
		seen := map[string]bool{}
		for n := range s.Waves {
			wave := s.Wave(n)
			for _, h := range wave {
				if seen[h] {
					t.Errorf("%+v: host %s is in two waves", s, h)
				}
				seen[h] = true
			}
			if len(wave) == 0 || n == s.Waves-1 && len(wave) != 1 {
				t.Errorf("%+v: wave %d has %d hosts", s, n, len(wave))
			}
		}
		if len(seen) != s.Hosts {
			t.Errorf("%+v: %d hosts", s, len(seen))
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
