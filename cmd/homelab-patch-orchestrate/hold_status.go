package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// holdJSON is one hold, as `hold status --json` prints it.
type holdJSON struct {
	Host    string    `json:"host,omitempty"` // empty for the fleet
	Path    string    `json:"path"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"`
	Expired bool      `json:"expired"`
}

// statusJSON is what `hold status --json` prints.
type statusJSON struct {
	Fleet *holdJSON  `json:"fleet"` // null if it is not held
	Hosts []holdJSON `json:"hosts"`
}

func (h *holds) status(context.Context) error {
	if err := h.resolveSettings(); err != nil {
		return err
	}
	fleet, err := orchestrator.ReadHold(h.Hold)
	if err != nil {
		return failed(err)
	}
	hosts, err := orchestrator.ReadHostHolds(h.HostHolds)
	if err != nil {
		return failed(err)
	}
	if h.json {
		return h.statusJSON(fleet, hosts)
	}
	if fleet == nil && len(hosts) == 0 {
		fmt.Fprintln(h.out.out, "nothing is held")
		return nil
	}
	t := table{}
	t.row("HELD", "SINCE", "UNTIL", "REASON")
	row := func(whom string, hold *orchestrator.Hold) {
		const minute = "2006-01-02 15:04 MST"
		loc := cmp.Or(h.Schedule.Location, time.Local)
		until := "cleared"
		switch {
		case hold.Bad != "":
			until = strconv.Quote(hold.Bad) + ", which is no time"
		case hold.Expired(time.Now()):
			until = "expired on " + hold.Until.In(loc).Format(minute)
		case !hold.Until.IsZero():
			until = hold.Until.In(loc).Format(minute)
		}
		t.row(whom, hold.Since.In(loc).Format(minute), until, cmp.Or(hold.Reason, "-"))
	}
	if fleet != nil {
		row("the fleet", fleet)
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		row(name, hosts[name])
	}
	t.print(h.out.out, "", h.out.width())
	return nil
}

func (h *holds) statusJSON(fleet *orchestrator.Hold, hosts map[string]*orchestrator.Hold) error {
	one := func(host string, hold *orchestrator.Hold) holdJSON {
		return holdJSON{host, hold.Path, hold.Reason, hold.Since, hold.Until, hold.Expired(time.Now())}
	}
	s := statusJSON{Hosts: []holdJSON{}}
	if fleet != nil {
		f := one("", fleet)
		s.Fleet = &f
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		s.Hosts = append(s.Hosts, one(name, hosts[name]))
	}
	return h.out.json(s)
}
