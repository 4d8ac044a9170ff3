package orchestrator

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/inventory"
)

func number(n int) *int { return &n }

func TestPlan(t *testing.T) {
	got, err := NewPlan(parse(t, homelab), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Plan{
		Controller: "controller",
		Waves: []Wave{
			{Number: 0, Group: "patching_wave0", Hosts: []Host{{Name: "canary", Address: "canary"}}},
			{Number: 1, Group: "patching_wave1", Hosts: []Host{{Name: "db", Address: "db"}, {Name: "web", Address: "192.0.2.7", Optional: true}}},
			{Number: 2, Group: "patching_wave2", Hosts: []Host{{Name: "controller", Address: "controller", Local: true, Controller: true}}},
		},
		Unpatched: []Unpatched{{"printer", "not in patching_targets"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("plan:\n%+v\nwant:\n%+v", got, want)
	}
	if names := strings.Join(got.Waves[1].Names(), " "); names != "db web" {
		t.Errorf("names %q", names)
	}
}

func TestPlanNarrowed(t *testing.T) {
	for name, test := range map[string]struct {
		policy Policy
		hosts  string // those patched
		left   string // one of those unpatched, and why
		note   string
		kind   Kind
	}{
		"all":               {Policy{}, "canary db web controller", "printer: not in patching_targets", "", Full},
		"check":             {Policy{Check: true, Limit: []string{"db"}}, "db", "web: outside the limit", "", Check},
		"one host":          {Policy{Limit: []string{"web"}}, "web", "db: outside the limit", "", Narrowed},
		"stranger left out": {Policy{Limit: []string{"db", "printer"}}, "db", "printer: not in patching_targets", "host printer of the limit is not in patching_targets", Narrowed},
		"rollback":          {Policy{Rollback: true, Of: "20261122T040000Z-1a2b3c", Limit: []string{"web"}}, "web", "db: outside the limit", "", Rollback},
		"one wave":          {Policy{Wave: number(1)}, "db web", "canary: in wave 0, and only wave 1 was asked for", "", Narrowed},
		"wave zero":         {Policy{Wave: number(0)}, "canary", "db: in wave 1", "", Narrowed},
		"wave and limit":    {Policy{Wave: number(1), Limit: []string{"db", "canary"}}, "db", "canary: in wave 0", "", Narrowed},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := NewPlan(parse(t, homelab), test.policy)
			if err != nil {
				t.Fatal(err)
			}
			var names, left []string
			for _, w := range plan.Waves {
				names = append(names, w.Names()...)
			}
			for _, u := range plan.Unpatched {
				left = append(left, u.Name+": "+u.Reason)
			}
			if got := strings.Join(names, " "); got != test.hosts {
				t.Errorf("hosts %q, want %q", got, test.hosts)
			}
			if !strings.Contains(strings.Join(left, "\n"), test.left) {
				t.Errorf("unpatched %q lacks %q", left, test.left)
			}
			if got := strings.Join(plan.Notes, "\n"); !strings.Contains(got, test.note) || (test.note == "") != (got == "") {
				t.Errorf("notes %q, want %q", got, test.note)
			}
			if len(names)+len(left) != 5 {
				t.Errorf("%d hosts patched and %d not, of 5", len(names), len(left))
			}
			if kind := test.policy.Kind(); kind != test.kind {
				t.Errorf("kind %s, want %s", kind, test.kind)
			}
		})
	}
}

func TestPlanRefused(t *testing.T) {
	with := func(old, new string) string {
		if !strings.Contains(homelab, old) {
			t.Fatalf("%q is not in the inventory", old)
		}
		return strings.Replace(homelab, old, new, 1)
	}
	for name, test := range map[string]struct {
		list   string
		policy Policy
		words  []string
	}{
		"limit of strangers":   {homelab, Policy{Limit: []string{"printer", "toaster"}}, []string{"matches no host", "printer, toaster"}},
		"limit of nobody":      {homelab, Policy{Limit: []string{}}, []string{"the limit matches no host"}},
		"limit outside wave":   {homelab, Policy{Limit: []string{"db"}, Wave: number(0)}, []string{"matches no host of wave 0"}},
		"no such wave":         {homelab, Policy{Wave: number(7)}, []string{"there is no wave 7", "0, 1, 2"}},
		"negative wave":        {homelab, Policy{Wave: number(-1)}, []string{"there is no wave -1"}},
		"budget":               {homelab, Policy{Budget: -1}, []string{"the budget is -1"}},
		"soak":                 {homelab, Policy{Soak: -time.Second}, []string{"the soak is -1s"}},
		"deadline":             {homelab, Policy{WaveDeadline: -time.Second}, []string{"the deadline"}},
		"wave without a play":  {homelab, Policy{MaxWave: 1}, []string{"patching_wave2", "up to 1 only"}},
		"optional is a guess":  {with(`"patching_optional": true`, `"patching_optional": "perhaps"`), Policy{}, []string{"web", "patching_optional"}},
		"host in two waves":    {with(`"hosts": ["web", "db"]`, `"hosts": ["web", "db", "canary"]`), Policy{}, []string{"canary", "patching_wave0, patching_wave1"}},
		"empty inventory":      {`{}`, Policy{}, []string{"no hosts to patch"}},
		"name of a group, too": {with(`"patch_controller"`, `"web": {"hosts": ["printer", "web"]}, "patch_controller"`), Policy{Limit: []string{"db"}}, []string{"host web", "other hosts"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := NewPlan(parse(t, test.list), test.policy)
			if plan != nil {
				t.Errorf("got a plan: %+v", plan)
			}
			asError[*PlanError](t, err)
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error lacks %q: %v", word, err)
				}
			}
			if code := ExitCode(Report{}, err); code != ExitUsage {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// Every problem is named at once, and the causes can be told apart.
func TestPlanErrorHoldsAll(t *testing.T) {
	list := strings.Replace(homelab, `"patching_optional": true`, `"patching_optional": "perhaps"`, 1)
	_, err := NewPlan(parse(t, list), Policy{Budget: -1, MaxWave: 1})
	var cause *inventory.Error
	if !errors.As(err, &cause) {
		t.Errorf("no *inventory.Error in %v", err)
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != 3 {
		t.Errorf("%d problems, want 3:\n%v", lines, err)
	}
}

func TestList(t *testing.T) {
	if got := list(strings.Fields("a b c d e f g h")); got != "a, b, c, d, e, f, g, h" {
		t.Error(got)
	}
	if got := list(strings.Fields("a b c d e f g h i j")); got != "a, b, c, d, e, f, g, h and 2 more" {
		t.Error(got)
	}
}
