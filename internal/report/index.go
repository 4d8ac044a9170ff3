package report

import (
	"fmt"
	"io"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Entry is a run in the index.
type Entry struct {
	Run  orchestrator.Report
	Page bool  // it has a page, report.html in its folder
	Err  error // why its journal cannot be read; nil if it can. Then of Run only ID is known
}

// Index writes the page that lists runs, in the order in which they come. left is how many there are besides.
func Index(w io.Writer, entries []Entry, left int, zone *time.Location) error {
	list := index{frame: newFrame(), Left: left, Tone: "busy", Zone: time.Now().In(zone).Format("MST")}
	for _, e := range entries {
		list.Runs = append(list.Runs, newItem(e, zone))
	}
	if len(list.Runs) > 0 {
		list.Tone = list.Runs[0].Tone
	}
	return execute(w, indexText, list)
}

type index struct {
	frame
	Runs []item
	Left int
	Tone string
	Zone string
}

// item is a run in the table.
type item struct {
	ID, Began, State, Tone, Kind, Took, Hosts, Why string
	Page                                           bool
}

func newItem(e Entry, zone *time.Location) item {
	r := e.Run
	i := item{ID: r.ID, Page: e.Page, State: string(r.State), Tone: tone(r.State, r.ExitCode), Kind: string(r.Kind), Why: plainLine(r.Reason, 300)}
	if e.Err != nil {
		i.Began, i.State, i.Tone, i.Why = r.ID, "not known", "bad", plainLine(e.Err.Error(), 300)
		return i
	}
	i.Began = r.Started.In(zone).Format("Mon 2 Jan 2006, 15:04")
	if !r.Ended.IsZero() {
		i.Took = elapsed(r.Ended.Sub(r.Started))
	}
	well := 0
	for _, o := range outcomes() {
		if o.Well() {
			well += r.Count(o)
		}
	}
	if i.Hosts = fmt.Sprintf("%d of %d well", well, r.Total()); well == r.Total() {
		i.Hosts = count(well, "host")
	}
	return i
}
