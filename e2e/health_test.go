//go:build e2e && e2efull

package e2e_test

import (
	"regexp"
	"strings"
	"testing"

	"homelab-patch-orchestrate/e2e"
)

// The gates between waves, on real hosts. A command that is asked after wave 0 breaks what the next look must find.
func TestHealth(t *testing.T) {
	onEach(t, e2e.Options{}, "health", "Health between waves", func(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
		const breaks = "/usr/local/bin/break"
		breaking := func(command string) {
			lab.Exec(controller, "rm", "-f", breaks)
			write(lab, controller, breaks, "#!/bin/sh\n"+`echo "$HOMELAB_PATCH_WAVE: $HOMELAB_PATCH_HOSTS" >>/root/asked`+"\n"+
				`test "$HOMELAB_PATCH_WAVE" = 0 && ansible saltierpoop -b -m command -a '`+command+"' </dev/null >/dev/null 2>&1\nexit 0\n")
			lab.Exec(controller, "chmod", "755", breaks)
		}
		for name, text := range map[string]string{"early": "false", "late": "false"} {
			write(lab, "saltierpoop", "/etc/systemd/system/"+name+".service", "[Service]\nType=oneshot\nExecStart="+text+"\n[Install]\nWantedBy=multi-user.target\n")
		}
		lab.Exec("saltierpoop", "systemctl", "daemon-reload")
		lab.Exec("saltierpoop", "systemctl", "enable", "early")
		lab.Run(t.Context(), "saltierpoop", "systemctl", "start", "early") // it fails before the run, and after the reboot
		write(lab, controller, settings, "gates:\n- name: break\n  command: ["+breaks+"]\n")

		breaking("systemctl start late")
		out := run(t, lab, "run")
		ev.Call("a unit that fails between two looks", out.Output, out.Took, said(out))
		out.want(t, 3, []string{"saltierpoop patched", "prox not-attempted", "infra-services not-attempted"},
			"halted before wave 1: gate failed-units: saltierpoop: late.service failed at ")
		if !regexp.MustCompile(`failed at \d\d:\d\d:\d\d UTC; it had not before the host was patched; it last said yes at \d\d:\d\d:\d\d UTC, after wave 0`).MatchString(out.words()) ||
			strings.Contains(out.words(), "early.service failed") {
			t.Errorf("words:\n%s", out.words())
		}
		if asked := lab.Exec(controller, "cat", "/root/asked"); asked != "0: saltierpoop\n0: saltierpoop\n" {
			t.Errorf("the command was asked about %q", asked)
		}

		// Now it is known from before. The ssh server is stopped: connections that are open would go on working.
		breaking("systemctl stop ssh")
		out = run(t, lab, "run")
		ev.Call("an ssh server that stops between two looks", out.Output, out.Took, said(out))
		out.want(t, 3, []string{"saltierpoop unchanged", "prox not-attempted", "infra-services not-attempted"},
			"halted before wave 1: gate failed-units: saltierpoop: it cannot be asked for failed units: ", "Connection refused")

		lab.Exec("saltierpoop", "systemctl", "start", "ssh")
		breaking("true")
		out = run(t, lab, "run")
		ev.Call("all is well", out.Output, out.Took, said(out))
		out.want(t, 0, []string{"saltierpoop unchanged", "prox patched", "infra-services patched"})
	})
}
