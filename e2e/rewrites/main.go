// Rewrites writes patch_orchestrate.prom over and over under a node_exporter that it scrapes all the while, and looks
// whether a scrape ever sees less than a whole file. It runs on a host of the lab, for TestTextfileRewrites.
//
//	rewrites -n 10000 -dir /var/lib/prometheus/node-exporter [COMMAND...]
//
// COMMAND rewrites patch.prom meanwhile. Both writers put one number into several places of their file; a scrape that
// finds two numbers saw two files. Each has written its file once before.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"homelab-patch-orchestrate/metrics"
)

// Result is what the test reads.
type Result struct {
	Rewrites int      `json:"rewrites"`
	Scrapes  int      `json:"scrapes"`
	Numbers  int      `json:"numbers"` // how many different ones were seen: that the scrapes did see rewrites
	Wrong    int      `json:"wrong"`   // scrapes that saw less than whole files
	Words    []string `json:"words"`   // what was wrong with the first few
	Seconds  float64  `json:"seconds"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "rewrites: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	n := flag.Int("n", 10000, "least `number` of rewrites")
	dir := flag.String("dir", "", "`folder` of the textfiles")
	url := flag.String("url", "http://127.0.0.1:9100/metrics?collect[]=textfile", "what to scrape")
	flag.Parse()
	path := filepath.Join(*dir, "patch_orchestrate.prom")
	if err := metrics.Write(path, numbered(1)); err != nil {
		return err
	}
	families, err := families(*dir)
	if err != nil {
		return err
	}
	began := time.Now()
	var other chan error // stays nil without a command
	if flag.NArg() > 0 {
		other = make(chan error, 1)
		cmd := exec.Command(flag.Arg(0), flag.Args()[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		go func() { other <- cmd.Run() }()
	}
	done := make(chan struct{})
	s := scraper{url: *url, families: families, seen: map[string]bool{}}
	var scrapers sync.WaitGroup
	for range 2 {
		scrapers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					s.scrape()
				}
			}
		})
	}
	i := 1
	for running := true; i < *n || running && other != nil; {
		i++
		if err = metrics.Write(path, numbered(i)); err != nil {
			break
		}
		select {
		case err = <-other:
			running = false
		default:
		}
		if err != nil {
			break
		}
	}
	close(done)
	scrapers.Wait()
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(Result{Rewrites: i, Scrapes: s.scrapes, Numbers: len(s.seen),
		Wrong: s.wrong, Words: s.words, Seconds: time.Since(began).Seconds()}))
}

// numbered is a run with the number in several places, and waves enough that the file is of some pages.
func numbered(i int) metrics.Run {
	at := time.Unix(int64(i), 0)
	r := metrics.Run{LastRun: at, LastSuccess: at, Duration: time.Duration(i) * time.Second, Version: "test",
		Pending: map[string]int{"discord": i, "ntfy": i}}
	for wave := range 20 {
		r.Waves = append(r.Waves, metrics.Wave{Number: wave, Hosts: map[string]int{"patched": i}, Duration: time.Second})
	}
	return r
}

// families lists the names of all metrics that the files of dir have now.
func families(dir string) (names []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.prom"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 3 && f[1] == "TYPE" {
				names = append(names, f[2])
			}
		}
	}
	return names, err
}

type scraper struct {
	url      string
	families []string

	mu      sync.Mutex
	scrapes int
	seen    map[string]bool
	wrong   int
	words   []string
}

func (s *scraper) scrape() {
	number, err := s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scrapes++
	if err == nil {
		s.seen[number] = true
		return
	}
	s.wrong++
	if len(s.words) < 10 {
		s.words = append(s.words, err.Error())
	}
}

// look scrapes once. It returns the number that patch_orchestrate.prom had.
func (s *scraper) look() (string, error) {
	resp, err := http.Get(s.url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if !bytes.Contains(text, []byte("\nnode_textfile_scrape_error 0\n")) {
		return "", fmt.Errorf("no node_textfile_scrape_error 0 in %d bytes", len(text))
	}
	for _, name := range s.families {
		if !bytes.Contains(text, []byte("\n# TYPE "+name+" gauge\n")) {
			return "", fmt.Errorf("family %s is missing", name)
		}
	}
	number, err := same(text, "homelab_patch_orchestrate_last_run_unixtime ", "homelab_patch_orchestrate_last_success_unixtime ",
		"homelab_patch_orchestrate_last_duration_seconds ", "homelab_patch_orchestrate_notifications_pending{channel=\"discord\"} ",
		"homelab_patch_orchestrate_wave_hosts{outcome=\"patched\",wave=\"0\"} ", "homelab_patch_orchestrate_wave_hosts{outcome=\"patched\",wave=\"19\"} ")
	if err != nil {
		return "", err
	}
	_, err = same(text, "homelab_patch_packages_upgraded ", "homelab_patch_packages_pending{kind=\"held\"} ",
		"homelab_patch_packages_pending{kind=\"security\"} ")
	return number, err
}

// same returns the value that all of the samples have.
func same(text []byte, samples ...string) (string, error) {
	var first string
	for i, sample := range samples {
		_, rest, ok := bytes.Cut(text, []byte("\n"+sample))
		value, _, _ := bytes.Cut(rest, []byte("\n"))
		switch {
		case !ok:
			return "", fmt.Errorf("%sis missing", sample)
		case i == 0:
			first = string(value)
		case string(value) != first:
			return "", fmt.Errorf("%sis %s, and %sis %s", samples[0], first, sample, value)
		}
	}
	return first, nil
}
