// Package monitoring reads the Grafana dashboard of this folder, so that a test can ask a real Prometheus what each
// panel asks.
package monitoring

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// Query is what one target of a panel asks.
type Query struct {
	Panel   string // title of the panel
	Type    string // of the panel: stat, table, timeseries, ...
	Ref     string // refId of the target
	Expr    string // PromQL, variables replaced
	Instant bool   // asked at one moment, and not over the time range
}

// Queries returns what a dashboard asks, in the order of its panels, those in rows included. A variable is replaced by
// its value in vars, whichever way it is written: $host, ${host} or ${host:regex}. One that is not in vars is an error.
func Queries(dashboard []byte, vars map[string]string) ([]Query, error) {
	var board struct{ Panels []panel }
	if err := json.Unmarshal(dashboard, &board); err != nil {
		return nil, fmt.Errorf("read the dashboard: %w", err)
	}
	return queries(board.Panels, vars)
}

type panel struct {
	Title, Type string
	Panels      []panel
	Targets     []struct {
		RefID, Expr string
		Instant     bool
	}
}

var variable = regexp.MustCompile(`\$(?:(\w+)|\{(\w+)(?::\w+)?\})`)

func queries(panels []panel, vars map[string]string) (all []Query, err error) {
	for _, p := range panels {
		for _, t := range p.Targets {
			expr := variable.ReplaceAllStringFunc(t.Expr, func(s string) string {
				found := variable.FindStringSubmatch(s)
				value, ok := vars[found[1]+found[2]]
				if !ok && err == nil {
					err = fmt.Errorf("panel %q: no value for %s", p.Title, s)
				}
				return value
			})
			all = append(all, Query{p.Title, p.Type, t.RefID, expr, t.Instant})
		}
		inner, ierr := queries(p.Panels, vars)
		if err == nil {
			err = ierr
		}
		all = append(all, inner...)
	}
	return all, err
}
