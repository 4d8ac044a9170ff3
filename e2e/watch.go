//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// WatchHost is the host of hosts-watch.conf that hears of what happens on the others. Its servers are reached by names
// of their own: discord, ntfy and heartbeat.
const WatchHost = "watch"

// What a program on the other hosts is told. None of it is a secret outside of a lab.
const (
	WebhookURL = "http://discord:8090/api/webhooks/" + webhookID + "/" + webhookToken
	NtfyURL    = "http://ntfy"
	NtfyTopic  = "homelab-patch-critical-b4e9"
	BeatURL    = "http://heartbeat:8070/ping/3f0c" // a dead man's switch

	webhookID    = "223704706495545344"
	webhookToken = "lab-3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372"
	watchIP      = "198.51.100.20"
	reader       = "reader:lab-reader"
)

// Where the harness itself reaches the servers, on the watch host.
const (
	ntfyInside     = "http://127.0.0.1:2586" // behind the proxy that NtfyURL is
	prometheus     = "http://127.0.0.1:9090"
	alertmanager   = "http://127.0.0.1:9093"
	discordControl = "http://127.0.0.1:8091"
	ntfyControl    = "http://127.0.0.1:8081"
	beatControl    = "http://127.0.0.1:8071"
)

// WatchOptions are what a test changes in the files of monitoring/: pairs of texts, of which the second replaces the
// first wherever it is. A first one that is not in the file ends the test.
type WatchOptions struct {
	Rules        []string // of prometheus/alerts/patching.yml: "for: 30m", "for: 2s"
	Alertmanager []string // of alertmanager/alertmanager.yml
	// Interval is how often Prometheus scrapes and evaluates; 0 is 2 seconds.
	Interval time.Duration
}

// Watch is the servers on the watch host: ntfy, Prometheus and Alertmanager as Debian has them, stand-ins for Discord
// and for a dead man's switch, and a node_exporter on each host. Its methods end the test as those of [Lab] do.
type Watch struct {
	lab   *Lab
	Token string // what the program may publish with to NtfyTopic; it may not read
}

// StartWatch starts all of it and waits until each part answers, some 15 seconds. The lab must be one of
// hosts-watch.conf.
func (l *Lab) StartWatch(o WatchOptions) *Watch {
	l.t.Helper()
	if o.Interval == 0 {
		o.Interval = 2 * time.Second
	}
	w := &Watch{lab: l}
	steps := []func() error{w.standins, w.ntfy, func() error { return w.prometheus(o) }}
	for _, host := range patched {
		steps = append(steps, func() error { return w.exporter(host) })
	}
	l.together(steps...)
	l.together(func() error { return w.alertmanager(o) })
	for _, server := range []string{ntfyInside + "/v1/health", prometheus + "/-/ready", alertmanager + "/-/ready"} {
		Eventually(l.t, 30*time.Second, server+" answers", func() error { return w.curl("-o", "/dev/null", server).err() })
	}
	for _, server := range []string{"discord", "ntfy", "heartbeat"} {
		w.Fault(server, "none")
	}
	Eventually(l.t, 30*time.Second, "Prometheus scrapes all hosts", func() error {
		if up := w.Query("up == 1"); len(up) != len(patched)+1 {
			return fmt.Errorf("up: %v", up)
		}
		return nil
	})
	return w
}

// patched are the hosts that are not the watch host.
var patched = []string{"saltierpoop", "prox", "infra-services"}

// For is the same servers for a subtest.
func (w *Watch) For(t testing.TB) *Watch {
	sub := *w
	sub.lab = w.lab.For(t)
	return &sub
}

// together runs steps at the same time, and ends the test if one failed.
func (l *Lab) together(steps ...func() error) {
	l.t.Helper()
	var all sync.WaitGroup
	failed := make([]error, len(steps))
	for i, step := range steps {
		all.Go(func() { failed[i] = step() })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		l.t.Fatal(err)
	}
}

// sh runs a script in a host, from any goroutine. args are its $1, $2, and so on.
func (w *Watch) sh(host, script string, args ...string) (string, error) {
	out := w.lab.Run(w.lab.t.Context(), host, append([]string{"sh", "-euc", script, "sh"}, args...)...)
	if out.Code != 0 {
		return "", fmt.Errorf("%s: %s\nexit code %d\n%s%s", host, script, out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout, nil
}

// exporter starts the node_exporter that the lab's repository has for a host of the fleet. Its package is unpacked, not
// installed: that takes a tenth of the time, and leaves the host's dpkg and apt as they were.
func (w *Watch) exporter(host string) error {
	_, err := w.sh(host, named+`
		. /etc/os-release
		from=http://repo/$VERSION_CODENAME/main
		deb=$(curl -sSf $from/Packages | sed -n 's/^Filename: \(.*prometheus-node-exporter_.*\)/\1/p')
		curl -sSf -o /run/exporter.deb $from/"$deb"
		dpkg-deb --fsys-tarfile /run/exporter.deb | tar -x -C / --keep-directory-symlink # /lib is one
		useradd --system --home-dir /var/lib/prometheus --no-create-home prometheus
		systemctl -q enable --now prometheus-node-exporter`)
	return err
}

// named gives the watch host its other names.
const named = `grep -q ' discord ntfy heartbeat$' /etc/hosts || echo '` + watchIP + ` discord ntfy heartbeat' >>/etc/hosts
`

// standins builds and starts the stand-in for Discord, the proxy before ntfy, and the dead man's switch.
func (w *Watch) standins() error {
	binary := filepath.Join(w.lab.t.TempDir(), "standin")
	// the flags of `make build`: what it has compiled is used again
	build := exec.CommandContext(w.lab.t.Context(), "go", "build", "-trimpath", "-o", binary, "./discord/standin")
	build.Dir, build.Env = folder(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./discord/standin: %w\n%s", err, out)
	}
	if out := w.lab.try(w.lab.t.Context(), "push", WatchHost, binary, "/usr/local/bin/standin"); out.Code != 0 {
		return fmt.Errorf("push the stand-in: %s", out.Stderr)
	}
	_, err := w.sh(WatchHost, named+`
		systemd-run --quiet --unit lab-discord standin -listen :8090 -control 127.0.0.1:8091 -id "$1" -token "$2" \
			-log /var/lib/discord.jsonl -no-channel-rate
		systemd-run --quiet --unit lab-ntfy-proxy standin -listen :80 -control 127.0.0.1:8081 -to "$3"
		systemd-run --quiet --unit lab-heartbeat standin -listen :8070 -control 127.0.0.1:8071 -beat`,
		webhookID, webhookToken, ntfyInside)
	return err
}

// ntfy lets nobody in but a publisher, who may not read, and a reader.
func (w *Watch) ntfy() error {
	out, err := w.sh(WatchHost, `
		cat >/etc/ntfy/server.yml <<-END
		base-url: `+NtfyURL+`
		listen-http: 127.0.0.1:2586
		behind-proxy: true
		cache-file: /var/cache/ntfy/cache.db
		auth-file: /var/lib/ntfy/user.db
		auth-default-access: deny-all
		visitor-request-limit-exempt-hosts: 127.0.0.1
		END
		user=$(systemctl show --property=User --value ntfy)
		install -d -o "$user" -g "$user" /var/cache/ntfy /var/lib/ntfy
		systemctl -q enable --now ntfy
		timeout 30 sh -c 'until [ -s /var/lib/ntfy/user.db ]; do sleep 0.1; done' # the server makes it
		as() { runuser -u "$user" -- env NTFY_PASSWORD="${1#*:}" ntfy user add --role="$2" "${1%:*}"; }
		as publisher:lab-publisher user
		as `+reader+` admin
		runuser -u "$user" -- ntfy access publisher `+NtfyTopic+` write-only
		runuser -u "$user" -- ntfy token add publisher 2>&1`)
	if err != nil {
		return err
	}
	for word := range strings.FieldsSeq(out) {
		if strings.HasPrefix(word, "tk_") {
			w.Token = word
		}
	}
	if w.Token == "" {
		return fmt.Errorf("ntfy made no token: %s", out)
	}
	return nil
}

// prometheus scrapes all hosts, with the rules of monitoring/. Its job has the name and the labels that they ask for.
func (w *Watch) prometheus(o WatchOptions) error {
	rules, err := monitoring("prometheus/alerts/patching.yml", o.Rules)
	if err != nil {
		return err
	}
	var targets strings.Builder
	for _, host := range append(slices.Clone(patched), WatchHost) {
		fmt.Fprintf(&targets, "      - targets: [%q]\n        labels: {instance: %s%s}\n", host+":9100", host,
			map[bool]string{true: `, patching: "no"`}[host == WatchHost])
	}
	config := fmt.Sprintf(`global: {scrape_interval: %s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: [/etc/prometheus/alerts/patching.yml]
alerting:
  alertmanagers:
    - static_configs: [{targets: ["localhost:9093"]}]
scrape_configs:
  - job_name: node
    static_configs:
%s`, o.Interval, targets.String())
	_, err = w.sh(WatchHost, `
		mkdir -p /etc/prometheus/alerts
		printf %s "$1" >/etc/prometheus/prometheus.yml
		printf %s "$2" >/etc/prometheus/alerts/patching.yml
		promtool check config /etc/prometheus/prometheus.yml >&2
		systemctl -q enable --now prometheus`, config, rules)
	return err
}

// alertmanager has the routes of monitoring/, with what its script puts into them.
func (w *Watch) alertmanager(o WatchOptions) error {
	template, err := monitoring("alertmanager/alertmanager.yml", o.Alertmanager)
	if err != nil {
		return err
	}
	render, err := monitoring("alertmanager/render", nil)
	if err != nil {
		return err
	}
	_, err = w.sh(WatchHost, `
		cd /etc/prometheus; umask 077
		printf %s "$1" >/run/render; printf %s "$2" >/run/template
		printf %s "$3" | sh /run/render - /run/template alertmanager.yml prometheus
		# alone: it would wait for others
		echo 'ARGS="--cluster.listen-address="' >/etc/default/prometheus-alertmanager
		amtool check-config alertmanager.yml >&2
		systemctl -q enable --now prometheus-alertmanager`, render, template, w.env(nil))
	return err
}

// monitoring reads a file of monitoring/, with texts replaced.
func monitoring(name string, replace []string) (string, error) {
	data, err := os.ReadFile(filepath.Join(folder(), "..", "monitoring", name))
	if err != nil {
		return "", err
	}
	text := string(data)
	for pair := range slices.Chunk(replace, 2) {
		if len(pair) != 2 || !strings.Contains(text, pair[0]) {
			return "", fmt.Errorf("monitoring/%s: %q is to be replaced, and is not there", name, pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return text, nil
}

// folder is where the package is.
func folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}
