// Package sim is a fleet that does not exist: a stand-in for ansible-playbook and ansible-inventory that says of any number
// of hosts, by way of the carried callback plugin's stream, what Ansible would say of real ones.
//
// What it does is scripted. A [Script] is a JSON file, named by SIM_SCRIPT in the environment:
//
//	{"hosts": 3000, "waves": 10, "tasks": 12, "bytes": 4000, "took": 2, "pace": 0,
//	 "faults": {"node00003": {"kind": "failed", "task": 4}, "node00007": {"kind": "stall", "task": 2, "seconds": 600}}}
//
// standin is the program: called ansible-playbook or ansible-inventory, in front of the real one in PATH. TestReal compares
// its stream with the real Ansible's. It is one play by the strategy linear, with tasks that end ok, changed, skipped,
// failed and unreachable; it knows no loops, handlers, blocks or delegation.
//
// [Engine] has such fleets patched by another process than the controller's: by standin, called far-engine.
package sim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// ScriptVar names the file of the script.
const ScriptVar = "SIM_SCRIPT"

// Script says what the fleet is like and what happens to it.
type Script struct {
	Hosts int `json:"hosts"` // of the inventory; the last one is the controller
	Waves int `json:"waves"` // of the inventory, of one size each, from 0; the controller is alone in the last. 2 or more
	Tasks int `json:"tasks"` // of a play; 3 or more: look, upgrade in parts, reboot, publish
	Bytes int `json:"bytes"` // of what a task prints, about; 0 is nothing
	// Packages is how many each host upgrades.
	Packages int     `json:"packages"`
	Forks    int     `json:"forks"` // hosts worked on at a time, where the command line does not say; 0 is 10
	Took     float64 `json:"took"`  // seconds that a task takes on a host
	Pace     float64 `json:"pace"`  // how much of the scripted time really passes; 0 is none of it: as fast as can be written
	// Faults is what goes wrong, by host. It goes wrong in what patches: not in a dry run, nor in what prepares or asks for
	// failed units.
	Faults map[string]Fault `json:"faults"`
	// Done, if not empty, is a file that gets a line for each task done on a host: its host, and its number. It may be relative
	// to where ansible-playbook is started.
	Done string `json:"done,omitempty"`
}

// Kind is a kind of fault.
type Kind string

// Kinds of faults.
const (
	Failed      Kind = "failed"      // the task fails
	Unreachable Kind = "unreachable" // ssh does not come through
	Flood       Kind = "flood"       // the task prints Bytes bytes
	Stall       Kind = "stall"       // nothing is heard of the host for Seconds; then it is unreachable
	Slow        Kind = "slow"        // the task takes Seconds
	Killed      Kind = "killed"      // ansible-playbook is killed in the middle of the task's result
	Wait        Kind = "wait"        // the task takes Seconds, and goes on as long as there is the file While
)

// Fault is what goes wrong on a host.
type Fault struct {
	Kind    Kind    `json:"kind"`
	Task    int     `json:"task"`            // from 1
	Seconds float64 `json:"seconds"`         // of Stall, Slow and Wait
	Bytes   int     `json:"bytes"`           // of Flood
	While   string  `json:"while,omitempty"` // of Wait
}

// Load reads the script that the environment names.
func Load() (Script, error) {
	var s Script
	text, err := os.ReadFile(os.Getenv(ScriptVar))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", ScriptVar, err)
	}
	return s, s.check()
}

func (s Script) check() error {
	if s.Hosts < s.Waves || s.Waves < 2 || s.Tasks < 3 {
		return fmt.Errorf("%s: %d hosts, %d waves, %d tasks: want a host a wave or more, 2 waves, 3 tasks", ScriptVar, s.Hosts, s.Waves, s.Tasks)
	}
	for host, f := range s.Faults {
		switch f.Kind {
		case Failed, Unreachable, Flood, Stall, Slow, Killed, Wait:
		default:
			return fmt.Errorf("%s: host %s: %q is no fault", ScriptVar, host, f.Kind)
		}
	}
	return nil
}

// Save writes the script to a file.
func (s Script) Save(path string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// Names are the hosts of the inventory.
func (s Script) Names() []string {
	names := make([]string, s.Hosts)
	for i := range names {
		names[i] = fmt.Sprintf("node%05d", i)
	}
	return names
}

// Wave are the hosts of a wave, from 0.
func (s Script) Wave(n int) []string {
	names := s.Names()
	last := len(names) - 1
	if n == s.Waves-1 {
		return names[last:]
	}
	return names[n*last/(s.Waves-1) : (n+1)*last/(s.Waves-1)]
}

// Break adds faults of all kinds that Ansible survives to a share of the hosts, the controller not: always the same ones.
func (s *Script) Break(share float64) {
	r := rand.New(rand.NewPCG(1, 2))
	s.Faults = map[string]Fault{}
	for _, host := range s.Names()[:s.Hosts-1] {
		if r.Float64() >= share {
			continue
		}
		f := Fault{Task: 1 + r.IntN(s.Tasks-2)}
		switch r.IntN(5) {
		case 0, 1:
			f.Kind = Failed
		case 2:
			f.Kind = Unreachable
		case 3:
			f.Kind, f.Bytes = Flood, 2<<20
		case 4:
			f.Kind, f.Seconds = Stall, 600
		}
		s.Faults[host] = f
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
