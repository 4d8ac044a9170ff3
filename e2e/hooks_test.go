//go:build e2e && e2efull

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"homelab-patch-orchestrate/e2e"
)

// The operator's own tasks before and after a host.
func TestHooks(t *testing.T) {
	onFull(t, e2e.Options{}, "hooks", "Tasks of the operator's before and after a host", func(t *testing.T, lab *e2e.Lab, ev *e2e.Evidence) {
		const host = "prox"
		note := func(words string) string {
			return "- ansible.builtin.shell: echo '" + words + "' $(dpkg-query -W -f '${Version}' lab-app) >>/root/hooks\n"
		}
		write(lab, controller, "/etc/ansible/hooks/first.yml", "- ansible.builtin.include_tasks: more/second.yml\n"+note("pre {{ homelab_patch_run }}"))
		write(lab, controller, "/etc/ansible/hooks/more/second.yml", note("second"))
		write(lab, controller, "/etc/ansible/hooks/last.yml", note("post {{ homelab_patch_outcome }}"))
		write(lab, controller, "/etc/ansible/hooks/fails.yml", "- name: Call the storage\n  ansible.builtin.command: sh -c 'echo no such volume >&2; exit 3'\n")
		policy := func(text string) { write(lab, controller, "/etc/ansible/host_vars/prox.yml", text) }
		heard := func() []string {
			text := lab.Shell(host, "cat /root/hooks 2>/dev/null || true; rm -f /root/hooks")
			return strings.Split(strings.TrimSpace(text), "\n")
		}
		wantHeard := func(what string, want ...string) {
			t.Helper()
			got := heard()
			ev.Lines("what the tasks noted: "+what, got...)
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s: noted is %q, want %q", what, got, want)
			}
		}

		policy("patching_pre_tasks: [first.yml]\npatching_post_tasks: [last.yml]\n")
		out := run(t, lab, "run", "--limit", host, "--check")
		out.want(t, 0, []string{"prox unchanged"})
		wantHeard("a dry run", "")

		// What fails before leaves the host as it is; what comes after is told.
		policy("patching_pre_tasks: [first.yml, fails.yml]\npatching_post_tasks: [last.yml]\n")
		same := untouched(lab, host)
		out = run(t, lab, "run", "--limit", host)
		ev.Call("a file of `patching_pre_tasks` fails", out.Output, out.Took, said(out))
		out.want(t, 3, []string{"prox failed"}, `the tasks of fails.yml failed, at "Call the storage": `, "nothing was done on the host")
		same(t)
		wantHeard("before an upgrade that another file then forbids", "second 1.0-1", "pre "+out.Report.ID+" 1.0-1", "post failed 1.0-1")
		for name, words := range map[string]string{"nowhere.yml": "there is no such file in the folder hooks beside the inventory", "../hosts.yml": "there is no such file"} {
			policy("patching_pre_tasks: [" + name + "]\n")
			out = run(t, lab, "run", "--limit", host)
			ev.Call("`patching_pre_tasks: ["+name+"]`", out.Output, out.Took, said(out))
			out.want(t, 3, []string{"prox failed"}, "the tasks of "+name+" failed", words)
			same(t)
		}
		lab.Exec(controller, "chmod", "666", "/etc/ansible/hooks/first.yml")
		out = run(t, lab, "run", "--limit", host)
		ev.Call("a file that others may write", out.Output, out.Took, said(out))
		out.want(t, 2, nil, "/etc/ansible/hooks/first.yml can be written by everyone")
		lab.Exec(controller, "chmod", "644", "/etc/ansible/hooks/first.yml")
		same(t)

		// The upgrade goes well, and what comes after it does not: the host has failed, and its packages are published.
		policy("patching_pre_tasks: [first.yml]\npatching_post_tasks: [last.yml, fails.yml]\n")
		out = run(t, lab, "run", "--limit", host)
		ev.Call("a file of `patching_post_tasks` fails", out.Output, out.Took, said(out))
		out.want(t, 3, []string{"prox failed"}, `the tasks of fails.yml failed, at "Call the storage": `)
		if p := out.host(t, host).Patch; p == nil || len(p.Packages) == 0 || !p.Rebooted || strings.Contains(out.words(), "nothing was done") {
			t.Errorf("published is %+v\n%s", p, out.words())
		}
		wantHeard("an upgrade", "second 1.0-1", "pre "+out.Report.ID+" 1.0-1", "post patched 2.0-1")

		out = run(t, lab, "run", "--limit", host)
		ev.Call("nothing is left to do", out.Output, out.Took, said(out))
		out.want(t, 0, []string{"prox unchanged"})
		wantHeard("nothing to do", "")
	})
}

// The example for Btrfs, on a file system of that kind on a loop device. No lab: a host of it has no such devices.
func TestBtrfsHook(t *testing.T) {
	ev := e2e.Record(t, nil, "hook-btrfs", "The example hook for Btrfs, on a loop device")
	for _, need := range []string{"mkfs.btrfs", "btrfs", "losetup", "ansible-playbook"} {
		if _, err := exec.LookPath(need); err != nil || os.Geteuid() != 0 {
			if os.Getenv("E2E_REQUIRED") == "1" {
				t.Fatalf("needs root and %s", need)
			}
			t.Skipf("needs root and %s", need)
		}
	}
	dir := t.TempDir()
	shell := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-euc", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	shell("truncate -s 256M disk && mkfs.btrfs -q disk && mkdir mnt && mount -o loop disk mnt")
	t.Cleanup(func() {
		if out, err := exec.Command("umount", filepath.Join(dir, "mnt")).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	hook, err := filepath.Abs("../ansible/inventory/hooks/btrfs-snapshot.yml")
	if err != nil {
		t.Fatal(err)
	}
	play := "- hosts: all\n  gather_facts: false\n  tasks:\n  - ansible.builtin.include_tasks: " + hook + "\n"
	if err := os.WriteFile(filepath.Join(dir, "play.yml"), []byte(play), 0o644); err != nil {
		t.Fatal(err)
	}
	shell("btrfs -q subvolume create mnt/root && echo old >mnt/root/version")
	began := time.Now()
	runs := []string{"20261101T040000Z-aaaaaa", "20261108T040000Z-bbbbbb", "20261115T040000Z-cccccc"}
	for _, id := range append(runs, runs[2]) { // the same run again changes nothing
		said := shell("ansible-playbook -i host, -c local -e homelab_patch_run=" + id + " -e btrfs_subvolume=$PWD/mnt/root -e btrfs_snapshots=$PWD/mnt/snaps -e btrfs_keep=2 play.yml")
		shell("echo new >mnt/root/version; echo " + id + " >>mnt/root/version")
		if !strings.Contains(said, "failed=0") {
			t.Fatal(said)
		}
	}
	listed := shell("ls -1 mnt/snaps")
	if want := runs[1] + "\n" + runs[2]; listed != want {
		t.Errorf("snapshots are\n%s\nwant\n%s", listed, want)
	}
	if got := shell("cat mnt/snaps/" + runs[1] + "/version"); got != "new\n"+runs[0] {
		t.Errorf("the snapshot has %q", got)
	}
	if out, err := exec.Command("sh", "-c", "echo x >"+dir+"/mnt/snaps/"+runs[1]+"/version").CombinedOutput(); err == nil || !strings.Contains(strings.ToLower(string(out)), "read-only") {
		t.Errorf("the snapshot can be written: %s", out)
	}
	// The way back that the file names: a writable snapshot takes the place of the subvolume.
	shell("mv mnt/root mnt/bad && btrfs subvolume snapshot mnt/snaps/" + runs[1] + " mnt/root")
	if got := shell("cat mnt/root/version"); got != "new\n"+runs[0] {
		t.Errorf("after going back the version is %q", got)
	}
	ev.Call("four upgrades, two snapshots kept, one gone back to", e2e.Output{}, time.Since(began), listed)
}
