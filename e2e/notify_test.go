//go:build e2e

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
	"homelab-patch-orchestrate/e2e/discord"
	"homelab-patch-orchestrate/monitoring"
)

// links are where the buttons of messages lead.
var links = map[string]string{
	"GRAFANA_URL": "https://grafana.example.net", "ARA_API_SERVER": "https://ara.example.net",
	"RUNBOOK_URL": "https://git.example.net/homelab/patching/src/branch/main/docs/runbooks", "HEARTBEAT_URL": e2e.BeatURL,
}

// buttons are those of a message about a run. One that asks for work begins with a runbook.
func buttons(run string) []discord.Button {
	return []discord.Button{{Label: "Dashboard", URL: links["GRAFANA_URL"] + "/d/homelab-patching"}, {Label: "ARA", URL: links["ARA_API_SERVER"] + "/?label=run%3A" + run}}
}

var runbook = discord.Button{Label: "Runbook", URL: links["RUNBOOK_URL"] + "/OSPatchOrchestrateFailed.md"}

// People hear of a run that goes well, of one that fails, and that it is over: by the program and by Alertmanager. No
// secret is in what they hear, nor in anything that a run leaves.
func TestNotify(t *testing.T) {
	lab := up(t, e2e.Options{Hosts: "hosts-watch.conf"})
	w := lab.StartWatch(soon)
	ev := e2e.Record(t, lab, "notify", "What people hear of a run: Discord, ntfy, Prometheus and Alertmanager")
	w.NotifyEnv(links)
	keepJournals(lab, "saltierpoop", "prox")
	s := plantSecrets(t, lab, w)

	t.Run("a run that goes well", func(t *testing.T) {
		lab, w := lab.For(t), w.For(t)
		out := s.run(t, lab, "run")
		ev.Call("`run`", out.Output, out.Took, last(out.Stdout)+"\n"+accounts(out))
		out.want(t, 0, []string{"saltierpoop patched", "prox patched", "infra-services patched"},
			"messages: reboots announced 2, ", "messages: delivered 2, waiting 0, ")

		heard := w.Discord()
		wantTitles(t, "Discord", discordTitles(heard), "Rebooting saltierpoop", "Rebooting prox", "Patched 3 of 3 hosts in ")
		for _, m := range heard {
			wantEmbed(t, m, out.Report.ID, buttons(out.Report.ID)...)
			ev.Lines("Discord", strings.Split(m.Text(), "\n")...)
		}
		ntfy := w.Ntfy()
		wantTitles(t, "ntfy", ntfyTitles(ntfy), "Rebooting saltierpoop", "Rebooting prox")
		for _, m := range ntfy {
			buttons := buttons(out.Report.ID)
			if m.Priority != 3 || m.Click != buttons[0].URL || len(m.Actions) != 2 || m.Actions[1].URL != buttons[1].URL || m.Actions[1].Action != "view" ||
				!strings.Contains(m.Message, "Run: "+out.Report.ID) || !strings.Contains(m.Message, "5 packages upgraded") || !strings.Contains(m.Message, rebootReason) {
				t.Errorf("ntfy: %+v", m)
			}
			ev.Lines("ntfy", strings.Split(m.Title+"\n"+m.Message, "\n")...)
		}
		if beats := w.Requests("heartbeat"); len(beats) != 1 || beats[0].Status != 200 {
			t.Errorf("the dead man's switch: %+v", beats)
		}
		if t.Failed() {
			return
		}
		requests := w.Requests("ntfy")
		for i, name := range hosts[:2] {
			r := rebooted(t, lab, name, ntfy[i], requests)
			r.want(t)
			ev.Lines("reboot of "+name, r.String())
		}
	})

	t.Run("Prometheus has its metrics, and no question of the dashboard stays without an answer", func(t *testing.T) {
		w := w.For(t)
		wantPanels(t, w, map[string]float64{
			"Stale hosts": 0, "Hosts lost in the latest run": 0, "Reboot pending": 1, "Held hosts": 0, "Messages waiting": 0,
			"Alerts firing": 0, "Latest run": 0, "Controller": 0,
		})
		for _, q := range []string{
			`homelab_patch_orchestrate_last_exit_code{instance="infra-services"} == 0`, `homelab_patch_orchestrate_notifications_pending{channel="ntfy"} == 0`,
			`homelab_patch_orchestrate_notifications_dropped{channel="discord"} == 0`, `homelab_patch_orchestrate_wave_hosts{wave="1", outcome="patched"} == 1`,
			`homelab_patch_packages_upgraded{instance="prox"} == 5`, `homelab_patch_reboot_required{instance="infra-services"} == 1`,
			`time() - homelab_patch_last_success_unixtime{instance="saltierpoop"} < 600`,
		} {
			if len(w.Query(q)) != 1 {
				t.Errorf("no answer to %s", q)
			}
		}
	})

	t.Run("a package fails", func(t *testing.T) {
		lab, w := lab.For(t), w.For(t)
		discordBefore, ntfyBefore := len(w.Discord()), len(w.Ntfy())
		lab.Fault("broken", "prox")
		out := s.run(t, lab, "run")
		ev.Call("`run`, and a package of prox fails", out.Output, out.Took, said(out)+"\n"+accounts(out))
		out.want(t, 3, []string{"saltierpoop unchanged", "prox failed", "infra-services not-attempted"})

		words := []string{"prox (wave 1) failed", "package lab-broken failed", "lab-broken: postinst fails on purpose", "Not touched", "infra-services", "What to do"}
		var told, alarm discord.Message
		e2e.Eventually(t, time.Minute, "Discord has heard of it from the program and from Alertmanager", func() error {
			all := w.Discord()[discordBefore:]
			told, alarm = find(all, "Patching was halted by prox"), find(all, "OSPatchOrchestrateFailed (critical)")
			if told.ID == "" || alarm.ID == "" {
				return fmt.Errorf("%q", discordTitles(all))
			}
			return nil
		})
		wantEmbed(t, told, out.Report.ID, append([]discord.Button{runbook}, buttons(out.Report.ID)...)...)
		wantWords(t, "Discord", plain(told.Text()), words...)
		wantWords(t, "Discord, from Alertmanager", alarm.Text(), "The patch run on infra-services went wrong (exit code 3)", runbook.URL)
		ev.Lines("Discord", strings.Split(told.Text(), "\n")...)
		ev.Lines("Discord, from Alertmanager", strings.Split(alarm.Text(), "\n")...)
		e2e.Eventually(t, time.Minute, "ntfy has, too", func() error {
			all := w.Ntfy()[ntfyBefore:]
			for _, title := range []string{"Patching was halted by prox", "The patch run on infra-services went wrong (exit code 3)"} {
				i := slices.IndexFunc(all, func(m e2e.NtfyMessage) bool { return m.Title == title })
				if i < 0 {
					return fmt.Errorf("%q", ntfyTitles(all))
				}
				if all[i].Priority != 5 || all[i].Click != runbook.URL {
					t.Errorf("ntfy: %+v", all[i])
				}
				if i == 0 {
					wantWords(t, "ntfy", all[i].Message, append(words, "Run: "+out.Report.ID)...)
				}
				ev.Lines("ntfy", strings.Split(fmt.Sprintf("%s\n%s\npriority %d, click %s", all[i].Title, strings.TrimSpace(all[i].Message), all[i].Priority, all[i].Click), "\n")...)
			}
			return nil
		})
		wantPanels(t, w, map[string]float64{"Hosts lost in the latest run": 2, "Latest run": 3, "Alerts firing": 1})
	})

	t.Run("it is over, and the dead man's switch hears of it late", func(t *testing.T) {
		lab, w := lab.For(t), w.For(t)
		discordBefore, ntfyBefore, beats := len(w.Discord()), len(w.Ntfy()), len(w.Requests("heartbeat"))
		lab.Fault("unbroken", "prox")
		lab.Exec("prox", "dpkg", "--purge", "--force-all", "lab-broken")
		w.Fault("heartbeat", "401")
		out := s.run(t, lab, "run")
		w.Fault("heartbeat", "none")
		ev.Call("`run`, when the package is gone", out.Output, out.Took, last(out.Stdout)+"\n"+accounts(out))
		out.want(t, 0, []string{"saltierpoop unchanged", "prox unchanged", "infra-services unchanged"}, "messages: delivered 2, waiting 1, ")
		flush := s.run(t, lab, "notify", "flush")
		ev.Call("`notify flush`", flush.Output, flush.Took, said(flush))
		flush.want(t, 0, nil, "heartbeat: messages delivered: 1")
		if all := w.Requests("heartbeat")[beats:]; len(all) != 2 || all[1].Status != 200 {
			t.Errorf("the dead man's switch: %+v", all)
		}
		e2e.Eventually(t, time.Minute, "both have heard that it is over, twice", func() error {
			d, n := discordTitles(w.Discord()[discordBefore:]), ntfyTitles(w.Ntfy()[ntfyBefore:])
			for _, all := range [][]string{d, n} {
				for _, words := range []string{"Patching works again: 3 hosts well", "Over: "} {
					if !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, words) }) {
						return fmt.Errorf("Discord %q, ntfy %q", d, n)
					}
				}
			}
			return nil
		})
		ev.Lines("Discord, then", discordTitles(w.Discord()[discordBefore:])...)
		ev.Lines("ntfy, then", ntfyTitles(w.Ntfy()[ntfyBefore:])...)
		wantEmbed(t, find(w.Discord()[discordBefore:], "Patching works again: 3 hosts well"), out.Report.ID, buttons(out.Report.ID)...)
		wantPanels(t, w, map[string]float64{"Hosts lost in the latest run": 0, "Latest run": 0, "Alerts firing": 0, "Messages waiting": 0})
	})

	// Errors are where a token escapes most easily, so this run meets some.
	t.Run("no secret is anywhere", func(t *testing.T) {
		lab, w := lab.For(t), w.For(t)
		discordBefore := len(w.Discord())
		w.Fault("discord", "refuse")
		w.Fault("ntfy", "500")
		out := s.run(t, lab, "run", "--project", "/srv/project", "--limit", "prox")
		w.Fault("discord", "none")
		w.Fault("ntfy", "none")
		ev.Call("`run` of a playbook that fails with a secret, Discord and ntfy away", out.Output, out.Took, said(out)+"\n"+accounts(out))
		out.want(t, 3, []string{"prox failed"}, "discord: ", "ntfy: the server answered 500", "messages: delivered 0, waiting 2, ")
		flush := s.run(t, lab, "notify", "flush")
		flush.want(t, 0, nil, "discord: messages delivered: 1", "ntfy: messages delivered: 1")
		if told := find(w.Discord()[discordBefore:], "Patching was halted by prox"); !strings.Contains(told.Text(), "task Quiet") {
			t.Errorf("Discord: %s", told.Text())
		}
		s.search(t, lab, w, ev, out.Report.ID)
	})
}

// accounts is what a run says of its own waiting.
func accounts(o outcome) string {
	var lines []string
	for line := range strings.Lines(o.Stderr) {
		if _, said, ok := strings.Cut(line, program+": messages: "); ok {
			lines = append(lines, "messages: "+strings.TrimSpace(said))
		}
	}
	return strings.Join(lines, "\n")
}

func discordTitles(all []discord.Message) (titles []string) {
	for _, m := range all {
		title := m.Content
		if len(m.Embeds) > 0 {
			title = m.Embeds[0].Title
		}
		titles = append(titles, title)
	}
	return titles
}

func ntfyTitles(all []e2e.NtfyMessage) (titles []string) {
	for _, m := range all {
		titles = append(titles, m.Title)
	}
	return titles
}

// wantTitles checks that there are just these messages, by the beginnings of their titles.
func wantTitles(t *testing.T, who string, got []string, want ...string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("%s has heard %q, want %q", who, got, want)
	}
}

// find returns the first message with a title that begins so; an empty one if there is none.
func find(all []discord.Message, title string) discord.Message {
	i := slices.IndexFunc(discordTitles(all), func(s string) bool { return strings.HasPrefix(s, title) })
	if i < 0 {
		return discord.Message{}
	}
	return all[i]
}

// wantEmbed checks what every message of ours to Discord has: one embed that names the run, and links as buttons and in
// its text.
func wantEmbed(t *testing.T, m discord.Message, run string, buttons ...discord.Button) {
	t.Helper()
	if len(m.Embeds) != 1 || m.Ignored || !slices.Equal(m.Buttons, buttons) || len(m.Pings) > 0 || m.Embeds[0].Color == 0 || m.Embeds[0].Footer != run {
		t.Errorf("Discord: ignored %v, buttons %+v, want %+v; run %s\n%+v", m.Ignored, m.Buttons, buttons, run, m.Embeds)
		return
	}
	for _, b := range buttons {
		if link := "[" + b.Label + "](<" + b.URL + ">)"; !strings.Contains(m.Embeds[0].Description, link) {
			t.Errorf("Discord: the embed lacks %s: %s", link, m.Embeds[0].Description)
		}
	}
}

func wantWords(t *testing.T, who, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q:\n%s", who, w, text)
		}
	}
}

// plain takes out what keeps Discord from reading markup.
func plain(s string) string { return strings.NewReplacer("\\", "", "\u200b", "").Replace(s) }

// wantPanels waits until each question of the dashboard has an answer, and until panels of one number show these. A
// panel shows -1 where it knows nothing; that is so for ansible-pull, of which there is none here.
func wantPanels(t *testing.T, w *e2e.Watch, want map[string]float64) {
	t.Helper()
	data, err := os.ReadFile("../monitoring/grafana/dashboards/patching.json")
	if err != nil {
		t.Fatal(err)
	}
	queries, err := monitoring.Queries(data, map[string]string{"host": ".*"})
	if err != nil || len(queries) < 20 {
		t.Fatalf("%d queries, %v", len(queries), err)
	}
	e2e.Eventually(t, 30*time.Second, "the dashboard", func() error {
		left := maps.Clone(want)
		for _, q := range queries {
			got := w.Query(q.Expr)
			if len(got) == 0 {
				return fmt.Errorf("panel %q: no answer to %s", q.Panel, q.Expr)
			}
			if q.Type != "stat" {
				continue
			}
			if v, ok := want[q.Panel]; ok && got[0].Value != v {
				return fmt.Errorf("panel %q shows %v, want %v", q.Panel, got[0].Value, v)
			}
			if known := q.Panel != "ansible-pull failing"; (got[0].Value == -1) == known {
				return fmt.Errorf("panel %q shows %v", q.Panel, got[0].Value)
			}
			delete(left, q.Panel)
		}
		if len(left) > 0 {
			return fmt.Errorf("no panels for %v", left)
		}
		return nil
	})
}

// keepJournals makes hosts keep the journal of a boot that is over.
func keepJournals(lab *e2e.Lab, hosts ...string) {
	for _, name := range hosts {
		lab.Shell(name, "mkdir -p /var/log/journal && systemctl restart systemd-journald && journalctl --flush")
	}
}

// reboot is when one was announced and when it happened, all by the one clock that a lab has.
type reboot struct {
	host     string
	stored   time.Time // by ntfy's own account, in whole seconds
	answered time.Time // when the proxy before ntfy had passed ntfy's answer on
	ordered  time.Time // when the host began to shut down
	last     time.Time // the last line of the journal of the old boot
}

// rebooted finds the times of a host's latest reboot, and of its announcement.
func rebooted(t *testing.T, lab *e2e.Lab, host string, m e2e.NtfyMessage, requests []discord.Request) reboot {
	t.Helper()
	r := reboot{host: host, stored: time.Unix(m.Time, 0)}
	if m.Title != "Rebooting "+host {
		t.Errorf("%s: its message is %q", host, m.Title)
	}
	for _, q := range requests {
		end := q.Time.Add(time.Duration(q.Took * float64(time.Second)))
		if q.Status == 200 && q.Time.Unix() <= m.Time && m.Time <= end.Unix() && (r.answered.IsZero() || end.After(r.answered)) {
			r.answered = end
		}
	}
	if r.answered.IsZero() {
		t.Fatalf("%s: no request of ntfy's is at %v: %+v", host, r.stored, requests)
	}
	at := func(args ...string) time.Time {
		t.Helper()
		out := lab.For(t).Exec(host, append([]string{"journalctl", "-q", "--no-pager", "-b", "-1", "-o", "json", "-n", "1"}, args...)...)
		var line struct {
			At string `json:"__REALTIME_TIMESTAMP"`
		}
		err := json.Unmarshal([]byte(out), &line)
		us, err2 := strconv.ParseInt(line.At, 10, 64)
		if err := errors.Join(err, err2); err != nil {
			t.Fatalf("journal of %s: %v\n%s", host, err, out)
		}
		return time.UnixMicro(us)
	}
	r.last, r.ordered = at(), at("-g", "System is rebooting")
	return r
}

// want checks the order. ntfy's seconds alone would forgive a message that is late by less than one.
func (r reboot) want(t *testing.T) {
	t.Helper()
	if !r.stored.Before(r.last) || !r.answered.Before(r.ordered) || r.last.Before(r.ordered) {
		t.Errorf("not announced before it: %s", r)
	}
}

func (r reboot) String() string {
	return fmt.Sprintf("ntfy stored the message at %s, had answered at %s, the host began to shut down at %s, its last line is of %s: %.2f s before",
		r.stored.UTC().Format(time.TimeOnly), r.answered.UTC().Format("15:04:05.000"), r.ordered.UTC().Format("15:04:05.000"),
		r.last.UTC().Format("15:04:05.000"), r.last.Sub(r.answered).Seconds())
}
