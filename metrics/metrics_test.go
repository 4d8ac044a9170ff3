package metrics

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var update = flag.Bool("update", false, "rewrite testdata/*.prom")

// cases are the files in testdata.
func cases() map[string]Run {
	ended := time.Date(2026, 11, 22, 3, 12, 45, 0, time.UTC)
	return map[string]Run{
		"never":   {},
		"started": {Running: true, Version: "1.0.0", LastRun: ended, LastSuccess: ended, Duration: 90 * time.Second},
		"halted": {
			ExitCode: 3, LastRun: ended, LastSuccess: ended.Add(-7 * 24 * time.Hour), Duration: 12*time.Minute + 345*time.Millisecond,
			Held: true, HoldUntil: ended.Add(time.Hour), HostHoldsUntil: map[string]time.Time{"prox": ended, "nas": ended.Add(-time.Hour)},
			Waves: []Wave{
				{Number: 0, Hosts: map[string]int{"patched": 2, "unchanged": 1}, Duration: 5 * time.Minute},
				{Number: 2, Hosts: map[string]int{"failed": 1, "unreachable": 1, "held": 1, "interrupted": 1}, Duration: 412345 * time.Millisecond},
				{Number: 10, Hosts: map[string]int{"not-attempted": 1}},
			},
			Pending: map[string]int{"ntfy": 0, "discord": 3},
			Dropped: map[string]int{"ntfy": 2, "discord": 0},
			Version: `1.0.0-3-g1234567+"dirty"\`,
		},
	}
}

func encode(t *testing.T, r Run) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodeGolden(t *testing.T) {
	for name, run := range cases() {
		t.Run(name, func(t *testing.T) {
			got, file := encode(t, run), filepath.Join("testdata", name+".prom")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if read, err := Read(file); err != nil || !reflect.DeepEqual(read, run) {
				t.Errorf("Read = %+v, %v\nwant %+v", read, err, run)
			}
		})
	}
}

// What node_exporter does with the file: every family ours, a gauge, explained, without timestamps, and a newline at
// the end.
func TestEncodeIsATextfile(t *testing.T) {
	text := encode(t, cases()["halted"])
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, family := range families {
		if !strings.HasPrefix(name, "homelab_patch_orchestrate_") || family.GetHelp() == "" || family.GetType().String() != "GAUGE" {
			t.Errorf("family %v", family)
		}
		for _, m := range family.Metric {
			if m.TimestampMs != nil {
				t.Errorf("%s has a timestamp", name)
			}
		}
	}
	// The contract of docs: these names, and no other.
	want := []string{"build_info", "held", "hold_until_unixtime", "last_duration_seconds", "last_exit_code", "last_run_unixtime", "last_success_unixtime",
		"notifications_dropped", "notifications_pending", "running", "wave_duration_seconds", "wave_hosts"}
	for _, name := range want {
		if families["homelab_patch_orchestrate_"+name] == nil {
			t.Errorf("no family %s", name)
		}
	}
	if len(families) != len(want) || !bytes.HasSuffix(text, []byte("\n")) {
		t.Errorf("%d families, want %d; the end is %q", len(families), len(want), text[len(text)-5:])
	}
}

func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip("promtool is not installed")
	}
	for name, run := range cases() {
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(encode(t, run))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// random is any run that survives being written: whole seconds, milliseconds, known outcomes.
func random(rng *rand.Rand) Run {
	at := func() time.Time {
		if rng.IntN(4) == 0 {
			return time.Time{}
		}
		return time.Unix(1+rng.Int64N(8e9), 0).UTC()
	}
	length := func() time.Duration { return time.Duration(rng.Int64N(1e8)) * time.Millisecond }
	r := Run{LastRun: at(), LastSuccess: at(), Running: rng.IntN(2) == 0, Held: rng.IntN(2) == 0, HoldUntil: at()}
	if !r.LastRun.IsZero() {
		r.ExitCode, r.Duration = rng.IntN(256), length()
	}
	if rng.IntN(2) == 0 {
		r.Version = fmt.Sprintf("v%d \"\\\n{é}", rng.IntN(100))
		r.Pending = map[string]int{"": rng.IntN(9), "dis\ncord": rng.IntN(9), "ntfy\\": 0}
		r.Dropped = map[string]int{"ntfy": rng.IntN(9)}
		r.HostHoldsUntil = map[string]time.Time{"prox\n": time.Unix(1+rng.Int64N(8e9), 0).UTC()}
	}
	for n := range 12 {
		if rng.IntN(3) > 0 {
			continue
		}
		wave := Wave{Number: n, Duration: length()}
		for _, outcome := range Outcomes() {
			if hosts := rng.IntN(3000); hosts%3 > 0 {
				if wave.Hosts == nil {
					wave.Hosts = map[string]int{}
				}
				wave.Hosts[outcome] = hosts
			}
		}
		r.Waves = append(r.Waves, wave)
	}
	return r
}

func TestReadReturnsWhatWasWritten(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		want := random(rng)
		text := encode(t, want)
		got, err := decode(bytes.NewReader(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("run %d:\n got %+v, %v\nwant %+v\n%s", i, got, err, want, text)
		}
		rng.Shuffle(len(want.Waves), func(i, j int) { want.Waves[i], want.Waves[j] = want.Waves[j], want.Waves[i] })
		if again := encode(t, want); !bytes.Equal(again, text) {
			t.Fatalf("the order of waves changes the text:\n%s\n%s", text, again)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	now := time.Unix(1e9, 0)
	for name, run := range map[string]Run{
		"an unknown outcome":   {Waves: []Wave{{Hosts: map[string]int{"ok": 1}}}},
		"fewer than no hosts":  {Waves: []Wave{{Hosts: map[string]int{"patched": -1}}}},
		"a wave twice":         {Waves: []Wave{{Number: 1}, {Number: 1}}},
		"a wave below zero":    {Waves: []Wave{{Number: -1}}},
		"an exit code below 0": {LastRun: now, ExitCode: -1},
		"a time before 1970":   {LastRun: time.Unix(-1, 0)},
		"a time in 1970":       {LastSuccess: time.Unix(0, 0)},
		"fewer than none":      {Pending: map[string]int{"ntfy": -1}},
		"dropped below none":   {Dropped: map[string]int{"ntfy": -1}},
		"a channel of bytes":   {Pending: map[string]int{"\xff": 1}},
		"a version of bytes":   {Version: "\xff"},
		"a hold until 1969":    {HoldUntil: time.Unix(-1, 0)},
		"a hold until 2300":    {HostHoldsUntil: map[string]time.Time{"prox": now.AddDate(299, 0, 0)}},
		"a hold of nobody":     {HostHoldsUntil: map[string]time.Time{"": now}},
	} {
		var b bytes.Buffer
		if err := run.Encode(&b); err == nil || b.Len() > 0 {
			t.Errorf("%s: %v, wrote %q", name, err, b.String())
		}
	}
}

// A clock that was set back during a run costs the duration, not the exit code.
func TestEncodeAfterTheClockWasSetBack(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	text := encode(t, Run{LastRun: now, ExitCode: 3, Duration: -time.Hour, Waves: []Wave{{Duration: -time.Hour}}})
	got, err := decode(bytes.NewReader(text))
	if want := (Run{LastRun: now, ExitCode: 3, Waves: []Wave{{}}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// full is a writer that fails.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestEncodeReturnsTheWritersError(t *testing.T) {
	if err := (Run{}).Encode(full{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Encode = %v", err)
	}
}

func TestReadMissing(t *testing.T) {
	if run, err := Read(filepath.Join(t.TempDir(), "x.prom")); !errors.Is(err, fs.ErrNotExist) || !reflect.DeepEqual(run, Run{}) {
		t.Errorf("Read = %+v, %v", run, err)
	}
}

func TestReadRefuses(t *testing.T) {
	const running = "# TYPE homelab_patch_orchestrate_running gauge\nhomelab_patch_orchestrate_running 0\n"
	gauge := func(name, rest string) string {
		name = "homelab_patch_orchestrate_" + name
		return running + "# TYPE " + name + " gauge\n" + name + rest + "\n"
	}
	if _, err := decode(strings.NewReader(gauge("of_the_future", "{x=\"y\"} 1"))); err != nil {
		t.Errorf("a family we do not know: %v", err)
	}
	for name, text := range map[string]string{
		"nothing":                 "",
		"garbage":                 "\x00\x01garbage\n",
		"HTML":                    "<html></html>\n",
		"a file of somebody else": "# TYPE node_time gauge\nnode_time 1\n",
		"no newline at the end":   strings.TrimSuffix(running, "\n"),
		"too much of it":          running + strings.Repeat("# more\n", sizeLimit/7),
		"an end without a hold":   running + "# TYPE homelab_patch_orchestrate_hold_until_unixtime gauge\nhomelab_patch_orchestrate_hold_until_unixtime 0\n",
		"a hold of a wave":        running + "# TYPE homelab_patch_orchestrate_hold_until_unixtime gauge\nhomelab_patch_orchestrate_hold_until_unixtime{wave=\"1\"} 5\n",
		"a counter":               running + "# TYPE homelab_patch_orchestrate_held counter\nhomelab_patch_orchestrate_held 1\n",
		"a timestamp":             gauge("held", " 1 1700000000000"),
		"NaN":                     gauge("last_run_unixtime", " NaN"),
		"infinity":                gauge("last_duration_seconds", " +Inf"),
		"below zero":              gauge("last_exit_code", " -1"),
		"half an exit code":       gauge("last_exit_code", " 0.5"),
		"half a host":             gauge("wave_hosts", `{wave="0",outcome="patched"} 0.5`),
		"labels":                  gauge("held", `{host="a"} 1`),
		"an unknown outcome":      gauge("wave_hosts", `{wave="0",outcome="ok"} 1`),
		"a wave without a number": gauge("wave_duration_seconds", `{wave="x"} 1`),
		"a wave below zero":       gauge("wave_duration_seconds", `{wave="-1"} 1`),
		"a wave written oddly":    gauge("wave_duration_seconds", `{wave="01"} 1`),
	} {
		file := filepath.Join(t.TempDir(), "x.prom")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if run, err := Read(file); err == nil || errors.Is(err, fs.ErrNotExist) || !reflect.DeepEqual(run, Run{}) {
			t.Errorf("%s: Read = %+v, %v", name, run, err)
		} else if !strings.Contains(err.Error(), file) {
			t.Errorf("%s: the error does not name the file: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, run := range cases() {
		var b bytes.Buffer
		if err := run.Encode(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		run, err := decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		// What was accepted can be written, except a number of a run that never was.
		if run.LastRun.IsZero() {
			run.ExitCode, run.Duration = 0, 0
		}
		again, err := decode(bytes.NewReader(encode(t, run)))
		if err != nil || !reflect.DeepEqual(again, run) {
			t.Errorf("read %+v, then %+v, %v", run, again, err)
		}
	})
}
