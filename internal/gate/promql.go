package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"homelab-patch-orchestrate/orchestrator"
)

// PromQL asks Prometheus with a query that must be empty. What the query had found when the run began does not count, nor
// do the alerts of this project. Server and Query are required.
type PromQL struct {
	Server string // base URL
	Query  string
	// For is how long a server that does not answer, or that finds something, is asked again, every 15 seconds; 0 is
	// [PromFor]. A check takes at most 30 seconds longer.
	For time.Duration
	// Instances says, by host, what the label InstanceLabel is. If it is not nil, a series of another host than those of
	// the wave does not count. A host that is not in it has its own name there; a series without the label counts.
	Instances     map[string]string
	InstanceLabel string            // "" is instance
	Transport     http.RoundTripper // nil is a new connection for each question
}

// PromFor is the default of [PromQL].For.
const PromFor = 5 * time.Minute

const (
	promEvery = 15 * time.Second
	promWait  = 10 * time.Second // for one answer
	promShown = 3                // series that an error names
)

// Check returns nil as soon as nothing is found that counts.
func (p PromQL) Check(ctx context.Context, q orchestrator.Question) error {
	length := cmp.Or(p.For, PromFor)
	begun := time.Now()
	var before map[string]bool // series of when the run began; nil until the server has said
	for {
		err := p.once(ctx, q, &before)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		if time.Since(begun)+promEvery > length {
			return fmt.Errorf("%w; asked again and again since %s UTC, for %s", err, begun.UTC().Format(time.TimeOnly), length)
		}
		select {
		case <-time.After(promEvery):
		case <-ctx.Done():
			return err
		}
	}
}

// once asks once.
func (p PromQL) once(ctx context.Context, q orchestrator.Question, before *map[string]bool) error {
	found, err := p.ask(ctx, time.Time{})
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(s series) bool { return ours(s["alertname"]) || !p.concerns(s, q.Wave) })
	if len(found) == 0 {
		return nil
	}
	if *before == nil {
		old, err := p.ask(ctx, q.Report.Started)
		if err != nil {
			return fmt.Errorf("what there was when the run began cannot be told: %w", err)
		}
		*before = map[string]bool{}
		for _, s := range old {
			(*before)[s.String()] = true
		}
	}
	var names []string
	for _, s := range found {
		if name := s.String(); !(*before)[name] {
			names = append(names, line(name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - promShown; n > 0 {
		more, names = fmt.Sprintf(" and %d more", n), names[:promShown]
	}
	return fmt.Errorf("there is what was not there when the run began: %s%s", strings.Join(names, ", "), more)
}

// concerns reports whether a series counts after a wave.
func (p PromQL) concerns(s series, w orchestrator.WaveReport) bool {
	label, ok := s[cmp.Or(p.InstanceLabel, "instance")]
	if p.Instances == nil || !ok {
		return true
	}
	return slices.ContainsFunc(w.Hosts, func(h orchestrator.HostReport) bool {
		return label == cmp.Or(p.Instances[h.Name], h.Name)
	})
}

// ask returns the series that the query gives at a time; the zero time is now.
func (p PromQL) ask(ctx context.Context, at time.Time) ([]series, error) {
	u, err := url.Parse(p.Server)
	if err != nil {
		return nil, errors.New("the URL of the server cannot be read") // the error would show it
	}
	server := shown(u)
	args := url.Values{"query": {p.Query}}
	if !at.IsZero() {
		args.Set("time", strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64))
	}
	u = u.JoinPath("api/v1/query")
	u.RawQuery = args.Encode()
	ctx, cancel := context.WithTimeout(ctx, promWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be asked", server)
	}
	client := http.Client{Transport: p.Transport, CheckRedirect: HTTP{}.redirect}
	if client.Transport == nil {
		client.Transport = fresh()
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", server, plain(err, u))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16*bodyLimit))
	if err != nil {
		return nil, fmt.Errorf("%s: its answer broke off: %s", server, plain(err, u))
	}
	var a answer
	err = json.Unmarshal(body, &a)
	if err == nil {
		err = a.problem()
	} else {
		err = errors.New("its answer is not that of Prometheus")
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(http.StatusText(resp.StatusCode))
	}
	if err != nil {
		return nil, fmt.Errorf("%s answered %d: %s", server, resp.StatusCode, line(err.Error()))
	}
	var list []struct{ Metric series }
	if err := json.Unmarshal(a.Data.Result, &list); err != nil || list == nil {
		return nil, fmt.Errorf("%s answered without a list of series", server)
	}
	var all []series
	for _, s := range list {
		if s.Metric == nil {
			return nil, fmt.Errorf("%s answered with a series that has no labels to read", server)
		}
		all = append(all, s.Metric)
	}
	return all, nil
}

// answer is what Prometheus says: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
type answer struct {
	Status   string   `json:"status"`
	Error    string   `json:"error"`
	Warnings []string `json:"warnings"`
	Data     struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	} `json:"data"`
}

// problem says why an answer does not tell which series there are.
func (a answer) problem() error {
	switch {
	case a.Status != "success":
		return errors.New(cmp.Or(a.Error, "no success"))
	case a.Data.Type != "vector":
		return fmt.Errorf("the query gives a %s and not series: compare with < or >", cmp.Or(a.Data.Type, "thing of no type"))
	}
	for _, w := range a.Warnings {
		if !strings.HasPrefix(w, "PromQL ") { // a remark on the query; any other means that some data was out of reach
			return fmt.Errorf("a part of its data is missing: %s", w)
		}
	}
	return nil
}

// series is the labels of one.
type series map[string]string

// String writes a series as Prometheus does.
func (s series) String() string {
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if name != "__name__" {
			labels = append(labels, fmt.Sprintf("%s=%q", name, s[name]))
		}
	}
	return s["__name__"] + "{" + strings.Join(labels, ", ") + "}"
}

// ours reports whether an alert is one of monitoring/: they tell of patching, and must not stop it.
func ours(alert string) bool {
	switch alert {
	case "OSPatchStale", "OSPatchOrchestrateFailed", "PatchRunMissed", "PatchRunStuck", "PatchRebootPending", "PatchHeldTooLong", "PatchHoldExpired",
		"PatchMessagesPending", "PatchMessagesDropped", "AnsiblePullStale", "PatchMonitoringBlind":
		return true
	}
	return false
}
