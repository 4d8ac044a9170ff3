package monitoring_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	alertmanagerFile = "alertmanager/alertmanager.yml"
	base             = "https://git.example.net/homelab/patching/src/branch/main/docs/runbooks/"
)

func TestAmtoolRoutes(t *testing.T) {
	t.Parallel()
	output(t, "amtool", "check-config", alertmanagerFile)
	for _, c := range []struct{ labels, receivers string }{
		{"severity=info component=backup", "discord"},
		{"severity=warning", "discord"},
		{"severity=critical", "discord"},
		{"severity=critical component=storage", "discord"},
		{"severity=info component=patching", "discord"},
		{"severity=warning component=patching", "discord"},
		{"severity=warning component=patching alertname=OSPatchStale", "discord"},
		{"severity=critical component=patching", "ntfy,discord"},
		{"severity=critical component=patching alertname=OSPatchOrchestrateFailed", "ntfy-failed,discord"},
		{"severity=critical component=patching alertname=PatchRunMissed", "ntfy-missed,discord"},
		{"severity=warning component=patching alertname=PatchMessagesPending channel=ntfy", "discord"},
		{"severity=warning component=patching alertname=PatchMessagesPending channel=discord", "ntfy,discord"},
	} {
		args := append([]string{"config", "routes", "test", "--config.file=" + alertmanagerFile}, strings.Fields(c.labels)...)
		if got := strings.TrimSpace(output(t, "amtool", args...)); got != c.receivers {
			t.Errorf("%s goes to %s, want %s", c.labels, got, c.receivers)
		}
	}
}

// A tap on the message opens the page of that alert: each critical one has its receiver.
func TestCriticalAlertsClickToTheirRunbook(t *testing.T) {
	for _, r := range rules(t) {
		if r.Labels["severity"] != "critical" {
			continue
		}
		if !strings.Contains(read(t, alertmanagerFile), "%2Fdocs%2Frunbooks%2F"+r.Alert+".md\"\n") {
			t.Errorf("%s: no ntfy receiver clicks to its runbook", r.Alert)
		}
	}
}

// render runs the script beside the configuration.
func render(t *testing.T, env string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "notify.env"), filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("alertmanager/render", file, alertmanagerFile, out).CombinedOutput()
	if err != nil {
		entries, _ := os.ReadDir(dir)
		return "", fmt.Errorf("%w: %s; left: %d files", err, said, len(entries))
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info, err)
	}
	return out, nil
}

func TestRender(t *testing.T) {
	const env = "# settings\nDISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/7/s3&cr\\1et\nNTFY_TOKEN=tk_planted\n" +
		"NTFY_URL='http://ntfy:80/'\nNTFY_PATCH_TOPIC=\"topic-1\"\nRUNBOOK_URL=http://wiki:3000/r?a=b&c=d\n"
	if _, err := render(t, env); err == nil {
		t.Error("a backslash was taken") // in YAML, and for no server we know of
	}
	good := strings.Replace(env, "\\", "", 1)
	out, err := render(t, good)
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, out)
	for _, want := range []string{
		"webhook_url: https://discord.com/api/webhooks/7/s3&cr1et\n", "url: \"http://ntfy:80/topic-1?template=yes\\\n",
		"&click=http%3A%2F%2Fwiki%3A3000%2Fr%3Fa%3Db%26c%3Dd%2FPatchRunMissed.md\"\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, never := range []string{"placeholder", "example.net", "b4e9", "tk_planted"} {
		if strings.Contains(text, never) {
			t.Errorf("there is still %q", never)
		}
	}
	for _, missing := range []string{"DISCORD_WEBHOOK_URL", "NTFY_URL", "NTFY_PATCH_TOPIC"} {
		_, err := render(t, strings.Replace(good, missing, "X", 1))
		said := fmt.Sprint(err)
		if !strings.Contains(said, missing+" is not set") || !strings.Contains(said, "left: 1 files") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	if _, err := render(t, ""); err == nil {
		t.Error("an empty file was taken")
	}
	if _, err := exec.LookPath("amtool"); err == nil {
		output(t, "amtool", "check-config", out)
	}
}
