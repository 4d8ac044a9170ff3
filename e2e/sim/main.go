package sim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// CostVar names a file that gets a line for each process of the stand-in that came to its end: the CPU seconds that it
// took. So they can be told from those of who started it.
const CostVar = "SIM_COST"

// Main plays the program that it is called as, and returns what that exits with.
func Main(argv []string) (code int) {
	var err error
	switch name := filepath.Base(argv[0]); name {
	case "ansible-playbook":
		code, err = Playbook(argv[1:])
	case "ansible-inventory":
		err = Inventory()
	case "far-engine":
		err = Far(argv[1:])
	default:
		err = fmt.Errorf("call it ansible-playbook, ansible-inventory or far-engine, not %s", name)
	}
	if err = errors.Join(err, cost()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", argv[0], err)
		code = max(code, 1)
	}
	return code
}

func cost() error {
	path := os.Getenv(CostVar)
	if path == "" {
		return nil
	}
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return err
	}
	return note(path, fmt.Sprintf("%f\n", float64(ru.Utime.Nano()+ru.Stime.Nano())/1e9))
}

// note appends a line to a file that others may append to.
func note(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}
