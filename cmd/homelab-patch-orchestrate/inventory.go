package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/config"
	"homelab-patch-orchestrate/inventory"
	"homelab-patch-orchestrate/orchestrator"
)

const defaultFleet = "/etc/ansible/fleet.yaml"

func inventoryCommand(out *printer, code *int) *cobra.Command {
	c := parent(out, code, &cobra.Command{
		Use: "inventory", Short: "The fleet file: render hosts.yml from it, add a host",
		Long: `fleet.yaml is the one list of hosts that a person edits. From it hosts.yml is
rendered, beside it, which Ansible reads. host_vars and group_vars stay a person's.`,
	})
	fl := &fleetFile{out: out}
	render := &cobra.Command{
		Use: "render", Short: "Write hosts.yml, beside the fleet file", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := fl.read(); err != nil {
				return err
			}
			if fl.check {
				return fl.stale()
			}
			return fl.render()
		},
	}
	var e inventory.Entry
	add := &cobra.Command{
		Use: "add HOST", Short: "Add a host to the fleet file, and render hosts.yml", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("wave") {
				return errors.New("say with --wave in which wave the host is patched: the controller is in the last one, alone")
			}
			e.Name = args[0]
			if err := fl.read(); err != nil {
				return err
			}
			return fl.add(e)
		},
	}
	for _, sub := range []*cobra.Command{render, add} {
		sub.Flags().SortFlags = false
		sub.Flags().StringVar(&fl.path, "fleet", defaultFleet, "fleet `FILE`")
		c.AddCommand(sub)
	}
	render.Flags().BoolVar(&fl.check, "check", false, "write nothing; print what would change, and exit with 1 if something would")
	add.Flags().IntVar(&e.Wave, "wave", 0, "patch it in wave `N`")
	add.Flags().StringVar(&e.User, "user", "", "log in as `USER` (default: what ssh's settings say)")
	add.Flags().StringVar(&e.Address, "address", "", "reach it at this IP `ADDRESS` or name (default: its name)")
	add.Flags().IntVar(&e.Port, "port", 0, "reach it at port `N` (default: what ssh's settings say)")
	add.Flags().StringArrayVar(&e.Groups, "group", nil, "put it into this `GROUP` as well; may be repeated")
	return c
}

// fleetFile is a fleet file and the inventory beside it, as they are on the disk.
type fleetFile struct {
	out   *printer
	check bool // nothing is written
	path  string
	file  *inventory.File
	mode  os.FileMode // of the fleet file

	hosts string // path of the inventory
	old   []byte // what it holds; nil if it is not there
}

// read reads both files, and refuses what must not be replaced.
func (f *fleetFile) read() error {
	if f.path == "" {
		return errors.New("--fleet is empty: give it a value, or leave it out")
	}
	path, err := filepath.Abs(f.path)
	if err != nil {
		return err
	}
	f.path = path
	text, mode, err := plainFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no fleet file %s: write one (docs/fleet.md begins with an example), or name another with --fleet", f.path)
	}
	if err != nil {
		return err
	}
	// What root renders is root's, and so is believed by its runs.
	if !f.check && os.Geteuid() == 0 {
		if err := config.Trusted(0, f.path); err != nil {
			return err
		}
	}
	f.mode = mode
	if f.file, err = inventory.ParseFile(f.path, text); err != nil {
		return err
	}
	f.hosts = filepath.Join(filepath.Dir(f.path), "hosts.yml")
	if f.old, _, err = plainFile(f.hosts); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !inventory.Rendered(f.old) {
		return fmt.Errorf("%s was not rendered, so it is not overwritten: bring what it says into %s, then: mv %s %s.orig",
			f.hosts, f.path, f.hosts, f.hosts)
	}
	return nil
}

// plainFile reads a file that is no link. A link would be replaced by a file, and what it leads to left as it was.
func plainFile(path string) ([]byte, os.FileMode, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, 0, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := filepath.EvalSymlinks(path)
		if err != nil {
			to = "what it leads to"
		}
		return nil, 0, fmt.Errorf("%s is a link: remove it, or work in the folder of %s (--fleet)", path, to)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a file: put one there, or name another with --fleet", path)
	}
	data, err := os.ReadFile(path)
	return data, info.Mode().Perm(), err
}

// stale prints what a render would change, and fails if it is something.
func (f *fleetFile) stale() error {
	text := f.file.Render()
	if bytes.Equal(f.old, text) {
		return nil
	}
	f.out.out.Write(diff.Diff(f.hosts, f.old, f.hosts+" (rendered)", text))
	return failed(fmt.Errorf("%s is not what %s says: homelab-patch-orchestrate inventory render --fleet %s", f.hosts, f.path, f.path))
}

// render writes the inventory, unless it is right.
func (f *fleetFile) render() error {
	f.warn()
	text, said := f.file.Render(), "is up to date"
	if !bytes.Equal(f.old, text) {
		if err := orchestrator.ReplaceFile(f.hosts, text, 0o644); err != nil {
			return failed(fmt.Errorf("write %s: %w", f.hosts, err))
		}
		said = "is written"
	}
	hosts, waves := "hosts", "waves"
	if len(f.file.Hosts) == 1 {
		hosts, waves = "host", "wave"
	}
	var numbers []string
	for _, w := range f.file.Fleet().Waves {
		numbers = append(numbers, fmt.Sprint(w.Number))
	}
	fmt.Fprintf(f.out.out, "%s %s: %d %s in %s %s\n", f.hosts, said, len(f.file.Hosts), hosts, waves, strings.Join(numbers, ", "))
	return nil
}

// warn tells of waves that only a playbook of one's own can have.
func (f *fleetFile) warn() {
	for _, w := range f.file.Fleet().Waves {
		if w.Number > carriedWaves {
			f.out.warn("wave %d: the carried playbook has waves up to %d and refuses to run; number the waves closer together, or use a playbook of your own", w.Number, carriedWaves)
		}
	}
}

// add writes both files with one more host, and says what becomes of it.
func (f *fleetFile) add(e inventory.Entry) error {
	file, err := f.file.Add(e)
	if err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	if err := orchestrator.ReplaceFile(f.path, file.Text(), f.mode); err != nil {
		return failed(fmt.Errorf("write %s: %w", f.path, err))
	}
	f.file = file
	fmt.Fprintf(f.out.out, "%s has %s\n", f.path, e.Name)
	if err := f.render(); err != nil {
		return err
	}
	f.tell(e)
	return nil
}

// tell says what the next run does with a host, and what it needs before.
func (f *fleetFile) tell(e inventory.Entry) {
	fleet := f.file.Fleet()
	among := func(hosts []string) string {
		if len(hosts) > 5 {
			return fmt.Sprintf("%s and %d more", strings.Join(hosts[:5], ", "), len(hosts)-5)
		}
		return strings.Join(hosts, ", ")
	}
	said := fmt.Sprintf("The next run with this inventory patches %s in wave %d", e.Name, e.Wave)
	for i, w := range fleet.Waves {
		if w.Number != e.Wave {
			continue
		}
		var with []string
		for _, host := range w.Hosts {
			if host != e.Name {
				with = append(with, host)
			}
		}
		if len(with) > 0 {
			said += ", with " + among(with)
		}
		if i > 0 {
			said += fmt.Sprintf(", after wave %d (%s)", fleet.Waves[i-1].Number, among(fleet.Waves[i-1].Hosts))
		} else {
			said += ", the first"
		}
		said += fmt.Sprintf(", before wave %d (%s)", fleet.Waves[i+1].Number, among(fleet.Waves[i+1].Hosts)) // the controller is last
	}
	fmt.Fprintf(f.out.out, `
%s.

Before that, its host key has to be pinned, and the controller's key to be there:
  1. on the console of %s:   cat /etc/ssh/ssh_host_ed25519_key.pub
  2. that line into %s:
       patching_ssh_host_keys:
         - ssh-ed25519 AAAA…
  3. in the folder ansible/:   ansible-playbook -i %s playbooks/site.yml
`, said, e.Name, filepath.Join(filepath.Dir(f.path), "host_vars", e.Name+".yml"), f.hosts)
}
