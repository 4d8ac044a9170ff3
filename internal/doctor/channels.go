package doctor

import (
	"context"
	"strings"
	"time"

	"homelab-patch-orchestrate/internal/config"
)

// answer is how long a server may take.
const answer = 5 * time.Second

// Reacher is the far end of a channel. Reach asks whether it is there, and sends nothing.
type Reacher interface {
	Reach(ctx context.Context) error
}

// Far is a channel that can be used.
type Far struct {
	Name string
	Reacher
}

// Channels looks at what [config.LoadChannels] found in the file at path, and whether each server is there.
func Channels(ctx context.Context, path string, c config.Channels, err error, far []Far) (all []Check) {
	all = Problems(Messages, Warning, err, "mend "+word(path))
	for _, w := range c.Warnings {
		what, hint, _ := strings.Cut(strings.TrimSuffix(w, ")"), " (")
		all = append(all, warning(Messages, hint, "%s", what))
	}
	if len(all) == 0 && len(far) == 0 {
		return []Check{warning(Messages, "docs/configure.md, Channels; then: homelab-patch-orchestrate notify test",
			"%s names no channel: nobody is told how a run went", path)}
	}
	type result struct {
		name string
		err  error
	}
	results := make([]chan result, len(far))
	for i, f := range far {
		results[i] = make(chan result, 1)
		go func() { // ends with the deadline
			ctx, cancel := context.WithTimeout(ctx, answer)
			defer cancel()
			results[i] <- result{f.Name, f.Reach(ctx)}
		}()
	}
	for _, one := range results {
		r := <-one
		if r.err != nil {
			all = append(all, warning(Messages, "look at "+word(path)+"; then: homelab-patch-orchestrate notify test", "%v", r.err))
			continue
		}
		all = append(all, well(Messages, "%s is there; whether a message arrives tells: homelab-patch-orchestrate notify test", r.name))
	}
	return all
}

// Versioner is an ARA server.
type Versioner interface {
	Version(ctx context.Context) (string, error)
}

// ARA looks whether the server is there and takes our name. server is nil if none is named; wanted is the setting forward.
func ARA(ctx context.Context, server Versioner, wanted bool, env string) []Check {
	switch {
	case !wanted:
		return []Check{well(Record, "runs are not put on record")}
	case server == nil:
		return []Check{warning(Record, "ARA_API_SERVER=http://... in "+word(env), "the setting ara.forward is true, and no server is named: nothing is put on record")}
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	version, err := server.Version(ctx)
	if err != nil {
		return []Check{warning(Record, "mend it, then: homelab-patch-orchestrate ara status", "%v: records wait until it is there", err)}
	}
	return []Check{well(Record, "ARA %s answers", version)}
}
