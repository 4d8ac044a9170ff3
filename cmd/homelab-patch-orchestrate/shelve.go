package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"homelab-patch-orchestrate/ara"
	"homelab-patch-orchestrate/internal/report"
	"homelab-patch-orchestrate/orchestrator"
)

// How long the pages may take when a run has ended. What is not written then, the next run writes.
const (
	pagesWait = 3 * time.Second
	indexWait = 2 * time.Second
)

// shelve is the last that is done while the lock is held: the page of each run that has ended and has none, the page that
// lists them, and away with runs that are beyond what is kept. Nothing that goes wrong in it is more than a warning.
func (j *job) shelve(store *orchestrator.Store, lock *orchestrator.Lock, out *printer) {
	ids, err := store.IDs()
	if err != nil {
		out.warn("%v; the run is not affected", err)
		return
	}
	removed, err := lock.Tidy(j.Keep, time.Now(), func(id string) bool { return exists(filepath.Join(runDir(store, id), ara.Pending)) })
	if err != nil {
		out.warn("%v; the next run tries it again", err)
	}
	if len(removed) > 0 {
		out.note("removed, as the setting keep has it: %s", few(removed))
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(removed, id) })
	slices.Reverse(ids)
	if err := pages(store, ids); err != nil {
		out.warn("%v; the run is not affected", err)
	}
	if err := listRuns(store, ids); err != nil {
		out.warn("%v; the run is not affected", err)
	}
}

// pages writes the page of each run that has ended since it was written, the first of ids first.
func pages(store *orchestrator.Store, ids []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), pagesWait)
	defer cancel()
	for _, id := range ids {
		dir := runDir(store, id)
		if ctx.Err() != nil || written(dir) {
			continue
		}
		journal, err := store.Load(id)
		if err != nil || !journal.State.Final() {
			continue // whoever asks for it is told
		}
		if err := writePage(filepath.Join(dir, pageFile), report.Of(ctx, journal, dir)); err != nil {
			return err
		}
	}
	return nil
}

// written reports whether a run's page is of its journal, or it has none.
func written(dir string) bool {
	journal, err := os.Stat(filepath.Join(dir, "journal.json"))
	if err != nil {
		return true
	}
	page, err := os.Stat(filepath.Join(dir, pageFile))
	return err == nil && !page.ModTime().Before(journal.ModTime())
}

// listRuns writes the page that lists runs.
func listRuns(store *orchestrator.Store, ids []string) error {
	var entries []report.Entry
	left := 0
	for start, i := time.Now(), 0; i < len(ids); i++ {
		if left = len(ids) - i; time.Since(start) > indexWait {
			break
		}
		left--
		journal, err := store.Load(ids[i])
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			journal.ID = ids[i]
		}
		entries = append(entries, report.Entry{Run: journal, Err: err, Page: exists(filepath.Join(runDir(store, ids[i]), pageFile))})
	}
	if len(entries) == 0 {
		return nil
	}
	return replaceFile(filepath.Join(store.Dir(), "runs", "index.html"), func(w io.Writer) error {
		return report.Index(w, entries, left, time.Local)
	})
}

// pictureWait is how long a summary may wait for its picture.
const pictureWait = 2 * time.Second

// picture is the timeline of a run for those who are told of it; nil if nobody is, or it cannot be drawn.
func (r record) picture(told orchestrator.Report, store *orchestrator.Store) []byte {
	if len(r.post.box.Channels) == 0 || told.Count(orchestrator.Unchanged) == told.Total() {
		return nil // one quiet line has none
	}
	ctx, cancel := context.WithTimeout(context.Background(), pictureWait)
	defer cancel()
	picture, err := report.Of(ctx, told, runDir(store, told.ID)).Picture(time.Local)
	if err != nil {
		r.out.warn("messages: %v; there is no picture", err)
	}
	return picture
}
