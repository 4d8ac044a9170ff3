package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// words is what YAML, Python or Ansible may take for something else, or could.
var words = strings.Fields(`y n Y yes No on OFF true False null Null NULL nan inf e1 0x_ 0x1F 0b_ 0b1 0_ 0o7 012 089 1 1_0 1. 1.5 1e3 1.e-3 1e-3 1_.5
	_ __ _1 a a.b a-b a_b A.B-c_d localhost hosts children vars localhost.localdomain 10.0.0.1 1.2.3 2026-12-24 0.0.0 all1 ungrouped_ patching_waves web01`)

// random returns a fleet as text, and what Ansible has to make of it: made of the same dice, not of the same code.
func random(r *rand.Rand) (text string, want map[string][]string) {
	pick := func(prefix string, i int) string { // a name of its own for each i
		if i < len(words) && prefix == "" {
			return words[i]
		}
		return prefix + words[r.IntN(len(words))] + "-" + strconv.Itoa(i)
	}
	want = map[string][]string{}
	put := func(group, host string) { want["group "+group] = append(want["group "+group], host) }
	count, waves := 1+r.IntN(2*len(words)), 1+r.IntN(12)
	controller, taken := r.IntN(count), map[string]bool{}
	var b strings.Builder
	b.WriteString("hosts:\n")
	for _, i := range r.Perm(count) {
		name, wave := pick("", i), 2*r.IntN(waves)
		vars := []string{name, "false"} // as names of inventory_test.go: address, local, then the variables
		entry := []string{fmt.Sprintf("name: '%s'", name)}
		if i == controller {
			wave = 2*waves + 1
			entry = append(entry, "controller: true", "connection: local")
			vars[1] = "true"
			vars = append(vars, `ansible_connection="local"`)
			put(Controller, name)
		}
		place := strings.ToLower(strings.TrimSuffix(name, ".")) // to DNS, null and NULL are one
		if taken[place] || r.IntN(2) == 0 {
			vars[0] = []string{fmt.Sprintf("198.51.%d.%d", i/256, i%256), fmt.Sprintf("1:2:3:4:5:6:7:%d", i%10+10*i), fmt.Sprintf("fe80::%x%%eth0", i), pick("x", i)}[r.IntN(4)]
			entry = append(entry, fmt.Sprintf("address: '%s'", vars[0]))
			vars = append(vars, fmt.Sprintf("ansible_host=%q", vars[0]))
		} else {
			taken[place] = true
		}
		if r.IntN(3) == 0 {
			port := 1 + r.IntN(65535)
			entry = append(entry, fmt.Sprintf("port: %d", port))
			vars = append(vars, fmt.Sprintf("ansible_port=%d", port))
		}
		if r.IntN(2) == 0 {
			user := words[r.IntN(len(words))] + []string{"", "@EXAMPLE.NET", `\x`, "$", "+1"}[r.IntN(5)]
			entry = append(entry, fmt.Sprintf("user: '%s'", user))
			vars = append(vars, fmt.Sprintf("ansible_user=%q", user))
		}
		var groups []string
		for g := range r.IntN(4) {
			groups = append(groups, fmt.Sprintf("g%d_%d", g, r.IntN(3)))
			put(groups[g], name)
		}
		if len(groups) > 0 {
			entry = append(entry, "groups: ["+strings.Join(groups, ", ")+"]")
		}
		entry = append(entry, fmt.Sprintf("wave: %d", wave))
		r.Shuffle(len(entry), func(i, j int) { entry[i], entry[j] = entry[j], entry[i] })
		b.WriteString("  - {" + strings.Join(entry, ", ") + "}\n")
		put("all", name)
		put(Targets, name)
		put(WavePrefix+strconv.Itoa(wave), name)
		slices.Sort(vars[2:])
		want["host "+name] = vars
	}
	for name, members := range want {
		if strings.HasPrefix(name, "group ") {
			slices.Sort(members)
		}
	}
	return b.String(), want
}

// said is an inventory in the form of random.
func said(inv *Inventory) map[string][]string {
	all := map[string][]string{}
	for name, group := range inv.Groups {
		if len(group.Hosts) > 0 {
			all["group "+name] = group.Hosts
		}
	}
	for name, host := range inv.Hosts {
		var vars []string
		for key, raw := range host.Vars {
			vars = append(vars, key+"="+string(raw))
		}
		slices.Sort(vars)
		all["host "+name] = append([]string{host.Address(), fmt.Sprint(host.Local())}, vars...)
	}
	return all
}

// What a fleet file says is what the real ansible-inventory reads, host for host, group for group, variable for variable.
func TestAnsibleReadsWhatIsRendered(t *testing.T) {
	list := engine(t)
	fleets := 3
	if os.Getenv("E2E_FULL") == "1" {
		fleets = 300
	}
	seed := rand.Uint64()
	for i := range fleets {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			text, want := random(rand.New(rand.NewPCG(seed, uint64(i))))
			hosts := filepath.Join(t.TempDir(), "hosts.yml")
			file, err := ParseFile("fleet.yaml", []byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if err := os.WriteFile(hosts, file.Render(), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := list(hosts)
			cmd.Env = append(cmd.Env, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=1")
			var warnings bytes.Buffer
			cmd.Stderr = &warnings
			out, err := cmd.Output()
			if err != nil || warnings.Len() > 0 {
				t.Fatalf("%v: %s\n%s", err, warnings.String(), text)
			}
			got := said(parse(t, out))
			for name := range want {
				if !slices.Equal(got[name], want[name]) {
					t.Errorf("%s is %q, want %q (seed %d)", name, got[name], want[name], seed)
				}
			}
			for name := range got {
				if want[name] == nil {
					t.Errorf("%s is %q, and is not in the fleet file (seed %d)", name, got[name], seed)
				}
			}
		})
	}
}

// The same list gives the same bytes, whatever the order of keys and the layout; nothing but the list is in it.
func TestRenderIsDeterministic(t *testing.T) {
	first := fleetFile(t, small).Render()
	again := fleetFile(t, "hosts: [{wave: 0, groups: [canaries, web_servers], name: web, user: 'root', address: 192.0.2.11}, {controller: true, wave: 3, connection: local, name: control}]").Render()
	for range 20 { // a map has its order by chance
		if !bytes.Equal(first, again) {
			t.Fatalf("first\n%s\nthen\n%s", first, again)
		}
		again = fleetFile(t, small).Render()
	}
	if !Rendered(first) || Rendered([]byte(small)) || Rendered(nil) {
		t.Error("who wrote it is not seen")
	}
	if got := readBack(t, first); !reflect.DeepEqual(got, fleetFile(t, small).inventory()) {
		t.Errorf("read back as %+v", got)
	}
}

// readBack reads what Render writes, without variables and without Ansible.
func readBack(t *testing.T, text []byte) *Inventory {
	t.Helper()
	type group struct {
		Hosts    map[string]map[string]any
		Children map[string]*group
	}
	var doc map[string]*group
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	inv := &Inventory{Hosts: map[string]Host{}, Groups: map[string]Group{"all": {Name: "all"}, "ungrouped": {Name: "ungrouped"}}}
	for name := range doc["all"].Hosts {
		inv.Hosts[name] = Host{Name: name}
	}
	var read func(children map[string]*group) []string
	read = func(children map[string]*group) (all []string) {
		for name, g := range children {
			var hosts []string
			for host := range g.Hosts {
				hosts = append(hosts, host)
			}
			hosts = append(hosts, read(g.Children)...)
			slices.Sort(hosts)
			inv.Groups[name] = Group{Name: name, Hosts: hosts}
			all = append(all, hosts...)
		}
		return all
	}
	read(doc["all"].Children)
	return inv
}

// Whatever is in a fleet file: no panic; each error has a place and a way to mend it; what is accepted is a fleet, reads
// back as itself, and takes one more host without a byte lost.
func FuzzFleet(f *testing.F) {
	f.Add(small)
	f.Add("hosts: [&a {name: c, wave: 2, controller: true}, *a]\n")
	f.Add("hosts:\n-\n  name: 1_0\n  wave: 2\n# x\n  controller: true\n  groups: [a, b]\n...\n")
	f.Add("hosts:\n- {name: web, wave: -1, port: 99999, adress: x, groups: [all, all]}\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := ParseFile("fleet.yaml", []byte(text))
		if err != nil {
			for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
				var e *Error
				if !errors.As(one, &e) || e.File != "fleet.yaml" || e.Line < 1 || e.Hint == "" {
					t.Errorf("no place, or no way to mend it: %v", one)
				}
			}
			return
		}
		rendered := file.Render()
		if got, want := readBack(t, rendered), file.inventory(); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v is read back as %+v:\n%s", want, got, rendered)
		}
		fleet := file.Fleet()
		if last := fleet.Waves[len(fleet.Waves)-1]; !slices.Equal(last.Hosts, []string{fleet.Controller}) {
			t.Errorf("accepted %+v", fleet)
		}
		with, err := file.Add(Entry{Name: "one-more", Wave: fleet.Waves[0].Number, User: "root"})
		if err != nil {
			return
		}
		more := string(with.Text())
		for i := 0; ; i++ { // the old text with something put in at one place
			if i > len(text) {
				t.Errorf("%q became %q", text, more)
				break
			}
			if rest := strings.TrimPrefix(more, text[:i]); len(more) > len(text) && strings.HasSuffix(rest, text[i:]) && strings.HasPrefix(more, text[:i]) {
				break
			}
		}
		if len(with.Hosts) != len(file.Hosts)+1 {
			t.Errorf("%d hosts became %d", len(file.Hosts), len(with.Hosts))
		}
	})
}
