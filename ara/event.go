package ara

import (
	"context"
	"slices"
	"time"

	"homelab-patch-orchestrate/runner"
)

// nameLimit is how many characters ARA takes of a name.
const nameLimit = 255

// stamp is a time as ARA keeps it: by the microsecond, so that it tells one record from another.
func stamp(t time.Time) string {
	return t.UTC().Round(time.Microsecond).Format("2006-01-02T15:04:05.000000Z")
}

// cur is the playbook under way.
func (f *Forwarder) cur() *playbook { return &f.p.Playbooks[len(f.p.Playbooks)-1] }

// event puts one event on record. It may be called again for the same event.
func (f *Forwarder) event(ctx context.Context, e runner.Event) error {
	switch e.Kind {
	case runner.KindStart:
		if f.p.Open != nil { // the one before was cut short
			if err := f.guard(ctx, f.end(ctx, "expired")); err != nil {
				return err
			}
		}
		labels := e.Labels
		if len(labels) == 0 {
			labels = f.Labels
		}
		f.p.Start = &start{e.Time, e.Version, labels}
		return nil
	case runner.KindPlaybook, runner.KindPlay:
		if f.p.Start == nil {
			break
		}
		if e.Kind == runner.KindPlay { // of an older program, whose events do not name the playbook
			e.Path = "patch.yml"
		}
		if err := f.playbook(ctx, e); err != nil {
			return err
		}
	}
	if f.p.Open == nil {
		return nil
	}
	f.p.Open.Last = e.Time
	switch e.Kind {
	case runner.KindPlaybook:
		_, err := f.file(ctx, e.Path)
		return f.guard(ctx, err)
	case runner.KindPlay:
		return f.guard(ctx, f.play(ctx, e))
	case runner.KindTask:
		return f.guard(ctx, f.task(ctx, e))
	case runner.KindItem:
		if e.Delegated != "" && e.Status != runner.StatusSkipped {
			key := e.TaskID + " " + e.Host
			if !slices.Contains(f.p.Open.To[key], e.Delegated) {
				f.p.Open.To[key] = append(f.p.Open.To[key], e.Delegated)
			}
		}
	case runner.KindResult:
		return f.guard(ctx, f.result(ctx, e))
	case runner.KindStats:
		return f.guard(ctx, f.stats(ctx, e))
	}
	return nil
}

// guard finds out whether an error means that nothing more of the playbook can be recorded: somebody has deleted it, or the
// server does not take something that the rest refers to. Then it is given up, and that is told by [ReadStatus].
func (f *Forwarder) guard(ctx context.Context, err error) error {
	code := status(err)
	if code != 404 && !refused(err) {
		return err
	}
	b := f.cur()
	is := f.Client.get(ctx, "playbooks", b.ID, nil)
	switch {
	case status(is) == 404:
		if _, is := f.Client.Version(ctx); is != nil { // the whole API is gone
			return is
		}
		b.Gone = true
	case is != nil || code == 404:
		return err
	default:
		if is := f.Client.patch(ctx, "playbooks", b.ID, map[string]any{"status": "unknown"}); is != nil {
			return is
		}
		b.Refused, b.Status = b.Refused+1, "unknown"
	}
	f.p.Open = nil
	return nil
}

// create makes a record, unless it is there. at finds it, and among several same says which it is.
func (f *Forwarder) create(ctx context.Context, kind string, body map[string]any, at query, same func(row) bool) (id int64, found bool, err error) {
	if f.unsure {
		if id, err = f.find(ctx, kind, at, same); err != nil || id != 0 {
			return id, id != 0, err
		}
		f.unsure = false // records are made one after the other: what follows is not there either
	}
	id, err = f.Client.post(ctx, kind, body)
	if err != nil {
		f.unsure = true
	}
	return id, false, err
}

// find returns the id of the first record that a query finds and same accepts; 0 if there is none.
func (f *Forwarder) find(ctx context.Context, kind string, q query, same func(row) bool) (id int64, err error) {
	err = f.Client.list(ctx, kind, q, func(r row) {
		if (same == nil || same(r)) && (id == 0 || r.ID < id) {
			id = r.ID
		}
	})
	return id, err
}
