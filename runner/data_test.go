package runner

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vaultedVar holds S3CRET-vault, encrypted with the password "pass".
const vaultedVar = `kept: !vault |
          $ANSIBLE_VAULT;1.1;AES256
          38333530653830306464613062316230333735386339613036393564386239373963303362376439
          3333306239326436316530666230333266626463616334300a323761323535653965363239663631
          62643233386464656138613462313865333637656630646334383236636639353665353863646235
          6237303131626135310a636333363161336536356133633266653264376663656461393263613237
          3761
`

// vaultedVars is a file "secret: S3CRET", encrypted with the same.
const vaultedVars = `$ANSIBLE_VAULT;1.1;AES256
34376261653335643333333066653739643534323833353938316137383934613862363230386430
6131386565316366336332643364333131346461666330370a633665373538333361616165353238
37363733663231336266333538636234366232306637386635333934356530663565323234613134
3536633665393830660a636461373538386232396635663438303736303330336664353837653430
3464
`

// TestData is about what tasks print: much of it, in long lines, not UTF-8,
// and what JSON has no words for.
func TestData(t *testing.T) {
	t.Parallel()
	r := localRun(t, playOf(`
- name: Binary
  ansible.builtin.raw: head -c 500000 /dev/urandom
- name: Long line
  ansible.builtin.command: python3 -c "print('x' * 400000)"
- name: Odd
  odd:
- name: Vaulted
  ansible.builtin.include_vars: vaulted.yml
- name: Separators
  ansible.builtin.debug:
    msg: "a\u2028b,\"data\":{}"`), map[string]string{
		"hosts": oneHost, "vaulted.yml": vaultedVar,
		"library/odd.py": `#!/usr/bin/python3
# WANT_JSON
deep = '[' * 100 + ']' * 100
print('{"changed": false, "nan": NaN, "inf": [-Infinity], "deep": ' + deep + '}')
`, "password": "pass"})
	// A password file that may be executed is executed.
	if err := os.Chmod(filepath.Join(r.Dir, "password"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Hosts = []string{"h1"}
	r.Env = append(r.Env, "ANSIBLE_VAULT_PASSWORD_FILE="+filepath.Join(r.Dir, "password"))
	r.do(t.Context(), t)
	if got := r.res.Hosts["h1"]; r.err != nil || got.Outcome != Changed || got.Stats.OK != 5 {
		t.Fatalf("%v %+v", r.err, got)
	}
	if e, _ := r.find(KindResult, "h1", "Binary"); e.Cut < MaxData || e.Data != nil || e.Status != StatusChanged {
		t.Errorf("500 kB of noise: %d bytes cut, %d kept, %s", e.Cut, len(e.Data), e.Status)
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
