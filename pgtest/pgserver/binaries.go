package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

// oldest is the first major version that the modules of this project support.
const oldest = 14

// programs is what a directory of binaries must hold.
var programs = []string{"postgres", "initdb", "pg_ctl"}

// NotFoundError says that there are no usable PostgreSQL binaries on this machine. Its text lists the places tried and the command that
// installs them here.
type NotFoundError struct {
	Tried []string // a place and why it would not do
}

func (e *NotFoundError) Error() string {
	return "no PostgreSQL server found; tried:\n  " + strings.Join(e.Tried, "\n  ") +
		"\ninstall it: " + installCommand() +
		"\nor set PGTEST_BINDIR to the directory that holds postgres, initdb and pg_ctl," +
		"\nor set PGTEST_URL to a server for tests, such as postgres://postgres:PASSWORD@127.0.0.1:5432/postgres"
}

// findBinaries returns the first directory, in the documented order, that holds PostgreSQL of the wanted version.
func findBinaries(dir string, version int) (string, error) {
	if version == 0 {
		if v := os.Getenv("PGTEST_VERSION"); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < oldest {
				return "", fmt.Errorf("PGTEST_VERSION %q: want a major version from %d, such as 16", v, oldest)
			}
			version = n
		}
	}
	search := binaryDirs()
	switch named := os.Getenv("PGTEST_BINDIR"); {
	case dir != "":
		search = []candidate{{"Options.BinDir", func() string { return dir }}}
	case named != "":
		search = []candidate{{"PGTEST_BINDIR", func() string { return named }}}
	}
	var tried []string
	for _, c := range search {
		d := c.dir()
		if d == "" {
			tried = append(tried, c.place+": not there")
			continue
		}
		real, err := usable(d, version)
		if err == nil {
			return real, nil
		}
		tried = append(tried, c.place+": "+err.Error())
	}
	return "", &NotFoundError{Tried: tried}
}

// candidate is a place to look in. dir is called only when the places before it would not do: some run a program.
type candidate struct {
	place string
	dir   func() string
}

func binaryDirs() []candidate {
	list := []candidate{
		{"postgres in PATH", func() string {
			p, err := exec.LookPath("postgres")
			if err != nil {
				return ""
			}
			if real, err := filepath.EvalSymlinks(p); err == nil { // Debian-like link farms
				p = real
			}
			return filepath.Dir(p)
		}},
		{"pg_config --bindir", func() string {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output()
			if err != nil {
				return ""
			}
			return strings.TrimSpace(string(out))
		}},
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                   // PGDG on Red Hat
		"/usr/libexec/postgresql*",                           // Alpine
		"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew, arm64
		"/usr/local/opt/postgresql@*/bin",                    // Homebrew, amd64
		"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
		"/Library/PostgreSQL/*/bin",                          // EDB's installer
	} {
		found, _ := filepath.Glob(pattern)
		sort.Slice(found, func(a, b int) bool { return versionInPath(found[a]) > versionInPath(found[b]) })
		if len(found) == 0 {
			list = append(list, candidate{pattern, func() string { return "" }})
		}
		for _, d := range found {
			list = append(list, candidate{d, func() string { return d }})
		}
	}
	return list
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

// usable returns dir made absolute if it holds all programs, of the wanted version. Asking a program for its version
// takes milliseconds, which every join would pay: without a wanted version it is left to the start.
func usable(dir string, version int) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, p := range programs {
		fi, err := os.Stat(filepath.Join(dir, p))
		if err != nil || fi.IsDir() {
			return "", fmt.Errorf("no %s in %s", p, dir)
		}
	}
	if v := versionInPath(dir); version == 0 && (v == 0 || v >= oldest) {
		return dir, nil
	}
	v, err := majorVersion(dir)
	switch {
	case err != nil:
		return "", err
	case version != 0 && v != version:
		return "", fmt.Errorf("version %d in %s, %d is wanted", v, dir, version)
	case v < oldest:
		return "", fmt.Errorf("version %d in %s, at least %d is needed", v, dir, oldest)
	}
	return dir, nil
}

func majorVersion(dir string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("%s/postgres --version: %w", dir, err)
	}
	// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 18beta1"
	_, after, _ := strings.Cut(string(out), ") ")
	end := strings.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' })
	if end <= 0 {
		return 0, fmt.Errorf("%s/postgres --version says %q", dir, strings.TrimSpace(string(out)))
	}
	return strconv.Atoi(after[:end])
}

func installCommand() string {
	if runtime.GOOS == "darwin" {
		return "brew install postgresql@17"
	}
	sudo := "sudo "
	if os.Geteuid() == 0 {
		sudo = ""
	}
	for _, m := range []struct{ program, command string }{
		{"apt-get", "apt-get install postgresql"},
		{"dnf", "dnf install postgresql-server"},
		{"apk", "apk add postgresql"},
		{"pacman", "pacman -S postgresql"},
		{"zypper", "zypper install postgresql-server"},
	} {
		if _, err := exec.LookPath(m.program); err == nil {
			return sudo + m.command
		}
	}
	return "with your system's package manager; the package is called postgresql or postgresql-server"
}
