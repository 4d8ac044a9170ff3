package runner

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// configScript asks Ansible's own code what each case of the table means: the
// file it finds, what that file says, and what it says with the environment
// that is added for a run.
const configScript = `
import json, os, sys
from ansible.config.manager import ConfigManager, find_ini_config_file
answers = []
base = dict(os.environ)
for case in json.load(sys.stdin):
    os.environ.clear(); os.environ.update(base)
    os.chdir(case['dir'])
    os.environ.update(case['env'])
    path = find_ini_config_file(set())
    a = {'file': path or ''}
    try:
        c = ConfigManager(path)
        a['callbacks'], origin = c.get_config_value_and_origin('DEFAULT_CALLBACK_PLUGIN_PATH')
        if origin == 'default':  # a template, which this class leaves as it is
            a['callbacks'] = [c.get_config_value('ANSIBLE_HOME') + '/plugins/callback', '/usr/share/ansible/plugins/callback']
        a['key'] = c.get_config_value('DEFAULT_PRIVATE_KEY_FILE') or ''
        a['pipelining'] = c.get_config_value('ANSIBLE_PIPELINING')
        os.environ['ANSIBLE_CALLBACK_PLUGINS'] = case['ours']
        a['again'] = c.get_config_value('DEFAULT_CALLBACK_PLUGIN_PATH')
    except Exception as e:
        a['refused'] = str(e)
    answers.append(a)
print(json.dumps(answers))
`

// TestSettings compares the reader of ansible.cfg with Ansible's own.
func TestSettings(t *testing.T) {
	t.Parallel()
	need(t, "ansible-playbook", "/usr/bin/python3")
	if err := exec.Command("/usr/bin/python3", "-c", "import ansible").Run(); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal("ansible-core is not a package of /usr/bin/python3")
		}
		t.Skip("ansible-core is not a package of /usr/bin/python3")
	}
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".ansible.cfg"), []byte("[defaults]\nprivate_key_file = ~/home\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type question struct {
		Dir  string            `json:"dir"`
		Env  map[string]string `json:"env"`
		Ours string            `json:"ours"`
	}
	cases := []struct {
		name, cfg string
		env       map[string]string
		mode      os.FileMode
	}{
		{name: "nothing", cfg: ""},
		{name: "empty sections", cfg: "[defaults]\n[ssh_connection]\n"},
		{name: "plain", cfg: "[defaults]\ncallback_plugins = mine\nprivate_key_file = keys/id\npipelining = False\n"},
		{name: "several paths", cfg: "[defaults]\ncallback_plugins: /a:b:~/c:$HOME/d\n"},
		{name: "continued", cfg: "[defaults]\ncallbacks_enabled = a,\n   callback_plugins = no\n  # a comment\n\n\tprivate_key_file = no\ncallback_plugins = yes\n"},
		{name: "comments", cfg: "# x\n; y\n[defaults] ; z\ncallback_plugins = a ; b\nprivate_key_file = /k;no\t; c\n#pipelining = True\n"},
		{name: "percent", cfg: "[defaults]\nprivate_key_file = /a%(b)s/%d\n"},
		{name: "case", cfg: "[defaults]\nPrivate_Key_File = /K\n[Defaults]\ncallback_plugins = no\n"},
		{name: "carriage returns", cfg: "[defaults]\r\ncallback_plugins = a\r\nprivate_key_file = /k\r\n"},
		{name: "indented", cfg: "  [defaults]\n  callback_plugins = a\n  private_key_file = /k\n"},
		{name: "pipelining elsewhere", cfg: "[connection]\npipelining = yes\n"},
		{name: "home", cfg: "[defaults]\nhome = /h\n"},
		{name: "home in env", cfg: "[defaults]\nhome = /h\n", env: map[string]string{"ANSIBLE_HOME": "/e"}},
		{name: "cwd", cfg: "[defaults]\ncallback_plugins = {{CWD}}/a\n"},
		{name: "path in env", cfg: "[defaults]\ncallback_plugins = a\n", env: map[string]string{"ANSIBLE_CALLBACK_PLUGINS": "b:/c"}},
		{name: "file elsewhere", cfg: "[defaults]\n", env: map[string]string{"ANSIBLE_CONFIG": "other.cfg"}},
		{name: "folder elsewhere", cfg: "[defaults]\n", env: map[string]string{"ANSIBLE_CONFIG": "$SUB/folder", "SUB": "."}},
		{name: "gone elsewhere", cfg: "[defaults]\nprivate_key_file = /k\n", env: map[string]string{"ANSIBLE_CONFIG": "/gone"}},
		{name: "open to all", cfg: "[defaults]\nprivate_key_file = /k\n", mode: 0o777},
		{name: "mark of bytes", cfg: "\ufeff[defaults]\nprivate_key_file = /k\n"},
		{name: "no section", cfg: "private_key_file = /k\n"},
		{name: "no value", cfg: "[defaults]\nprivate_key_file\n"},
	}
	var ask []question
	var read []settings
	for _, c := range cases {
		dir := project(t, map[string]string{
			"ansible.cfg": c.cfg, "other.cfg": "[defaults]\ncallback_plugins = other\n",
			"folder/ansible.cfg": "[defaults]\ncallback_plugins = folder\n",
		})
		if c.mode != 0 {
			if err := os.Chmod(dir, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		env := []string{"HOME=" + home}
		set := map[string]string{"HOME": home}
		for k, v := range c.env {
			env, set[k] = append(env, k+"="+v), v
		}
		s := readSettings(dir, env)
		read = append(read, s)
		ask = append(ask, question{dir, set, s.callbackPath()})
	}
	text, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", configScript)
	cmd.Stdin = strings.NewReader(string(text))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []struct {
		File, Key, Refused string
		Callbacks, Again   []string
		Pipelining         bool
	}
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	refused := 0
	for i, c := range cases {
		a, s := answers[i], read[i]
		if a.File != s.file {
			t.Errorf("%s: file %q, Ansible finds %q", c.name, s.file, a.File)
		}
		if a.Refused != "" { // then it runs nothing, whatever is read here
			refused++
			continue
		}
		if got, want := strings.Join(a.Again, " "), strings.Join(a.Callbacks, " "); got != want {
			t.Errorf("%s: callback path %q, Ansible's is %q", c.name, got, want)
		}
		if _, said := s.says("defaults.private_key_file"); said != (a.Key != "") {
			t.Errorf("%s: key said %t, Ansible has %q", c.name, said, a.Key)
		}
		if v, said := s.says("defaults.pipelining", "connection.pipelining"); a.Pipelining && (!said || v != "yes") {
			t.Errorf("%s: pipelining %q", c.name, v)
		}
	}
	if refused != 3 {
		t.Errorf("Ansible refuses %d of the files, not 3", refused)
	}
}

func TestForks(t *testing.T) {
	for hosts, want := range map[int]string{1: "ANSIBLE_FORKS=10", 20: "ANSIBLE_FORKS=20", 400: "ANSIBLE_FORKS=25"} {
		if got := (settings{}).environ("p", "c", "", hosts); !slices.Contains(got, want) {
			t.Errorf("%d hosts: %q, want %s", hosts, got, want)
		}
	}
	theirs := settings{ini: map[string]string{"defaults.forks": "3"}}.environ("p", "c", "", 400)
	if slices.ContainsFunc(theirs, func(s string) bool { return strings.HasPrefix(s, "ANSIBLE_FORKS=") }) {
		t.Errorf("the operator's forks are overruled: %q", theirs)
	}
}
