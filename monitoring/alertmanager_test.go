package monitoring_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// render runs the script beside the configuration, with the settings by standard input where env begins with "-".
func render(t *testing.T, env string, more ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file, out, input := filepath.Join(dir, "notify.env"), filepath.Join(dir, "alertmanager.yml"), ""
	if text, piped := strings.CutPrefix(env, "-"); piped {
		file, input = "-", text
	} else if err := os.WriteFile(file, []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("alertmanager/render", append([]string{file, alertmanagerFile, out}, more...)...)
	cmd.Stdin = strings.NewReader(input)
	said, err := cmd.CombinedOutput()
	if err != nil {
		os.Remove(file)
		entries, _ := os.ReadDir(dir)
		return "", fmt.Errorf("%w: %s; left: %d files", err, said, len(entries))
	}
	if info, err := os.Stat(out); err != nil || len(more) == 0 && info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info, err)
	}
	return out, nil
}

const renderEnv = "# settings\nDISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/7/s3&cr\\1et\nNTFY_TOKEN=tk_planted\n" +
	"NTFY_URL='http://ntfy:80/'\nNTFY_PATCH_TOPIC=\"topic-1\"\nRUNBOOK_URL=http://wiki:3000/r?a=b&c=d\n"

func TestRender(t *testing.T) {
	if _, err := render(t, renderEnv); err == nil {
		t.Error("a backslash was taken") // in YAML, and for no server we know of
	}
	good := strings.Replace(renderEnv, "\\", "", 1)
	for _, from := range []string{"", "-"} {
		out, err := render(t, from+good)
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, out)
		for _, want := range []string{
			"webhook_url: https://discord.com/api/webhooks/7/s3&cr1et\n", "url: \"http://ntfy:80/topic-1?template=yes\\\n",
			"&click=http%3A%2F%2Fwiki%3A3000%2Fr%3Fa%3Db%26c%3Dd%2FPatchRunMissed.md\"\n", "            credentials: \"tk_planted\"\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q", want)
			}
		}
		for _, never := range []string{"placeholder", "example.net", "b4e9"} {
			if strings.Contains(text, never) {
				t.Errorf("there is still %q", never)
			}
		}
		if _, err := exec.LookPath("amtool"); err == nil {
			output(t, "amtool", "check-config", out)
		}
		for _, missing := range []string{"DISCORD_WEBHOOK_URL", "NTFY_URL", "NTFY_PATCH_TOPIC"} {
			_, err := render(t, from+strings.Replace(good, missing, "X", 1))
			said := fmt.Sprint(err)
			if !strings.Contains(said, missing+" is not set") || !strings.Contains(said, "left: 0 files") {
				t.Errorf("without %s: %v", missing, err)
			}
		}
		if _, err := render(t, from); err == nil {
			t.Error("nothing was taken for settings")
		}
		_, err = render(t, from+strings.Replace(good, "NTFY_TOKEN=", "NTFY_TOKEN_FILE=/", 1))
		if said := fmt.Sprint(err); !strings.Contains(said, "set NTFY_TOKEN") {
			t.Errorf("with a file for the token: %v", err)
		}
	}
}

// A server that asks for no token is sent none, not an empty one.
func TestRenderWithoutToken(t *testing.T) {
	out, err := render(t, "DISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/7/x\nNTFY_URL=http://ntfy\nNTFY_PATCH_TOPIC=t\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"authorization", "credentials", "token", "http_config"} {
		if strings.Contains(read(t, out), never) {
			t.Errorf("there is still %q", never)
		}
	}
	output(t, "amtool", "check-config", out)
}

// Alertmanager reads it by its group; one that does not exist leaves nothing behind.
func TestRenderForAGroup(t *testing.T) {
	const env = "-DISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/7/x\nNTFY_URL=http://ntfy\nNTFY_PATCH_TOPIC=t\n"
	group := strconv.Itoa(os.Getgid())
	out, err := render(t, env, group)
	if err != nil {
		t.Fatal(err)
	}
	if got := output(t, "stat", "-c", "%a %g", out); got != "640 "+group+"\n" {
		t.Errorf("it is %s", got)
	}
	if _, err := render(t, env, "no-such-group"); !strings.Contains(fmt.Sprint(err), "left: 0 files") {
		t.Errorf("of a group that does not exist: %v", err)
	}
}
