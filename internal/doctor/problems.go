package doctor

import (
	"cmp"
	"errors"
	"strings"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
	"homelab-patch-orchestrate/runner"
)

// Problems makes a finding of each error that is joined in err. Those that say themselves how they are mended keep their
// own words; fix is for the others.
func Problems(area string, severity Severity, err error, fix string) (all []Check) {
	for _, err := range apart(err) {
		c := Check{Area: area, Severity: severity, Text: err.Error(), Fix: fix}
		var setting *config.Error
		var host *inventory.Error
		var trust *config.TrustError
		var engine *runner.EngineError
		switch {
		case errors.As(err, &trust):
			for _, u := range trust.Found {
				all = append(all, Check{Area: area, Severity: severity, Text: u.Path + " " + u.Problem + ": a run refuses it", Fix: u.Mend})
			}
			continue
		case errors.As(err, &setting):
			bare := *setting
			bare.Hint = ""
			c.Text, c.Fix = bare.Error(), cmp.Or(setting.Hint, fix)
		case errors.As(err, &host):
			bare := *host
			c.Host, bare.Host, bare.Hint = host.Host, "", ""
			c.Text, c.Fix = bare.Error(), cmp.Or(host.Hint, fix)
		case errors.As(err, &engine):
			c.Text = strings.Join(strings.Fields(engine.Error()), " ")
		}
		all = append(all, c)
	}
	return all
}

// apart returns the errors that are joined in err, and in what it wraps.
func apart(err error) (all []error) {
	if err == nil {
		return nil
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			for _, one := range joined.Unwrap() {
				all = append(all, apart(one)...)
			}
			return all
		}
	}
	return []error{err}
}

// Engine looks at what [runner.Version] said.
func Engine(version string, err error) []Check {
	if err != nil {
		return Problems(Program, Error, err, "apt-get install ansible-core")
	}
	return []Check{well(Program, "ansible-core %s", version)}
}

// Read says which settings count; file is empty if there is none.
func Read(file string) []Check {
	if file == "" {
		return []Check{well(Settings, "there is no file of settings: the defaults count")}
	}
	return []Check{well(Settings, "%s can be read", file)}
}

// Planned says who is patched when.
func Planned(plan *orchestrator.Plan) (all []Check) {
	hosts := 0
	for _, w := range plan.Waves {
		hosts += len(w.Hosts)
	}
	all = []Check{well(Fleet, "hosts: %d, in waves: %d; the controller is %s", hosts, len(plan.Waves), plan.Controller)}
	for _, u := range plan.Unpatched {
		all = append(all, on(u.Name, well(Fleet, "not patched: %s", u.Reason))...)
	}
	for _, n := range plan.Notes {
		all = append(all, warning(Fleet, "homelab-patch-orchestrate waves", "%s", n))
	}
	return all
}
