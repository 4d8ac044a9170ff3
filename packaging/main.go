// Command packaging makes the Debian packages of this checkout: `make deb`, and `make release`.
//
// A package has what the checkout has, and nothing else: the carried playbooks and roles come out of the same embedded
// files as in the program, all other files are those that git knows. Times are the commit's, paths are trimmed, so the
// same commit and Go make the same bytes, wherever and whenever.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const name = "homelab-patch-orchestrate"

// Tools that are no part of the program and so not in go.mod. nfpm after v2.44 needs modules that not every proxy has.
const (
	nfpm = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.44.1"
	sbom = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0"
)

func main() {
	out := flag.String("out", "dist", "`folder` for the packages; others of ours in it are removed")
	version := flag.String("version", "", "Debian `version`; default: of what git describes")
	release := flag.Bool("release", false, "also an SBOM for each package, and SHA256SUMS; refused with changes that are not committed")
	flag.Parse()
	if err := run(*out, *version, *release); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(out, version string, release bool) error {
	if _, err := os.Stat("packaging/nfpm.yaml"); err != nil {
		return fmt.Errorf("to be run in the folder of go.mod: %w", err)
	}
	described, err := output(nil, "git", "describe", "--tags", "--always", "--dirty", "--abbrev=8")
	if err != nil {
		return err
	}
	if release && strings.HasSuffix(described, "-dirty") {
		return errors.New("a release is made of what is committed: commit or stash your changes")
	}
	seconds, err := output(nil, "git", "log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	epoch, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("the commit's time: %w", err)
	}
	p := packager{out: out, version: version, date: time.Unix(epoch, 0).UTC()}
	if p.version == "" {
		if p.version, err = debianVersion(described, p.date); err != nil {
			return err
		}
	}
	if p.work, err = os.MkdirTemp("", "packaging"); err != nil {
		return err
	}
	defer os.RemoveAll(p.work)
	if err := p.clear(); err != nil {
		return err
	}
	if err := p.manual(); err != nil {
		return err
	}
	for _, arch := range []string{"amd64", "arm64"} {
		if err := p.deb(arch, release); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
	}
	if release {
		return p.sums()
	}
	return nil
}

// packager makes the packages of one version.
type packager struct {
	out     string
	work    string // a folder of our own, for as long as we run
	version string
	date    time.Time // of the commit, and of every file
}

// file is the path of what is made for an architecture.
func (p packager) file(arch, suffix string) string {
	return filepath.Join(p.out, name+"_"+p.version+"_"+arch+suffix)
}

// clear removes what an earlier build left: sums are made of all that is there.
func (p packager) clear() error {
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return err
	}
	for _, pattern := range []string{name + "_*.deb", name + "_*.cdx.json", "SHA256SUMS"} {
		old, err := filepath.Glob(filepath.Join(p.out, pattern))
		if err != nil {
			return err
		}
		for _, path := range old {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// env are the variables of a command: times are the commit's, the program needs no C, and which version of Go compiles is
// up to who builds.
func (p packager) env(more ...string) []string {
	return append(os.Environ(), append(more, "CGO_ENABLED=0", fmt.Sprint("SOURCE_DATE_EPOCH=", p.date.Unix()))...)
}

// stamp has the program say the version of its package.
func (p packager) stamp() string { return "-ldflags=-s -w -X main.version=" + p.version }

// manual has the program of this machine write its own man pages and completions.
func (p packager) manual() error {
	_, err := output(p.env(), "go", "run", "-tags=manual", "-trimpath", "-buildvcs=false", p.stamp(), "./cmd/"+name, "manual", filepath.Join(p.work, "manual"))
	return err
}

// deb makes the package of an architecture.
func (p packager) deb(arch string, release bool) error {
	binary := filepath.Join(p.work, arch+".bin")
	// Without the state of git: the version says it, and a source without git builds the same.
	if _, err := output(p.env("GOOS=linux", "GOARCH="+arch), "go", "build", "-trimpath", "-buildvcs=false", p.stamp(), "-o", binary, "./cmd/"+name); err != nil {
		return err
	}
	tree := filepath.Join(p.work, arch)
	if err := p.tree(tree, binary); err != nil {
		return err
	}
	env := p.env("PACKAGE_TREE="+tree, "PACKAGE_VERSION="+p.version, "PACKAGE_ARCH="+arch, "PACKAGE_MAINTAINER="+maintainer)
	if _, err := output(env, "go", "run", nfpm, "package", "--packager", "deb", "--config", "packaging/nfpm.yaml", "--target", p.file(arch, ".deb")); err != nil {
		return err
	}
	fmt.Println(p.file(arch, ".deb"))
	if !release {
		return nil
	}
	bill, err := output(p.env(), "go", "run", sbom, "bin", "-json", "-std", "-noserial", "-version", p.version, binary)
	if err != nil {
		return err
	}
	bill = madeAt.ReplaceAllString(bill, `${1}`+p.date.Format(time.RFC3339)) // the tool knows its own clock alone
	return os.WriteFile(p.file(arch, ".cdx.json"), []byte(bill+"\n"), 0o644)
}

var madeAt = regexp.MustCompile(`("timestamp": ")[^"]*`)

// sums writes SHA256SUMS, as sha256sum --check reads it.
func (p packager) sums() error {
	text, err := output(nil, "sh", "-c", `cd "$0" && sha256sum homelab-patch-orchestrate_*`, p.out)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.out, "SHA256SUMS"), []byte(text+"\n"), 0o644)
}

// output runs a command and returns what it printed, without the last line end. What it said on stderr is in the error.
func output(env []string, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, text, stderr.String())
	}
	return strings.TrimSuffix(string(text), "\n"), nil
}
