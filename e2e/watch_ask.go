//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"homelab-patch-orchestrate/e2e/discord"
)

// What a test asks the servers of a [Watch], and tells them.

// NtfyMessage is a message as ntfy gives it back: https://docs.ntfy.sh/subscribe/api/#json-message-format
type NtfyMessage struct {
	ID       string   `json:"id"`
	Time     int64    `json:"time"` // when ntfy had it, in Unix seconds
	Event    string   `json:"event"`
	Title    string   `json:"title"`
	Message  string   `json:"message"`
	Priority int      `json:"priority"`
	Tags     []string `json:"tags"`
	Click    string   `json:"click"`
	Actions  []struct {
		Action string `json:"action"`
		Label  string `json:"label"`
		URL    string `json:"url"`
	} `json:"actions"`
}

// Ntfy returns all messages of NtfyTopic, oldest first.
func (w *Watch) Ntfy() []NtfyMessage {
	w.lab.t.Helper()
	out := w.curl("-u", reader, ntfyInside+"/"+NtfyTopic+"/json?poll=1")
	if err := out.err(); err != nil {
		w.lab.t.Fatalf("poll ntfy: %v", err)
	}
	var all []NtfyMessage
	for line := range strings.Lines(out.Stdout) {
		var m NtfyMessage
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			w.lab.t.Fatalf("poll ntfy: %v\n%s", err, line)
		}
		if m.Event == "message" {
			all = append(all, m)
		}
	}
	return all
}

// Discord returns what the stand-in for Discord took, in order.
func (w *Watch) Discord() (all []discord.Message) {
	w.lab.t.Helper()
	w.get(discordControl+"/messages", &all)
	return all
}

// Requests returns all requests that reached discord, ntfy or heartbeat, answered or not.
func (w *Watch) Requests(server string) (all []discord.Request) {
	w.lab.t.Helper()
	w.get(w.control(server)+"/requests", &all)
	return all
}

// Forget drops the messages of the stand-in for Discord and the requests of all servers. What ntfy has stays.
func (w *Watch) Forget() {
	w.lab.t.Helper()
	if err := w.curl("-X", "DELETE", discordControl+"/messages", discordControl+"/requests", ntfyControl+"/requests", beatControl+"/requests").err(); err != nil {
		w.lab.t.Fatal(err)
	}
}

// Fault breaks discord, ntfy or heartbeat, or puts it right again with the kind none: see [discord.Fault]. Of ntfy it is a proxy
// before the real server that breaks; the test itself still reads what the server has.
func (w *Watch) Fault(server, kind string) {
	w.lab.t.Helper()
	w.SetFault(server, discord.Fault{Kind: kind})
}

// SetFault is Fault for kinds that need more than their name: 429 with a time, slow, and faults that end.
func (w *Watch) SetFault(server string, fault discord.Fault) {
	w.lab.t.Helper()
	data, err := json.Marshal(fault)
	if err != nil {
		w.lab.t.Fatal(err)
	}
	if err := w.curl("-X", "PUT", "-d", string(data), w.control(server)+"/fault").err(); err != nil {
		w.lab.t.Fatalf("fault %s of %s: %v", data, server, err)
	}
}

func (w *Watch) control(server string) string {
	w.lab.t.Helper()
	url, ok := map[string]string{"discord": discordControl, "ntfy": ntfyControl, "heartbeat": beatControl}[server]
	if !ok {
		w.lab.t.Fatalf("server %q: there are discord, ntfy and heartbeat", server)
	}
	return url
}

// Names sets how a host finds discord, ntfy and heartbeat: ok, fails (the names are unknown, at once), or hangs (a name server that
// never answers).
func (w *Watch) Names(host, state string) {
	w.lab.t.Helper()
	const none = `sed -i '/ discord ntfy heartbeat$/d' /etc/hosts; echo 'nameserver `
	script, ok := map[string]string{
		"ok":    named + `rm -f /etc/resolv.conf`,
		"fails": none + `127.0.0.1' >/etc/resolv.conf`,
		"hangs": none + watchIP + `' >/etc/resolv.conf`,
	}[state]
	if !ok {
		w.lab.t.Fatalf("names %q: there are ok, fails and hangs", state)
	}
	if state == "hangs" {
		w.lab.Shell(WatchHost, `systemctl -q is-active lab-dns || systemd-run --quiet --unit lab-dns python3 -c "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 53))
while True: s.recv(4096)"`)
	}
	w.lab.Shell(host, script)
}

// Sample is one value of a query.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query asks Prometheus for an instant vector.
func (w *Watch) Query(expr string) []Sample {
	w.lab.t.Helper()
	out := w.curl("-G", "--data-urlencode", "query="+expr, prometheus+"/api/v1/query")
	var answer struct {
		Error string
		Data  struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(out.Stdout), &answer); err != nil || answer.Error != "" || answer.Data.ResultType != "vector" {
		w.lab.t.Fatalf("query %s: %v\n%s%s", expr, err, out.Stdout, out.Stderr)
	}
	var all []Sample
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			w.lab.t.Fatalf("query %s: %v", expr, err)
		}
		all = append(all, Sample{r.Metric, v})
	}
	return all
}

// Firing lists the alerts that fire, as "name instance", sorted.
func (w *Watch) Firing() (all []string) {
	w.lab.t.Helper()
	for _, s := range w.Query(`ALERTS{alertstate="firing"}`) {
		all = append(all, s.Labels["alertname"]+" "+s.Labels["instance"])
	}
	slices.Sort(all)
	return all
}

// Alert tells Alertmanager of an alert as Prometheus would; ended is whether it is over.
func (w *Watch) Alert(labels, annotations map[string]string, ended bool) {
	w.lab.t.Helper()
	alert := map[string]any{"labels": labels, "annotations": annotations, "startsAt": time.Now().Add(-time.Minute)}
	if ended {
		alert["endsAt"] = time.Now()
	}
	data, err := json.Marshal([]any{alert})
	if err != nil {
		w.lab.t.Fatal(err)
	}
	if err := w.curl("-H", "Content-Type: application/json", "-d", string(data), alertmanager+"/api/v2/alerts").err(); err != nil {
		w.lab.t.Fatalf("alert: %v", err)
	}
}

// NotifyEnv writes the controller's /etc/homelab/patching-notify.env, with settings added or, where they are "", left
// out.
func (w *Watch) NotifyEnv(settings map[string]string) {
	w.lab.t.Helper()
	w.lab.Exec("infra-services", "sh", "-euc", `umask 077; mkdir -p /etc/homelab; printf %s "$1" >/etc/homelab/patching-notify.env`,
		"sh", w.env(settings))
}

func (w *Watch) env(settings map[string]string) string {
	all := map[string]string{
		"DISCORD_WEBHOOK_URL": WebhookURL, "NTFY_URL": NtfyURL, "NTFY_PATCH_TOPIC": NtfyTopic, "NTFY_TOKEN": w.Token,
	}
	maps.Copy(all, settings)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if all[key] != "" {
			fmt.Fprintf(&text, "%s=%s\n", key, all[key])
		}
	}
	return text.String()
}

// curl asks a server, on the watch host. A status of 400 and more is a failure.
func (w *Watch) curl(args ...string) Output {
	return w.lab.Run(w.lab.t.Context(), WatchHost, append([]string{"curl", "-sS", "--fail-with-body", "-m", "10"}, args...)...)
}

func (w *Watch) get(url string, into any) {
	w.lab.t.Helper()
	out := w.curl(url)
	err := out.err()
	if err == nil {
		err = json.Unmarshal([]byte(out.Stdout), into)
	}
	if err != nil {
		w.lab.t.Fatalf("%s: %v", url, err)
	}
}

// err is nil if the command ended well.
func (o Output) err() error {
	if o.Code == 0 {
		return nil
	}
	return fmt.Errorf("exit code %d: %s%s", o.Code, o.Stdout, o.Stderr)
}
