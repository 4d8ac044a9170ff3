package report

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	o "homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

var began = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func at(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }

// fleet is the journal of a full run over n hosts in three waves that all ended well; what was done takes a day of nobody.
func fleet(n int) o.Report {
	code := 0
	r := o.Report{Version: 1, ID: "20261122T030000Z-1a2b3c", State: o.Passed, Kind: o.Full, Started: began, Ended: at(600), ExitCode: &code,
		Controller: "infra-services", Engine: "2.14.18", Budget: 0, Reason: fmt.Sprintf("%d patched", n)}
	names := []string{"saltierpoop", "prox", "infra-services"}
	for i := range 3 {
		begin := float64(i) * 200
		w := o.WaveReport{Number: i, Group: fmt.Sprintf("patching_wave%d", i), State: o.Passed, Started: at(begin + 2), Ended: at(begin + 120)}
		many := []int{min(3, max(1, n-2)), max(1, n-4), 1}[i]
		for k := range many {
			name := names[i]
			if many > 1 {
				name = fmt.Sprintf("node%04d", 1000*i+k)
			}
			h := o.HostReport{Name: name, Outcome: o.Patched, Controller: i == 2, Stats: runner.Stats{OK: 14, Changed: 3}, Patch: &o.Patch{Version: 1, Packages: []o.Package{
				{Name: "openssl", From: "3.0.17-1~deb12u2", To: "3.0.17-1~deb12u3", Security: true}, {Name: "libssl3", From: "3.0.17-1~deb12u2", To: "3.0.17-1~deb12u3", Security: true},
				{Name: fmt.Sprintf("lab-app%d", k%40), From: "1.0-1", To: "2.0-1"},
			}}}
			if k%4 == 0 {
				h.Patch.Packages = append(h.Patch.Packages, o.Package{Name: "linux-image-6.1.0-41-amd64", To: "6.1.158-1", Security: true})
				h.Patch.Rebooted = true
			}
			w.Hosts = append(w.Hosts, h)
		}
		for g, name := range []string{"failed-units", "grafana"} {
			w.Gates = append(w.Gates, o.GateAnswer{Gate: name, When: fmt.Sprintf("after wave %d", i), Time: at(begin + 181 + float64(g)), OK: true})
		}
		r.Waves = append(r.Waves, w)
	}
	return r
}

// halted is fleet with hosts of the second wave that were lost in each way, and the last wave not begun.
func halted(n int) o.Report {
	r := fleet(n)
	code := o.ExitHalted
	r.ExitCode, r.State, r.Ended = &code, o.Halted, at(330)
	w := &r.Waves[1]
	w.State, w.Gates, w.Ended = o.Halted, nil, at(330)
	w.Hosts[0].Outcome, w.Hosts[0].Task, w.Hosts[0].Path = o.HostFailed, "Fail with the reason", "/srv/roles/patching/tasks/main.yml:47"
	w.Hosts[0].Message = "package lab-broken failed: post-installation script returned 1"
	w.Hosts[0].Patch = &o.Patch{Version: 1, Failure: &o.Failure{Phase: "upgrade", Reason: w.Hosts[0].Message,
		Detail: "Preparing to unpack .../lab-broken_2.0-1_all.deb ...\nUnpacking lab-broken (2.0-1) over (1.0-1) ...\nSetting up lab-broken (2.0-1) ...\nlab-broken: cannot migrate /var/lib/lab-broken/db: schema 4 is newer than 3\ndpkg: error processing package lab-broken (--configure):\n installed lab-broken package post-installation script subprocess returned error exit status 1\nErrors were encountered while processing:\n lab-broken\nE: Sub-process /usr/bin/dpkg returned an error code (1)"}}
	if len(w.Hosts) > 4 {
		w.Hosts[1].Outcome, w.Hosts[1].Patch = o.HostUnreachable, nil
		w.Hosts[1].Task, w.Hosts[1].Message = "Look at the host", "no answer from 10.0.3.17 within 10 s: is it on, and does its network work?"
		w.Hosts[2].Outcome, w.Hosts[2].Patch = o.Held, &o.Patch{Version: 1, Hold: &o.HostHold{Reason: "moving the rack"}}
		w.Hosts[3].Outcome, w.Hosts[3].Patch = o.Unchanged, &o.Patch{Version: 1, Warnings: []string{"the package lists are 30 hours old"}}
		w.Hosts[4].Patch.RebootRequired, w.Hosts[4].Patch.RebootReasons = true, []string{"libc6", "dbus"}
	}
	w.Reason = "lost 1 host, the budget is 0: " + w.Hosts[0].Name + " (failed)"
	if len(w.Hosts) > 4 {
		w.Reason = "lost 2 hosts, the budget is 0: " + w.Hosts[0].Name + " (failed), " + w.Hosts[1].Name + " (unreachable)"
	}
	r.Reason = "halted after wave 1: " + w.Reason
	for k := range r.Waves[2].Hosts {
		r.Waves[2].Hosts[k].Outcome, r.Waves[2].Hosts[k].Patch = o.HostNotAttempted, nil
	}
	r.Waves[2].State, r.Waves[2].Started, r.Waves[2].Ended, r.Waves[2].Gates = o.Pending, time.Time{}, time.Time{}, nil
	r.Notes = []string{"web of run 20261115T030000Z-0d1e2f is not in the plan any more and is left alone"}
	return r
}

// record writes what the engine would have written of a run: a playbook a wave, with four tasks a host.
func record(t testing.TB, r o.Report) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), r.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	emit := func(kind string, when time.Time, more map[string]any) {
		line := map[string]any{"kind": kind, "time": float64(when.UnixMicro()) / 1e6}
		for k, v := range more {
			line[k] = v
		}
		if err := enc.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range r.Waves {
		if w.Started.IsZero() {
			continue
		}
		emit("start", w.Started, map[string]any{"version": "2.14.18", "labels": []string{"homelab-patch", "run:" + r.ID, fmt.Sprintf("wave:%d", w.Number)}})
		for i, h := range w.Hosts {
			from := w.Started.Add(time.Duration(i%7) * time.Second)
			all := w.Ended.Sub(from) - time.Duration(i%5*9)*time.Second
			step := func(k int) time.Time { return from.Add(all * time.Duration(k) / 8) }
			for k, name := range []string{"Look at the host", "Upgrade", "Restart", "Publish the result"} {
				task := map[string]any{"task": name, "id": fmt.Sprint(w.Number, k), "host": h.Name, "path": "/srv/roles/patching/tasks/main.yml:12", "action": "ansible.builtin.command"}
				begin, end := step([]int{0, 1, 5, 7}[k]), step([]int{1, 5, 7, 8}[k])
				emit("begin", begin, task)
				task["status"], task["started"] = "ok", float64(begin.UnixMicro())/1e6
				switch {
				case name == "Restart":
					task["action"] = "ansible.builtin.reboot"
					if h.Patch == nil || !h.Patch.Rebooted {
						task["status"] = "skipped"
					}
				case h.Outcome == o.HostFailed && k == 3:
					task["status"], task["msg"], task["task"] = "failed", h.Message, h.Task
				case h.Outcome == o.HostUnreachable:
					task["status"], task["msg"] = "unreachable", h.Message
					end = from.Add(16 * time.Second)
				}
				emit("result", end, task)
				if h.Outcome == o.HostUnreachable {
					break
				}
			}
		}
	}
	return dir
}

// pageOf is the page of a run, in UTC.
func pageOf(t testing.TB, r o.Report) string {
	t.Helper()
	var page strings.Builder
	if err := Of(context.Background(), r, record(t, r)).HTML(&page, time.UTC); err != nil {
		t.Fatal(err)
	}
	return page.String()
}
