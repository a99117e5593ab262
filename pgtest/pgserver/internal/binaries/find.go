package binaries

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Oldest is the first major version that the modules of this project support.
const Oldest = 14

// programs is what a directory of binaries must hold.
var programs = []string{"postgres", "initdb", "pg_ctl"}

// Place is a place to look in. dir is called only when the places before it are not usable: some
// run a program.
type Place struct {
	name string
	dir  func() string
}

// Dir returns the place's directory, "" if it has none here. It may run a program.
func (p Place) Dir() string { return p.dir() }

// Only returns the one place that the user named.
func Only(name, dir string) []Place {
	return []Place{{name, func() string { return dir }}}
}

// Find returns the first directory that holds PostgreSQL of the wanted major version, or of any
// supported one for 0; "" if none does. tried is what was found where instead.
func (s System) Find(places []Place, version int) (dir string, tried []string) {
	for _, p := range places {
		d := p.dir()
		if d == "" {
			tried = append(tried, p.name+": not there")
			continue
		}
		usable, err := s.usable(d, version)
		if err == nil {
			return usable, tried
		}
		tried = append(tried, p.name+": "+err.Error())
	}
	return "", tried
}

// Places are where PostgreSQL's packages install it, in the documented order.
func (s System) Places() []Place {
	list := []Place{
		{"postgres in PATH", func() string {
			p, err := s.LookPath("postgres")
			if err != nil {
				return ""
			}
			return filepath.Dir(p)
		}},
		{"pg_config --bindir", func() string {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			out, err := s.Output(ctx, "pg_config", "--bindir")
			if err != nil {
				return ""
			}
			return strings.TrimSpace(string(out))
		}},
	}
	for _, pattern := range s.packages() {
		found, _ := fs.Glob(s.Root, strings.TrimPrefix(pattern, "/"))
		sort.Slice(found, func(a, b int) bool { return versionInPath(found[a]) > versionInPath(found[b]) })
		if len(found) == 0 {
			list = append(list, Only(pattern, "")...)
		}
		for _, d := range found {
			list = append(list, Only("/"+d, "/"+d)...)
		}
	}
	return list
}

func (s System) packages() []string {
	if s.GOOS == "darwin" {
		return []string{
			"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew, arm64
			"/usr/local/opt/postgresql@*/bin",                    // Homebrew, amd64
			"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
			"/Library/PostgreSQL/*/bin",                          // EDB's installer
		}
	}
	return []string{
		"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
		"/usr/pgsql-*/bin",          // PGDG on Red Hat
		"/usr/libexec/postgresql*",  // Alpine
	}
}

// versionInPath returns the number in a path such as /usr/lib/postgresql/15/bin.
func versionInPath(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(digits[len(digits)-1])
	return n
}

// usable returns dir made absolute if it holds all programs, of the wanted version. Asking a
// program for its version takes milliseconds, which every join would pay: without a wanted version
// it is left to the start.
func (s System) usable(dir string, version int) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, p := range programs {
		switch fi, err := s.stat(filepath.Join(dir, p)); {
		case err == nil && !fi.IsDir():
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("no %s in %s", p, dir)
		default:
			return "", fmt.Errorf("%s in %s: %w", p, dir, err)
		}
	}
	if v := versionInPath(dir); version == 0 && (v == 0 || v >= Oldest) {
		return dir, nil
	}
	v, err := s.majorVersion(dir)
	switch {
	case err != nil:
		return "", err
	case version != 0 && v != version:
		return "", fmt.Errorf("version %d in %s, %d is wanted", v, dir, version)
	case v < Oldest:
		return "", fmt.Errorf("version %d in %s, at least %d is needed", v, dir, Oldest)
	}
	return dir, nil
}

func (s System) majorVersion(dir string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := s.Output(ctx, filepath.Join(dir, "postgres"), "--version")
	if err != nil {
		return 0, fmt.Errorf("%s/postgres --version: %w", dir, err)
	}
	// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 18beta1"
	_, after, _ := strings.Cut(strings.TrimSpace(string(out)), ") ")
	end := strings.IndexFunc(after+" ", func(r rune) bool { return r < '0' || r > '9' })
	if end <= 0 {
		return 0, fmt.Errorf("%s/postgres --version says %q", dir, strings.TrimSpace(string(out)))
	}
	return strconv.Atoi(after[:end])
}

// InstallCommand is the command that installs PostgreSQL here, of a major version or, for 0, of
// any. The distributions' own packages have one version: others come from PostgreSQL's repository.
func (s System) InstallCommand(version int) string {
	if s.GOOS == "darwin" {
		if version == 0 {
			version = 17
		}
		return "brew install postgresql@" + strconv.Itoa(version)
	}
	if version != 0 {
		return fmt.Sprintf("PostgreSQL %d from https://www.postgresql.org/download, as package postgresql-%[1]d or "+
			"postgresql%[1]d-server; or: "+
			"go run github.com/page-builder/persistence/pgtest/pgserver/cmd/pgserver@latest fetch %[1]d", version)
	}
	sudo := "sudo "
	if s.UID == 0 {
		sudo = ""
	}
	for _, m := range []struct{ program, command string }{
		{"apt-get", "apt-get install postgresql"},
		{"dnf", "dnf install postgresql-server"},
		{"apk", "apk add postgresql"},
		{"pacman", "pacman -S postgresql"},
		{"zypper", "zypper install postgresql-server"},
	} {
		if _, err := s.LookPath(m.program); err == nil {
			return sudo + m.command
		}
	}
	return "with your system's package manager; the package is called postgresql or postgresql-server"
}
