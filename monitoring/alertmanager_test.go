package monitoring_test

import (
	"bytes"
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
	"text/template"
	"time"
)

const (
	alertmanagerFile = "alertmanager/alertmanager.yml"
	base             = "https://git.example.net/homelab/patching/src/branch/main/docs/runbooks/"
)

func TestAmtoolRoutes(t *testing.T) {
	t.Parallel()
	output(t, "amtool", "check-config", alertmanagerFile)
	for _, c := range []struct{ labels, receivers string }{
		{"severity=info component=backup", "discord"},
		{"severity=warning", "discord"},
		{"severity=critical", "discord"},
		{"severity=critical component=storage", "discord"},
		{"severity=info component=patching", "discord"},
		{"severity=warning component=patching", "discord"},
		{"severity=warning component=patching alertname=OSPatchStale", "discord"},
		{"severity=critical component=patching", "ntfy,discord"},
		{"severity=critical component=patching alertname=OSPatchOrchestrateFailed", "ntfy-failed,discord"},
		{"severity=critical component=patching alertname=PatchRunMissed", "ntfy-missed,discord"},
		{"severity=warning component=patching alertname=PatchMessagesPending channel=ntfy", "discord"},
		{"severity=warning component=patching alertname=PatchMessagesPending channel=discord", "ntfy,discord"},
	} {
		args := append([]string{"config", "routes", "test", "--config.file=" + alertmanagerFile}, strings.Fields(c.labels)...)
		if got := strings.TrimSpace(output(t, "amtool", args...)); got != c.receivers {
			t.Errorf("%s goes to %s, want %s", c.labels, got, c.receivers)
		}
	}
}

// A tap on the message opens the page of that alert: each critical one has its receiver.
func TestCriticalAlertsClickToTheirRunbook(t *testing.T) {
	for _, r := range rules(t) {
		if r.Labels["severity"] != "critical" {
			continue
		}
		if !strings.Contains(read(t, alertmanagerFile), "%2Fdocs%2Frunbooks%2F"+r.Alert+".md\"\n") {
			t.Errorf("%s: no ntfy receiver clicks to its runbook", r.Alert)
		}
	}
}

// render runs the script beside the configuration.
func render(t *testing.T, env string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "notify.env"), filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("alertmanager/render", file, alertmanagerFile, out).CombinedOutput()
	if err != nil {
		entries, _ := os.ReadDir(dir)
		return "", fmt.Errorf("%w: %s; left: %d files", err, said, len(entries))
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info, err)
	}
	return out, nil
}

func TestRender(t *testing.T) {
	const env = "# settings\nDISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/7/s3&cr\\1et\nNTFY_TOKEN=tk_planted\n" +
		"NTFY_URL='http://ntfy:80/'\nNTFY_PATCH_TOPIC=\"topic-1\"\nRUNBOOK_URL=http://wiki:3000/r?a=b&c=d\n"
	if _, err := render(t, env); err == nil {
		t.Error("a backslash was taken") // in YAML, and for no server we know of
	}
	good := strings.Replace(env, "\\", "", 1)
	out, err := render(t, good)
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, out)
	for _, want := range []string{
		"webhook_url: https://discord.com/api/webhooks/7/s3&cr1et\n", "url: \"http://ntfy:80/topic-1?template=yes\\\n",
		"&click=http%3A%2F%2Fwiki%3A3000%2Fr%3Fa%3Db%26c%3Dd%2FPatchRunMissed.md\"\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, never := range []string{"placeholder", "example.net", "b4e9", "tk_planted"} {
		if strings.Contains(text, never) {
			t.Errorf("there is still %q", never)
		}
	}
	for _, missing := range []string{"DISCORD_WEBHOOK_URL", "NTFY_URL", "NTFY_PATCH_TOPIC"} {
		_, err := render(t, strings.Replace(good, missing, "X", 1))
		said := fmt.Sprint(err)
		if !strings.Contains(said, missing+" is not set") || !strings.Contains(said, "left: 1 files") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	if _, err := render(t, ""); err == nil {
		t.Error("an empty file was taken")
	}
	if _, err := exec.LookPath("amtool"); err == nil {
		output(t, "amtool", "check-config", out)
	}
}

// inbox keeps what Alertmanager sent, by receiver: "discord", or ntfy's topic.
type inbox struct {
	mu  sync.Mutex
	got map[string][]*http.Request
	raw map[*http.Request]string
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	name := "ntfy"
	if strings.HasPrefix(r.URL.Path, "/api/webhooks/") {
		name = "discord"
		w.WriteHeader(http.StatusNoContent)
	}
	b.got[name] = append(b.got[name], r)
	b.raw[r] = string(body)
}

// at returns the n-th request to a receiver and its body, nil if there is none yet.
func (b *inbox) at(name string, n int) (*http.Request, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got[name]) <= n {
		return nil, ""
	}
	r := b.got[name][n]
	return r, b.raw[r]
}

// A real Alertmanager says that a run failed, to both, and then that it is over. What ntfy makes of it is done here as
// its 2.11 does: text/template on the JSON.
func TestAlertmanagerSends(t *testing.T) {
	t.Parallel()
	bin := tool(t, "prometheus-alertmanager")
	box := &inbox{got: map[string][]*http.Request{}, raw: map[*http.Request]string{}}
	far := httptest.NewServer(box)
	t.Cleanup(far.Close)
	out, err := render(t, "DISCORD_WEBHOOK_URL="+far.URL+"/api/webhooks/1/token\n"+
		"NTFY_URL="+far.URL+"\nNTFY_PATCH_TOPIC=topic\n")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("tk_test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	quick := strings.NewReplacer("group_wait: 30s", "group_wait: 100ms", "group_interval: 5m", "group_interval: 1s",
		"/etc/prometheus/ntfy-token", token).Replace(read(t, out))
	if err := os.WriteFile(out, []byte(quick), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	run(t, bin, "--config.file="+out, "--storage.path="+dir, "--web.listen-address="+address,
		"--cluster.listen-address=")
	post := func(alerts ...map[string]any) bool {
		body, err := json.Marshal(alerts)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post("http://"+address+"/api/v2/alerts", "application/json", bytes.NewReader(body))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	const page = base + "OSPatchOrchestrateFailed.md"
	alert := func(ends time.Time) map[string]any {
		return map[string]any{
			"labels": map[string]string{
				"alertname": "OSPatchOrchestrateFailed", "severity": "critical", "component": "patching", "instance": "prox",
			},
			"annotations": map[string]string{
				"summary": "The patch run went wrong", "description": "It was halted.", "runbook_url": page,
			},
			"startsAt": time.Now().Add(-time.Minute), "endsAt": ends,
		}
	}
	eventually(t, "Alertmanager takes an alert", func() bool { return post(alert(time.Now().Add(time.Hour))) })
	for n, over := range []string{"", "Over: "} {
		if over != "" && !post(alert(time.Now())) {
			t.Fatal("the end was not taken")
		}
		eventually(t, "both were told", func() bool {
			discord, _ := box.at("discord", n)
			ntfy, _ := box.at("ntfy", n)
			return discord != nil && ntfy != nil
		})
		title, text := embed(t, box, n)
		want := "[What to do](" + page + ")\n**The patch run went wrong**\nIt was halted."
		if over != "" {
			want = "[What to do](" + page + ")\nOver: The patch run went wrong"
		}
		if title != over+"OSPatchOrchestrateFailed (critical)" || strings.TrimSpace(text) != want {
			t.Errorf("Discord got %q:\n%q, want\n%q", title, text, want)
		}

		r, body := box.at("ntfy", n)
		q := r.URL.Query()
		if r.URL.Path != "/topic" || q.Get("template") != "yes" || q.Get("priority") != "5" || q.Get("click") != page {
			t.Errorf("ntfy was asked for %s, %v", r.URL.Path, q)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer tk_test" {
			t.Errorf("ntfy: Authorization %q", got)
		}
		if got := expand(t, q.Get("title"), body); got != over+"The patch run went wrong" {
			t.Errorf("ntfy: title %q", got)
		}
		want = over + "The patch run went wrong\nIt was halted.\n" + page + "\n\n"
		if got := expand(t, q.Get("message"), body); got != want {
			t.Errorf("ntfy: message %q, want %q", got, want)
		}
	}

	// Many hosts with one trouble: one message, not cut in the middle, that says how many.
	var many []map[string]any
	for n := range 40 {
		one := alert(time.Now().Add(time.Hour))
		host := fmt.Sprintf("node%02d", n)
		one["labels"] = map[string]string{"alertname": "OSPatchStale", "component": "patching", "instance": host}
		one["annotations"].(map[string]string)["summary"] = host + " was last patched 8d 1h 5m 0s ago"
		many = append(many, one)
	}
	if !post(many...) {
		t.Fatal("many alerts were not taken")
	}
	n, title, text := 2, "", ""
	eventually(t, "Discord is told of all", func() bool { // the first message may come before all are known
		if r, _ := box.at("discord", n); r == nil {
			return false
		}
		title, text = embed(t, box, n)
		n++
		return strings.HasSuffix(strings.TrimSpace(text), "\nand more: 40 in all")
	})
	if title != "OSPatchStale" || strings.Count(text, "\n**node") != 10 {
		t.Errorf("Discord got %q:\n%s", title, text)
	}
}

// embed returns the title and the text of the n-th message to Discord.
func embed(t *testing.T, box *inbox, n int) (title, text string) {
	t.Helper()
	_, body := box.at("discord", n)
	var message struct {
		Embeds []struct{ Title, Description string }
	}
	if err := json.Unmarshal([]byte(body), &message); err != nil || len(message.Embeds) != 1 {
		t.Fatalf("%v: %s", err, body)
	}
	return message.Embeds[0].Title, message.Embeds[0].Description
}

// expand does what ntfy does with a template.
func expand(t *testing.T, text, body string) string {
	t.Helper()
	var data any
	if err := json.Unmarshal([]byte(body), &data); err != nil {
		t.Fatal(err)
	}
	tmpl, err := template.New("").Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := tmpl.Execute(&out, data); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
