package doctor

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// The units of a controller.
const (
	weekly = "homelab-patch-orchestrate.service"
	timer  = "homelab-patch-orchestrate.timer"
	resume = "homelab-patch-orchestrate-resume.service"
	post   = "homelab-patch-notify.timer"
)

// instant is how people are told a time.
const instant = "Mon 2006-01-02 15:04 MST"

// Shower is systemd.
type Shower interface {
	// Show returns properties of a unit; times are UTC, as "Sun 2026-11-29 12:00:43 UTC".
	Show(ctx context.Context, unit string, properties ...string) (map[string]string, error)
}

// NextElapse is the property that says when a timer comes next.
const NextElapse = "NextElapseUSecRealtime"

// Elapse reads a time as [Shower] has it, which is the only format that systemctl 252 has for it; zero if it is none.
func Elapse(text string) time.Time {
	t, err := time.Parse("Mon 2006-01-02 15:04:05 UTC", strings.TrimSpace(text))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Machine is what systemd says of the units of the controller.
type Machine struct {
	Next time.Time // when the timer next elapses; zero if that is not known
	UID  int       // of the user that the weekly run is started as; -1 if that is not known
	User string    // that user's name
}

// Look looks at the units. euid is who we are.
func Look(ctx context.Context, systemd Shower, euid int) (m Machine, all []Check) {
	m.UID = -1
	show := func(unit string) map[string]string {
		said, err := systemd.Show(ctx, unit, "LoadState", "UnitFileState", "ActiveState", "NeedDaemonReload", "User", NextElapse)
		if err != nil {
			all = append(all, warning(Units, "systemctl status "+unit, "nobody knows how %s is: %v", unit, err))
		}
		return said
	}
	said := show(weekly)
	if said == nil {
		return m, all // systemd does not answer: it would be the same of each
	}
	all = append(all, m.weekly(said, euid)...)
	if said := show(timer); said != nil {
		all = append(all, m.timer(said)...)
	}
	if said := show(resume); said != nil {
		all = append(all, enabled(resume, said, Warning, false, "a restart of the controller waits for a person, and a run that a power cut ended is not gone on with")...)
	}
	if said := show(post); said != nil {
		all = append(all, enabled(post, said, Warning, true, "messages that wait are delivered by the next run only")...)
	}
	return m, all
}

// weekly looks at the service, and at whose it is.
func (m *Machine) weekly(said map[string]string, euid int) []Check {
	if c := loaded(weekly, said, Error, "nothing patches by itself"); c != nil {
		return c
	}
	m.User, m.UID = "root", 0
	if name := said["User"]; name != "" {
		m.User, m.UID = name, -1
		if u, err := user.Lookup(name); err == nil {
			m.UID, _ = strconv.Atoi(u.Uid)
		}
	}
	if m.UID < 0 {
		return []Check{failure(Units, "ansible-playbook playbooks/site.yml", "%s is to run as %s, and there is no such user", weekly, m.User)}
	}
	if m.UID != euid {
		fix := "sudo homelab-patch-orchestrate doctor"
		if m.UID != 0 {
			fix = "sudo -H -u " + word(m.User) + " homelab-patch-orchestrate doctor"
		}
		return []Check{warning(Units, fix, "the weekly run is %s's, and this was looked at as user %d: what that user cannot read or reach is not seen", m.User, euid)}
	}
	return []Check{well(Units, "%s is there, and runs as %s", weekly, m.User)}
}

// timer looks at the timer, and at when it comes.
func (m *Machine) timer(said map[string]string) []Check {
	all := enabled(timer, said, Error, true, "the weekly run does not come")
	if all[0].Severity != OK {
		return all
	}
	if next := Elapse(said[NextElapse]); !next.IsZero() {
		m.Next = next.Local()
		return append(all, well(Units, "the next run comes %s", m.Next.Format(instant)))
	}
	return append(all, warning(Units, "systemctl list-timers "+timer, "%s does not say when it comes next", timer))
}

// loaded returns what is wrong with a unit that systemd does not have; nil if it has it.
func loaded(unit string, said map[string]string, severity Severity, so string) []Check {
	switch said["LoadState"] {
	case "loaded":
		return nil
	case "not-found":
		return []Check{{Area: Units, Severity: severity, Text: unit + " is not installed: " + so, Fix: "ansible-playbook playbooks/site.yml; docs/install.md"}}
	case "masked":
		return []Check{{Area: Units, Severity: severity, Text: unit + " is masked: " + so, Fix: "systemctl unmask " + unit}}
	}
	return []Check{{Area: Units, Severity: severity, Text: fmt.Sprintf("systemd cannot use %s (%q): %s", unit, said["LoadState"], so), Fix: "systemctl status " + unit}}
}

// enabled looks whether a unit comes by itself. At least one check is returned.
func enabled(unit string, said map[string]string, severity Severity, active bool, so string) []Check {
	if c := loaded(unit, said, severity, so); c != nil {
		return c
	}
	var wrong []string
	fix := "systemctl enable " + unit
	if said["UnitFileState"] != "enabled" {
		wrong = append(wrong, "not enabled")
	}
	if active {
		fix = "systemctl enable --now " + unit
		if said["ActiveState"] != "active" {
			wrong = append(wrong, "not active")
		}
	}
	if len(wrong) > 0 {
		return []Check{{Area: Units, Severity: severity, Text: unit + " is " + strings.Join(wrong, " and ") + ": " + so, Fix: fix}}
	}
	if said["NeedDaemonReload"] == "yes" {
		return []Check{warning(Units, "systemctl daemon-reload", "%s was changed on the disk, and systemd has the old one", unit)}
	}
	return []Check{well(Units, "%s is enabled", unit)}
}
