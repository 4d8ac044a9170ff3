package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"
)

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

// startAlertmanager starts a real Alertmanager with a rendered configuration in which nothing waits for long.
func startAlertmanager(t *testing.T, config string) (post func(...map[string]any) bool, address string) {
	t.Helper()
	dir := t.TempDir()
	quick := strings.NewReplacer("group_wait: 30s", "group_wait: 100ms", "group_interval: 5m", "group_interval: 1s").Replace(read(t, config))
	if err := os.WriteFile(config, []byte(quick), 0o600); err != nil {
		t.Fatal(err)
	}
	address = freeAddress(t)
	run(t, tool(t, "prometheus-alertmanager"), "--config.file="+config, "--storage.path="+dir,
		"--web.listen-address="+address, "--cluster.listen-address=")
	return func(alerts ...map[string]any) bool {
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
	}, address
}

// A real Alertmanager says that a run failed, to both, and then that it is over. What ntfy makes of it is done here as
// its 2.11 does: text/template on the JSON.
func TestAlertmanagerSends(t *testing.T) {
	t.Parallel()
	box := &inbox{got: map[string][]*http.Request{}, raw: map[*http.Request]string{}}
	far := httptest.NewServer(box)
	t.Cleanup(far.Close)
	out, err := render(t, "DISCORD_WEBHOOK_URL="+far.URL+"/api/webhooks/1/token\n"+
		"NTFY_URL="+far.URL+"\nNTFY_PATCH_TOPIC=topic\nNTFY_TOKEN=tk_test\n")
	if err != nil {
		t.Fatal(err)
	}
	post, _ := startAlertmanager(t, out)
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

// What explains an alert keeps it back; what merely looks like it does not.
func TestInhibit(t *testing.T) {
	t.Parallel()
	far := httptest.NewServer(&inbox{got: map[string][]*http.Request{}, raw: map[*http.Request]string{}})
	t.Cleanup(far.Close)
	out, err := render(t, "DISCORD_WEBHOOK_URL="+far.URL+"/api/webhooks/1/token\n"+
		"NTFY_URL="+far.URL+"\nNTFY_PATCH_TOPIC=topic\nNTFY_TOKEN=tk_test\n")
	if err != nil {
		t.Fatal(err)
	}
	post, address := startAlertmanager(t, out)
	alert := func(labels string) map[string]any {
		set := map[string]string{}
		for pair := range strings.FieldsSeq(labels) {
			name, value, _ := strings.Cut(pair, "=")
			set[name] = value
		}
		return map[string]any{"labels": set}
	}
	kept := func() string {
		resp, err := http.Get("http://" + address + "/api/v2/alerts?inhibited=true&active=true")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var alerts []struct {
			Labels map[string]string
			Status struct{ InhibitedBy []string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&alerts); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, a := range alerts {
			if len(a.Status.InhibitedBy) > 0 {
				names = append(names, a.Labels["alertname"]+"/"+a.Labels["instance"])
			}
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	eventually(t, "alerts are taken", func() bool {
		return post(
			alert("alertname=OSPatchOrchestrateFailed instance=infra"), alert("alertname=PatchRunMissed instance=infra"),
			alert("alertname=PatchRunMissed"), // nothing is heard of any
			alert("alertname=PatchHeldTooLong scope=host instance=prox"), alert("alertname=OSPatchStale instance=prox"),
			alert("alertname=PatchRebootPending instance=prox"), alert("alertname=OSPatchStale instance=node"),
		)
	})
	eventually(t, "what is explained is kept back", func() bool {
		return kept() == "OSPatchStale/prox PatchRunMissed/infra"
	})
	if !post(alert("alertname=PatchHeldTooLong scope=fleet instance=infra")) {
		t.Fatal("a hold of the fleet was not taken")
	}
	eventually(t, "a hold of the fleet explains more", func() bool {
		return kept() == "OSPatchStale/node OSPatchStale/prox PatchRunMissed/ PatchRunMissed/infra"
	})
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
