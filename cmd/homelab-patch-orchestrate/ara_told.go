package main

import (
	"fmt"
	"math"
	"time"

	"homelab-patch-orchestrate/ara"
)

// How long it takes until somebody is told how far a run is on record: first, and at most.
const (
	firstTold = 10 * time.Second
	lastTold  = time.Minute
)

// told tells from time to time how far a run is on record, until the function that it returns is called.
func (o *onRecord) told(run string) (end func()) {
	ended, over := make(chan struct{}), make(chan struct{})
	began, every := time.Now(), firstTold
	first, _ := ara.ReadStatus(o.dir(run))
	go func() { // ends with end
		defer close(over)
		for {
			select {
			case <-ended:
				return
			case <-time.After(every):
			}
			every = min(2*every, lastTold)
			now, err := ara.ReadStatus(o.dir(run))
			if err != nil || now.State != "waiting" {
				continue
			}
			text := fmt.Sprintf("run %s: %s on record", run, percent(now))
			if left := toGo(first, now, time.Since(began)); left != "" {
				text += ", about " + left + " to go"
			}
			o.out.note("%s", text)
		}
	}()
	return func() { close(ended); <-over }
}

// percent is how much of a run's events is on record.
func percent(s ara.Status) string {
	if s.Size == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%d %%", 100*s.Offset/s.Size)
}

// toGo is how long the rest takes if it goes on as it went since the first status; empty if that cannot be told.
func toGo(first, now ara.Status, took time.Duration) string {
	done, rest := now.Offset-first.Offset, now.Size-now.Offset
	if done <= 0 || rest <= 0 {
		return ""
	}
	left := took.Seconds() * float64(rest) / float64(done)
	if left < 100 {
		return fmt.Sprintf("%.0f s", math.Ceil(left))
	}
	return fmt.Sprintf("%.0f min", math.Ceil(left/60))
}
