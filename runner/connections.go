package runner

import (
	"fmt"
	"os"
	"path/filepath"
)

// Connections are ssh masters for playbooks that run one after the other: a
// host is logged in to once, and not once a playbook. A master that has had
// nothing to do for a minute ends by itself.
//
//	c, err := runner.NewConnections()
//	…
//	defer c.Close()
//	p.Connections = c
type Connections struct {
	dir     string
	control string
	lock    *os.File
}

// NewConnections makes their folder, beside those of runs. Nothing is connected
// yet.
func NewConnections() (*Connections, error) {
	dir, lock, err := runDir()
	if err != nil {
		return nil, err
	}
	c := &Connections{dir: dir, control: filepath.Join(dir, "cp"), lock: lock}
	if err := os.Mkdir(c.control, 0o700); err != nil {
		c.Close()
		return nil, fmt.Errorf("folder for connections: %w", err)
	}
	return c, nil
}

// Close ends the masters and removes their folder. No playbook that uses them
// may be at work. Of a process that is killed, masters stay for their minute.
func (c *Connections) Close() {
	session{control: c.control}.end(false)
	os.RemoveAll(c.dir)
	c.lock.Close()
}
