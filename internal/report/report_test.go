package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	o "homelab-patch-orchestrate/orchestrator"
)

// schema is docs/report.schema.json.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("../../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill gives each field a value, so that no key is left out.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(began))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth)
		fill(value, depth)
		if v.Type().Key() == reflect.TypeFor[o.Outcome]() {
			key.SetString(string(o.Patched))
		}
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
}

// TestSchema holds what is printed against the published schema, which knows no key that is not in it: reports of every
// sort, one in which each field has a value, and one in which none has.
func TestSchema(t *testing.T) {
	s := schema(t)
	var whole Report
	fill(reflect.ValueOf(&whole).Elem(), 0)
	whole.ID, whole.State, whole.Kind, whole.Waves[0].State, whole.Waves[0].Hosts[0].Outcome, whole.Derived.Hosts[0].Tasks[0].Status =
		"20261122T030000Z-1a2b3c", o.Passed, o.Full, o.Passed, o.Patched, "ok"
	ctx := context.Background()
	resumed := with(fleet(5), func(r *o.Report) {
		r.Reboot, r.Resumed = &o.Reboot{Asked: at(520), Boot: "b"}, []time.Time{at(560)}
		r.Kind, r.Of, r.Project = o.Retry, "20261115T030000Z-1a2b3c", &o.Project{Path: "/srv", Hash: "x"}
	})
	running := with(fleet(5), func(r *o.Report) {
		r.State, r.ExitCode, r.Ended, r.Reason = o.Running, nil, time.Time{}, ""
		r.Waves[2].State, r.Waves[2].Started, r.Waves[2].Ended, r.Waves[2].Hosts[0].Outcome = o.Pending, time.Time{}, time.Time{}, ""
	})
	for name, r := range map[string]Report{
		"each field":  whole,
		"passed":      Of(ctx, fleet(5), record(t, fleet(5))),
		"halted":      Of(ctx, halted(22), record(t, halted(22))),
		"resumed":     Of(ctx, resumed, record(t, resumed)),
		"running":     Of(ctx, running, t.TempDir()),
		"never began": Of(ctx, o.Report{Version: 1, ID: "20261122T030000Z-1a2b3c", State: o.Failed, Kind: o.Check}, t.TempDir()),
	} {
		var text bytes.Buffer
		if err := r.JSON(&text); err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(&text)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		doc.(map[string]any)["password"] = "hush"
		if s.Validate(doc) == nil {
			t.Errorf("%s: the schema takes any key", name)
		}
	}
	// The other way round: each key of the schema is one that a full report has.
	var text bytes.Buffer
	if err := whole.JSON(&text); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("../../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range regexp.MustCompile(`"(\w+)": \{`).FindAllStringSubmatch(string(file), -1) {
		if words := []string{"properties", "items", "additionalProperties", "propertyNames", "state", "outcome", "host", "package", "wave", "span", "undone"}; !slices.Contains(words, key[1]) &&
			!strings.Contains(text.String(), fmt.Sprintf("%q:", key[1])) {
			t.Errorf("the schema has %q, and no report does", key[1])
		}
	}
}

func with(r o.Report, f func(*o.Report)) o.Report { f(&r); return r }

// TestTimes has the times of hosts from events: of waves, of nothing around them, and of what had no end.
func TestTimes(t *testing.T) {
	r := halted(22)
	got := Of(context.Background(), r, record(t, r))
	if got.Derived.Missing != "" || len(got.Derived.Hosts) != 22 {
		t.Fatalf("%q, %d hosts", got.Derived.Missing, len(got.Derived.Hosts))
	}
	first := got.Derived.Hosts[0]
	if len(first.Work) != 1 || !first.Work[0].Started.Equal(at(2)) || !first.Work[0].Ended.Equal(at(120)) || first.Seconds != 118 || len(first.Reboots) != 1 || len(first.Tasks) != 0 {
		t.Errorf("%+v", first)
	}
	failed := got.Derived.Hosts[3]
	if n := len(failed.Tasks); n != 3 || failed.Tasks[2].Status != "failed" || failed.Tasks[2].Message != r.Waves[1].Hosts[0].Message || len(failed.Reboots) != 0 {
		t.Errorf("%+v", failed)
	}
	if last := got.Derived.Hosts[21]; len(last.Work) != 0 || last.Seconds != 0 {
		t.Errorf("%+v", last)
	}
	if p := got.Derived.Pauses; len(p) != 1 || p[0].Wave != 0 || !p[0].Started.Equal(at(120)) || !p[0].Ended.Equal(at(202)) {
		t.Errorf("%+v", p)
	}

	read := func(lines ...string) Report {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/events.jsonl", []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return Of(context.Background(), with(halted(3), func(r *o.Report) { r.Waves[0].Hosts[0].Outcome = o.HostInterrupted }), dir)
	}
	event := func(kind string, second int, more string) string {
		return fmt.Sprintf(`{"kind":%q,"time":%d%s}`, kind, began.Unix()+int64(second), more)
	}
	const host = `,"host":"saltierpoop","id":"1","task":"x"`
	got = read(
		event("start", 1, `,"version":"2.14","labels":["homelab-patch","preflight"]`), event("begin", 2, host), event("result", 3, host+`,"status":"ok"`),
		event("start", 10, `,"version":"2.14","labels":["wave:0"]`), event("begin", 11, host), event("begin", 11, `,"host":"stranger","id":"1","task":"x"`), event("result", 40, `,"host":"stranger","id":"1","task":"x","status":"ok"`),
		event("start", 50, `,"version":"2.14","labels":["wave:0"]`), event("begin", 51, host), event("result", 55, host+`,"status":"ok"`), `{"kind":"resu`)
	if w := got.Derived.Hosts[0].Work; len(w) != 2 || !w[0].Started.Equal(at(11)) || !w[0].Ended.Equal(at(40)) || !w[1].Ended.Equal(at(55)) || got.Derived.Missing != "" {
		t.Errorf("%+v %q", w, got.Derived.Missing)
	}
	if got = read("x", "y", "z"); !strings.Contains(got.Derived.Missing, "could not be read: 3") {
		t.Errorf("missing: %q", got.Derived.Missing)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got = Of(ctx, fleet(120), record(t, fleet(120))); !strings.Contains(got.Derived.Missing, "too many") {
		t.Errorf("missing: %q", got.Derived.Missing)
	}
	if got = Of(context.Background(), fleet(3), t.TempDir()); !strings.Contains(got.Derived.Missing, "no events") {
		t.Errorf("missing: %q", got.Derived.Missing)
	}
}

// A page for 3,000 hosts, all well or all lost, is one that a phone opens.
func TestSize(t *testing.T) {
	lost := with(fleet(3000), func(r *o.Report) {
		code := o.ExitHalted
		r.State, r.ExitCode = o.Halted, &code
		for i := range r.Waves {
			for k := range r.Waves[i].Hosts {
				h := &r.Waves[i].Hosts[k]
				h.Outcome, h.Message = o.HostFailed, strings.Repeat("long words ", 180)
				h.Patch.Failure = &o.Failure{Reason: h.Message, Detail: strings.Repeat("a line of dpkg's that is rather long, as they are\n", 200)}
			}
		}
	})
	own := with(fleet(3000), func(r *o.Report) { // each host has packages of its own
		for k := range r.Waves[1].Hosts {
			for i := range 10 {
				r.Waves[1].Hosts[k].Patch.Packages = append(r.Waves[1].Hosts[k].Patch.Packages, o.Package{Name: fmt.Sprintf("own-%d-%d", k, i), From: "1", To: "2"})
			}
		}
	})
	for name, r := range map[string]o.Report{"well": fleet(3000), "lost": lost, "packages": own} {
		var page strings.Builder
		if err := Of(context.Background(), r, t.TempDir()).HTML(&page, time.UTC); err != nil {
			t.Fatal(err)
		}
		n := page.Len()
		if t.Logf("%s: %d bytes", name, n); n < 300_000 || n > 5_000_000 {
			t.Errorf("%s: the page has %d bytes", name, n)
		}
	}
}

// What a page says at its top, and the words of an index.
func TestWords(t *testing.T) {
	page := pageOf(t, halted(22))
	for _, want := range []string{`<header class="bad">`, "<h1>halted</h1>", "<b>17</b> patched", "took 5:30 min", "Fail with the reason", "schema 4 is newer than 3",
		"ansible.log", `aria-label="Its last tasks"`, "wave 0</option>", "infra-services"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "http://") || strings.Contains(page, "https://") || strings.Contains(page, "url(") {
		t.Error("the page has an address in it")
	}
	var md strings.Builder
	if err := Of(context.Background(), halted(22), record(t, halted(22))).Markdown(&md, time.UTC); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Patching of the whole fleet: halted", "**17** patched", "### node1000: failed, wave 1", "| infra-services | not-attempted | 2 |", "schema 4 is newer", "| failed-units | after wave 0 | 03:03:01 | yes |"} {
		if !strings.Contains(md.String(), want) {
			t.Errorf("the Markdown lacks %q:\n%s", want, md.String())
		}
	}
}
