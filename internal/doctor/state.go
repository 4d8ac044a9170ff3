package doctor

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// What a state directory has to have free, in MiB: a run of a small fleet writes some, one of a hundred hosts some hundred.
const (
	stateLeast = 16
	stateRoom  = 256
)

// State looks at the state directory of the user uid, and at what earlier runs left in it.
func State(dir string, uid int, now time.Time) (all []Check) {
	store, err := orchestrator.Look(dir, uid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return append(room(dir), well(Store, "%s is made by the first run", dir))
	case errors.Is(err, fs.ErrPermission):
		return []Check{warning(Store, "run this as root, or as the user whose it is", "%s cannot be looked at: %v", dir, err)}
	case err != nil:
		return []Check{failure(Store, mend(dir, uid), "%v", err)}
	}
	all = room(dir)
	holder, err := store.Holder()
	if err != nil {
		all = append(all, warning(Store, "look at "+word(filepath.Join(dir, "lock")), "nobody knows whether a run is under way: %v", err))
	}
	if holder != nil {
		return append(all, warning(Store, "wait for it, then run this again", "%v", holder))
	}
	return append(append(all, lease(store, dir, now)...), runs(store, dir)...)
}

// mend is the command for a folder that is another user's, or that others may write.
func mend(dir string, uid int) string {
	for _, d := range []string{dir, filepath.Join(dir, "runs")} {
		info, err := os.Stat(d)
		if err != nil {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != uid {
			who := strconv.Itoa(uid)
			if u, err := user.LookupId(who); err == nil {
				who = u.Username
			}
			return "chown -R " + word(who) + ": " + word(dir)
		}
		if info.Mode().Perm()&0o022 != 0 {
			return "chmod 0700 " + word(d)
		}
	}
	return "name another one by the setting state"
}

// room looks at the space of the folder, or of the nearest one above it that is there.
func room(dir string) []Check {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	var f syscall.Statfs_t
	if err := syscall.Statfs(dir, &f); err != nil {
		return []Check{warning(Store, "df -h "+word(dir), "nobody knows how much is free in %s: %v", dir, err)}
	}
	const readOnly = 1 // ST_RDONLY of statfs(2)
	free := f.Bavail * uint64(f.Bsize) >> 20
	space := "make room there: df -h " + word(dir)
	switch {
	case f.Flags&readOnly != 0:
		return []Check{failure(Store, "findmnt -T "+word(dir)+"; journalctl -k", "%s is mounted read-only: a run that cannot write its journal stops", dir)}
	case free < stateLeast:
		return []Check{failure(Store, space, "only %d MiB are free in %s: a run that cannot write its journal stops", free, dir)}
	case f.Files > 0 && f.Ffree < 1000:
		return []Check{failure(Store, "make room there: df -i "+word(dir), "only %d files more fit into %s: a run that cannot write its journal stops", f.Ffree, dir)}
	case free < stateRoom:
		return []Check{warning(Store, space, "only %d MiB are free in %s", free, dir)}
	}
	return []Check{well(Store, "%d MiB are free in %s", free, dir)}
}

// lease looks for one that a run left which is no longer at it.
func lease(store *orchestrator.Store, dir string, now time.Time) []Check {
	l, err := store.Lease()
	path := word(filepath.Join(dir, "lease.json"))
	switch {
	case err != nil:
		return []Check{warning(Store, "rm "+path, "%v: ansible-pull keeps away for an hour after it was written", err)}
	case l == nil || l.Expires <= now.Unix():
		return []Check{well(Store, "no run is under way")}
	}
	return []Check{warning(Store, "rm "+path, "run %s left its lease: ansible-pull does nothing here until %s", l.Run, time.Unix(l.Expires, 0).Format("15:04 MST"))}
}

// runs looks at what earlier runs left: each journal can be read, and the latest has its end.
func runs(store *orchestrator.Store, dir string) (all []Check) {
	ids, err := store.IDs()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []Check{warning(Store, "ls -l "+word(filepath.Join(dir, "runs")), "%v", err)}
	}
	var last orchestrator.Report
	for i, id := range ids {
		report, err := store.Load(id)
		var damaged *orchestrator.JournalError
		switch {
		case errors.Is(err, fs.ErrNotExist): // it died before its first entry
		case err == nil:
			last = report
		case errors.As(err, &damaged) && damaged.Err == nil && i == len(ids)-1:
			all = append(all, failure(Store, "install that program", "%v", err)) // the next run refuses to begin
		default:
			all = append(all, warning(Store, "mv "+word(filepath.Join(dir, "runs", id))+" /root/", "%v", err))
		}
	}
	switch {
	case last.ID == "" || last.State.Final():
		return append(all, well(Store, "%d runs are on record, and all have ended", len(ids)))
	case last.State == orchestrator.AwaitingReboot:
		return append(all, warning(Store, "systemctl start "+resume, "run %s waits for a restart of this machine, and is not judged yet", last.ID))
	}
	return append(all, warning(Store, "homelab-patch-orchestrate resume; else the next run closes it as interrupted",
		"run %s is %s, and nobody is at it", last.ID, last.State))
}
