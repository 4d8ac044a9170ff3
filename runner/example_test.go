package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"homelab-patch-orchestrate/runner"
)

// here makes hosts of this machine: no ssh, no search for a Python.
var here = map[string]any{
	"ansible_connection":         "local",
	"ansible_python_interpreter": "{{ ansible_playbook_python }}",
}

// site writes a playbook into a folder of its own.
func site(playbook string) (dir string) {
	dir, err := os.MkdirTemp("", "example")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "site.yml"), []byte(playbook), 0o600)
	}
	if err != nil {
		panic(err)
	}
	return dir
}

// Run a playbook and print what happens. A host that failed is a result, not
// an error; so is one that was never seen.
func ExamplePlaybook_Run() {
	dir := site(`
- name: Deploy
  hosts: web1:web2
  gather_facts: false
  serial: 1
  tasks:
    - name: Look
      ansible.builtin.command: uname
      changed_when: false
    - name: Check the disk
      ansible.builtin.fail:
        msg: 3 MiB left on /var
      when: inventory_hostname == 'web2'
`)
	defer os.RemoveAll(dir)

	p := runner.Playbook{
		Dir: dir, Playbook: "site.yml", Inventory: []string{"web1,web2,web3,"}, // a file, as a rule
		Hosts: []string{"web1", "web2", "web3"},
		Vars:  here,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	result, err := p.Run(ctx, func(e runner.Event) {
		if e.Kind == runner.KindResult {
			fmt.Printf("%s: %s: %s\n", e.Host, e.Task, e.Status)
		}
	})
	if err != nil { // ansible-playbook could not do its work, or ctx ended
		fmt.Println(err)
	}
	for _, host := range p.Hosts {
		h := result.Hosts[host]
		fmt.Printf("%s: %s %q\n", host, h.Outcome, h.Msg)
	}
	// Output:
	// web1: Look: ok
	// web1: Check the disk: skipped
	// web2: Look: ok
	// web2: Check the disk: failed
	// web1: ok ""
	// web2: failed "3 MiB left on /var"
	// web3: not-attempted ""
}

// Ask every host something: a playbook of one task takes the place of
// `ansible all -m command`. What a module returned is in Data.
func ExamplePlaybook_Run_adHoc() {
	dir := site(`[{"hosts": "all", "gather_facts": false, "tasks": [{"command": "echo fine"}]}]`)
	defer os.RemoveAll(dir)

	p := runner.Playbook{
		Dir: dir, Playbook: "site.yml", Inventory: []string{"db1,"}, Hosts: []string{"db1"}, Vars: here,
	}
	_, err := p.Run(context.Background(), func(e runner.Event) {
		if e.Kind == runner.KindResult {
			var data struct{ Stdout string }
			json.Unmarshal(e.Data, &data)
			fmt.Println(e.Host, e.Status, data.Stdout)
		}
	})
	fmt.Println(err)
	// Output:
	// db1 changed fine
	// <nil>
}

// An engine that could not do its work is told from hosts that failed.
func ExampleEngineError() {
	p := runner.Playbook{
		Bin: "/opt/ansible/bin/ansible-playbook", Playbook: "site.yml", Inventory: []string{"hosts.yml"}, Hosts: []string{"web1"},
	}
	result, err := p.Run(context.Background(), nil)
	var engine *runner.EngineError
	fmt.Println(errors.As(err, &engine), errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist))
	fmt.Println(result.Hosts["web1"].Outcome)
	// Output:
	// true true
	// not-attempted
}

// Read the events of a run that was recorded by way of Playbook.Events.
func ExampleDecode() {
	recorded := `{"kind":"start","time":1794000000.5,"version":"2.19.11"}
{"kind":"result","time":1794000003.5,"task":"Upgrade","host":"db1","status":"failed","msg":"disk full","data":{"rc":100}}
{"kind":"stats","time":1794000003.6,"data":{"db1":{"ok":2,"failures":1}}}
`
	for e, err := range runner.Decode(strings.NewReader(recorded)) {
		if err != nil {
			fmt.Println(err)
			continue // the next line may be an event
		}
		switch e.Kind {
		case runner.KindResult:
			fmt.Println(e.Time.Format(time.TimeOnly), e.Host, e.Task, e.Status, e.Msg, string(e.Data))
		case runner.KindStats:
			fmt.Println("failed tasks of db1:", e.Stats["db1"].Failed)
		}
	}
	// Output:
	// 21:20:03 db1 Upgrade failed disk full {"rc":100}
	// failed tasks of db1: 1
}

// Read the document that ansible.posix.json printed.
func ExampleDecodeJSONCallback() {
	document := `{
    "custom_stats": {}, "global_custom_stats": {},
    "plays": [{
        "play": {"name": "Patch"},
        "tasks": [{
            "hosts": {"db1": {"action": "apt", "failed": true, "msg": "disk full"}},
            "task": {"name": "Upgrade", "path": "/srv/patch.yml:7"}
        }]
    }],
    "stats": {"db1": {"ok": 2, "failures": 1}}
}`
	for e, err := range runner.DecodeJSONCallback(strings.NewReader(document)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if e.Kind == runner.KindResult {
			fmt.Println(e.Play, e.Task, e.Path, e.Host, e.Status, e.Msg)
		}
	}
	// Output:
	// Patch Upgrade /srv/patch.yml:7 db1 failed disk full
}
