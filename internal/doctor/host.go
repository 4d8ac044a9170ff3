package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// Facts is what a host says of itself; its keys are those of the role's module_utils/homelab_doctor.py. What it could not
// find out is nil, and Unknown has why by its key.
type Facts struct {
	Version int     `json:"version"`
	UID     int     `json:"uid"`
	Time    float64 `json:"time"` // Unix
	Hold    *struct {
		Reason string `json:"reason"`
	} `json:"hold"`
	Space []struct {
		Paths    []string `json:"paths"`
		Free     int      `json:"free_mib"`
		Least    int      `json:"least_mib"`
		ReadOnly bool     `json:"read_only"`
	} `json:"space"`
	Audit      *string                `json:"audit"`
	Lock       *string                `json:"lock"`
	Sources    *int                   `json:"sources"`
	Upgrade    []orchestrator.Package `json:"upgrade"`
	PythonApt  *bool                  `json:"python_apt"`
	Unattended []any                  `json:"unattended"` // whether it goes, and why it cannot
	Health     *struct {
		State string `json:"state"`
		Units []struct {
			Name string `json:"name"`
		} `json:"failed_units"`
	} `json:"health"`
	Upgrading *bool             `json:"upgrading"`
	Textfiles *string           `json:"textfiles"` // what is wrong with their folder
	Unknown   map[string]string `json:"unknown"`
}

// How far a host's clock may be from ours. Apt refuses lists that are dated in its future, and Debian makes new ones every
// six hours: a clock that is an hour behind will meet them.
const (
	skewShown = time.Minute
	skewFatal = time.Hour
)

// there begins what is to be done on a host.
const there = "on the host: "

// hostHold is the hold on a host itself.
const hostHold = "/etc/homelab/MAINTENANCE"

// judge says what of a host's answer is a finding.
func (h Hosts) judge(host orchestrator.Host, s said) []Check {
	f := s.facts
	if f.Version != answerVersion {
		return []Check{failure(HostsArea, "use the roles of this very program", "its answer has version %d, and %d is understood", f.Version, answerVersion)}
	}
	j := &judgement{said: s}
	if f.UID != 0 {
		j.bad(Error, "ansible_become: true in its host_vars", "Ansible is user %d there, and not root", f.UID)
	}
	if j.known("hold", f.Unknown["hold"] == "", "it cannot be patched", "take it out of patching_targets", Error) && f.Hold != nil &&
		!(host.Controller && h.Hold == hostHold) {
		j.bad(Warning, there+"rm /etc/homelab/MAINTENANCE, when it is over", "it is held, and not patched: %s", f.Hold.Reason)
	}
	j.clock()
	j.disks()
	j.packages(host.Controller && !h.EngineUpgrade)
	j.systemd()
	if j.known("textfiles", f.Textfiles != nil, "nobody knows whether its metrics are measured", "look at patching_textfile_dir, and at that folder", Warning) && *f.Textfiles != "" {
		j.bad(Warning, there+"apt-get install prometheus-node-exporter; or set patching_textfile_dir", "%s", *f.Textfiles)
	}
	if len(j.all) == 0 {
		return []Check{well(HostsArea, "reached by a new connection, root there, and ready")}
	}
	return j.all
}

// judgement is what is wrong with one host.
type judgement struct {
	said
	all []Check
}

// bad adds a finding.
func (j *judgement) bad(severity Severity, fix, format string, args ...any) {
	j.all = append(j.all, Check{Area: HostsArea, Severity: severity, Text: fmt.Sprintf(format, args...), Fix: fix})
}

// known reports whether the host has told a fact, told. One that is not known is a finding.
func (j *judgement) known(key string, told bool, what, fix string, severity Severity) bool {
	if !told {
		j.bad(severity, fix, "%s: %s", what, cmp.Or(j.facts.Unknown[key], "the host did not say"))
	}
	return told
}

// clock compares the host's clock with ours. While the answer was on its way nobody can tell, and the host has the benefit.
func (j *judgement) clock() {
	sec := int64(j.facts.Time)
	clock := time.Unix(sec, int64((j.facts.Time-float64(sec))*1e9))
	off, word := clock.Sub(j.to), "ahead of"
	if behind := j.from.Sub(clock); behind > off {
		off, word = behind, "behind"
	}
	severity := Warning
	if off >= skewFatal {
		severity = Error
	}
	if off >= skewShown {
		j.bad(severity, there+"timedatectl set-ntp true (package systemd-timesyncd)", "its clock is %s %s the controller's", off.Round(time.Second), word)
	}
}

// disks looks at what is free.
func (j *judgement) disks() {
	f := j.facts
	if !j.known("space", f.Space != nil, "nobody knows how much is free on it", there+"df -h", Warning) {
		return
	}
	for _, d := range f.Space {
		where := strings.Join(d.Paths, ", ")
		severity := Error
		if len(d.Paths) == 1 && d.Paths[0] == "/boot" {
			severity = Warning // it counts when a kernel comes
		}
		switch {
		case d.ReadOnly:
			j.bad(severity, there+"findmnt -T "+word(d.Paths[0])+"; journalctl -k", "%s is mounted read-only", where)
		case d.Free < d.Least:
			j.bad(severity, there+"apt-get clean; apt-get autoremove; or set patching_min_free_mib",
				"only %d MiB are free in %s, %d are needed", d.Free, where, d.Least)
		}
	}
}

// packages looks at dpkg and apt; engine is whether the upgrade must leave the engine of the run alone.
func (j *judgement) packages(engine bool) {
	f := j.facts
	broken := j.known("audit", f.Audit != nil, "nobody knows whether dpkg is in order", there+"dpkg --audit", Warning) && *f.Audit != ""
	if broken {
		j.bad(Warning, there+"dpkg --configure -a (a run tries that first)", "dpkg is not in order: %s", strings.Join(strings.Fields(*f.Audit), " "))
	}
	if j.known("lock", f.Lock != nil, "nobody knows whether another apt is at work", there+"fuser -v /var/lib/dpkg/lock-frontend", Warning) && *f.Lock != "" {
		j.bad(Warning, "let it finish; a run waits patching_lock_timeout for it", "another apt is at work: %s", *f.Lock)
	}
	sources := j.known("sources", f.Sources != nil, "apt cannot read its sources", there+"mend that file; apt-get update tells", Error)
	if sources && *f.Sources == 0 {
		j.bad(Error, there+"write /etc/apt/sources.list.d/debian.sources", "apt has no sources")
	}
	// apt cannot plan either where its sources or dpkg are at fault.
	if sources && !broken && j.known("upgrade", f.Upgrade != nil, "a run would fail", there+"apt-get -s upgrade", Error) && engine {
		if _, problem := orchestrator.Foresee(f.Upgrade); problem != "" {
			j.bad(Error, "by hand: apt-get dist-upgrade, then reboot; or the setting engine_upgrade: true",
				"its upgrade would take %s away from under the run", problem)
		}
	}
	if j.known("python_apt", f.PythonApt != nil, "nobody knows whether it has python3-apt", there+"apt-get install python3-apt", Warning) && !*f.PythonApt {
		j.bad(Warning, there+"apt-get install python3-apt", "python3-apt is missing: the carried role does without, Ansible's module apt does not")
	}
	if j.known("unattended", len(f.Unattended) == 2, "nobody knows about unattended-upgrades", there+"dpkg -l unattended-upgrades", Warning) {
		if f.Unattended[0] == true {
			j.bad(Warning, there+"apt-get remove unattended-upgrades (the next run does it)", "unattended-upgrades patches it too, outside of its wave")
		} else if why, _ := f.Unattended[1].(string); why != "" {
			j.bad(Warning, "remove it by hand, or set patching_remove_unattended_upgrades: false", "%s", why)
		}
	}
}

// systemd looks at the host's units.
func (j *judgement) systemd() {
	f := j.facts
	if j.known("upgrading", f.Upgrading != nil, "nobody knows whether an upgrade is under way", there+"systemctl status homelab-patch", Warning) && *f.Upgrading {
		j.bad(Warning, "let it finish; "+there+"journalctl -fu homelab-patch", "an upgrade of an earlier run is still under way")
	}
	if !j.known("health", f.Health != nil, "it is not well", there+"systemctl status", Error) {
		return
	}
	var failed []string
	for _, u := range f.Health.Units {
		failed = append(failed, u.Name)
	}
	if len(failed) > 0 {
		j.bad(Warning, there+"systemctl status "+failed[0], "failed units: %s", strings.Join(failed, ", "))
	}
	if !slices.Contains([]string{"running", "degraded"}, f.Health.State) {
		j.bad(Warning, there+"systemctl list-jobs", "its systemd says %q", f.Health.State)
	}
}
