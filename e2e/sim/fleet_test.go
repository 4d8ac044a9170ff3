//go:build e2e

package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"homelab-patch-orchestrate/e2e/discord"
	"homelab-patch-orchestrate/orchestrator"
)

// What ntfy takes: docs.ntfy.sh/publish, measured against 2.11.
const (
	ntfyMessage = 4095
	ntfyActions = 3
	ntfyBody    = 8 << 10
)

// TestFleet has the program patch 3,000 hosts in ten waves, of which one in twenty goes wrong, and then asks what a person
// would: that what went wrong is found, and that nobody is flooded. What it costs is for `make bench`.
func TestFleet(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "homelab-patch-orchestrate")
	if out, err := exec.Command("go", "build", "-o", program, "homelab-patch-orchestrate/cmd/homelab-patch-orchestrate").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	os.Mkdir(bin, 0o755)
	for _, name := range []string{"ansible-playbook", "ansible-inventory"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := Script{Hosts: 3000, Waves: 10, Tasks: 6, Bytes: 400, Packages: 45, Took: 2}
	s.Break(0.05)
	if err := s.Save(filepath.Join(dir, "script.json")); err != nil {
		t.Fatal(err)
	}

	server := &discord.Server{ID: "4711", Token: "hook", NoChannelRate: true}
	front := &discord.Front{Address: "127.0.0.1:0", Handler: server, Answer: discord.Answer}
	if err := front.Open(); err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	var mu sync.Mutex
	heard := 0
	ntfy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var m struct {
			Message string
			Actions []any
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &m); err != nil || len(body) > ntfyBody || len(m.Message) > ntfyMessage || len(m.Actions) > ntfyActions {
			t.Errorf("ntfy would not take %d bytes: %v", len(body), err)
		}
		heard++
	}))
	defer ntfy.Close()
	write(t, filepath.Join(dir, "hosts.yml"), "")
	write(t, filepath.Join(dir, "settings.yaml"), "budget: 3000\nnotify_env: notify.env\ninventory: ["+dir+"/hosts.yml]\n")
	write(t, filepath.Join(dir, "notify.env"), "DISCORD_WEBHOOK_URL=http://"+front.Address+"/api/webhooks/4711/hook\nNTFY_URL="+ntfy.URL+
		"\nNTFY_PATCH_TOPIC=patch\nNTFY_TOKEN=tk_x\n")
	os.Chmod(filepath.Join(dir, "notify.env"), 0o600)

	do := func(code int, args ...string) string {
		t.Helper()
		c := exec.Command(program, append(args, "--config", filepath.Join(dir, "settings.yaml"), "--state", filepath.Join(dir, "state"))...)
		c.Dir = dir
		c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), ScriptVar+"="+filepath.Join(dir, "script.json"))
		out, err := c.CombinedOutput()
		if c.ProcessState.ExitCode() != code {
			t.Fatalf("%v: %v, want exit code %d\n%.4000s", args, err, code, out)
		}
		return string(out)
	}
	said := do(orchestrator.ExitLosses, "run", "--textfile", filepath.Join(dir, "run.prom"))
	store, err := orchestrator.Open(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Latest()
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			want := orchestrator.Patched
			switch s.Faults[h.Name].Kind {
			case Failed:
				want = orchestrator.HostFailed
			case Unreachable, Stall:
				want = orchestrator.HostUnreachable
			}
			if h.Outcome != want {
				t.Errorf("host %s: %s, want %s (%s)", h.Name, h.Outcome, want, h.Message)
			}
			if h.Lost() {
				lost++
			}
		}
	}
	if len(r.Waves) != 10 || r.Total() != 3000 || lost < 75 || lost > 200 {
		t.Errorf("%d waves, %d hosts, %d lost", len(r.Waves), r.Total(), lost)
	}
	if want := fmt.Sprintf("%d hosts did not come through", lost); !strings.Contains(said, want) {
		t.Errorf("the summary does not say %q", want)
	}

	// Metrics are of waves and outcomes, and of no host.
	prom, err := os.ReadFile(filepath.Join(dir, "run.prom"))
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for line := range strings.Lines(string(prom)) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
		if strings.HasPrefix(line, "homelab_patch_orchestrate_notifications_") && !strings.HasSuffix(line, " 0\n") {
			t.Errorf("a message waits, or was given up: %s", line)
		}
	}
	if series > 200 || strings.Contains(string(prom), "node0") {
		t.Errorf("%d series:\n%s", series, prom)
	}
	// Each channel took what it was told, which is not much.
	mu.Lock()
	got := heard
	mu.Unlock()
	if n := len(server.Messages()); n == 0 || n > 25 || got == 0 || got > 25 {
		t.Errorf("Discord has %d messages, ntfy %d", n, got)
	}
	for _, m := range server.Messages() {
		t.Logf("Discord: %s (%d characters)", m.Embeds[0].Title, len(m.Embeds[0].Description))
	}
	// A person finds one of three thousand.
	for host, f := range s.Faults {
		if f.Kind == Failed {
			if out := do(0, "explain", host); !strings.Contains(out, "missing.txt") {
				t.Errorf("explain %s:\n%s", host, out)
			}
			break
		}
	}
	if out := do(0, "history"); !strings.Contains(out, fmt.Sprint(3000-lost)) {
		t.Errorf("history:\n%.2000s", out)
	}
	if out := do(0, "show", "latest"); !strings.Contains(out, "did not come through") {
		t.Errorf("show:\n%.2000s", out)
	}
	do(0, "report", "latest", "--html", filepath.Join(dir, "report.html"))
	if fi, err := os.Stat(filepath.Join(dir, "report.html")); err != nil || fi.Size() > 4<<20 {
		t.Errorf("the page has %d bytes, %v", fi.Size(), err)
	}
}
