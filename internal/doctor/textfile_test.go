package doctor

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// procs is a folder /proc with one process.
func procs(t *testing.T, argv ...string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "7/cmdline", strings.Join(argv, "\x00")+"\x00")
	put(t, dir, "8/cmdline", "")
	return dir
}

func TestTextfile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "patch_orchestrate.prom")
	body, status, asked := "", 200, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	listen := "--web.listen-address=" + strings.TrimPrefix(server.URL, "http://")
	reads := "--collector.textfile.directory=" + dir
	look := func(argv ...string) []Check { return Textfile(t.Context(), file, procs(t, argv...)) }

	wants(t, "before the first run", look("/usr/bin/prometheus-node-exporter", listen, reads))
	if asked != "/metrics?collect[]=textfile" {
		t.Errorf("asked for %s", asked)
	}
	wants(t, "upstream's without a folder", look("/usr/local/bin/node_exporter", listen), "warning node_exporter was not told of a folder", "--collector.textfile.directory="+dir)
	wants(t, "another folder", look("node_exporter", listen, "--collector.textfile.directory", "/srv"), "warning node_exporter reads /srv", "--collector.textfile.directory="+dir)
	wants(t, "Debian's, without being told", look("prometheus-node-exporter", listen), "warning node_exporter reads /var/lib/prometheus/node-exporter")

	put(t, dir, "patch_orchestrate.prom", "")
	body = "node_textfile_scrape_error 1\n"
	wants(t, "a file that it cannot read", look("node_exporter", listen, reads), "warning node_exporter cannot read a file in "+dir)
	body = "node_textfile_scrape_error 0\n"
	wants(t, "nothing is shown of it", look("node_exporter", listen, reads), "warning node_exporter reads "+dir+", and shows nothing")
	body += "homelab_patch_orchestrate_running 0\n"
	wants(t, "it is measured, by whatever path", look("node_exporter", listen, "--collector.textfile.directory=/in/a/container"))
	status, body = 400, "disabled collector: textfile"
	wants(t, "no such collector", look("node_exporter", listen, reads), "warning node_exporter reads no textfiles", "--no-collector.textfile")
	status, body = 500, ""
	wants(t, "an error", look("node_exporter", listen, reads), "warning nobody knows", "500")
	wants(t, "TLS", look("node_exporter", listen, reads, "--web.config.file=/etc/x.yml"), "warning nobody knows", "TLS")

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	wants(t, "it does not answer", look("node_exporter", "--web.listen-address="+closed.Addr().String(), reads), "warning nobody knows", "refused")
	wants(t, "none runs", look("sshd"), "warning no node_exporter runs here", "systemctl enable --now prometheus-node-exporter")
	wants(t, "no folder", Textfile(t.Context(), "/nowhere/at/all/x.prom", procs(t, "node_exporter")), "warning the folder /nowhere/at/all does not exist", "setting textfile")
	if os.Geteuid() != 0 {
		os.Chmod(dir, 0o500)
		wants(t, "a folder of others", look("node_exporter"), "warning no metrics can be written")
	}
}

func TestAddress(t *testing.T) {
	for listens, want := range map[string]string{
		"": "localhost:9100", ":9200": "localhost:9200", "0.0.0.0:9100": "localhost:9100", "[::]:9100": "localhost:9100",
		"192.0.2.7:9100": "192.0.2.7:9100", "[2001:db8::1]:9100": "[2001:db8::1]:9100",
	} {
		got, err := address([]string{"node_exporter", "--web.listen-address=" + listens})
		if err != nil || got.Host != want {
			t.Errorf("%q: %v, %v", listens, got, err)
		}
	}
	if _, err := address([]string{"node_exporter", "--web.listen-address=9100"}); err == nil {
		t.Error("9100 is an address")
	}
}
