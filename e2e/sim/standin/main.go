// Standin plays ansible-playbook and ansible-inventory, whichever it is called: see package sim.
package main

import (
	"os"

	"homelab-patch-orchestrate/e2e/sim"
)

func main() { os.Exit(sim.Main(os.Args)) }
