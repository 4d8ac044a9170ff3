package orchestrator

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func someVersions() *Versions {
	return &Versions{ID: "20261122T040000Z-1a2b3c", Made: time.Now().UTC(), Hosts: []HostVersions{
		{Name: "canary", Suite: "bookworm", Architecture: "amd64", Packages: []Package{{Name: "libc6:i386", From: "2.36-9", To: "1:2.36~rc1-9+deb12u1"}}},
		{Name: "db", Problem: "it was off"}, {Name: "web", Packages: []Package{}}, {Name: "controller", Packages: []Package{{Name: "old", From: "1"}}},
	}}
}

func TestVersionsFile(t *testing.T) {
	v := someVersions()
	data, err := v.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeVersions(data)
	if err != nil || encode(t, again) != encode(t, v) {
		t.Errorf("%v: %s", err, encode(t, again))
	}
	if again.Hosts[1].Packages != nil || again.Hosts[2].Packages == nil {
		t.Errorf("nothing to do and nothing known are the same: %+v", again.Hosts)
	}
	reseal := func(change func(*Versions)) []byte {
		v := someVersions()
		change(v)
		data, _ := v.Encode()
		return data
	}
	for name, c := range map[string]struct {
		data  []byte
		words string
	}{
		"empty":           {nil, "damaged"},
		"cut":             {data[:len(data)/2], "damaged"},
		"a report":        {[]byte(`{"id":"x"}`), "no version"},
		"newer":           {bytes.Replace(data, []byte(`{"version":1`), []byte(`{"version":2`), 1), "use the newer program"},
		"edited":          {bytes.Replace(data, []byte("deb12u1"), []byte("deb12u2"), 1), "changed by hand"},
		"no id":           {reseal(func(v *Versions) { v.ID = "../../etc" }), "no id of a run"},
		"template":        {reseal(func(v *Versions) { v.Hosts[0].Packages[0].To = "{{ lookup('pipe', 'id') }}" }), "no package"},
		"name":            {reseal(func(v *Versions) { v.Hosts[0].Packages[0].Name = "a b" }), "no package"},
		"suite of a host": {reseal(func(v *Versions) { v.Hosts[0].Suite = "{%" }), "suite"},
	} {
		if _, err := DecodeVersions(c.data); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzVersions: whatever is in a file, what is believed of it may go into variables of Ansible.
func FuzzVersions(f *testing.F) {
	data, _ := someVersions().Encode()
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := DecodeVersions(data)
		if err != nil {
			return
		}
		vars, err := json.Marshal(v.Vars([]string{"canary", "db"}, "x"))
		if err != nil || strings.Contains(strings.ReplaceAll(string(vars), `{"`, ""), "{%") {
			t.Errorf("%s: %v", vars, err)
		}
	})
}

func TestVersionsFit(t *testing.T) {
	plan, err := NewPlan(parse(t, homelab), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Versions)
		words  string
	}{
		"fits":        {func(*Versions) {}, ""},
		"old":         {func(v *Versions) { v.Made = v.Made.AddDate(0, 0, -9) }, "9 days old"},
		"tomorrow":    {func(v *Versions) { v.Made = v.Made.AddDate(0, 0, 1) }, "has yet to come"},
		"other hosts": {func(v *Versions) { v.Hosts[0].Name = "elsewhere" }, "not for canary"},
		"one more":    {func(v *Versions) { v.Hosts = append(v.Hosts, HostVersions{Name: "gone"}) }, "for gone, which the inventory does not have"},
	} {
		v := someVersions()
		c.change(v)
		err := v.Fits(plan, time.Now())
		if (err == nil) != (c.words == "") || err != nil && (!strings.Contains(err.Error(), c.words) || ExitCode(Report{}, err) != ExitUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Narrowed, a plan may have more hosts.
	plan, err = NewPlan(parse(t, homelab), Policy{Limit: []string{"web"}})
	if err != nil || someVersions().Fits(plan, time.Now()) != nil {
		t.Error(err, someVersions().Fits(plan, time.Now()))
	}
}

// What a host says it would get goes back to Ansible as variables, and so must be no template.
func TestPlannedTrustsNoHost(t *testing.T) {
	for _, p := range []Package{{Name: "a", To: "{{ 1 }}"}, {Name: "{{ 1 }}", To: "1"}, {Name: "a", To: "1\n"}, {Name: "-o", To: "1"}} {
		if h := planned("web", &Patch{Packages: []Package{p}}); h.Packages != nil || h.Problem == "" {
			t.Errorf("%+v was taken: %+v", p, h)
		}
	}
}
