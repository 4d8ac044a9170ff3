//go:build e2e

package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var peers = flag.Bool("peers", false, "compare the corpus with the stock document and with python3-ansible-runner, too")

// debianPython is the one that Debian's packages install modules for.
const debianPython = "/usr/bin/python3"

// corpusHosts are those of testdata/corpus/hosts.yml.
var corpusHosts = []string{"a", "b", "c", "dead"}

// TestCorpus runs each playbook of testdata/corpus and compares how its hosts
// came out, and their counts, with Ansible's own recap; with -peers also with
// those of a second run from the stock document, and with what
// python3-ansible-runner says of a third.
func TestCorpus(t *testing.T) {
	need(t, "ansible-playbook", "ssh")
	if *peers {
		if out, err := exec.Command(debianPython, "-c", "import ansible_runner").CombinedOutput(); err != nil {
			t.Fatalf("python3-ansible-runner: %v\n%s", err, out)
		}
	}
	dir, err := filepath.Abs("testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	sites, err := filepath.Glob(filepath.Join(dir, "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	sites = slices.DeleteFunc(sites, func(p string) bool { return filepath.Base(p) == "hosts.yml" })
	if len(sites) < 25 {
		t.Fatalf("%d playbooks", len(sites))
	}
	table := corpusTable{rows: map[string]string{}}
	t.Run("playbooks", func(t *testing.T) { // ends when all have ended
		for _, site := range sites {
			t.Run(strings.TrimSuffix(filepath.Base(site), ".yml"), func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() { table.add(t) })
				compare(t, dir, filepath.Base(site))
			})
		}
	})
	table.print(len(sites))
}

// compare runs one playbook by each of those that must agree.
func compare(t *testing.T, dir, site string) {
	r := newRun(t, dir, corpusHosts...)
	r.Playbook.Playbook, r.Inventory = site, []string{"hosts.yml"}
	r.do(t.Context(), t)
	if r.err != nil || !r.res.Complete {
		t.Fatalf("complete %t, error %v", r.res.Complete, r.err)
	}
	want := recap(t, r.log.String())
	for _, h := range corpusHosts {
		stats, named := want[h]
		got := r.res.Hosts[h]
		if got.Stats != stats || got.Outcome != implied(stats, named) {
			t.Errorf("%s is %s, %+v; the recap has %s, %+v", h, got.Outcome, got.Stats, implied(stats, named), stats)
		}
	}
	for _, e := range r.events { // a variable that debug shows is the playbook's own doing
		if !strings.HasSuffix(e.Action, "debug") && bytes.Contains(e.Data, []byte(`"invocation"`)) {
			t.Errorf("%s on %s: the arguments of the module are in its event: %s", e.Task, e.Host, e.Data)
		}
	}
	if len(r.res.Hosts) != len(corpusHosts) {
		t.Errorf("%d hosts have a result: %v", len(r.res.Hosts), slices.Sorted(maps.Keys(r.res.Hosts)))
	}
	if !*peers {
		return
	}
	d := newRun(t, dir, corpusHosts...)
	d.Playbook.Playbook, d.Inventory, d.Document = site, []string{"hosts.yml"}, tempFile(t)
	d.do(t.Context(), t)
	if d.err != nil || !d.res.Complete {
		t.Errorf("with a document: complete %t, error %v", d.res.Complete, d.err)
	}
	for _, h := range corpusHosts {
		got, want := d.res.Hosts[h], r.res.Hosts[h]
		if got.Stats != want.Stats || got.Outcome != want.Outcome {
			t.Errorf("%s is %s, %+v by its document; without it is %s, %+v", h, got.Outcome, got.Stats, want.Outcome, want.Stats)
		}
	}
	if got := peer(t, dir, site); !maps.Equal(got, want) {
		t.Errorf("ansible-runner has\n%+v\nthe recap has\n%+v", got, want)
	}
}

// tempFile returns a new file, open for reading and writing.
func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// implied is the outcome that a recap speaks of.
func implied(s Stats, named bool) Outcome {
	switch {
	case !named:
		return NotAttempted
	case s.Unreachable > 0:
		return Unreachable
	case s.Failed > 0:
		return Failed
	case s.Changed > 0:
		return Changed
	}
	return OK
}

var recapLine = regexp.MustCompile(`^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+skipped=(\d+)\s+rescued=(\d+)\s+ignored=(\d+)\s*$`)

// recap reads what ansible-playbook prints in the end.
func recap(t *testing.T, log string) map[string]Stats {
	_, text, ok := strings.Cut(log, "\nPLAY RECAP ")
	if !ok {
		t.Fatalf("no recap")
	}
	hosts := map[string]Stats{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Scan() // the stars
	for lines.Scan() {
		m := recapLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue // a warning may follow
		}
		var n [7]int
		for i, s := range m[2:] {
			n[i], _ = strconv.Atoi(s)
		}
		hosts[m[1]] = Stats{OK: n[0], Changed: n[1], Unreachable: n[2], Failed: n[3], Skipped: n[4], Rescued: n[5], Ignored: n[6]}
	}
	return hosts
}

// peer is what python3-ansible-runner says of a run of the same playbook.
func peer(t *testing.T, dir, site string) map[string]Stats {
	cmd := exec.Command(debianPython, "testdata/peer.py", t.TempDir(), filepath.Join(dir, site), filepath.Join(dir, "hosts.yml"), strings.Join(corpusHosts, ","))
	cmd.Env = append(os.Environ(), "ANSIBLE_PIPELINING=True") // as ours has
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ansible-runner: %v", err)
	}
	var hosts map[string]Stats
	if err := json.Unmarshal(out, &hosts); err != nil {
		t.Fatalf("ansible-runner: %v: %s", err, out)
	}
	return hosts
}

// corpusTable is the verdict on each playbook, for the record.
type corpusTable struct {
	mu   sync.Mutex
	rows map[string]string
}

func (c *corpusTable) add(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	verdict := "agrees"
	if t.Failed() {
		verdict = "DIFFERS"
	}
	c.rows[filepath.Base(t.Name())] = verdict
}

func (c *corpusTable) print(of int) {
	n := 0
	for _, name := range slices.Sorted(maps.Keys(c.rows)) {
		fmt.Printf("corpus: %-22s %s\n", name, c.rows[name])
		if c.rows[name] == "agrees" {
			n++
		}
	}
	with := "the recap"
	if *peers {
		with = "the recap, the stock document and ansible-runner"
	}
	fmt.Printf("corpus: all: %d of %d playbooks agree with %s\n", n, of, with)
}
