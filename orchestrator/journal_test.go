package orchestrator

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"homelab-patch-orchestrate/runner"
)

func TestLoadRefuses(t *testing.T) {
	const id = "20261122T040000Z-1a2b3c"
	whole := `{"version":1,"id":"` + id + `","state":"passed","waves":[{"state":"passed"}]}`
	for name, test := range map[string]struct {
		content string
		words   string
		version int
	}{
		"empty":         {"", "is damaged", 0},
		"cut short":     {whole[:40], "is damaged", 0},
		"garbage":       {"\x00\x00\x00\x00", "is damaged", 0},
		"another's":     {strings.Replace(whole, "1a2b3c", "ffffff", 1), "it is of run", 0},
		"no version":    {strings.Replace(whole, `"version":1,`, "", 1), "has no version", 0},
		"odd state":     {strings.Replace(whole, `[{"state":"passed"`, `[{"state":"asleep"`, 1), `"asleep" is not a state`, 0},
		"wrong type":    {strings.Replace(whole, `"passed"`, `7`, 1), "is damaged", 0},
		"newer version": {`{"version":2,"state":{"new":true}}`, "use the newer program", 2},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			path := plant(t, store, id, test.content)
			_, err = store.Latest()
			e := asError[*JournalError](t, err)
			if e.Path != path || e.Version != test.version || (e.Unwrap() == nil) != (test.version > 0) || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v, want %q", err, test.words)
			}
		})
	}
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plant(t, store, id, whole)
	if _, err := store.Load(id); err != nil {
		t.Errorf("the whole journal: %v", err)
	}
	for _, bad := range []string{"", "../../etc", "20261122T040000Z-1a2b3d"} {
		if _, err := store.Load(bad); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("run %q: %v", bad, err)
		}
	}
}

// plant writes a journal by hand.
func plant(t *testing.T, store *Store, id, content string) (path string) {
	t.Helper()
	if err := os.MkdirAll(store.runDir(id), 0o700); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(store.runDir(id), "journal.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestJournalIsDurableFirst watches the system calls of a run of two waves: before each engine, its journal was
// written, synced, renamed, and the folder synced.
func TestJournalIsDurableFirst(t *testing.T) {
	strace := needTool(t, "strace")
	dir := t.TempDir() + "/state"
	trace := t.TempDir() + "/trace"
	cmd := child(t, "mark", dir)
	cmd.Path = strace
	cmd.Args = []string{strace, "-f", "-y", "-s", "4096", "-o", trace, "-e", "trace=mkdirat,write,fsync,renameat,rename,renameat2,newfstatat", os.Args[0]}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	ids, err := (&Store{dir: dir}).IDs()
	if err != nil || len(ids) != 1 {
		t.Fatalf("runs %v, %v", ids, err)
	}
	run := filepath.Join(dir, "runs", ids[0])
	file, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var steps []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if step := step(lines.Text(), run); step != "" {
			steps = append(steps, step)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"mkdir fsync-runs",
		"write:running,running,pending fsync rename fsync-dir",
		"ENGINE-0",
		"write:running,passed,pending fsync rename fsync-dir",
		"write:running,passed,running fsync rename fsync-dir",
		"ENGINE-1",
		"write:running,passed,passed fsync rename fsync-dir",
		"write:passed,passed,passed fsync rename fsync-dir",
	}, " ")
	if got := strings.Join(steps, " "); got != want {
		t.Errorf("system calls:\n%s\nwant:\n%s", got, want)
	}
}

// step names the system call of one line of strace, if it is about a run's journal or an engine.
func step(line, run string) string {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				return false
			}
		}
		return true
	}
	switch {
	case has("resumed>"):
		return "" // its beginning was on another line
	case has("mkdirat(", `"`+run+`"`):
		return "mkdir"
	case has("fsync(", "<"+filepath.Dir(run)+">"):
		return "fsync-runs"
	case has("fsync(", "<"+run+"/journal.json.tmp>"):
		return "fsync"
	case has("fsync(", "<"+run+">"):
		return "fsync-dir"
	case has("rename", run+"/journal.json.tmp", run+`/journal.json"`):
		return "rename"
	case has("newfstatat(", "/engine-of-wave-"):
		_, number, _ := strings.Cut(line, "/engine-of-wave-")
		return "ENGINE-" + number[:1]
	case has("write(", "<"+run+"/journal.json.tmp>"):
		var found []string
		for part := range strings.SplitSeq(line, `\"state\":\"`) {
			found = append(found, part[:strings.IndexByte(part, '\\')+1])
		}
		for i := range found {
			found[i] = strings.TrimSuffix(found[i], `\`)
		}
		return "write:" + strings.Join(found[1:], ",")
	}
	return ""
}

// A journal that cannot be written before a wave: its engine is not called.
func TestJournalUnwritable(t *testing.T) {
	t.Run("from the start", func(t *testing.T) {
		f := newFixture(t, nil)
		f.ok(os.Remove(f.store.Dir() + "/runs"))
		f.ok(os.WriteFile(f.store.Dir()+"/runs", nil, 0o600))
		f.Orchestrator.Observe = func(_ context.Context, c Change) { t.Errorf("observed %v", c) }
		report, err := f.Orchestrator.Run(t.Context(), f.run, f.plan)
		if err == nil || ExitCode(report, err) != ExitFailed || f.waves != nil {
			t.Errorf("error %v, exit code %d, waves %v", err, ExitCode(report, err), f.waves)
		}
	})
	t.Run("before the first wave", func(t *testing.T) {
		f := newFixture(t, nil)
		f.ok(os.MkdirAll(f.run.Dir+"/journal.json.tmp", 0o700))
		f.Orchestrator.Observe = func(_ context.Context, c Change) { t.Errorf("observed %v", c) }
		report, err := f.Orchestrator.Run(t.Context(), f.run, f.plan)
		if !errors.Is(err, syscall.EISDIR) || ExitCode(report, err) != ExitFailed || report.State != Failed || f.waves != nil {
			t.Errorf("error %v, exit code %d, state %s, waves %v", err, ExitCode(report, err), report.State, f.waves)
		}
		if report.Waves[0].State != Failed || report.Count(HostNotAttempted) != 4 {
			t.Errorf("report %s", encode(t, report))
		}
	})
	t.Run("after a wave", func(t *testing.T) {
		f := newFixture(t, nil)
		f.Engine = engineFunc(func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) {
			f.waves = append(f.waves, w.Number)
			return allWell(w), os.Mkdir(f.run.Dir+"/journal.json.tmp", 0o700)
		})
		report, err := f.Orchestrator.Run(t.Context(), f.run, f.plan)
		if !errors.Is(err, syscall.EISDIR) || !strings.Contains(err.Error(), "could not be recorded") {
			t.Errorf("error %v", err)
		}
		f.want(report, Failed, ExitFailed, 0)
		if onDisk, err := f.store.Load(f.run.ID); err != nil || onDisk.State != Running {
			t.Errorf("on disk: state %s, %v", onDisk.State, err)
		}
	})
	t.Run("only the last entry", func(t *testing.T) {
		f := newFixture(t, func(_ context.Context, w Wave, _ func(runner.Event)) (runner.Result, error) { return allWell(w), nil })
		f.Observe = func(_ context.Context, c Change) {
			if c.Wave != nil && *c.Wave == 2 && c.To == string(Passed) {
				f.ok(os.Mkdir(f.run.Dir+"/journal.json.tmp", 0o700))
			}
		}
		report, err := f.Orchestrator.Run(t.Context(), f.run, f.plan)
		if err == nil || *report.ExitCode != ExitFailed {
			t.Errorf("a run whose end nobody can read: error %v, exit code %d", err, *report.ExitCode)
		}
	})
}
