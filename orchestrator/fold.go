package orchestrator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"homelab-patch-orchestrate/runner"
)

// fold collects from a wave's events what its result does not hold: the role's own word about each host.
type fold struct {
	patches map[string]*Patch
	notes   map[string]string // by host: why its word could not be read
	words   map[string]string // of packages, each once
}

func newFold() *fold {
	return &fold{patches: map[string]*Patch{}, notes: map[string]string{}, words: map[string]string{}}
}

// add takes one event. The last readable word of a host counts.
func (f *fold) add(e runner.Event) {
	if !publishes(e) {
		return
	}
	if e.Cut > 0 {
		f.notes[e.Host] = fmt.Sprintf("host %s: the result of task %q was too long to keep (%d bytes left out)", e.Host, e.Task, e.Cut)
		return
	}
	patch, problem := patchOf(e)
	if patch != nil {
		f.compact(patch)
		f.patches[e.Host] = patch
		delete(f.notes, e.Host)
	}
	if problem != "" {
		f.notes[e.Host] = fmt.Sprintf("host %s: %s", e.Host, problem)
	}
}

// compact has a host's word take no more memory than it needs: what json has read has room to grow, and the hosts of a fleet
// have the same packages.
func (f *fold) compact(p *Patch) {
	p.Packages, p.Replaced.Kept, p.Replaced.Missing = slices.Clone(p.Packages), slices.Clone(p.Replaced.Kept), slices.Clone(p.Replaced.Missing)
	once := func(words ...*string) {
		for _, w := range words {
			known, ok := f.words[*w]
			if !ok {
				known = *w
				f.words[known] = known
			}
			*w = known
		}
	}
	for i := range p.Packages {
		once(&p.Packages[i].Name, &p.Packages[i].From, &p.Packages[i].To, &p.Packages[i].Origin, &p.Packages[i].Source, &p.Packages[i].SourceVersion)
	}
	for i := range p.Replaced.Kept {
		once(&p.Replaced.Kept[i].Name, &p.Replaced.Kept[i].Version, &p.Replaced.Kept[i].Source)
	}
	for i := range p.Replaced.Missing {
		once(&p.Replaced.Missing[i].Name, &p.Replaced.Missing[i].Version, &p.Replaced.Missing[i].Reason)
	}
}

// Published returns what the role publishes about its host by this event, and what is wrong with it; nil if the event is of
// anything else, or cannot be read. The last one of a host counts, and only the end of its wave decides its outcome.
func Published(e runner.Event) (patch *Patch, problem string) {
	if !publishes(e) {
		return nil, ""
	}
	return patchOf(e)
}

// publishes says whether an event is of a task by which a host publishes: one that sets a fact, or the role's own.
func publishes(e runner.Event) bool {
	return e.Kind == runner.KindResult && (e.Action == "homelab_patch" || e.Action == "set_fact" || e.Action == "ansible.builtin.set_fact" || e.Action == "ansible.legacy.set_fact")
}

// patchOf is decodePatch of an event; decoding every fact of every host would be slow.
func patchOf(e runner.Event) (*Patch, string) {
	if !bytes.Contains(e.Data, []byte(`"homelab_patch"`)) {
		return nil, ""
	}
	return decodePatch(e.Data)
}

// decodePatch returns the homelab_patch of a result, among its facts or beside them, and what is wrong with it. A field of the
// wrong type is left zero and named; the rest is still worth having.
func decodePatch(data []byte) (*Patch, string) {
	type published struct {
		Patch *Patch `json:"homelab_patch"`
	}
	var whole struct {
		published
		Facts published `json:"ansible_facts"`
	}
	if err := json.Unmarshal(data, &whole); err == nil {
		if patch := cmp.Or(whole.Patch, whole.Facts.Patch); patch != nil && patch.Version == PatchVersion {
			return patch, ""
		}
	}
	// Something is wrong with it: what?
	type raw struct {
		Patch json.RawMessage `json:"homelab_patch"`
	}
	var result struct {
		raw
		Facts raw `json:"ansible_facts"`
	}
	if err := json.Unmarshal(data, &result); err != nil {
		return nil, "its homelab_patch cannot be read: the facts are not an object"
	}
	said := result.Patch
	if said == nil {
		said = result.Facts.Patch
	}
	if said == nil {
		return nil, "" // the name was in some value
	}
	var patch Patch
	err := json.Unmarshal(said, &patch)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field == "":
		return nil, fmt.Sprintf("its homelab_patch cannot be read: want an object, got %s", kind.Value)
	case patch.Version != PatchVersion:
		return nil, fmt.Sprintf("its homelab_patch has version %d, and this program knows %d: packages and reboots are not shown", patch.Version, PatchVersion)
	case errors.As(err, &kind):
		return &patch, fmt.Sprintf("its homelab_patch is read in part: want another type for %s, got %s", kind.Field, kind.Value)
	case err != nil:
		return nil, fmt.Sprintf("its homelab_patch cannot be read: %v", err)
	}
	return &patch, ""
}

// judge fills the hosts of a wave from what the engine returned and what the role said. It returns notes for people.
func (f *fold) judge(w *WaveReport, result runner.Result, policy Policy) (notes []string) {
	members := map[string]bool{}
	for i := range w.Hosts {
		h := &w.Hosts[i]
		members[h.Name] = true
		if h.Outcome != Undecided {
			continue
		}
		res, seen := result.Hosts[h.Name]
		if !seen {
			res = runner.HostResult{Outcome: runner.NotAttempted}
		}
		h.judge(res, f.patches[h.Name], policy.Check)
		if policy.Publishes && h.Patch == nil && h.Outcome.Well() {
			h.Outcome, h.Message = HostFailed, silent
		}
		if note, ok := f.notes[h.Name]; ok {
			notes = append(notes, note)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(result.Hosts)) {
		if members[name] {
			continue
		}
		res := result.Hosts[name]
		if res.Outcome == runner.NotAttempted {
			continue
		}
		notes = append(notes, fmt.Sprintf("host %s is not in wave %d, and the playbook ran tasks on it (%s)", name, w.Number, res.Outcome))
		if res.Outcome != runner.OK && res.Outcome != runner.Changed {
			w.Strangers = append(w.Strangers, fmt.Sprintf("%s (%s)", name, res.Outcome))
		}
	}
	return notes
}

// silent is why a host failed of which Ansible says that all went well.
const silent = "it did not say what was done to it: if no_log is set in ansible.cfg, or ANSIBLE_NO_LOG, take it away"

// judge decides how the host came out. The engine's word comes first: what the role says never makes a lost host well.
func (h *HostReport) judge(res runner.HostResult, patch *Patch, check bool) {
	if res.Lost && (res.Outcome == runner.OK || res.Outcome == runner.Changed) {
		res.Outcome, res.Msg = runner.Unreachable, "it was not reached, which the playbook ignores (ignore_unreachable)"
	}
	h.Task, h.Path, h.Message, h.Stats, h.Patch = res.Task, res.Path, res.Msg, res.Stats, patch
	switch res.Outcome {
	case runner.OK, runner.Changed:
		h.Outcome = well(res.Outcome, patch, check)
	case runner.Failed:
		h.Outcome = HostFailed
	case runner.Unreachable:
		h.Outcome = HostUnreachable
		h.Message = unreachable(h.Message)
		h.Excused = h.Optional && !res.Reached
	case runner.Interrupted:
		h.Outcome = HostInterrupted
	case runner.NotAttempted:
		h.Outcome = HostNotAttempted
	default:
		h.Outcome = HostInterrupted
		h.Message = fmt.Sprintf("the engine gave an unknown outcome: %q", res.Outcome)
	}
	switch {
	case patch != nil && patch.Failure != nil && patch.Failure.Reason != "":
		h.Message = patch.Failure.Reason
	case h.Outcome == Held:
		h.Message = patch.Hold.Reason
	case h.Outcome == HostNotAttempted && h.Message == "":
		h.Message = "no task was run on it"
	}
}

// well tells apart the outcomes of a host whose tasks all went well. A role that reports a failure and then goes on has
// still failed.
func well(o runner.Outcome, patch *Patch, check bool) Outcome {
	switch {
	case patch != nil && (patch.Failure != nil || patch.Hold != nil || !check):
		return patch.Outcome()
	case check:
		return Unchanged // its packages are those that would change
	case o == runner.Changed:
		return Patched // a playbook that knows nothing of ours
	}
	return Unchanged
}

// Outcome is how the host comes out if nothing goes wrong after what it has published.
func (p *Patch) Outcome() Outcome {
	switch {
	case p.Failure != nil:
		return HostFailed
	case p.Hold != nil:
		return Held
	case !p.Check && (len(p.Packages) > 0 || p.Rebooted):
		return Patched
	}
	return Unchanged
}
