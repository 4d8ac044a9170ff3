package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// VersionsVersion is the version of a file of versions that this package writes, and the newest it reads.
const VersionsVersion = 1

const (
	versionsFile = "versions.json"
	// versionsLife is how old versions may be that somebody planned: a week, and one missed night.
	versionsLife = 8 * 24 * time.Hour
)

// Versions says what each host of a run gets, made before its first wave: so every wave installs what the waves before it
// did, whatever the archive has by then. A run keeps its own in its folder.
type Versions struct {
	ID    string         `json:"id"`   // of the run that made them; hosts keep by it what they downloaded
	Made  time.Time      `json:"made"` // zero until they are complete
	Hosts []HostVersions `json:"hosts"`
}

// HostVersions is what one host gets.
type HostVersions struct {
	Name         string `json:"name"`
	Suite        string `json:"suite"` // such as bookworm; empty if it could not be asked
	Architecture string `json:"architecture"`
	// Packages is every change that was planned; nil if none could be. As long as the archives are those that others of its
	// suite and architecture were planned by, such a host plans for itself; then it gets what they do, and nothing else.
	Packages []Package `json:"packages"`
	Problem  string    `json:"problem,omitempty"` // why it could not be prepared
	// Archives is the Release files that the plan was made from, by what they say they are, as hashes.
	Archives map[string]string `json:"archives,omitempty"`
}

// NewVersions returns what the hosts of a dry run would get.
func NewVersions(r Report) *Versions {
	v := &Versions{ID: r.ID, Made: r.Started}
	for _, w := range r.Waves {
		for _, h := range w.Hosts {
			hv := HostVersions{Name: h.Name, Problem: h.Message}
			if h.Outcome == Unchanged && h.Patch != nil {
				hv = planned(h.Name, h.Patch)
			}
			v.Hosts = append(v.Hosts, hv)
		}
	}
	return v
}

// planned is what a host says that it would get. A host is not trusted: what it says goes back into variables of Ansible.
func planned(name string, p *Patch) HostVersions {
	h := HostVersions{Name: name, Suite: p.Suite, Architecture: p.Architecture, Packages: append([]Package{}, p.Packages...), Archives: map[string]string{}}
	for what, hash := range p.Archives {
		if archiveName.MatchString(what) && archiveHash.MatchString(hash) {
			h.Archives[what] = hash
		}
	}
	if err := h.check(); err != nil {
		return HostVersions{Name: name, Problem: err.Error()}
	}
	return h
}

var (
	packageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.-]*(:[a-z0-9-]+)?$`)
	archiveName = regexp.MustCompile(`^[A-Za-z0-9 .,:+~_/()-]+$`)
	archiveHash = regexp.MustCompile(`^[0-9a-f]+$`)
	packageText = regexp.MustCompile(`^[A-Za-z0-9.+:~_-]*$`)
)

// check says what in a host's versions cannot be.
func (h HostVersions) check() error {
	if !packageText.MatchString(h.Suite) || !packageText.MatchString(h.Architecture) {
		return fmt.Errorf("host %s: its suite %q or architecture %q is none", h.Name, h.Suite, h.Architecture)
	}
	for what, hash := range h.Archives {
		if !archiveName.MatchString(what) || !archiveHash.MatchString(hash) {
			return fmt.Errorf("host %s: %q %q is no archive and hash", h.Name, what, hash)
		}
	}
	for _, p := range h.Packages {
		if !packageName.MatchString(p.Name) || !packageText.MatchString(p.To) {
			return fmt.Errorf("host %s: %q %q is no package and version", h.Name, p.Name, p.To)
		}
	}
	return nil
}

// byName returns what is planned for each host; nothing if v is nil.
func (v *Versions) byName() map[string]*HostVersions {
	hosts := map[string]*HostVersions{}
	if v == nil {
		return hosts
	}
	for i := range v.Hosts {
		hosts[v.Hosts[i].Name] = &v.Hosts[i]
	}
	return hosts
}

// Vars returns what the role is told for hosts, by name: a host gets its packages, or has those of others to choose from.
// attempt has it prepare itself once.
func (v *Versions) Vars(names []string, attempt string) map[string]any {
	all := map[string]any{}
	others, archives := v.others()
	known := v.byName()
	for _, name := range names {
		vars := map[string]any{"id": v.ID, "attempt": attempt, "packages": nil, "others": nil, "archives": nil}
		if h := known[name]; h != nil && h.Packages != nil {
			packages := map[string]string{}
			for _, p := range h.Packages {
				packages[p.Name] = p.To
			}
			vars["packages"] = packages
		} else {
			vars["others"], vars["archives"] = others, archives
		}
		all[name] = vars
	}
	return all
}

// others returns the versions that were planned, and the archives that they were planned by, by suite and architecture.
// Where hosts differ, the earlier one counts.
func (v *Versions) others() (versions, archives map[string]map[string]string) {
	versions, archives = map[string]map[string]string{}, map[string]map[string]string{}
	for _, h := range v.Hosts {
		if h.Packages == nil {
			continue
		}
		kind := h.Suite + " " + h.Architecture
		if versions[kind] == nil {
			versions[kind], archives[kind] = map[string]string{}, map[string]string{}
		}
		for _, p := range h.Packages {
			if _, ok := versions[kind][p.Name]; !ok {
				versions[kind][p.Name] = p.To
			}
		}
		for what, hash := range h.Archives {
			if _, ok := archives[kind][what]; !ok {
				archives[kind][what] = hash
			}
		}
	}
	return versions, archives
}

// reconcile takes their plan from hosts that were prepared from another moment of an archive than a host before them, and so
// would get another version of a package. Hosts are in the order of the waves.
func (v *Versions) reconcile() {
	type version struct{ suite, architecture, name, origin string }
	type moment struct{ to, archives string }
	first := map[version]map[moment]int{} // the first host that gets a version by the archives of a moment
	for i := range v.Hosts {
		later := &v.Hosts[i]
		earliest, differs := i, ""
		for _, p := range later.Packages {
			for m, host := range first[version{later.Suite, later.Architecture, p.Name, p.Origin}] {
				if m.to != p.To && p.To != "" && m.to != "" && host < earliest && later.moved(v.Hosts[host]) {
					earliest, differs = host, p.Name+" "+p.To
				}
			}
		}
		if differs != "" {
			later.Packages = nil
			later.Problem = fmt.Sprintf("the archive had changed when it was prepared: %s is not that of %s", differs, v.Hosts[earliest].Name)
			continue
		}
		archives := fmt.Sprint(later.Archives) // sorted
		for _, p := range later.Packages {
			key := version{later.Suite, later.Architecture, p.Name, p.Origin}
			if first[key] == nil {
				first[key] = map[moment]int{}
			}
			if _, known := first[key][moment{p.To, archives}]; !known {
				first[key][moment{p.To, archives}] = i
			}
		}
	}
}

// moved reports whether an archive changed between the preparations of two hosts. Hosts with the same archives differ because
// somebody wants it so.
func (h HostVersions) moved(from HostVersions) bool {
	for name, hash := range h.Archives {
		if other, both := from.Archives[name]; both && other != hash {
			return true
		}
	}
	return false
}

// sealed is versions as a file has them.
type sealed struct {
	Version int             `json:"version"`
	SHA256  string          `json:"sha256"` // of the bytes of the plan
	Plan    json.RawMessage `json:"plan"`
}

// Encode returns the versions as a file of their own, which [DecodeVersions] reads.
func (v *Versions) Encode() ([]byte, error) {
	plan, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(plan)
	data, err := json.Marshal(sealed{VersionsVersion, hex.EncodeToString(sum[:]), plan})
	return append(data, '\n'), err
}

// DecodeVersions reads what [Versions.Encode] wrote, and believes it only if it is whole.
func DecodeVersions(data []byte) (*Versions, error) {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if s.Version < 1 {
		return nil, errors.New("it is no file of `plan --out`: it has no version")
	}
	if s.Version > VersionsVersion {
		return nil, fmt.Errorf("it has version %d, and this program knows %d: use the newer program that wrote it, or make a new plan", s.Version, VersionsVersion)
	}
	if sum := sha256.Sum256(s.Plan); hex.EncodeToString(sum[:]) != s.SHA256 {
		return nil, errors.New("it is damaged, or was changed by hand: make a new plan")
	}
	v := &Versions{}
	if err := json.Unmarshal(s.Plan, v); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if !validID(v.ID) {
		return nil, fmt.Errorf("it is damaged: %q is no id of a run", v.ID)
	}
	for _, h := range v.Hosts {
		if err := h.check(); err != nil {
			return nil, fmt.Errorf("it is damaged: %w", err)
		}
	}
	return v, nil
}

// Fits returns a [*PlanError] if the versions are not for these waves: too old, or for other hosts.
func (v *Versions) Fits(plan *Plan, now time.Time) error {
	var problems []error
	switch age := now.Sub(v.Made); {
	case v.Made.IsZero() || age < -time.Hour:
		problems = append(problems, errors.New("the plan was made at a time that has yet to come: look at the clock, and make a new plan"))
	case age > versionsLife:
		problems = append(problems, fmt.Errorf("the plan is %d days old, and good for %d: make a new plan", int(age.Hours())/24, int(versionsLife.Hours())/24))
	}
	planned := v.byName()
	known := map[string]bool{}
	for _, u := range plan.Unpatched {
		known[u.Name] = true
	}
	var missing, strangers []string
	for _, w := range plan.Waves {
		for _, name := range w.Names() {
			known[name] = true
			if planned[name] == nil {
				missing = append(missing, name)
			}
		}
	}
	for _, h := range v.Hosts {
		if !known[h.Name] {
			strangers = append(strangers, h.Name)
		}
	}
	if len(missing) > 0 {
		problems = append(problems, fmt.Errorf("the plan is for other hosts, and not for %s: make a new plan", list(missing)))
	}
	if len(strangers) > 0 {
		problems = append(problems, fmt.Errorf("the plan is for %s, which the inventory does not have: make a new plan", list(strangers)))
	}
	if err := errors.Join(problems...); err != nil {
		return &PlanError{err}
	}
	return nil
}

// Versions returns what the hosts of a run get. The error holds [os.ErrNotExist] if the run has none of its own.
func (s *Store) Versions(id string) (*Versions, error) {
	if !validID(id) {
		return nil, fmt.Errorf("run %q: %w", id, os.ErrNotExist)
	}
	path := filepath.Join(s.runDir(id), versionsFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the versions of run %s: %w", id, err)
	}
	v, err := DecodeVersions(data)
	if err != nil {
		return nil, fmt.Errorf("read the versions of run %s: %s: %w", id, path, err)
	}
	return v, nil
}

// saveVersions puts them on disk as [Run.save] does a report.
func (r *Run) saveVersions(v *Versions) error {
	data, err := v.Encode()
	if err == nil {
		err = r.store.disk.mkdir(r.Dir, 0o700)
	}
	if err == nil {
		err = r.store.disk.write(filepath.Join(r.Dir, versionsFile), data)
	}
	if err != nil {
		return fmt.Errorf("write the versions: %w (%w)", err, errJournal)
	}
	return nil
}
