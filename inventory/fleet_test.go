package inventory

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestFleet(t *testing.T) {
	for name, want := range map[string]Fleet{
		"homelab": {Controller: "infra-services", Waves: []Wave{
			{0, "patching_wave0", []string{"saltierpoop"}},
			{1, "patching_wave1", []string{"prox"}},
			{2, "patching_wave2", []string{"infra-services"}},
		}},
		"nested": {Controller: "control", Waves: []Wave{
			{1, "patching_wave1", []string{"web01", "web02", "web03"}},
			{9, "patching_wave9", []string{"db1", "db2", "db3", "db4"}},
			{10, "patching_wave10", []string{"control"}},
		}},
	} {
		fleet, err := parse(t, recorded(t, name)).Fleet()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(fleet, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, fleet, want)
		}
	}
}

// The caller may change what it got without changing the inventory.
func TestFleetIsACopy(t *testing.T) {
	inv := parse(t, recorded(t, "nested"))
	fleet, err := inv.Fleet()
	if err != nil {
		t.Fatal(err)
	}
	fleet.Waves[0].Hosts[0] = "changed"
	if got := inv.Groups["patching_wave1"].Hosts[0]; got != "web01" {
		t.Errorf("the group's first host is now %q", got)
	}
}

// want is a problem a fleet must be refused for.
type want struct{ host, group, problem string }

func TestFleetRefuses(t *testing.T) {
	const controller = `"patch_controller": {"hosts": ["c"]}, `
	for _, c := range []struct {
		name string
		json string
		want []want
	}{
		{"an inventory file that does not exist", string(recorded(t, "empty")), []want{
			{"", "patch_controller", "there is no controller"},
			{"", "patching_targets", "there are no hosts to patch"},
		}},
		{"a target in no wave",
			`{` + controller + `"patching_targets": {"hosts": ["a", "b", "c"]}, "patching_wave0": {"hosts": ["a"]}, "patching_wave1": {"hosts": ["c"]}}`,
			[]want{{"b", "patching_targets", "in no wave"}}},
		{"a target in two waves",
			`{` + controller + `"patching_targets": {"hosts": ["a", "c"]}, "patching_wave0": {"hosts": ["a"]}, "patching_wave1": {"hosts": ["a"]}, "patching_wave2": {"hosts": ["c"]}}`,
			[]want{{"a", "", "in more than one wave: patching_wave0, patching_wave1"}}},
		{"a host outside the targets",
			`{` + controller + `"patching_targets": {"hosts": ["c"]}, "patching_wave0": {"hosts": ["a"]}, "patching_wave1": {"hosts": ["c"]}}`,
			[]want{{"a", "patching_wave0", "not in patching_targets"}}},
		{"a controller with company",
			`{` + controller + `"patching_targets": {"children": ["patching_wave0"]}, "patching_wave0": {"hosts": ["c", "v", "w", "x", "y"]}}`,
			[]want{{"c", "patching_wave0", "shares the last wave with v, w, x and 1 more"}}},
		{"a controller too early",
			`{` + controller + `"patching_targets": {"hosts": ["a", "b", "c"]}, "patching_wave0": {"hosts": ["b", "c"]}, "patching_wave7": {"hosts": ["a"]}}`,
			[]want{{"c", "patching_wave0", "patched before patching_wave7"}}},
		{"a controller that is no target",
			`{` + controller + `"patching_targets": {"hosts": ["a"]}, "patching_wave0": {"hosts": ["a"]}}`,
			[]want{{"c", "patch_controller", "not in patching_targets"}}},
		{"two controllers",
			`{"patch_controller": {"hosts": ["d", "c"]}, "patching_targets": {"hosts": ["c", "d"]}, "patching_wave0": {"hosts": ["c"]}, "patching_wave1": {"hosts": ["d"]}}`,
			[]want{{"", "patch_controller", "more than one controller: c, d"}}},
		{"no controller",
			`{"patching_targets": {"hosts": ["a"]}, "patching_wave0": {"hosts": ["a"]}}`,
			[]want{{"", "patch_controller", "there is no controller"}}},
		{"no waves",
			`{` + controller + `"patching_targets": {"hosts": ["a", "c"]}}`,
			[]want{{"", "patching_targets", "none of its hosts is in a wave"}}},
		{"names that are almost waves",
			`{` + controller + `"patching_targets": {"hosts": ["c"]}, "patching_wave0": {"hosts": ["c"]}, "patching_wave": {}, "patching_waveX": {}, "patching_wave01": {}, "patching_wave-1": {}, "patching_wave+2": {}, "patching_wave99999999999999999999": {}}`,
			[]want{
				{"", "patching_wave", "not that of a wave"}, {"", "patching_wave+2", "not that of a wave"},
				{"", "patching_wave-1", "not that of a wave"}, {"", "patching_wave01", "not that of a wave"},
				{"", "patching_wave99999999999999999999", "not that of a wave"}, {"", "patching_waveX", "not that of a wave"}}},
		{"names that select other hosts",
			`{` + controller + `"patching_targets": {"children": ["patching_wave0", "patching_wave1"]}, "patching_wave1": {"hosts": ["c"]}, "patching_wave0": {"hosts": ["web*", "all", "!c", "a,c", "2001:db8::1", "a:c", "-oX", "patch_controller"]}}`,
			[]want{
				{"!c", "", "could select other hosts"}, {"-oX", "", "could select other hosts"},
				{"2001:db8::1", "", "could select other hosts"}, {"a,c", "", "could select other hosts"},
				{"a:c", "", "could select other hosts"}, {"all", "", "could select other hosts"},
				{"patch_controller", "", "could select other hosts"}, {"web*", "", "could select other hosts"}}},
		{"everything at once, in order",
			`{` + controller + `"patching_targets": {"hosts": ["z", "b", "c"]}, "patching_wave0": {"hosts": ["b", "stray"]}, "patching_wave1": {"hosts": ["b", "c"]}, "patching_waves": {}}`,
			[]want{
				{"", "patching_waves", "not that of a wave"},
				{"b", "", "in more than one wave"},
				{"c", "patching_wave1", "shares the last wave with b"},
				{"stray", "patching_wave0", "not in patching_targets"},
				{"z", "patching_targets", "in no wave"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fleet, err := parse(t, []byte(c.json)).Fleet()
			if !reflect.DeepEqual(fleet, Fleet{}) {
				t.Errorf("a refused fleet is not empty: %+v", fleet)
			}
			got := problems(t, err)
			if len(got) != len(c.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(got), len(c.want), err)
			}
			for i, w := range c.want {
				if got[i].Host != w.host || got[i].Group != w.group || !strings.Contains(got[i].Problem, w.problem) {
					t.Errorf("problem %d is %q, want host %q, group %q, %q", i, got[i], w.host, w.group, w.problem)
				}
				if got[i].Hint == "" {
					t.Errorf("problem %d has no hint: %v", i, got[i])
				}
			}
		})
	}
}

// problems takes a joined error apart.
func problems(t *testing.T, err error) (list []*Error) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v is not a joined error", err)
	}
	for _, one := range joined.Unwrap() {
		var problem *Error
		if !errors.As(one, &problem) {
			t.Fatalf("%v is no *Error", one)
		}
		list = append(list, problem)
	}
	return list
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  Error
		want string
	}{
		{Error{Host: "web", Group: "patching_wave0", Problem: "a problem", Hint: "a hint"}, "host web, group patching_wave0: a problem (a hint)"},
		{Error{Host: "web", Problem: "a problem"}, "host web: a problem"},
		{Error{Group: "g", Problem: "a problem"}, "group g: a problem"},
		{Error{Problem: "a problem"}, "a problem"},
		{Error{File: "fleet.yaml", Line: 3, Host: "web", Problem: "a problem"}, "fleet.yaml:3: host web: a problem"},
		{Error{File: "fleet.yaml", Problem: "a problem"}, "fleet.yaml: a problem"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("Error() = %q, want %q", got, c.want)
		}
	}
}
