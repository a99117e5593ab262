package cluster

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// MissingError says that a cluster cannot run here because programs are not installed.
type MissingError struct {
	Packages []string // of Debian and Ubuntu
}

func (e *MissingError) Error() string {
	return "a cluster needs programs that are not installed here: sudo apt-get install " +
		strings.Join(e.Packages, " ") +
		" (stop the services that this starts; the cluster runs its own)"
}

// programs has the path of each program that a cluster runs.
type programs struct {
	postgres                          string // the directory of PostgreSQL's
	patroni, etcd, haproxy, pgbouncer string
	nft                               string // may be missing
}

// Check returns a [*MissingError] if a program is missing, and an error on systems other than
// Linux.
func Check() error {
	_, err := findPrograms()
	return err
}

func findPrograms() (programs, error) {
	if runtime.GOOS != "linux" {
		return programs{}, errors.New("a cluster runs on Linux only: it is made of Debian's packages")
	}
	var p programs
	var missing MissingError
	if p.postgres = serverPrograms(); p.postgres == "" {
		missing.Packages = append(missing.Packages, "postgresql")
	}
	for _, want := range []struct {
		path      *string
		name, pkg string
	}{
		{&p.patroni, "patroni", "patroni"},
		{&p.etcd, "etcd", "etcd-server"},
		{&p.haproxy, "haproxy", "haproxy"},
		{&p.pgbouncer, "pgbouncer", "pgbouncer"},
	} {
		if *want.path = find(want.name); *want.path == "" {
			missing.Packages = append(missing.Packages, want.pkg)
		}
	}
	p.nft = find("nft")
	if len(missing.Packages) > 0 {
		return programs{}, &missing
	}
	return p, nil
}

// find looks in PATH, then where Debian installs servers: an ordinary user's PATH lacks that.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if os.Getenv("PATH") == "" {
		return "" // lets a test run without the program
	}
	if path := filepath.Join("/usr/sbin", name); executable(path) {
		return path
	}
	return ""
}

// serverPrograms returns a directory that has all programs Patroni needs.
func serverPrograms() string {
	for _, path := range pgserver.Programs("pg_basebackup") {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		dir := filepath.Dir(path)
		if !slices.ContainsFunc([]string{"postgres", "initdb", "pg_ctl", "pg_controldata", "pg_rewind", "pg_isready"},
			func(name string) bool {
				return !executable(filepath.Join(dir, name))
			}) {
			return dir
		}
	}
	return ""
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && !fi.IsDir() && fi.Mode()&0o111 != 0
}
