package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// cost is what one command took.
type cost struct {
	cpu  float64 // seconds, user and system, of the process and of all it waited for
	wall float64 // seconds
	// files is how many it left in its folder, besides those of the hosts.
	files float64
	// hosts is what the hosts of a lab have consumed meanwhile, CPU seconds.
	hosts float64
}

// measure runs a command to its end. One that fails has no cost.
func measure(c *exec.Cmd) (cost, error) {
	var out bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &out
	}
	c.Stderr = &out
	start := time.Now()
	if err := c.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%s", c, err, out.Bytes())
	}
	wall := time.Since(start)
	cpu := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	return cost{cpu: cpu.Seconds(), wall: wall.Seconds()}, nil
}

// contestant is one way to do the work.
type contestant struct {
	name string
	// command does it once. dir is a new folder; what the work leaves in
	// dir/hosts is compared.
	command func(dir string) *exec.Cmd
}

// contest lets all do the work in each round, every time in another order, so
// that what else the machine does meets all of them. It returns the costs of
// each, by round.
func contest(tmp string, rounds int, all ...contestant) ([][]cost, error) {
	costs := make([][]cost, len(all))
	for round := range rounds {
		for i := range all {
			i = (i + round) % len(all)
			c, err := once(tmp, all[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[i].name, err)
			}
			progress("%d/%d %-42s %6.2f s of CPU, %6.2f s", round+1, rounds, all[i].name, c.cpu, c.wall)
			costs[i] = append(costs[i], c)
		}
	}
	return costs, nil
}

func once(tmp string, c contestant) (cost, error) {
	dir, err := os.MkdirTemp(tmp, "run")
	if err != nil {
		return cost{}, err
	}
	defer os.RemoveAll(dir)
	if err := os.Mkdir(filepath.Join(dir, "hosts"), 0o755); err != nil {
		return cost{}, err
	}
	took, err := measure(c.command(dir))
	if err != nil {
		return cost{}, err
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if path == filepath.Join(dir, "hosts") {
			return fs.SkipDir
		}
		if err == nil && entry.Type().IsRegular() {
			took.files++
		}
		return err
	})
	if err != nil {
		return cost{}, err
	}
	records, err := os.ReadDir(filepath.Join(dir, "hosts"))
	if want := len(slices.Concat(fleet...)); err == nil && len(records) != want {
		err = fmt.Errorf("the work was done on %d hosts of %d", len(records), want)
	}
	return took, err
}

// spread is the median of some figures, and the least and the greatest.
type spread struct{ median, low, high float64 }

func spreadOf(figures []float64) spread {
	s := slices.Sorted(slices.Values(figures))
	n := len(s)
	return spread{(s[(n-1)/2] + s[n/2]) / 2, s[0], s[n-1]}
}

// over divides the figures of one contestant by those of another, round by
// round.
func over(a, b []float64) spread {
	var ratios []float64
	for i := range a {
		ratios = append(ratios, a[i]/cmp.Or(b[i], 1e-9))
	}
	return spreadOf(ratios)
}

func cpu(costs []cost) (s []float64) {
	for _, c := range costs {
		s = append(s, c.cpu)
	}
	return s
}

func wall(costs []cost) (s []float64) {
	for _, c := range costs {
		s = append(s, c.wall)
	}
	return s
}
