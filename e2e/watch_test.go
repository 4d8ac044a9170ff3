//go:build e2e

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
	"homelab-patch-orchestrate/e2e/discord"
)

// soon makes the alerts of monitoring/ come while a test waits: groups are looked at every two seconds, not every five
// minutes, and nobody is spared a message for half a minute.
var soon = e2e.WatchOptions{
	Rules:        []string{"interval: 5m", "interval: 2s"},
	Alertmanager: []string{"group_wait: 30s", "group_wait: 1s", "group_interval: 5m", "group_interval: 2s"},
}

// All that hears of a run is there: each server answers the controller, and breaks when it is told.
func TestWatch(t *testing.T) {
	began := time.Now()
	lab := e2e.Up(t, e2e.Options{Hosts: "hosts-watch.conf"})
	booted := time.Now()
	w := lab.StartWatch(soon)
	ev := e2e.Record(t, lab, "watch", "ntfy, Discord's stand-in, Prometheus and Alertmanager in the lab")
	ev.Call("a lab of four hosts", e2e.Output{}, booted.Sub(began), "")
	ev.Call("all servers answer, all hosts are scraped", e2e.Output{}, time.Since(booted), "")
	versions := lab.Exec(e2e.WatchHost, "dpkg-query", "-W", "ntfy", "prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
	ev.Lines("packages of the watch host", strings.Split(strings.TrimSpace(versions), "\n")...)
	w.NotifyEnv(map[string]string{"GRAFANA_URL": "https://grafana.example.net"})

	t.Run("settings of the controller are private", func(t *testing.T) {
		got := lab.For(t).Shell(controller, "stat -c '%a %U' /etc/homelab/patching-notify.env; cut -d= -f1 /etc/homelab/patching-notify.env")
		if want := "600 root\nDISCORD_WEBHOOK_URL\nGRAFANA_URL\nNTFY_PATCH_TOPIC\nNTFY_TOKEN\nNTFY_URL\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})

	t.Run("ntfy takes a message from who has the token, and gives it back", func(t *testing.T) {
		w := w.For(t)
		body := `{"topic": "` + e2e.NtfyTopic + `", "title": "prox: Neustart für 2 Pakete", "message": "naïve ☂ text", "priority": 5,
			"tags": ["rotating_light"], "click": "https://grafana.example.net/d/patching",
			"actions": [{"action": "view", "label": "Runbook", "url": "https://git.example.net/runbook"}]}`
		if status := post(t, lab, e2e.NtfyURL, body, "Authorization: Bearer "+w.Token); status != 200 {
			t.Errorf("with the token: %d", status)
		}
		if status := post(t, lab, e2e.NtfyURL, body); status != 403 {
			t.Errorf("without a token: %d", status)
		}
		if status := post(t, lab, e2e.NtfyURL, body, "Authorization: Bearer tk_"+strings.Repeat("x", 29)); status != 401 {
			t.Errorf("with a wrong token: %d", status)
		}
		if status := post(t, lab, e2e.NtfyURL, strings.Replace(body, e2e.NtfyTopic, "another", 1), "Authorization: Bearer "+w.Token); status != 403 {
			t.Errorf("to another topic: %d", status)
		}
		all := w.Ntfy()
		if len(all) != 1 {
			t.Fatalf("%d messages: %+v", len(all), all)
		}
		m := all[0]
		if m.Title != "prox: Neustart für 2 Pakete" || m.Message != "naïve ☂ text" || m.Priority != 5 || !slices.Equal(m.Tags, []string{"rotating_light"}) ||
			m.Click != "https://grafana.example.net/d/patching" || len(m.Actions) != 1 || m.Actions[0].Label != "Runbook" {
			t.Errorf("%+v", m)
		}
		if age := time.Since(time.Unix(m.Time, 0)); age < 0 || age > time.Minute {
			t.Errorf("its time is %v ago", age)
		}
	})

	t.Run("the stand-in for Discord takes a message with buttons", func(t *testing.T) {
		w := w.For(t)
		w.Forget()
		body := `{"username": "patching", "embeds": [{"title": "3 hosts patched", "color": 65280}], "allowed_mentions": {"parse": []},
			"components": [{"type": 1, "components": [{"type": 2, "style": 5, "label": "Runbook", "url": "https://git.example.net/runbook"}]}]}`
		if status := post(t, lab, e2e.WebhookURL+"?with_components=true", body); status != 204 {
			t.Errorf("status %d", status)
		}
		if status := post(t, lab, e2e.WebhookURL, strings.Replace(body, "3 hosts", strings.Repeat("x", 256), 1)); status != 400 {
			t.Errorf("a title that is too long: %d", status)
		}
		all := w.Discord()
		if len(all) != 1 || all[0].Embeds[0].Title != "3 hosts patched" || len(all[0].Buttons) != 1 || all[0].Buttons[0].Label != "Runbook" {
			t.Errorf("%+v", all)
		}
		if n := len(w.Requests("discord")); n != 2 {
			t.Errorf("%d requests", n)
		}
		if status := post(t, lab, e2e.BeatURL, "{}"); status != 200 || len(w.Requests("heartbeat")) != 1 {
			t.Errorf("dead man's switch: %d, %v", status, w.Requests("heartbeat"))
		}
	})

	t.Run("Prometheus scrapes four hosts by their names, with all rules of monitoring/", func(t *testing.T) {
		w := w.For(t)
		var names []string
		for _, s := range w.Query(`up{job="node"} == 1`) {
			names = append(names, s.Labels["instance"])
		}
		slices.Sort(names)
		if want := []string{"infra-services", "prox", "saltierpoop", "watch"}; !slices.Equal(names, want) {
			t.Errorf("up: %v, want %v", names, want)
		}
		if bad := w.Query(`prometheus_rule_evaluation_failures_total > 0`); len(bad) > 0 {
			t.Errorf("rules that cannot be evaluated: %v", bad)
		}
		write(lab.For(t), "prox", textfiles+"/patch.prom", "homelab_patch_reboot_required 1\n")
		e2e.Eventually(t, 15*time.Second, "an alert of monitoring/ waits for its time", func() error {
			if s := w.Query(`ALERTS{alertname="PatchRebootPending", alertstate="pending", instance="prox"}`); len(s) != 1 {
				return fmt.Errorf("%v; has the metric: %v", s, w.Query("homelab_patch_reboot_required"))
			}
			return nil
		})
	})

	t.Run("Alertmanager tells Discord and ntfy, also when it is over", func(t *testing.T) {
		w := w.For(t)
		w.Forget()
		before := len(w.Ntfy())
		labels := map[string]string{"alertname": "OSPatchOrchestrateFailed", "severity": "critical", "component": "patching", "instance": "trial"}
		words := map[string]string{"summary": "The trial failed", "description": "It was a trial.", "runbook_url": "https://git.example.net/runbook.md"}
		heard := func(what string) {
			t.Helper()
			e2e.Eventually(t, 30*time.Second, "both have heard "+what, func() error {
				var discord, ntfy []string
				for _, m := range w.Discord() {
					discord = append(discord, m.Text())
				}
				for _, m := range w.Ntfy()[before:] {
					ntfy = append(ntfy, m.Title+"\n"+m.Message)
				}
				said := func(s string) bool { return strings.Contains(s, "The trial failed") && strings.Contains(s, what) }
				if !slices.ContainsFunc(discord, said) || !slices.ContainsFunc(ntfy, said) {
					return fmt.Errorf("discord %q, ntfy %q, requests %v", discord, ntfy, w.Requests("discord"))
				}
				return nil
			})
		}
		w.Alert(labels, words, false)
		heard("It was a trial.")
		w.Alert(labels, words, true)
		heard("Over: ")
		for _, m := range w.Discord() {
			ev.Lines("Discord, from Alertmanager", strings.Split(strings.TrimSpace(m.Text()), "\n")...)
		}
		for _, m := range w.Ntfy()[before:] {
			ev.Lines("ntfy, from Alertmanager", strings.Split(fmt.Sprintf("%s\n%s\npriority %d, click %s", m.Title, strings.TrimSpace(m.Message), m.Priority, m.Click), "\n")...)
		}
	})

	t.Run("faults reach who asks, and the message that got no answer is kept", func(t *testing.T) {
		w := w.For(t)
		defer w.Names(controller, "ok")
		bearer := "Authorization: Bearer " + w.Token
		publish := `{"topic": "` + e2e.NtfyTopic + `", "message": "a"}`
		w.Forget()
		before := len(w.Ntfy())
		for _, c := range []struct {
			fault         discord.Fault
			discord, ntfy int // HTTP status; below zero an exit code of curl
		}{
			{discord.Fault{Kind: "refuse"}, -7, -7},
			{discord.Fault{Kind: "429", RetryAfter: 2}, 429, 429},
			{discord.Fault{Kind: "die"}, -52, -52},
			{discord.Fault{Kind: "none"}, 204, 200},
		} {
			w.SetFault("discord", c.fault)
			w.SetFault("ntfy", c.fault)
			if got := post(t, lab, e2e.WebhookURL, `{"content": "a"}`); got != c.discord {
				t.Errorf("discord, %s: %d, want %d", c.fault.Kind, got, c.discord)
			}
			if got := post(t, lab, e2e.NtfyURL, publish, bearer); got != c.ntfy {
				t.Errorf("ntfy, %s: %d, want %d", c.fault.Kind, got, c.ntfy)
			}
		}
		if d, n := len(w.Discord()), len(w.Ntfy())-before; d != 2 || n != 2 { // of die and none
			t.Errorf("discord kept %d, ntfy %d, want 2", d, n)
		}
		for state, code := range map[string]int{"fails": -6, "hangs": -28} {
			w.Names(controller, state)
			if got := postWithin(t, lab, 2*time.Second, e2e.WebhookURL, `{"content": "a"}`); got != code {
				t.Errorf("names %s: %d, want %d", state, got, code)
			}
		}
		w.Names(controller, "ok")
		if got := post(t, lab, e2e.WebhookURL, `{"content": "a"}`); got != 204 {
			t.Errorf("names ok: %d", got)
		}
	})

	t.Run("the fleet looks as if nothing had been installed", func(t *testing.T) {
		lab := lab.For(t)
		for _, name := range hosts {
			if log := lab.DpkgLog(name); len(log) > 0 || transactions(lab, name) > 0 {
				t.Errorf("%s: dpkg.log has %d lines", name, len(log))
			}
		}
	})
}

// post sends JSON from the controller. It returns the HTTP status, or the exit code of curl below zero.
func post(t *testing.T, lab *e2e.Lab, url, body string, headers ...string) int {
	t.Helper()
	return postWithin(t, lab, 20*time.Second, url, body, headers...)
}

// postWithin gives up after a while, with 28.
func postWithin(t *testing.T, lab *e2e.Lab, patience time.Duration, url, body string, headers ...string) int {
	t.Helper()
	if !json.Valid([]byte(body)) {
		t.Fatal(errors.New("not JSON: " + body))
	}
	args := []string{"curl", "-s", "-m", fmt.Sprint(patience.Seconds()), "-o", "/dev/null", "-w", "%{http_code}", "-d", body, "-H", "Content-Type: application/json"}
	for _, h := range headers {
		args = append(args, "-H", h)
	}
	out := lab.Run(t.Context(), controller, append(args, url)...)
	if out.Code != 0 {
		return -out.Code
	}
	var status int
	if _, err := fmt.Sscan(out.Stdout, &status); err != nil {
		t.Fatalf("curl: %v %q", err, out.Stdout)
	}
	return status
}
