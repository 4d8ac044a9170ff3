package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// FailedUnits asks the hosts of a wave for units that are failed and were not before the host was patched. It asks those
// that came through and whose role has said what was failed before; where there are none, the answer is yes.
type FailedUnits struct {
	// Playbook is one that runs the action health of the carried role, such as ansible/playbooks/health.yml. Its Hosts are
	// replaced. Required.
	Playbook runner.Playbook
}

// healthVersion is the version of a host's answer that is understood.
const healthVersion = 1

// health is what a host says.
type health struct {
	Version     int    `json:"version"`
	State       string `json:"state"` // systemctl is-system-running
	FailedUnits []struct {
		Name  string `json:"name"`
		Since int64  `json:"since"` // Unix time; 0 is not known
	} `json:"failed_units"`
}

// Check runs the playbook once.
func (f FailedUnits) Check(ctx context.Context, q orchestrator.Question) error {
	var names []string
	for _, h := range q.Wave.Hosts {
		if askable(h) {
			names = append(names, h.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	p := f.Playbook
	p.Hosts = names
	said := map[string]health{}
	result, err := p.Run(ctx, func(e runner.Event) {
		var answer struct {
			Health health `json:"homelab_health"`
		}
		if e.Kind == runner.KindResult && e.Action == "homelab_patch" && json.Unmarshal(e.Data, &answer) == nil {
			said[e.Host] = answer.Health
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("the hosts cannot be asked for failed units: %s", line(err.Error()))
	}
	var problems []string
	for _, h := range q.Wave.Hosts {
		if askable(h) {
			problems = append(problems, judge(h, result.Hosts[h.Name], said[h.Name])...)
		}
	}
	const most = 5
	if n := len(problems) - most; n > 0 {
		problems = append(problems[:most], fmt.Sprintf("and %d more", n))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	return nil
}

// askable reports whether a host has a before to compare with.
func askable(h orchestrator.HostReport) bool {
	return h.Outcome.Well() && h.Outcome != orchestrator.Held && h.Patch != nil && !h.Patch.Check
}

// judge says what is wrong with a host.
func judge(h orchestrator.HostReport, r runner.HostResult, now health) (problems []string) {
	say := func(format string, args ...any) {
		problems = append(problems, h.Name+": "+line(fmt.Sprintf(format, args...)))
	}
	switch {
	case r.Outcome != runner.OK && r.Outcome != runner.Changed:
		why := r.Msg
		if why == "" {
			why = string(r.Outcome)
		}
		say("it cannot be asked for failed units: %s", why)
		return problems
	case now.Version != healthVersion:
		say("it did not say which units have failed")
		return problems
	case now.State != "running" && now.State != "degraded": // degraded is what failed units make of it
		say("systemd says it is %q", now.State)
	}
	for _, u := range now.FailedUnits {
		if slices.Contains(h.Patch.FailedUnits.Before, u.Name) {
			continue
		}
		since := ""
		if u.Since > 0 {
			since = " at " + time.Unix(u.Since, 0).UTC().Format(time.TimeOnly) + " UTC"
		}
		say("%s failed%s; it had not before the host was patched", u.Name, since)
	}
	return problems
}
