package inventory

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite testdata/*/list.json with the installed ansible-inventory")

// recorded returns the recorded `ansible-inventory --list` of testdata/NAME/hosts.yml.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name, "list.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t testing.TB, data []byte) *Inventory {
	t.Helper()
	inv, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// engine is the real ansible-inventory, with no settings of this machine.
func engine(t *testing.T) (list func(source string) *exec.Cmd) {
	t.Helper()
	bin, err := exec.LookPath("ansible-inventory")
	if err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip("ansible-inventory is not installed")
	}
	config := filepath.Join(t.TempDir(), "ansible.cfg")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(source string) *exec.Cmd {
		cmd := exec.Command(bin, "-i", source, "--list")
		cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+config)
		return cmd
	}
}

// The recordings are what the installed engine prints, or the other tests test nothing.
func TestRecordingsAreReal(t *testing.T) {
	list := engine(t)
	cases, err := filepath.Glob("testdata/*/hosts.yml")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, source := range cases {
		name := filepath.Base(filepath.Dir(source))
		t.Run(name, func(t *testing.T) {
			out, err := list(source).Output()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name, "list.json")
			if *update {
				if err := os.WriteFile(file, out, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			// Versions differ in what they leave out of the JSON, not in what it says.
			if got, want := parse(t, out), parse(t, recorded(t, name)); !reflect.DeepEqual(names(got), names(want)) {
				t.Errorf("the engine says\n%v\nrecorded is\n%v", names(got), names(want))
			}
		})
	}
}

// names is an inventory without the raw form of its variables.
func names(inv *Inventory) map[string][]string {
	said := map[string][]string{}
	for name, group := range inv.Groups {
		if len(group.Hosts) > 0 {
			said["group "+name] = group.Hosts
		}
	}
	for name, host := range inv.Hosts {
		said["host "+name] = []string{host.Address(), fmt.Sprint(host.Local())}
		for v := range host.Vars {
			said["host "+name] = append(said["host "+name], v)
		}
		slices.Sort(said["host "+name])
	}
	return said
}

func TestParseNested(t *testing.T) {
	inv := parse(t, recorded(t, "nested"))
	if got, want := len(inv.Hosts), 10; got != want {
		t.Errorf("%d hosts, want %d", got, want)
	}
	databases := Group{Name: "databases", Hosts: []string{"db1", "db2", "db3", "db4"}, Children: []string{"postgres", "redis"}}
	if got := inv.Groups["databases"]; !reflect.DeepEqual(got, databases) {
		t.Errorf("databases = %+v, want %+v", got, databases)
	}
	if got := inv.Groups["all"].Hosts; len(got) != 10 || !slices.IsSorted(got) {
		t.Errorf("all = %v", got)
	}
	if got := inv.Groups["lonely"]; got.Name != "lonely" || got.Hosts != nil {
		t.Errorf("a group that is only named as a child = %+v", got)
	}
	if web := inv.Hosts["web02"]; web.Name != "web02" || web.Vars != nil {
		t.Errorf("a host without variables = %+v", web)
	}
}

func TestParseSurvivesALoop(t *testing.T) {
	inv := parse(t, []byte(`{"a": {"children": ["b"], "hosts": ["x"]}, "b": {"children": ["a"], "hosts": ["y"]}}`))
	for _, group := range []string{"a", "b"} {
		if got := inv.Groups[group].Hosts; !slices.Equal(got, []string{"x", "y"}) {
			t.Errorf("group %s = %v", group, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"nothing", ``, "there is no output"},
		{"null", `null`, "not a JSON object"},
		{"a list", `[]`, "not a JSON object"},
		{"text", `ERROR! no such file`, "invalid character"},
		{"half of it", `{"all": {"hosts": ["a"`, "unexpected EOF"},
		{"two documents", `{} {}`, "after the JSON object"},
		{"rubbish behind", `{} x`, "after the JSON object"},
		{"a group that is a list", `{"web": ["a"]}`, `group "web"`},
		{"hosts as an object", `{"web": {"hosts": {"a": {}}}}`, `group "web"`},
		{"hostvars as a list", `{"_meta": {"hostvars": ["hunter2"]}}`, "_meta.hostvars"},
		{"escape in a host", `{"web": {"hosts": ["a\u001b[2J"]}}`, `host "a\x1b[2J"`},
		{"newline in a host with variables", `{"_meta": {"hostvars": {"a\nb": {}}}}`, `host "a\nb"`},
		{"escape in a group", `{"w\u0007": {}}`, `group "w\a"`},
		{"text direction in a child", `{"web": {"children": ["a\u202eb"]}}`, "cannot be printed"},
		{"not UTF-8", "{\"web\": {\"hosts\": [\"a\xff\"]}}", "cannot be printed"},
		{"no name", `{"web": {"hosts": [""]}}`, "without a name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv, err := Parse([]byte(c.data))
			if inv != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Parse = %v, %v; want an error with %q", inv, err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error prints a value: %v", err)
			}
		})
	}
}

func TestHostVariables(t *testing.T) {
	inv := parse(t, recorded(t, "nested"))
	if got := inv.Hosts["fe80--1"].Address(); got != "2001:db8::1" {
		t.Errorf("Address = %q", got)
	}
	if got := inv.Hosts["db1"].Address(); got != "db1" {
		t.Errorf("Address without ansible_host = %q", got)
	}
	if !inv.Hosts["control"].Local() || inv.Hosts["db1"].Local() {
		t.Error("only control is local")
	}
	if text, ok := inv.Hosts["db3"].Text("note"); text != "100%" || !ok {
		t.Errorf("text marked !unsafe = %q, %v", text, ok)
	}
	if text, ok := inv.Hosts["db3"].Text("big"); text != "" || ok {
		t.Errorf("a number as text = %q, %v", text, ok)
	}
	if text, ok := (Host{Vars: map[string]json.RawMessage{"x": []byte("{")}}).Text("x"); text != "" || ok {
		t.Errorf("broken JSON as text = %q, %v", text, ok)
	}
	for host, want := range map[string]bool{"db1": true, "db2": true, "db3": false, "web01": false} {
		if got, err := inv.Hosts[host].Bool("patching_optional"); got != want || err != nil {
			t.Errorf("%s: Bool = %v, %v; want %v", host, got, err, want)
		}
	}
	_, err := inv.Hosts["db4"].Bool("patching_optional")
	var problem *Error
	if !errors.As(err, &problem) || problem.Host != "db4" || !strings.Contains(problem.Problem, "patching_optional") {
		t.Errorf("a template as a boolean: %v", err)
	}
}

// The words are those of Ansible 2.14, lib/ansible/module_utils/parsing/convert_bool.py.
func TestBoolWords(t *testing.T) {
	for raw, want := range map[string]string{
		`true`: "true", `"yes"`: "true", `"ON"`: "true", `" True "`: "true", `"y"`: "true", `"t"`: "true", `1`: "true", `"1"`: "true", `1.0`: "true",
		`false`: "false", `"no"`: "false", `"Off"`: "false", `"f"`: "false", `"n"`: "false", `0`: "false", `"0"`: "false",
		`null`: "error", `""`: "error", `2`: "error", `-1`: "error", `"maybe"`: "error", `[]`: "error", `{"__ansible_vault": "x"}`: "error",
		`{"__ansible_unsafe": "yes"}`: "true",
	} {
		got, err := Host{Name: "h", Vars: map[string]json.RawMessage{"v": []byte(raw)}}.Bool("v")
		if said := fmt.Sprint(got); (err != nil) != (want == "error") || (err == nil && said != want) {
			t.Errorf("%s = %v, %v; want %s", raw, got, err, want)
		}
	}
}

func TestPrintingAHostHidesVariables(t *testing.T) {
	host := Host{Name: "web", Vars: map[string]json.RawMessage{"ansible_password": []byte(`"hunter2"`)}}
	inv := &Inventory{Hosts: map[string]Host{"web": host}}
	printed := fmt.Sprintf("%v %+v %s %#v %v %+v %#v", host, host, host, host, inv.Hosts, *inv, *inv)
	encoded, err := json.Marshal(inv)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", "104 117 110", "0x68, 0x75", "ansible_password"} {
		if strings.Contains(printed+string(encoded), secret) {
			t.Errorf("printed: %s\nencoded: %s", printed, encoded)
		}
	}
}

// large is an inventory of n hosts with group variables as Ansible merges them into each host.
func large(n int) []byte {
	vars, groups := map[string]any{}, map[string]any{}
	waves := make([][]string, 10)
	for i := range n {
		name := fmt.Sprintf("host%04d", i)
		values := map[string]any{"ansible_host": fmt.Sprintf("10.0.%d.%d", i/256, i%256)}
		for v := range 40 {
			values[fmt.Sprintf("variable_%d", v)] = []string{"one", "two", "three"}
		}
		vars[name] = values
		waves[i%9] = append(waves[i%9], name)
	}
	waves[9] = []string{"control"}
	var children []string
	for i, hosts := range waves {
		group := fmt.Sprintf("patching_wave%d", i)
		groups[group] = map[string]any{"hosts": hosts}
		children = append(children, group)
	}
	groups["patching_targets"] = map[string]any{"children": children}
	groups["patch_controller"] = map[string]any{"hosts": []string{"control"}}
	groups["_meta"] = map[string]any{"hostvars": vars}
	data, err := json.Marshal(groups)
	if err != nil {
		panic(err)
	}
	return data
}

func TestThreeThousandHosts(t *testing.T) {
	data := large(3000)
	begin := time.Now()
	fleet, err := parse(t, data).Fleet()
	if err != nil {
		t.Fatal(err)
	}
	if len(fleet.Waves) != 10 || len(fleet.Waves[0].Hosts) != 334 {
		t.Errorf("%d waves, %d hosts in the first", len(fleet.Waves), len(fleet.Waves[0].Hosts))
	}
	// About 0.1 s; with the race detector on a busy machine ten times that. A quadratic walk takes minutes.
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("%d bytes took %v", len(data), took)
	}
}

func BenchmarkParse(b *testing.B) {
	data := large(3000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		parse(b, data)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"homelab", "nested", "empty"} {
		f.Add(recorded(f, name))
	}
	f.Add([]byte(`{"a": {"children": ["a"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := Parse(data)
		if err != nil {
			return
		}
		all := inv.Groups["all"].Hosts
		if len(all) != len(inv.Hosts) {
			t.Errorf("group all has %d hosts, the inventory %d", len(all), len(inv.Hosts))
		}
		for name, group := range inv.Groups {
			for _, host := range group.Hosts {
				if inv.Hosts[host].Name != host {
					t.Errorf("group %q has %q, which is no host", name, host)
				}
			}
		}
		fleet, err := inv.Fleet()
		if err != nil {
			var problem *Error
			if !errors.As(err, &problem) {
				t.Errorf("%v is no *Error", err)
			}
			return
		}
		patched := 0
		for i, wave := range fleet.Waves {
			patched += len(wave.Hosts)
			if i > 0 && fleet.Waves[i-1].Number >= wave.Number {
				t.Errorf("waves out of order: %v", fleet.Waves)
			}
		}
		last := fleet.Waves[len(fleet.Waves)-1]
		if patched != len(inv.Groups[Targets].Hosts) || !slices.Equal(last.Hosts, []string{fleet.Controller}) {
			t.Errorf("accepted %+v", fleet)
		}
	})
}
