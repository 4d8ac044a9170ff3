package report

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// Bounds of what is kept of the tasks of a host that was lost.
const (
	mostTasks   = 6
	taskMessage = 300 // characters
)

// times reads when hosts were at work. Its memory grows with hosts, not with events.
type times struct {
	hosts map[string]*host // of the run
	run   *orchestrator.Report

	wave   bool      // the playbook that is read is a wave, or the judgement after the controller's reboot
	latest time.Time // event of it
}

type host struct {
	*Host
	keep bool            // its tasks: it was lost
	busy map[string]bool // tasks begun and not ended
	from time.Time       // of the work that is going on
	to   time.Time
}

// hosts returns when each host of the run was at work, and what is not known.
func hosts(ctx context.Context, r orchestrator.Report, dir string) (all []Host, missing string) {
	all = make([]Host, 0, r.Total())
	t := &times{hosts: make(map[string]*host, r.Total()), run: &r}
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			all = append(all, Host{Name: h.Name, Wave: w.Number, Work: []Span{}, Reboots: []Span{}})
			t.hosts[h.Name] = &host{Host: &all[len(all)-1], keep: h.Lost(), busy: map[string]bool{}}
		}
	}
	missing = t.read(ctx, filepath.Join(dir, "events.jsonl"))
	t.flush()
	t.controller()
	for i := range all {
		for _, s := range all[i].Work {
			all[i].Seconds += seconds(s.Started, s.Ended)
		}
	}
	return all, missing
}

// read folds the file of events, and says what of it could not be.
func (t *times) read(ctx context.Context, path string) (missing string) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the run has no events: when hosts were at work is not known"
	case err != nil:
		return "the events cannot be read: when hosts were at work is not known"
	}
	defer f.Close()
	n, bad := 0, 0
	for e, err := range runner.Heads(f) {
		if errors.Is(err, runner.ErrStream) {
			bad++ // the last half line of an engine that was killed
			continue
		}
		if err != nil {
			return "the events cannot be read to their end: when hosts were at work is known in part"
		}
		t.add(e)
		if n++; n%512 == 0 && ctx.Err() != nil {
			return "the events are too many to be read here: when hosts were at work is known in part"
		}
	}
	if bad > 1 {
		return fmt.Sprintf("lines of the events that could not be read: %d", bad)
	}
	return ""
}

func (t *times) add(e runner.Event) {
	if e.Kind == runner.KindStart {
		t.flush()
		t.wave = slices.ContainsFunc(e.Labels, func(l string) bool { return l == "returned" || isWave(l) })
		return
	}
	h := t.hosts[e.Host]
	if !t.wave {
		return
	}
	t.latest = e.Time
	if h == nil {
		return
	}
	from := e.Time
	switch e.Kind {
	case runner.KindBegin:
		h.busy[e.TaskID] = true
	case runner.KindResult:
		delete(h.busy, e.TaskID)
		if !e.Started.IsZero() {
			from = e.Started
		}
		h.result(e, from)
	default:
		return
	}
	if h.from.IsZero() || from.Before(h.from) {
		h.from = from
	}
	if e.Time.After(h.to) {
		h.to = e.Time
	}
}

// result notes the end of a task.
func (h *host) result(e runner.Event, from time.Time) {
	if e.Status == runner.StatusSkipped {
		return
	}
	if action := e.Action[strings.LastIndexByte(e.Action, '.')+1:]; action == "reboot" && e.Delegated == "" {
		h.Reboots = append(h.Reboots, Span{from, e.Time})
	}
	if !h.keep {
		return
	}
	task := Task{Time: e.Time, Name: plainLine(e.Task, 200), Path: plainLine(e.Path, 300), Status: string(e.Status),
		Message: cut(plain(runner.Unquoted(e.Msg)), taskMessage)}
	if e.Ignored {
		task.Status = "ignored"
	}
	if len(h.Tasks) == mostTasks {
		h.Tasks = slices.Delete(h.Tasks, 0, 1)
	}
	h.Tasks = append(h.Tasks, task)
}

// flush ends what hosts did in the playbook that was read. A task that never ended took until its last event.
func (t *times) flush() {
	for _, h := range t.hosts {
		if !h.from.IsZero() {
			if len(h.busy) > 0 && t.latest.After(h.to) {
				h.to = t.latest
			}
			h.Work = append(h.Work, Span{h.from, h.to})
		}
		h.from, h.to = time.Time{}, time.Time{}
		clear(h.busy)
	}
	t.latest = time.Time{}
}

// controller adds the reboot that the run itself asked for: from then until somebody went on with the run.
func (t *times) controller() {
	h := t.hosts[t.run.Controller]
	if t.run.Reboot == nil || h == nil {
		return
	}
	i := slices.IndexFunc(t.run.Resumed, func(at time.Time) bool { return at.After(t.run.Reboot.Asked) })
	if i >= 0 {
		h.Reboots = append(h.Reboots, Span{t.run.Reboot.Asked, t.run.Resumed[i]})
	}
}

// isWave reports whether a label of a playbook says that it is a wave.
func isWave(label string) bool {
	number, ok := strings.CutPrefix(label, "wave:")
	_, err := strconv.Atoi(number)
	return ok && err == nil
}
