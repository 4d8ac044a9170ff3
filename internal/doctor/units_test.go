package doctor

import (
	"context"
	"errors"
	"maps"
	"os"
	"testing"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// answers is systemd: what it says of a unit.
type answers map[string]map[string]string

func (a answers) Show(_ context.Context, unit string, _ ...string) (map[string]string, error) {
	if a[unit] == nil {
		return nil, errors.New("Failed to connect to bus")
	}
	return a[unit], nil
}

func controllerUnits() answers {
	unit := func(more map[string]string) map[string]string {
		said := map[string]string{"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "NeedDaemonReload": "no"}
		maps.Copy(said, more)
		return said
	}
	return answers{
		weekly: unit(map[string]string{"UnitFileState": "static", "ActiveState": "inactive"}),
		timer:  unit(map[string]string{"NextElapseUSecRealtime": "Sun 2026-11-29 12:00:43 UTC"}),
		resume: unit(map[string]string{"ActiveState": "inactive"}),
		post:   unit(nil),
	}
}

func TestUnits(t *testing.T) {
	m, got := Look(t.Context(), controllerUnits(), 0)
	wants(t, "well", got)
	if !m.Next.Equal(time.Date(2026, 11, 29, 12, 0, 43, 0, time.UTC)) || m.UID != 0 || m.User != "root" {
		t.Errorf("%+v", m)
	}
	for _, c := range []struct {
		unit, property, value string
		words                 []string
	}{
		{timer, "UnitFileState", "disabled", []string{"error " + timer + " is not enabled: the weekly run does not come", "fix: systemctl enable --now " + timer}},
		{timer, "ActiveState", "inactive", []string{"error " + timer + " is not active"}},
		{timer, "LoadState", "not-found", []string{"error " + timer + " is not installed", "site.yml"}},
		{timer, "LoadState", "masked", []string{"error " + timer + " is masked", "systemctl unmask " + timer}},
		{timer, "LoadState", "bad-setting", []string{`error systemd cannot use ` + timer + ` ("bad-setting")`}},
		{timer, "NextElapseUSecRealtime", "", []string{"warning " + timer + " does not say when it comes next"}},
		{timer, "NeedDaemonReload", "yes", []string{"warning " + timer + " was changed on the disk", "systemctl daemon-reload"}},
		{weekly, "LoadState", "not-found", []string{"error " + weekly + " is not installed"}},
		{weekly, "User", "nobody-has-this", []string{"error " + weekly + " is to run as nobody-has-this", "no such user"}},
		{weekly, "User", "daemon", []string{"warning the weekly run is daemon's", "sudo -H -u daemon homelab-patch-orchestrate doctor"}},
		{resume, "UnitFileState", "disabled", []string{"warning " + resume + " is not enabled", "fix: systemctl enable " + resume}},
		{post, "ActiveState", "inactive", []string{"warning " + post + " is not active", "fix: systemctl enable --now " + post}},
	} {
		units := controllerUnits()
		units[c.unit][c.property] = c.value
		_, got := Look(t.Context(), units, 0)
		wants(t, c.unit+" "+c.property, got, c.words...)
	}
	if m, got := Look(t.Context(), answers{}, 0); m.UID != -1 {
		t.Errorf("without systemd: %+v", m)
	} else {
		wants(t, "without systemd", got, "warning nobody knows", "Failed to connect to bus")
	}
	_, got = Look(t.Context(), controllerUnits(), 1000)
	wants(t, "looked at by a person", got, "warning the weekly run is root's", "fix: sudo homelab-patch-orchestrate doctor")
}

func TestWindow(t *testing.T) {
	next := time.Date(2026, 11, 29, 4, 1, 0, 0, time.UTC)
	schedule := func(window, blackout string) orchestrator.Schedule {
		s := orchestrator.Schedule{Location: time.UTC}
		if window != "" {
			w, err := orchestrator.ParseWindow(window)
			if err != nil {
				t.Fatal(err)
			}
			s.Windows = append(s.Windows, w)
		}
		if blackout != "" {
			b, err := orchestrator.ParseBlackout(blackout)
			if err != nil {
				t.Fatal(err)
			}
			s.Blackouts = append(s.Blackouts, b)
		}
		return s
	}
	wants(t, "none", Window(schedule("", ""), next))
	wants(t, "inside", Window(schedule("Sun 03:00-05:00", "2026-11-28"), next))
	wants(t, "outside", Window(schedule("Sun 03:00-04:00", ""), next), "error the next run patches nothing", "outside the window", "OnCalendar=")
	wants(t, "blackout", Window(schedule("Sun 03:00-05:00", "2026-11-29"), next), "warning the next run patches nothing", "blackout")
	if got := Window(schedule("Sun 03:00-04:00", ""), time.Time{}); len(got) > 0 {
		t.Errorf("nobody knows when: %+v", got)
	}
}

func TestHolds(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	hold := &orchestrator.Hold{Path: "/etc/x", Reason: "racks"}
	wants(t, "none", FleetHold(nil, nil, now))
	wants(t, "held", FleetHold(hold, nil, now), "warning the fleet is held", "racks", "hold clear")
	wants(t, "unknown", FleetHold(nil, os.ErrPermission, now), "error nobody knows")
	wants(t, "an end that is none", FleetHold(&orchestrator.Hold{Bad: "soon"}, nil, now), "error the fleet is held")
	hold.Until = now
	wants(t, "past its end", FleetHold(hold, nil, now), "error the fleet is held", "expired")
	holds := map[string]*orchestrator.Hold{"prox": hold}
	wants(t, "a host", HostHolds(holds, nil, []string{"prox"}, now), "warning it is held", "hold clear --host prox")
	wants(t, "no such host", HostHolds(holds, nil, []string{"proxx"}, now), "warning there is a hold for it, and no such host")
	wants(t, "hosts unknown", HostHolds(holds, nil, nil, now), "warning it is held")
	wants(t, "unreadable", HostHolds(nil, os.ErrPermission, nil, now), "error nobody knows which hosts are held")
}
