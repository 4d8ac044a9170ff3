package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// sizeLimit is far more than a file of ours needs, and keeps a wrong path from filling memory.
const sizeLimit = 4 << 20

// largest is the largest number in the file: as seconds it still fits a time.Duration, as a time it is in the year 2255.
const largest = 9e9

// Write replaces the file at path, for everyone to read whatever the umask. The new file is on the disk when it
// returns. On an error the old file is as it was, and nothing is left beside it. The folder must exist; otherwise the
// error is one that errors.Is fs.ErrNotExist.
func Write(path string, r Run) (err error) {
	dir := filepath.Dir(path)
	// The name must not end in .prom: node_exporter reads every file that does.
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write metrics: %w", err)
			tmp.Close() // A second Close is harmless.
			os.Remove(tmp.Name())
		}
	}()
	if err := r.Encode(tmp); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// Lock keeps other processes of ours from changing the file at path until unlock is called: for whoever reads it, changes
// something and writes it back. It locks the folder, so that nothing new is left in it. A process that does not let go
// is not waited for longer than ctx lasts.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("lock metrics: %w", err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			dir.Close()
			return nil, fmt.Errorf("lock metrics: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			dir.Close()
			return nil, fmt.Errorf("lock metrics: another process holds on to %s: %w", filepath.Dir(path), ctx.Err())
		}
	}
}

// syncDir makes a rename in the folder survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read returns what the file at path says; times are in UTC. A missing file is the zero Run and an error that errors.Is
// fs.ErrNotExist; anything that [Write] would not have written is the zero Run and another error.
func Read(path string) (Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return Run{}, fmt.Errorf("read metrics: %w", err)
	}
	defer f.Close()
	r, err := decode(f)
	if err != nil {
		return Run{}, fmt.Errorf("read metrics: %s: %w", path, err)
	}
	return r, nil
}

// decode reads a run in the text format.
func decode(from io.Reader) (Run, error) {
	limited := &io.LimitedReader{R: from, N: sizeLimit}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(limited)
	if err != nil {
		return Run{}, err
	}
	if limited.N == 0 {
		return Run{}, fmt.Errorf("it is larger than %d bytes", sizeLimit)
	}
	d := decoder{families: families, waves: map[int]*Wave{}}
	if families[prefix+"running"] == nil {
		return Run{}, fmt.Errorf("it has no %srunning", prefix)
	}
	r := Run{
		ExitCode:    int(d.number("last_exit_code")),
		LastRun:     instant(d.number("last_run_unixtime")),
		LastSuccess: instant(d.number("last_success_unixtime")),
		Duration:    duration(d.number("last_duration_seconds")),
		Running:     d.number("running") != 0,
		Held:        d.number("held") != 0,
	}
	d.each("hold_until_unixtime", func(labels map[string]string, value float64) {
		host, ofHost := labels["host"]
		switch {
		case value == 0 || ofHost != (len(labels) > 0):
			d.fail("hold_until_unixtime", "it is no end of a hold")
		case !ofHost:
			r.HoldUntil = instant(value)
		default:
			if r.HostHoldsUntil == nil {
				r.HostHoldsUntil = map[string]time.Time{}
			}
			r.HostHoldsUntil[host] = instant(value)
		}
	})
	d.each("build_info", func(labels map[string]string, _ float64) { r.Version = labels["version"] })
	for name, counts := range map[string]*map[string]int{"notifications_pending": &r.Pending, "notifications_dropped": &r.Dropped} {
		d.each(name, func(labels map[string]string, value float64) {
			if *counts == nil {
				*counts = map[string]int{}
			}
			(*counts)[labels["channel"]] = int(value)
		})
	}
	d.each("wave_hosts", func(labels map[string]string, value float64) {
		wave := d.wave(labels["wave"])
		if !slices.Contains(Outcomes(), labels["outcome"]) {
			d.fail("wave_hosts", "outcome %q is unknown", labels["outcome"])
		}
		if value != 0 {
			if wave.Hosts == nil {
				wave.Hosts = map[string]int{}
			}
			wave.Hosts[labels["outcome"]] = int(value)
		}
	})
	d.each("wave_duration_seconds", func(labels map[string]string, value float64) {
		d.wave(labels["wave"]).Duration = duration(value)
	})
	for _, wave := range d.waves {
		r.Waves = append(r.Waves, *wave)
	}
	slices.SortFunc(r.Waves, func(a, b Wave) int { return a.Number - b.Number })
	return r, d.err
}

// decoder takes families apart, and keeps the first error.
type decoder struct {
	families map[string]*dto.MetricFamily
	waves    map[int]*Wave
	err      error
}

// fail notes what is wrong with a family.
func (d *decoder) fail(name, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s%s: %s", prefix, name, fmt.Sprintf(format, args...))
	}
}

// each calls f with every sample of a family; families that are not there have none.
func (d *decoder) each(name string, f func(labels map[string]string, value float64)) {
	for _, m := range d.families[prefix+name].GetMetric() {
		value := m.GetGauge().GetValue()
		switch whole := !strings.HasSuffix(name, "_seconds"); {
		case m.Gauge == nil || m.TimestampMs != nil:
			d.fail(name, "it is not a gauge without a timestamp")
		case !(value >= 0 && value <= largest): // NaN is neither.
			d.fail(name, "%v is out of range", value)
		case whole && value != math.Trunc(value):
			d.fail(name, "%v is not a whole number", value)
		default:
			labels := map[string]string{}
			for _, label := range m.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			f(labels, value)
		}
	}
}

// number returns the only sample of a family, or 0.
func (d *decoder) number(name string) (only float64) {
	d.each(name, func(labels map[string]string, value float64) {
		if len(labels) > 0 {
			d.fail(name, "it has labels")
		}
		only = value
	})
	return only
}

// wave returns the wave a label names, made if it is new.
func (d *decoder) wave(label string) *Wave {
	n, err := strconv.Atoi(label)
	if err != nil || n < 0 || strconv.Itoa(n) != label {
		d.fail("wave_hosts", "wave %q is not a number", label)
	}
	if d.waves[n] == nil {
		d.waves[n] = &Wave{Number: n}
	}
	return d.waves[n]
}

// instant is the time of a Unix time; 0 is never.
func instant(unix float64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(int64(unix), 0).UTC()
}

// duration is that many seconds, to the millisecond.
func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds*1000)) * time.Millisecond
}
