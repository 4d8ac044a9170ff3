package runner_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"homelab-patch-orchestrate/runner"
)

// A host that failed is a result, not an error; so is one that was never seen.
func ExamplePlaybook_Run() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	// This stands for ansible-playbook where none is installed.
	engine := filepath.Join(dir, "engine")
	os.WriteFile(engine, []byte(`#!/bin/sh
echo '{"kind":"start","version":"2.14.18"}' >&3
echo '{"kind":"begin","host":"web1","id":"1","task":"Upgrade"}' >&3
echo '{"kind":"result","host":"web1","id":"1","task":"Upgrade","status":"failed","msg":"disk full"}' >&3
echo '{"kind":"stats","data":{"web1":{"failures":1}}}' >&3
exit 2
`), 0o700)

	p := runner.Playbook{
		Dir: dir, Bin: engine, Playbook: "site.yml",
		Inventory: []string{"hosts.yml"}, Hosts: []string{"web1", "web2"},
	}
	result, err := p.Run(context.Background(), func(e runner.Event) {
		if e.Kind == runner.KindResult {
			fmt.Println(e.Host, e.Task, e.Status)
		}
	})
	fmt.Println("error:", err)
	for _, host := range p.Hosts {
		fmt.Println(host, result.Hosts[host].Outcome, result.Hosts[host].Msg)
	}
	// Output:
	// web1 Upgrade failed
	// error: <nil>
	// web1 failed disk full
	// web2 not-attempted
}
