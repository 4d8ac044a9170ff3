package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gopkg.in/yaml.v3"

	"homelab-patch-orchestrate/orchestrator"
)

// handler is a server without a network, so that its time can be that of a bubble.
type handler func(w http.ResponseWriter, r *http.Request)

func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// vector is an answer with a series for each set of labels.
func vector(labels ...string) string {
	var all []string
	for _, l := range labels {
		all = append(all, `{"metric": {`+l+`}, "value": [1, "1"]}`)
	}
	return `{"status": "success", "data": {"resultType": "vector", "result": [` + strings.Join(all, ",") + `]}}`
}

const (
	prox   = `"__name__": "up", "instance": "prox"`
	web    = `"__name__": "up", "instance": "web.lan:9100"`
	nas    = `"__name__": "up", "instance": "nas"`
	nobody = `"__name__": "down"`
	stale  = `"__name__": "ALERTS", "alertname": "OSPatchStale", "instance": "prox"`
	alert  = `"__name__": "ALERTS", "alertname": "HostDown", "instance": "prox"`
)

func TestPromQL(t *testing.T) {
	const found = "there is what was not there when the run began: "
	const again = "; asked again and again since 00:20:00 UTC, for 5m0s"
	some := map[string]string{"web": "web.lan:9100"}
	for name, test := range map[string]struct {
		gate   PromQL
		before string   // the answer for the run's start
		now    []string // answers, one after the other; the last one stays
		asked  int      // times, of now
		want   string
	}{
		"nothing":               {PromQL{}, "", []string{vector()}, 1, ""},
		"something new":         {PromQL{}, vector(), []string{vector(prox)}, 21, found + `up{instance="prox"}` + again},
		"it was there before":   {PromQL{}, vector(prox, nas), []string{vector(nas, prox)}, 1, ""},
		"there, and a new one":  {PromQL{}, vector(prox), []string{vector(prox, web)}, 21, found + `up{instance="web.lan:9100"}` + again},
		"it passes":             {PromQL{}, vector(), []string{vector(prox), vector(prox), vector()}, 3, ""},
		"for":                   {PromQL{For: 40 * time.Second}, vector(), []string{vector(prox)}, 3, found + `up{instance="prox"}; asked again and again since 00:20:00 UTC, for 40s`},
		"many":                  {PromQL{For: time.Second}, vector(), []string{vector(web, prox, nas, nobody, alert)}, 1, found + `ALERTS{alertname="HostDown", instance="prox"}, down{}, up{instance="nas"} and 2 more; asked again and again since 00:20:00 UTC, for 1s`},
		"our own alerts":        {PromQL{}, vector(), []string{vector(stale)}, 1, ""},
		"ours and another":      {PromQL{}, vector(), []string{vector(stale, alert)}, 21, found + `ALERTS{alertname="HostDown", instance="prox"}` + again},
		"the wave's hosts":      {PromQL{Instances: some}, vector(), []string{vector(web, nas)}, 21, found + `up{instance="web.lan:9100"}` + again},
		"by their own name":     {PromQL{Instances: some}, vector(), []string{vector(prox, nas)}, 21, found + `up{instance="prox"}` + again},
		"another host":          {PromQL{Instances: some}, vector(), []string{vector(nas)}, 1, ""},
		"no such label":         {PromQL{Instances: some}, vector(), []string{vector(nobody)}, 21, found + `down{}` + again},
		"another label":         {PromQL{Instances: some, InstanceLabel: "host"}, vector(), []string{vector(`"host": "nas"`)}, 1, ""},
		"an error":              {PromQL{}, "", []string{`{"status": "error", "errorType": "bad_data", "error": "parse\nerror"}`}, 21, "http://p answered 200: parse error" + again},
		"an error that ends":    {PromQL{}, "", []string{`{"status": "error"}`, `<html>`, ``, `{"status": "success"}`, vector()}, 5, ""},
		"a scalar":              {PromQL{}, "", []string{`{"status": "success", "data": {"resultType": "scalar", "result": [1, "0"]}}`}, 21, "http://p answered 200: the query gives a scalar and not series: compare with < or >" + again},
		"no list":               {PromQL{}, "", []string{`{"status": "success", "data": {"resultType": "vector"}}`}, 21, "http://p answered without a list of series" + again},
		"null":                  {PromQL{}, "", []string{`{"status": "success", "data": {"resultType": "vector", "result": null}}`}, 21, "http://p answered without a list of series" + again},
		"no labels":             {PromQL{}, "", []string{`{"status": "success", "data": {"resultType": "vector", "result": [{}]}}`}, 21, "http://p answered with a series that has no labels to read" + again},
		"a part is missing":     {PromQL{}, "", []string{`{"status": "success", "warnings": ["remote read failed"], "data": {"resultType": "vector", "result": []}}`}, 21, "http://p answered 200: a part of its data is missing: remote read failed" + again},
		"a remark":              {PromQL{}, "", []string{`{"status": "success", "warnings": ["PromQL info: x"], "data": {"resultType": "vector", "result": []}}`}, 1, ""},
		"the past is not known": {PromQL{}, `{"status": "error", "error": "gone"}`, []string{vector(prox)}, 21, "what there was when the run began cannot be told: http://p answered 200: gone" + again},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now().UTC()
				time.Sleep(20 * time.Minute) // of the run
				asked := 0
				test.gate.Server, test.gate.Query = "http://me:hunter2@p", "up == 0"
				test.gate.Transport = handler(func(w http.ResponseWriter, r *http.Request) {
					user, password, _ := r.BasicAuth()
					if r.URL.Path != "/api/v1/query" || r.FormValue("query") != "up == 0" || user != "me" || password != "hunter2" {
						t.Errorf("asked %s as %s", r.URL, user)
					}
					if at := r.FormValue("time"); at == fmt.Sprintf("%d.000", begin.Unix()) {
						fmt.Fprint(w, test.before)
						return
					} else if at != "" {
						t.Errorf("asked at %s", at)
					}
					fmt.Fprint(w, test.now[min(asked, len(test.now)-1)])
					asked++
				})
				q := question
				q.Report.Started = begin
				err := test.gate.Check(t.Context(), q)
				says(t, err, "\x00", test.want)
				if asked != test.asked {
					t.Errorf("asked %d times, want %d", asked, test.asked)
				}
			})
		})
	}
}

// A server that takes the question and says nothing costs ten seconds each time; the end of the context ends it all.
func TestPromQLHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := PromQL{Server: "http://p", Query: "up == 0", For: time.Minute, Transport: handler(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		})}
		begin := time.Now()
		says(t, p.Check(t.Context(), question), "\x00", "http://p: context deadline exceeded; asked again and again since 00:00:00 UTC, for 1m0s")
		if took := time.Since(begin); took != 60*time.Second {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 12*time.Second, errors.New("stop"))
		defer cancel()
		begin = time.Now()
		if err := p.Check(ctx, question); err == nil || time.Since(begin) != 12*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// What goes wrong on the way, over a real connection: words without what is secret.
func TestPromQLServer(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"not ready": {func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		}, "BASE answered 503: its answer is not that of Prometheus"},
		"a bad query": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"status":"error","error":"x"}`)
		}, "BASE answered 400: x"},
		"well, in 500": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); fmt.Fprint(w, vector()) }, "BASE answered 500: Internal Server Error"},
		"broken off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "99")
			fmt.Fprint(w, "{")
		}, "BASE: its answer broke off: unexpected EOF"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://localhost:1/", http.StatusFound)
		}, "BASE: it redirects to http://localhost:1/, which is not followed"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.answer)
			defer server.Close()
			p := PromQL{Server: strings.Replace(server.URL, "//", "//me:hunter2@", 1), Query: "hunter3", For: time.Second}
			err := p.Check(t.Context(), question)
			if err == nil {
				t.Fatal("says yes")
			}
			text, _, _ := strings.Cut(err.Error(), "; asked again")
			says(t, errors.New(text), server.URL, test.want)
		})
	}
	err := (PromQL{Server: "http://me:hunter2@127.0.0.1:1", Query: "hunter3", For: time.Second}).Check(t.Context(), question)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "hunter") {
		t.Errorf("nobody listens: %v", err)
	}
}

// Every alert of ours is known, and no other.
func TestOwnAlerts(t *testing.T) {
	data, err := os.ReadFile("../../monitoring/prometheus/alerts/patching.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []struct{ Alert string } }
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			n++
			if !ours(r.Alert) {
				t.Errorf("%s counts as somebody else's", r.Alert)
			}
		}
	}
	if n == 0 || ours("") || ours("HostDown") {
		t.Errorf("%d alerts; another one counts as ours", n)
	}
}

// The real Prometheus, with rules of our own and of somebody else.
func TestPromQLOnARealPrometheus(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	var sick atomic.Bool
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "homelab_patch_reboot_required 1")
		if sick.Load() {
			fmt.Fprintln(w, "sick 1")
		}
	}))
	defer far.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"rules.yml": "groups:\n- name: x\n  interval: 1s\n  rules:\n" +
			"  - {alert: PatchRebootPending, expr: homelab_patch_reboot_required == 1}\n  - {alert: Sick, expr: sick == 1}\n",
		"prometheus.yml": fmt.Sprintf("global: {scrape_interval: 1s}\nrule_files: [rules.yml]\nscrape_configs:\n- job_name: node\n"+
			"  static_configs:\n  - {targets: [%q], labels: {instance: prox}}\n", far.Listener.Addr()),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	begin := time.Now()
	c := exec.Command(bin, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+address)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()

	p := PromQL{Server: "http://" + address, Query: `ALERTS{alertstate="firing"}`, For: time.Second}
	q := question
	q.Report.Started = begin
	until := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("not within 30 s: %s", what)
			}
		}
	}
	firing := func(n int) func() bool {
		return func() bool {
			all, err := p.ask(t.Context(), time.Time{})
			return err == nil && len(all) == n
		}
	}
	until("our own alert fires", firing(1))
	says(t, p.Check(t.Context(), q), "\x00", "")
	sick.Store(true)
	until("another alert fires", firing(2))
	err = p.Check(t.Context(), q)
	want := `there is what was not there when the run began: ALERTS{alertname="Sick", alertstate="firing", instance="prox", job="node"}; asked again and`
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("says %v", err)
	}
	later := q
	later.Report.Started = time.Now() // it was firing when this run began
	says(t, p.Check(t.Context(), later), "\x00", "")
	byHost := p
	byHost.Instances = map[string]string{"prox": "prox", "web": "web"}
	if err := byHost.Check(t.Context(), q); err == nil {
		t.Error("a series of the wave's host does not count")
	}
	q.Wave.Hosts = []orchestrator.HostReport{{Name: "web"}}
	says(t, byHost.Check(t.Context(), q), "\x00", "")
	for query, want := range map[string]string{"1": "the query gives a scalar", "up{": "parse error"} {
		p.Query = query
		if err := p.Check(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", query, err)
		}
	}
}
