package runner

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestData is about what tasks print: much of it, in long lines, not UTF-8,
// and what JSON has no words for.
func TestData(t *testing.T) {
	t.Parallel()
	need(t, "ansible-vault")
	r := localRun(t, playOf(`
- name: Binary
  ansible.builtin.command: head -c 2000000 /dev/urandom
- name: Long line
  ansible.builtin.command: python3 -c "print('x' * 400000)"
- name: Odd
  odd:
- name: Vaulted
  ansible.builtin.include_vars: vaulted.yml
- name: Separators
  ansible.builtin.debug:
    msg: "a\u2028b,\"data\":{}"`), map[string]string{
		"hosts": strings.Replace(localHosts, "h2\n", "", 1),
		"library/odd.py": `#!/usr/bin/python3
# WANT_JSON
deep = '[' * 300 + ']' * 300
print('{"changed": false, "nan": NaN, "inf": [-Infinity], "deep": ' + deep + '}')
`, "password": "pass"})
	// A password file that may be executed is executed.
	if err := os.Chmod(filepath.Join(r.Dir, "password"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("ansible-vault", "encrypt_string", "--vault-password-file", filepath.Join(r.Dir, "password"),
		"S3CRET-vault", "--name", "kept").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "vaulted.yml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	r.Hosts = []string{"h1"}
	r.Env = append(r.Env, "ANSIBLE_VAULT_PASSWORD_FILE="+filepath.Join(r.Dir, "password"))
	r.do(t.Context(), t)
	if got := r.res.Hosts["h1"]; r.err != nil || got.Outcome != Changed || got.Stats.OK != 5 {
		t.Fatalf("%v %+v", r.err, got)
	}
	if e, _ := r.find(KindResult, "h1", "Binary"); e.Cut < 2_000_000 || e.Data != nil || e.Status != StatusChanged {
		t.Errorf("2 MB: %d bytes cut, %d kept, %s", e.Cut, len(e.Data), e.Status)
	}
	var long struct{ Stdout string }
	e, _ := r.find(KindResult, "h1", "Long line")
	if err := json.Unmarshal(e.Data, &long); err != nil || len(long.Stdout) != 400_000 || e.Cut != 0 {
		t.Errorf("400 kB: %d bytes, %d cut, %v", len(long.Stdout), e.Cut, err)
	}
	var odd struct {
		NaN string
		Inf []string
	}
	e, _ = r.find(KindResult, "h1", "Odd")
	if err := json.Unmarshal(e.Data, &odd); err != nil || odd.NaN != "NaN" || odd.Inf[0] != "-Infinity" {
		t.Errorf("numbers that are none: %+v %v", odd, err)
	}
	if strings.Contains(r.raw.String(), "S3CRET") {
		t.Error("a vaulted value was decrypted")
	}
	// What was stored is the same again, but for what was cut.
	i := 0
	for e, err := range Decode(strings.NewReader(r.raw.String())) {
		if err != nil || e.Kind != r.events[i].Kind || e.Cut != r.events[i].Cut || string(e.Data) != string(r.events[i].Data) {
			t.Errorf("event %d: %v %+v", i, err, e.Kind)
		}
		i++
	}
	if i != len(r.events) {
		t.Errorf("%d events of %d", i, len(r.events))
	}
	for line := range strings.Lines(r.raw.String()) {
		if len(line) > maxHead+MaxData || !json.Valid([]byte(line)) {
			t.Errorf("a stored line of %d bytes, valid %t", len(line), json.Valid([]byte(line)))
		}
	}
}

// TestPlayShapes are the ways in which a play ends early or takes hosts apart.
func TestPlayShapes(t *testing.T) {
	t.Parallel()
	fail := "- name: Fail\n  ansible.builtin.fail: {msg: no}\n  when: inventory_hostname == 'h1'\n- name: After\n  ansible.builtin.command: echo\n"
	keys := func(site, keys string) string { return strings.Replace(site, "  tasks:", "  "+keys+"\n  tasks:", 1) }
	for name, c := range map[string]struct{ site, want string }{
		"free":               {keys(playOf(fail), "strategy: free"), "failed changed changed"},
		"host_pinned":        {keys(playOf(fail), "strategy: host_pinned"), "failed changed changed"},
		"serial and failure": {keys(playOf(fail), "serial: 1"), "failed not-attempted not-attempted"},
		"max_fail":           {keys(playOf(fail), "serial: 2\n  max_fail_percentage: 0"), "failed ok not-attempted"},
		"any_errors_fatal":   {keys(playOf(fail), "any_errors_fatal: true"), "failed ok ok"},
		"end_play":           {playOf("- ansible.builtin.command: echo\n- ansible.builtin.meta: end_play\n" + fail), "changed changed changed"},
		"end_host": {playOf("- ansible.builtin.command: echo\n- ansible.builtin.meta: end_host\n  when: inventory_hostname == 'h1'\n" + fail),
			"changed changed changed"},
		"an empty group": {strings.Replace(playOf(fail), "hosts: all", "hosts: nobody", 1), "not-attempted not-attempted not-attempted"},
		"one missing":    {strings.Replace(playOf("- ansible.builtin.command: echo"), "hosts: all", "hosts: h1:h3", 1), "changed not-attempted changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := localRun(t, c.site, map[string]string{"hosts": "h3\n" + localHosts})
			r.Hosts = []string{"h1", "h2", "h3"}
			if strings.Contains(c.site, "serial") { // in the order of the inventory
				if err := os.WriteFile(filepath.Join(r.Dir, "hosts"), []byte(strings.Replace(localHosts, "h2\n", "h2\nh3\n", 1)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r.do(t.Context(), t)
			got := string(r.res.Hosts["h1"].Outcome + " " + r.res.Hosts["h2"].Outcome + " " + r.res.Hosts["h3"].Outcome)
			if got != c.want || r.err != nil {
				t.Errorf("%s, %v; want %s", got, r.err, c.want)
			}
		})
	}
}
