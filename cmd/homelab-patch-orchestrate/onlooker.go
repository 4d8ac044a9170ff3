package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"homelab-patch-orchestrate/internal/tui"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// lookEvery is how often the files of a run are looked at.
const lookEvery = 250 * time.Millisecond

// onlooker sees from outside how a run goes: by its journal and its events, while another process writes them.
type onlooker struct {
	store  *orchestrator.Store
	holder *orchestrator.LockedError // who has the lock; nil if nobody has
	report orchestrator.Report       // of the run that began last; without an id if there is none
	known  *tui.Run                  // what is known of it
	view   view                      // where changes and events go besides; nil is nowhere

	journal fs.FileInfo // of report
	offset  int64       // of its events
	wave    bool        // they are of a wave, and not of what is done around it
}

// look brings all up to date. The lock first: who had it then may have written the journal since, and not the reverse.
func (s *onlooker) look() (err error) {
	if s.holder, err = s.store.Holder(); err != nil {
		return err
	}
	id, journal, err := s.newest()
	if err != nil || id == "" {
		return err
	}
	if id != s.report.ID || !os.SameFile(journal, s.journal) || !journal.ModTime().Equal(s.journal.ModTime()) {
		report, err := s.store.Load(id)
		if err != nil {
			return err
		}
		s.journal = journal
		s.take(report)
	}
	return s.events()
}

// newest is the run that began last and has a journal; none is no error.
func (s *onlooker) newest() (string, fs.FileInfo, error) {
	ids, err := s.store.IDs()
	for _, id := range slices.Backward(ids) {
		info, err := os.Stat(filepath.Join(runDir(s.store, id), "journal.json"))
		if !errors.Is(err, fs.ErrNotExist) {
			return id, info, err
		}
	}
	return "", nil, err
}

// take takes a report that is new, of another run or of the same.
func (s *onlooker) take(report orchestrator.Report) {
	old := s.report
	s.report = report
	if report.ID != old.ID {
		took, _ := s.store.Durations() // for an estimate; without it there is none
		s.known, s.offset, s.wave, s.view = tui.NewRun(report.ID, report.Waves, took), 0, false, nil
		old = orchestrator.Report{ID: report.ID, Waves: report.Waves}
	}
	for _, c := range changed(old, report) {
		if s.view != nil {
			s.view.Change(c)
		} else {
			s.known.Change(c)
		}
	}
}

// changed is how a run came from one report of it to the next, in the order in which it happens.
func changed(old, now orchestrator.Report) (changes []orchestrator.Change) {
	for i, w := range now.Waves {
		if i >= len(old.Waves) || old.Waves[i].Number != w.Number {
			continue
		}
		before, number := old.Waves[i], w.Number
		change := orchestrator.Change{Time: w.Ended, Run: now.ID, Wave: &number}
		for j, h := range w.Hosts {
			if j < len(before.Hosts) && before.Hosts[j].Outcome != h.Outcome {
				c := change
				c.Host, c.To, c.Reason = h.Name, string(h.Outcome), h.Message
				changes = append(changes, c)
			}
		}
		if before.State == w.State {
			continue
		}
		change.From, change.To, change.Reason = string(before.State), string(w.State), w.Reason
		if w.State == orchestrator.Running {
			change.Time = w.Started
		}
		changes = append(changes, change)
	}
	if old.State != now.State {
		changes = append(changes, orchestrator.Change{Time: now.Ended, Run: now.ID, From: string(old.State), To: string(now.State), Reason: now.Reason})
	}
	return changes
}

// events reads what is new among the events. A line that is being written is left for the next look.
func (s *onlooker) events() error {
	file, err := os.Open(filepath.Join(runDir(s.store, s.report.ID), "events.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, s.offset, 1<<40))
	if err != nil {
		return fmt.Errorf("read the events of run %s: %w", s.report.ID, err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	s.offset += int64(len(text))
	for e, err := range runner.Decode(bytes.NewReader(text)) {
		if err == nil { // else the half line of an engine that was killed
			s.event(e)
		}
	}
	return nil
}

func (s *onlooker) event(e runner.Event) {
	if e.Kind == runner.KindStart {
		ahead := slices.Contains(e.Labels, preflightLabel)
		s.wave = !ahead
		if ahead {
			s.say("what the upgrade of the controller would change is looked at")
		}
	}
	switch {
	case !s.wave:
	case s.view != nil:
		s.view.Event(e)
	default:
		s.known.Event(e)
	}
}

func (s *onlooker) say(words string) {
	if s.view != nil {
		s.view.Say(words)
	} else {
		s.known.Say(words)
	}
}

// begins reports whether somebody is about to begin another run, or to close this one.
func (s *onlooker) begins() bool {
	return s.holder != nil && (s.holder.Ended || s.holder.Run != s.report.ID)
}

// over reports whether the run has ended; none has.
func (s *onlooker) over() bool { return s.report.ID == "" || s.report.State.Final() }

// words says what the journal does not: who is at the run that should be, and what follows if nobody is.
func (s *onlooker) words() string {
	if s.holder != nil {
		return s.held()
	}
	switch {
	case s.report.ID == "":
		return "there is no run in " + s.store.Dir()
	case s.over():
		return ""
	case s.report.State == orchestrator.AwaitingReboot && s.report.Reboot != nil && s.report.Reboot.Boot == bootID():
		return fmt.Sprintf("%s is about to restart; after its boot %s ends the run", s.report.Controller, resumeUnit)
	case s.report.State == orchestrator.AwaitingReboot:
		return fmt.Sprintf("%s has restarted; %s ends the run, or `%s resume`", s.report.Controller, resumeUnit, name)
	}
	may, why := s.mayContinue()
	if may {
		return fmt.Sprintf("its process is gone, and this machine has restarted since; %s goes on with it, or `%s resume`", resumeUnit, name)
	}
	return fmt.Sprintf("its process is gone (%s); `%s resume` goes on with it, the next run closes it", why, name)
}

// held is words where somebody has the lock.
func (s *onlooker) held() string {
	who := "a process"
	if s.holder.PID > 0 {
		who = fmt.Sprintf("process %d", s.holder.PID)
	}
	switch {
	case s.holder.Ended:
		return fmt.Sprintf("%s, which ran it, is gone, and an ansible-playbook that it started still runs", who)
	case s.holder.Run == s.report.ID:
		return ""
	case s.holder.Run == "":
		return who + " has the lock, and has begun no run yet"
	}
	return fmt.Sprintf("run %s is beginning (%s)", s.holder.Run, who)
}

func (s *onlooker) mayContinue() (bool, string) {
	last, err := s.store.LastSign(s.report.ID)
	if err != nil {
		return false, err.Error()
	}
	return s.report.MayContinue(time.Now(), last, bootID())
}

// awaited reports whether a run whose process is gone will be gone on with.
func (s *onlooker) awaited() bool {
	may, _ := s.mayContinue()
	return may && resumes()
}
