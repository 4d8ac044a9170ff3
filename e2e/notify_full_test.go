//go:build e2e && e2efull

package e2e_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
	"homelab-patch-orchestrate/e2e/discord"
)

// Before each reboot people have been told, the host that tells them included.
func TestRebootsAnnounced(t *testing.T) {
	lab := up(t, e2e.Options{Hosts: "hosts-watch.conf"})
	w := lab.StartWatch(e2e.WatchOptions{})
	ev := e2e.Record(t, lab, "announced", "Every reboot was announced before it")
	w.NotifyEnv(links)
	keepJournals(lab, hosts[:2]...)
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", "patching_reboot: always\n")
	rows := []string{"host         stored    answered      shutdown      last line     shutdown after  last line after"}
	var shutdown, end []float64
	for range number(t, "REBOOT_RUNS", 10) {
		before := len(w.Ntfy())
		w.Forget()
		out := run(t, lab, "run", "--limit", strings.Join(hosts[:2], ","))
		ev.Call("`run --limit "+strings.Join(hosts[:2], ",")+"`, with `patching_reboot: always`", out.Output, out.Took, accounts(out))
		out.want(t, 0, []string{"saltierpoop patched", "prox patched"}, "reboots announced 2, ")
		told, requests := w.Ntfy()[before:], w.Requests("ntfy")
		wantTitles(t, "ntfy", ntfyTitles(told), "Rebooting saltierpoop", "Rebooting prox")
		if t.Failed() {
			t.FailNow()
		}
		for i, m := range told {
			r := rebooted(t, lab, hosts[i], m, requests)
			r.want(t)
			const ms = "15:04:05.000"
			rows = append(rows, fmt.Sprintf("%-11s  %s  %s  %s  %s  %12.2f s  %13.2f s", r.host, r.stored.UTC().Format(time.TimeOnly), r.answered.UTC().Format(ms),
				r.ordered.UTC().Format(ms), r.last.UTC().Format(ms), r.ordered.Sub(r.answered).Seconds(), r.last.Sub(r.answered).Seconds()))
			shutdown, end = append(shutdown, r.ordered.Sub(r.answered).Seconds()), append(end, r.last.Sub(r.answered).Seconds())
		}
	}
	figures := fmt.Sprintf("%d reboots; the shortest time between ntfy's answer and the shutdown %.2f s, and the last line of the old boot %.2f s",
		len(end), slices.Min(shutdown), slices.Min(end))
	t.Log(figures)
	rows = append(rows, "", figures)
	ev.Lines("one clock (UTC): `stored` is ntfy's own time, in whole seconds; `answered` when a proxy before it had passed its answer on; "+
		"`shutdown` the host's line `System is rebooting`; `last line` the last one of the old boot", rows...)
}

// outage is what is wrong with a channel while a run goes on.
type outage struct {
	name   string
	begin  func()
	midway func() // once a reboot has been announced
	end    func()
	next   bool // it is the next run that delivers, not a flush
	twice  bool // the answer to the announcement is lost
}

// Whatever the channels do: the run ends as it would have, it waits no longer than it may, and every message arrives.
func TestOutages(t *testing.T) {
	lab := up(t, e2e.Options{Hosts: "hosts-watch.conf"})
	// Alertmanager is to be silent: here only the program talks.
	w := lab.StartWatch(e2e.WatchOptions{Alertmanager: []string{"group_wait: 30s", "group_wait: 6h"}})
	ev := e2e.Record(t, lab, "outages", "Runs while Discord or ntfy is away")
	o := &outages{lab: lab, w: w, ev: ev}
	lab.RepoState("old")
	w.NotifyEnv(nil)
	w.Names(controller, "hangs") // for the name server; the names come now
	o.names(map[string]string{})
	write(lab, controller, "/etc/ansible/group_vars/patching_targets.yml", "patching_reboot: always\n")
	o.rows = []string{"channel  what is wrong        exit  before the reboot  at the end  waited  delivered by        arrived  twice  dropped"}

	t.Run("none", func(t *testing.T) { o.run(t, "", outage{name: "nothing"}) })
	for _, c := range o.kinds("discord") {
		t.Run("discord "+c.name, func(t *testing.T) { o.run(t, "discord", c) })
	}
	lab.Fault("failunit", "prox")
	o.failing = true
	t.Run("none, and the run fails", func(t *testing.T) { o.run(t, "", outage{name: "nothing"}) })
	for _, c := range o.kinds("ntfy") {
		t.Run("ntfy "+c.name, func(t *testing.T) { o.run(t, "ntfy", c) })
	}
	ev.Lines("the run restarts prox; with ntfy away a unit of it fails after that. Seconds are of the run's own accounting", o.rows...)
	t.Logf("\n%s", strings.Join(o.rows, "\n"))
}

// outages is what the runs of TestOutages share.
type outages struct {
	lab     *e2e.Lab
	w       *e2e.Watch
	ev      *e2e.Evidence
	failing bool // the host does not come through
	rows    []string
}

// kinds lists the outages of a channel.
func (o *outages) kinds(channel string) []outage {
	fault := func(f discord.Fault) func() { return func() { o.w.SetFault(channel, f) } }
	well := fault(discord.Fault{Kind: "none"})
	names := func(ip string) func() { return func() { o.names(map[string]string{channel: ip}) } }
	found := func() { o.names(map[string]string{}) }
	wrong := map[string]map[string]string{
		"discord": {"DISCORD_WEBHOOK_URL": e2e.WebhookURL[:strings.LastIndex(e2e.WebhookURL, "/")] + "/lab-wrong"},
		"ntfy":    {"NTFY_TOKEN": "tk_" + strings.Repeat("x", 29)},
	}[channel]
	limit := discord.Fault{Kind: "429"} // ntfy does not say for how long
	if channel == "discord" {
		limit.RetryAfter = 30
	}
	return []outage{
		{name: "refused", begin: fault(discord.Fault{Kind: "refuse"}), end: well},
		{name: "hung", begin: fault(discord.Fault{Kind: "hang"}), end: well},
		{name: "429", begin: fault(limit), end: well},
		{name: "500", begin: fault(discord.Fault{Kind: "500"}), end: well},
		{name: "401", begin: func() { o.w.NotifyEnv(wrong) }, end: func() { o.w.NotifyEnv(nil) }},
		{name: "DNS fails", begin: names(""), end: found},
		{name: "DNS hangs", begin: func() { names("")(); o.w.Names(controller, "hangs") }, end: found},
		{name: "dies mid-run", begin: fault(discord.Fault{Kind: "die", Times: 1}), midway: fault(discord.Fault{Kind: "refuse"}), end: well, twice: true},
		{name: "host away, then back", begin: names("198.51.100.99"), end: found, next: true}, // nobody has this address
	}
}

// names lets the controller find the servers, but for those that are somewhere else or, with "", nowhere.
func (o *outages) names(elsewhere map[string]string) {
	script := `sed -i '/ \(discord\|ntfy\)\( \|$\)/d' /etc/hosts; echo 'nameserver 127.0.0.1' >/etc/resolv.conf
		at=$(getent hosts ` + e2e.WatchHost + ` | cut -d' ' -f1)` + "\n"
	for _, name := range []string{"discord", "ntfy"} {
		ip, ok := elsewhere[name]
		if !ok {
			ip = "$at"
		}
		if ip != "" {
			script += `echo "` + ip + " " + name + `" >>/etc/hosts` + "\n"
		}
	}
	o.lab.Shell(controller, script)
}

var (
	announcedLine = regexp.MustCompile(`messages: reboots announced (\d+), longest wait ([\d.]+) s, in all ([\d.]+) s`)
	deliveredLine = regexp.MustCompile(`messages: delivered (\d+), waiting (\d+), in ([\d.]+) s`)
)

// numbers returns those of the only line of a kind.
func numbers(t *testing.T, out outcome, line *regexp.Regexp) (all [3]float64) {
	t.Helper()
	found := line.FindAllStringSubmatch(out.Stderr, -1)
	if len(found) != 1 {
		t.Fatalf("%d lines %s in\n%s", len(found), line, out.Stderr)
	}
	for i, s := range found[0][1:] {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = v
	}
	return all
}

// run is one cell: a run while a channel is away, and what comes of its messages.
func (o *outages) run(t *testing.T, channel string, c outage) {
	lab := o.lab.For(t)
	code, summary, outcomes := 0, "Patched 1 of 1 host in ", []string{"prox patched"}
	want := map[string][]string{"discord": {"Rebooting prox", summary}, "ntfy": {"Rebooting prox"}}
	if o.failing {
		code, summary, outcomes = 3, "Patching was halted by prox", []string{"prox failed"}
		want = map[string][]string{"discord": {"Rebooting prox", summary}, "ntfy": {"Rebooting prox", summary}}
		lab.Exec("prox", "systemctl", "reset-failed") // what failed before a run is no news after it
	}
	dropped := metrics(t, lab, controller, "patch_orchestrate.prom")

	if c.begin != nil {
		c.begin()
	}
	call := start(t, lab, "run", "--limit", "prox")
	if c.midway != nil {
		id := call.running(t)
		e2e.Eventually(t, time.Minute, "the announcement is there", func() error {
			if got := o.titles(t, id); len(got[channel]) == 0 {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
		c.midway()
	}
	out := call.wait(t)
	ended := time.Now()
	out.want(t, code, outcomes)
	announced, delivered := numbers(t, out, announcedLine), numbers(t, out, deliveredLine)
	if announced[0] != 1 || announced[1] > 5 || delivered[2] > 10.5 {
		t.Errorf("it waited too long: %s", accounts(out))
	}

	// What it waited in the end came after all else was final. The program ended a little before we know.
	began := ended.Add(-time.Duration(delivered[2] * float64(time.Second)))
	changed, err := strconv.ParseFloat(strings.TrimSpace(lab.Exec(controller, "stat", "-c", "%.9Y", stateDir+"/runs/"+out.Report.ID+"/journal.json")), 64)
	if at := time.UnixMicro(int64(changed * 1e6)); err != nil || at.After(began) {
		t.Errorf("the journal was written at %v, %v; the wait for the world began before %v", at, err, began)
	}
	m := metrics(t, lab, controller, "patch_orchestrate.prom")
	if at := m["homelab_patch_orchestrate_last_run_unixtime"]; o.failing && time.Unix(int64(at), 0).After(began) {
		t.Errorf("the metric says that the run ended at %v; the wait for the world began before %v", at, began)
	}
	waiting := 0.0
	for _, name := range []string{"discord", "ntfy"} {
		n := m[`homelab_patch_orchestrate_notifications_pending{channel="`+name+`"}`]
		waiting += n
		if name != channel && n != 0 || name == channel && n == 0 {
			t.Errorf("messages that wait for %s: %v", name, n)
		}
	}
	if waiting != delivered[1] {
		t.Errorf("by the metrics %v messages wait: %s", waiting, accounts(out))
	}
	early := o.titles(t, out.Report.ID)
	for name, titles := range want {
		if name != channel {
			wantTitles(t, name, early[name], titles...)
		}
	}

	by, again := "-", 0
	if c.end != nil {
		c.end()
		by = "notify flush"
		args := []string{"notify", "flush"}
		if c.next {
			by, args = "the next run", []string{"run", "--limit", controller}
		}
		then := run(t, lab, args...)
		by += fmt.Sprintf(", %.0f s", then.Took.Seconds())
		if then.Code != 0 {
			t.Errorf("%s: exit code %d\n%s", by, then.Code, then.words())
		}
	}
	if c.twice {
		again = 1
		want[channel] = slices.Insert(want[channel], 0, want[channel][0])
	}
	arrived, lost := 0, 0.0
	late := o.titles(t, out.Report.ID)
	m = metrics(t, lab, controller, "patch_orchestrate.prom")
	for _, name := range []string{"discord", "ntfy"} {
		wantTitles(t, name, late[name], want[name]...)
		arrived += len(late[name])
		pending, gone := `homelab_patch_orchestrate_notifications_pending{channel="`+name+`"}`, `homelab_patch_orchestrate_notifications_dropped{channel="`+name+`"}`
		if lost += m[gone] - dropped[gone]; m[pending] != 0 || m[gone] != dropped[gone] {
			t.Errorf("%s: %v wait, %v given up", name, m[pending], m[gone])
		}
	}
	o.rows = append(o.rows, fmt.Sprintf("%-7s  %-20s  %3d  %15.2f s  %8.2f s  %6.0f  %-18s  %7d  %5d  %7.0f",
		channel, c.name, out.Code, announced[1], delivered[2], waiting, by, arrived, again, lost))
	o.ev.Call(fmt.Sprintf("%s: %s", channel, c.name), out.Output, out.Took, strings.Join(warnings(out), "\n")+"\n"+accounts(out))
}

// titles lists what each channel has of a run, oldest first.
func (o *outages) titles(t *testing.T, run string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, m := range o.w.For(t).Discord() {
		if len(m.Embeds) == 1 && m.Embeds[0].Footer == run {
			all["discord"] = append(all["discord"], m.Embeds[0].Title)
		}
	}
	for _, m := range o.w.For(t).Ntfy() {
		if strings.Contains(m.Message, "Run: "+run) {
			all["ntfy"] = append(all["ntfy"], m.Title)
		}
	}
	return all
}

// warnings lists what a run says of its channels.
func warnings(o outcome) (all []string) {
	for line := range strings.Lines(o.Stderr) {
		if _, said, ok := strings.Cut(line, program+": warning: "); ok {
			all = append(all, strings.TrimSpace(said))
		}
	}
	return all
}
