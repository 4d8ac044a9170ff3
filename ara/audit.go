package ara

import (
	"context"
	"time"
)

// audit removes what the server has twice of the playbook under way. It can happen in one way: a server that was given up
// for hung did what it had been asked to, after it had said that the record is not there. The counts are the server's own.
func (f *Forwarder) audit(ctx context.Context) error {
	o, b := f.p.Open, f.cur()
	err := f.surplus(ctx, "playbooks", query{}.started(stamp(b.Started)), func(r row) bool { return r.ID != b.ID && r.Path == limit(o.Path, nameLimit) })
	if err != nil {
		return err
	}
	var is struct {
		Items struct{ Plays, Tasks, Results int }
	}
	if err := f.Client.get(ctx, "playbooks", b.ID, &is); err != nil {
		return err
	}
	if is.Items.Plays > len(o.Plays) {
		if err := f.surplus(ctx, "plays", query{"playbook": b.ID}, func(r row) bool { return !o.Plays[r.ID] }); err != nil {
			return err
		}
	}
	if is.Items.Tasks > len(o.Tasks) {
		ours := map[int64]bool{}
		for _, t := range o.Tasks {
			ours[t.ID] = true
		}
		if err := f.surplus(ctx, "tasks", query{"playbook": b.ID}, func(r row) bool { return !ours[r.ID] }); err != nil {
			return err
		}
	}
	if is.Items.Results > o.Results {
		type key struct {
			task, host int64
			at         time.Time
		}
		seen := map[key]bool{}
		return f.surplus(ctx, "results", query{"playbook": b.ID}, func(r row) bool {
			k := key{r.Task, r.Host, r.Started}
			twice := seen[k]
			seen[k] = true
			return twice
		})
	}
	return nil
}

// surplus removes the records that a query finds and that are too many.
func (f *Forwarder) surplus(ctx context.Context, kind string, q query, tooMany func(row) bool) error {
	var ids []int64
	err := f.Client.list(ctx, kind, q, func(r row) {
		if tooMany(r) {
			ids = append(ids, r.ID)
		}
	})
	for _, id := range ids {
		if err == nil {
			err = f.Client.remove(ctx, kind, id)
		}
		if err == nil {
			f.cur().Removed++
		}
	}
	return err
}
