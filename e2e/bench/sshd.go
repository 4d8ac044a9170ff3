package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// overSSH starts a server on loopback and writes an inventory in which each host of the fleet is an address of it. What
// the hosts do is then the server's, and not part of the cost of who drives them. end stops the server.
func (b *bench) overSSH() (hosts string, end func(), err error) {
	dir := filepath.Join(b.tmp, "sshd")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	for _, name := range []string{"host", "client"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			return "", nil, fmt.Errorf("ssh-keygen: %w\n%s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	var conf, inventory strings.Builder
	fmt.Fprintf(&conf, "Port %s\nHostKey %s/host\nAuthorizedKeysFile %s/client.pub\nStrictModes no\nUsePAM no\nPidFile none\n"+
		"PermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\nSetEnv HOME=%s\n", // no profile of a person's
		port, dir, dir, dir)
	fmt.Fprintf(&inventory, "[patching_targets:vars]\nansible_python_interpreter=/usr/bin/python3\nansible_port=%s\n"+
		"ansible_ssh_private_key_file=%s/client\nansible_ssh_common_args=\"-F /dev/null -o UserKnownHostsFile=/dev/null "+
		"-o StrictHostKeyChecking=no -o LogLevel=ERROR\"\n[patching_targets]\n", port, dir)
	address := 1
	for _, wave := range fleet {
		for _, h := range wave {
			fmt.Fprintf(&conf, "ListenAddress 127.0.0.%d\n", address)
			fmt.Fprintf(&inventory, "%s ansible_host=127.0.0.%d\n", h, address)
			address++
		}
	}
	for file, text := range map[string]string{filepath.Join(dir, "config"): conf.String(), filepath.Join(b.project, "ssh.ini"): inventory.String()} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", nil, err
		}
	}
	if os.Geteuid() == 0 { // where sshd shuts itself in
		os.MkdirAll("/run/sshd", 0o755)
	}
	server := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "config")) // it insists on its full path
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		server.Process.Kill()
		server.Wait()
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			return "ssh.ini", end, nil
		}
		if time.Now().After(deadline) {
			end()
			return "", nil, fmt.Errorf("sshd: %w", err)
		}
	}
}
