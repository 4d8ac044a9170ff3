package runner

import (
	"path/filepath"
	"slices"
	"testing"
)

// Whatever Ansible loads code or secrets from is listed, however it is
// written; what cannot be resolved is listed as it stands.
func TestReads(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"ansible.cfg": "[defaults]\nroles_path = $MINE/roles:gone\nvault_identity_list = dev@vault.sh, ask@prompt\n" +
			"filter_plugins = {{ ANSIBLE_HOME }}/filters\nlookup_plugins = {{ unknown }}/x\nlibrary = modules\n",
		"home/filters/x": "", "roles/x": "", "vault.sh": "", "modules/x": "", "callbacks/x": "",
	})
	env := []string{"MINE=" + dir, "ANSIBLE_HOME=" + filepath.Join(dir, "home"), "ANSIBLE_CALLBACK_PLUGINS=callbacks"}
	got := Reads(dir, env)
	for _, want := range []string{"ansible.cfg", "roles", "vault.sh", "home/filters", "{{ unknown }}/x", "modules", "callbacks"} {
		if !slices.Contains(got, filepath.Join(dir, want)) {
			t.Errorf("%s is not in %q", want, got)
		}
	}
	for _, not := range []string{"", "gone", "prompt"} {
		if slices.Contains(got, filepath.Join(dir, not)) {
			t.Errorf("%q is in %q", not, got)
		}
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"ansible.cfg": "[defaults]\ninventory = a,gone,b\n", "a": "", "b": "", "c": ""})
	if got, want := Sources(dir, nil), []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := Sources(dir, []string{"ANSIBLE_INVENTORY=c"}), []string{filepath.Join(dir, "c")}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
