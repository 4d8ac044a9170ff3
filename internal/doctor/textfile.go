package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	// debians is the name of Debian's node_exporter, which has a folder for textfiles without being told; upstream's
	// has none.
	debians       = "prometheus-node-exporter"
	debiansFolder = "/var/lib/prometheus/node-exporter"
	upstreams     = "node_exporter"

	// family begins what only the file of a controller has.
	family      = "homelab_patch_orchestrate_"
	scrapeLimit = 16 << 20
)

// Textfile looks whether the metrics that a run writes to file are measured: by a node_exporter of this machine, which proc,
// the folder /proc, shows.
func Textfile(ctx context.Context, file, proc string) []Check {
	dir := filepath.Dir(file)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir():
		return []Check{warning(Metrics, "apt-get install prometheus-node-exporter; or name its folder by the setting textfile",
			"the folder %s does not exist: no metrics are written, and no alert can fire", dir)}
	case err != nil:
		return []Check{warning(Metrics, "ls -ld "+word(dir), "nobody knows whether metrics can be written: %v", err)}
	}
	const write, enter = 2, 1 // access(2)
	if err := syscall.Access(dir, write|enter); err != nil {
		return []Check{warning(Metrics, "ls -ld "+word(dir), "no metrics can be written to %s: %v", dir, err)}
	}
	running := exporters(proc)
	if len(running) == 0 {
		return []Check{warning(Metrics, "systemctl enable --now prometheus-node-exporter", "no node_exporter runs here: nobody knows whether %s is measured", file)}
	}
	var why []Check
	for _, argv := range running { // one that reads the file is enough
		c := measured(ctx, argv, file)
		if c.Severity == OK {
			return []Check{c}
		}
		why = append(why, c)
	}
	return why[:1]
}

// exporters returns the command line of each node_exporter that runs.
func exporters(proc string) (all [][]string) {
	found, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "cmdline"))
	for _, path := range found {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		argv := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		if slices.Contains([]string{debians, upstreams}, filepath.Base(argv[0])) {
			all = append(all, argv)
		}
	}
	return all
}

// option returns the last value of a flag, which kingpin takes as --name=value and as --name value.
func option(argv []string, name string) (value string) {
	for i, arg := range argv {
		if v, ok := strings.CutPrefix(strings.TrimPrefix(arg, "-"), "-"+name+"="); ok {
			value = v
		} else if strings.TrimPrefix(arg, "-") == "-"+name && i+1 < len(argv) {
			value = argv[i+1]
		}
	}
	return value
}

// measured looks whether a node_exporter reads the file, or will when it is there.
func measured(ctx context.Context, argv []string, file string) Check {
	const again = "; systemctl restart prometheus-node-exporter"
	dir := filepath.Dir(file)
	reads := option(argv, "collector.textfile.directory")
	if reads == "" && filepath.Base(argv[0]) == debians {
		reads = debiansFolder
	}
	fix := fmt.Sprintf("--collector.textfile.directory=%s in the arguments of node_exporter (Debian: ARGS in /etc/default/prometheus-node-exporter)%s", dir, again)
	said, err := scrape(ctx, argv)
	if err != nil {
		return warning(Metrics, "systemctl status prometheus-node-exporter", "nobody knows whether %s is measured: %v", file, err)
	}
	_, missing := os.Stat(file)
	switch {
	case said.ours && missing == nil:
		return well(Metrics, "node_exporter reads %s", file)
	case errors.Is(missing, fs.ErrNotExist) && !said.without && filepath.Clean(reads) == dir:
		return well(Metrics, "node_exporter reads %s, where the first run writes", dir)
	case said.without:
		return warning(Metrics, "take --no-collector.textfile from the arguments of node_exporter"+again, "node_exporter reads no textfiles: no alert can fire")
	case filepath.Clean(reads) == dir && said.broken:
		return warning(Metrics, "journalctl -u prometheus-node-exporter", "node_exporter cannot read a file in %s, and %s is not measured", dir, file)
	case reads == "":
		return warning(Metrics, fix, "node_exporter was not told of a folder for textfiles: %s is not measured", file)
	case filepath.Clean(reads) != dir:
		return warning(Metrics, fix, "node_exporter reads %s: %s is not measured", reads, file)
	}
	return warning(Metrics, "journalctl -u prometheus-node-exporter", "node_exporter reads %s, and shows nothing of %s", dir, file)
}

// scraped is what a node_exporter says of textfiles.
type scraped struct {
	ours    bool // a family of ours
	broken  bool // it could not read one
	without bool // it has no such collector
}

// scrape asks a node_exporter for textfiles alone.
func scrape(ctx context.Context, argv []string) (s scraped, err error) {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	where, err := address(argv)
	if err != nil {
		return s, err
	}
	if option(argv, "web.config.file") != "" || option(argv, "web.config") != "" {
		return s, fmt.Errorf("node_exporter at %s asks for TLS or a password, which are not known here", where.Host)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, scrapeLimit))
	lines.Buffer(nil, scrapeLimit)
	for lines.Scan() {
		line := lines.Text()
		s.ours = s.ours || strings.HasPrefix(line, family)
		s.broken = s.broken || line == "node_textfile_scrape_error 1"
		s.without = s.without || strings.Contains(line, "collector: textfile") // "disabled", or "missing"
	}
	if resp.StatusCode != http.StatusOK && !s.without {
		return s, fmt.Errorf("node_exporter at %s answers %s", where.Host, resp.Status)
	}
	return s, lines.Err()
}

// address is where a node_exporter is asked, on this machine.
func address(argv []string) (*url.URL, error) {
	listens := option(argv, "web.listen-address")
	if listens == "" {
		listens = ":9100"
	}
	host, port, err := net.SplitHostPort(listens)
	if err != nil {
		return nil, fmt.Errorf("node_exporter listens on %q, and that is no address", listens)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	path := option(argv, "web.telemetry-path")
	if path == "" {
		path = "/metrics"
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: path, RawQuery: "collect[]=textfile"}, nil
}
