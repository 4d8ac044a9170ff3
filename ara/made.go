package ara

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"homelab-patch-orchestrate/runner"
)

// What the events are made into: each kind of record, in the order in which ARA wants them.

func (f *Forwarder) playbook(ctx context.Context, e runner.Event) error {
	s := f.p.Start
	args := f.Ignore.arguments(e.Data)
	labels := []string{}
	for _, l := range s.Labels {
		labels = append(labels, limit(l, nameLimit))
	}
	if check, ok := args["check"].(bool); ok && check {
		labels = append(labels, "check:True") // as the callback of ARA has it
	}
	path := limit(e.Path, nameLimit)
	body := map[string]any{
		"ansible_version": s.Version, "path": path, "status": "running", "started": stamp(s.Time),
		"arguments": args, "labels": labels, "controller": limit(f.machine, nameLimit),
	}
	id, found, err := f.create(ctx, "playbooks", body, query{}.started(stamp(s.Time)), func(r row) bool { return r.Path == path })
	if err == nil && found { // its labels come after it, and may be missing
		err = f.Client.patch(ctx, "playbooks", id, map[string]any{"labels": labels})
	}
	if refused(err) {
		f.p.Playbooks = append(f.p.Playbooks, playbook{Labels: s.Labels, Started: s.Time, Status: "unknown", Refused: 1, Gone: true})
		f.p.Start = nil
		return nil
	}
	if err != nil {
		return err
	}
	f.p.Playbooks = append(f.p.Playbooks, playbook{ID: id, Labels: s.Labels, Started: s.Time, Status: "running"})
	f.p.Open = &open{Path: e.Path, Last: s.Time, Plays: map[int64]bool{}, Tasks: map[string]*task{}, Hosts: map[string]int64{},
		Files: map[string]int64{}, To: map[string][]string{}}
	f.p.Start = nil
	f.save() // links lead there from now on
	return nil
}

// file returns the id of a file's record.
func (f *Forwarder) file(ctx context.Context, name string) (int64, error) {
	o := f.p.Open
	if id := o.Files[name]; id != 0 {
		return id, nil
	}
	path := limit(name, nameLimit)
	body := map[string]any{"playbook": f.cur().ID, "path": path, "content": f.Ignore.content(name, f.cur().Started)}
	// The same file with another content is an error of the server: who comes back later must find what is there.
	id, _, err := f.create(ctx, "files", body, query{"playbook": f.cur().ID, "path": path}, func(r row) bool { return r.Path == path })
	if refused(err) { // its content
		body["content"] = "not saved: ARA does not take it: " + err.Error()
		id, _, err = f.create(ctx, "files", body, query{"playbook": f.cur().ID, "path": path}, func(r row) bool { return r.Path == path })
	}
	if err == nil {
		o.Files[name] = id
	}
	return id, err
}

// host returns the id of a host's record. The server makes it once.
func (f *Forwarder) host(ctx context.Context, name string) (int64, error) {
	if id := f.p.Open.Hosts[name]; id != 0 {
		return id, nil
	}
	id, err := f.Client.post(ctx, "hosts", map[string]any{"playbook": f.cur().ID, "name": limit(name, nameLimit)})
	if err == nil {
		f.p.Open.Hosts[name] = id
	}
	return id, err
}

func (f *Forwarder) play(ctx context.Context, e runner.Event) error {
	if err := f.endPlay(ctx, e.Time, "completed"); err != nil {
		return err
	}
	if path, _, ok := place(e.Path); ok {
		if _, err := f.file(ctx, path); err != nil {
			return err
		}
	}
	o := f.p.Open
	uuid := e.TaskID[:min(len(e.TaskID), 36)]
	id, _, err := f.create(ctx, "plays", map[string]any{
		"playbook": f.cur().ID, "uuid": uuid, "name": limit(e.Play, nameLimit), "status": "running", "started": stamp(e.Time),
	}, query{"playbook": f.cur().ID, "uuid": uuid}.started(stamp(e.Time)), nil)
	if err == nil {
		o.Play, o.Plays[id] = id, true
	}
	return err
}

// endPlay ends the play under way and its tasks.
func (f *Forwarder) endPlay(ctx context.Context, at time.Time, as string) error {
	o := f.p.Open
	if err := f.endTasks(ctx, "", as); err != nil {
		return err
	}
	if o.Play == 0 {
		return nil
	}
	err := f.Client.patch(ctx, "plays", o.Play, map[string]any{"status": as, "ended": stamp(at)})
	if err == nil {
		o.Play = 0
	}
	return err
}

// endTasks ends the tasks that are open, but one.
func (f *Forwarder) endTasks(ctx context.Context, but, as string) error {
	for id, t := range f.p.Open.Tasks {
		if !t.Open || id == but {
			continue
		}
		if err := f.Client.patch(ctx, "tasks", t.ID, map[string]any{"status": as, "ended": stamp(t.Ended)}); err != nil {
			return err
		}
		t.Open = false
	}
	return nil
}

// place is the file and the line that an event names.
func place(s string) (path string, line int, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, false
	}
	line, err := strconv.Atoi(s[i+1:])
	return s[:i], line, err == nil && i > 0
}

// task makes the record of a task, once a playbook: a task that begins for another host, or for the next batch of a play,
// is the same one.
func (f *Forwarder) task(ctx context.Context, e runner.Event) error {
	o := f.p.Open
	if t := o.Tasks[e.TaskID]; t != nil {
		t.Open, t.Ended = true, e.Time
		return nil
	}
	if err := f.endTasks(ctx, e.TaskID, "completed"); err != nil {
		return err
	}
	path, line, ok := place(e.Path)
	if !ok { // such as those that Ansible makes itself
		path, line = o.Path, 1
	}
	file, err := f.file(ctx, path)
	if err != nil {
		return err
	}
	tags := e.Tags
	if tags == nil {
		tags = []string{}
	}
	name := e.Task
	if e.Role != "" { // as ARA's own plugin has it
		name = e.Role + " : " + name
	}
	id, _, err := f.create(ctx, "tasks", map[string]any{
		"playbook": f.cur().ID, "play": o.Play, "file": file, "name": limit(name, 1<<10), "action": limit(e.Action, 1<<10),
		"lineno": line, "tags": tags, "handler": e.Handler, "status": "running", "started": stamp(e.Time),
	}, query{"playbook": f.cur().ID, "play": o.Play}.started(stamp(e.Time)), nil)
	if err == nil {
		o.Tasks[e.TaskID] = &task{ID: id, Play: o.Play, Ended: e.Time, Open: true}
	}
	return err
}

func (f *Forwarder) result(ctx context.Context, e runner.Event) error {
	o := f.p.Open
	t := o.Tasks[e.TaskID]
	if t == nil {
		return nil // it has no task: the file was not written from its beginning
	}
	host, err := f.host(ctx, e.Host)
	if err != nil {
		return err
	}
	key, to := e.TaskID+" "+e.Host, []int64{}
	if e.Delegated != "" && e.Status != runner.StatusSkipped { // of a skipped task it may still be a template
		names := o.To[key]
		if len(names) == 0 {
			names = []string{e.Delegated}
		}
		for _, name := range names {
			id, err := f.host(ctx, name)
			if err != nil {
				return err
			}
			to = append(to, id)
		}
	}
	content, facts := f.Ignore.result(e.Data)
	if e.Cut > 0 {
		content = map[string]any{"msg": e.Msg, "homelab_patch": fmt.Sprintf("not saved: the result has %d bytes", e.Cut)}
	}
	changed, _ := content["changed"].(bool)
	as, began := e.Status, e.Started
	if as == runner.StatusChanged {
		as = runner.StatusOK
	}
	if began.IsZero() {
		began = e.Time
	}
	body := map[string]any{
		"playbook": f.cur().ID, "play": t.Play, "task": t.ID, "host": host, "delegated_to": to, "status": as, "changed": changed,
		"ignore_errors": e.Ignored && e.Status == runner.StatusFailed, "content": content, "started": stamp(began), "ended": stamp(e.Time),
	}
	at := query{"playbook": f.cur().ID, "task": t.ID, "host": host}.started(stamp(began))
	id, found, err := f.create(ctx, "results", body, at, nil)
	if refused(err) { // its content, as a rule; if the whole playbook is gone, the next request tells
		body["content"] = map[string]any{"homelab_patch": "not saved: ARA does not take it: " + err.Error()}
		id, found, err = f.create(ctx, "results", body, at, nil)
	}
	if err == nil && found && len(to) > 0 { // they come after it, and may be missing
		err = f.Client.patch(ctx, "results", id, map[string]any{"delegated_to": to})
	}
	if err == nil && facts != nil && gathers(e.Action) {
		err = f.Client.patch(ctx, "hosts", host, map[string]any{"facts": facts})
	}
	if err != nil {
		return err
	}
	o.Results++
	t.Open, t.Ended = true, e.Time
	delete(o.To, key)
	return nil
}

// gathers reports whether the facts in a task's result are those of a host.
func gathers(action string) bool {
	action = action[strings.LastIndexByte(action, '.')+1:]
	return action == "setup" || action == "gather_facts"
}

func (f *Forwarder) stats(ctx context.Context, e runner.Event) error {
	as := "completed"
	for name, s := range e.Stats {
		id, err := f.host(ctx, name)
		if err == nil {
			err = f.Client.patch(ctx, "hosts", id, map[string]any{
				"ok": s.OK, "changed": s.Changed, "failed": s.Failed, "skipped": s.Skipped, "unreachable": s.Unreachable,
			})
		}
		if err != nil {
			return err
		}
		if s.Failed > 0 || s.Unreachable > 0 {
			as = "failed"
		}
	}
	return f.end(ctx, as)
}

// end ends the playbook under way: completed or failed by its recap, expired if it was cut short.
func (f *Forwarder) end(ctx context.Context, as string) error {
	o, b := f.p.Open, f.cur()
	of := "completed"
	if as == "expired" {
		of = as
	}
	if err := f.endPlay(ctx, o.Last, of); err != nil {
		return err
	}
	if err := f.Client.patch(ctx, "playbooks", b.ID, map[string]any{"status": as, "ended": stamp(o.Last)}); err != nil {
		return err
	}
	if err := f.audit(ctx); err != nil {
		return err
	}
	b.Status, f.p.Open = as, nil
	f.save()
	return nil
}
