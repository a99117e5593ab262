package binaries_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// machine makes a system up: installed maps directories of programs to what postgres --version says
// there.
func machine(goos string, installed map[string]string, env map[string]string) binaries.System {
	root := fstest.MapFS{}
	for dir := range installed {
		for _, p := range []string{"postgres", "initdb", "pg_ctl"} {
			root[strings.TrimPrefix(dir, "/")+"/"+p] = &fstest.MapFile{Mode: 0o755}
		}
	}
	return binaries.System{
		GOOS: goos, GOARCH: "amd64", UID: 501, Root: root,
		Getenv: func(name string) string { return env[name] },
		LookPath: func(name string) (string, error) {
			if p := env["in PATH: "+name]; p != "" {
				return p, nil
			}
			return "", errors.New("not in PATH")
		},
		Output: func(_ context.Context, name string, _ ...string) ([]byte, error) {
			if name == "pg_config" {
				if dir := env["pg_config"]; dir != "" {
					return []byte(dir + "\n"), nil
				}
				return nil, errors.New("not in PATH")
			}
			if v, ok := installed[filepath.Dir(name)]; ok {
				return []byte("postgres (PostgreSQL) " + v), nil
			}
			return nil, fmt.Errorf("%s: no such program", name)
		},
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	linux := map[string]string{
		"/opt/own/bin": "17beta1", "/srv/configured/bin": "16.2", "/usr/lib/postgresql/9.6/bin": "9.6.24",
		"/usr/lib/postgresql/14/bin": "14.11 (Debian 14.11-1)", "/usr/lib/postgresql/18/bin": "18.0",
		"/usr/pgsql-15/bin": "15.1", "/usr/libexec/postgresql16": "16.9",
	}
	mac := map[string]string{
		"/opt/homebrew/opt/postgresql@16/bin":                     "16.9 (Homebrew)",
		"/opt/homebrew/opt/postgresql@17/bin":                     "17.5 (Homebrew)",
		"/usr/local/opt/postgresql@15/bin":                        "15.1 (Homebrew)",
		"/Applications/Postgres.app/Contents/Versions/18/bin":     "18.0 (Postgres.app)",
		"/Applications/Postgres.app/Contents/Versions/latest/bin": "18.0 (Postgres.app)",
		"/Library/PostgreSQL/14/bin":                              "14.1",
		"/usr/lib/postgresql/13/bin":                              "13.1", // not a place of macOS
	}
	for name, c := range map[string]struct {
		goos      string
		installed map[string]string
		without   []string
		env       map[string]string
		version   int
		want      string
		tried     []string
	}{
		"PATH first": {
			goos: "linux", installed: linux,
			env:  map[string]string{"in PATH: postgres": "/opt/own/bin/postgres", "pg_config": "/srv/configured/bin"},
			want: "/opt/own/bin",
		},
		"then pg_config": {
			goos: "linux", installed: linux, env: map[string]string{"pg_config": "/srv/configured/bin"},
			want: "/srv/configured/bin",
		},
		"then the newest": {goos: "linux", installed: linux, want: "/usr/lib/postgresql/18/bin"},
		"PATH of another": {
			goos: "linux", installed: linux, env: map[string]string{"in PATH: postgres": "/opt/own/bin/postgres"},
			version: 14, want: "/usr/lib/postgresql/14/bin",
			tried: []string{"postgres in PATH: version 17 in /opt/own/bin, 14 is wanted"},
		},
		"Red Hat": {goos: "linux", installed: linux, version: 15, want: "/usr/pgsql-15/bin"},
		"Alpine":  {goos: "linux", installed: linux, version: 16, want: "/usr/libexec/postgresql16"},
		"beta": {
			goos: "linux", installed: linux, env: map[string]string{"in PATH: postgres": "/opt/own/bin/postgres"},
			version: 17, want: "/opt/own/bin",
		},
		"no such version": {
			goos: "linux", installed: linux, version: 97,
			tried: []string{
				"postgres in PATH: not there",
				"/usr/lib/postgresql/14/bin: version 14 in /usr/lib/postgresql/14/bin, 97 is wanted",
				"/usr/pgsql-15/bin: version 15 in",
			},
		},
		"too old": {
			goos: "linux", installed: map[string]string{"/usr/lib/postgresql/13/bin": "13.1"},
			tried: []string{"version 13 in /usr/lib/postgresql/13/bin, at least 14 is needed"},
		},
		"nothing": {
			goos: "linux", tried: []string{"pg_config --bindir: not there", "/usr/lib/postgresql/*/bin: not there"},
		},
		"not whole": {
			goos: "linux", env: map[string]string{"in PATH: postgres": "/empty/postgres"},
			tried: []string{"no postgres in /empty"},
		},
		"Homebrew on arm64": {goos: "darwin", installed: mac, want: "/opt/homebrew/opt/postgresql@17/bin"},
		"Homebrew, older": {
			goos: "darwin", installed: mac, version: 16, want: "/opt/homebrew/opt/postgresql@16/bin",
		},
		"Homebrew on amd64": {goos: "darwin", installed: mac, version: 15, want: "/usr/local/opt/postgresql@15/bin"},
		"Postgres.app": {
			goos: "darwin", installed: mac, version: 18, want: "/Applications/Postgres.app/Contents/Versions/18/bin",
		},
		"Postgres.app latest": {
			goos: "darwin", installed: mac, without: []string{"/Applications/Postgres.app/Contents/Versions/18/bin"},
			version: 18, want: "/Applications/Postgres.app/Contents/Versions/latest/bin",
		},
		"EDB": {goos: "darwin", installed: mac, version: 14, want: "/Library/PostgreSQL/14/bin"},
		"nothing on macOS": {
			goos: "darwin", tried: []string{
				"/opt/homebrew/opt/postgresql@*/bin: not there",
				"/Applications/Postgres.app/Contents/Versions/*/bin: not there",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installed := maps.Clone(c.installed)
			for _, dir := range c.without {
				delete(installed, dir)
			}
			s := machine(c.goos, installed, c.env)
			got, tried := s.Find(s.Places(), c.version)
			if got != c.want {
				t.Errorf("found %q, want %q; tried %q", got, c.want, tried)
			}
			for _, want := range c.tried {
				if !slices.ContainsFunc(tried, func(s string) bool { return strings.Contains(s, want) }) {
					t.Errorf("%q is not among what was tried: %q", want, tried)
				}
			}
		})
	}
}

func TestFindOnlyNamed(t *testing.T) {
	t.Parallel()
	s := machine("linux", map[string]string{"/usr/lib/postgresql/15/bin": "15.1"}, nil)
	if got, tried := s.Find(binaries.Only("PGTEST_BINDIR", "/elsewhere"), 0); got != "" || len(tried) != 1 ||
		!strings.Contains(tried[0], "PGTEST_BINDIR: no postgres in /elsewhere") {
		t.Errorf("found %q, tried %q", got, tried)
	}
}

func TestInstallCommand(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]binaries.System{
		"brew install postgresql@17": machine("darwin", nil, nil),
		"sudo apt-get install postgresql": machine("linux", nil,
			map[string]string{"in PATH: apt-get": "/usr/bin/apt-get"}),
		"sudo apk add postgresql": machine("linux", nil, map[string]string{"in PATH: apk": "/sbin/apk"}),
		"with your system's package manager; the package is called postgresql or postgresql-server": machine("linux",
			nil, nil),
	} {
		if got := s.InstallCommand(0); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func homeOf(uid uint32) *fstest.MapFile {
	return &fstest.MapFile{Mode: fs.ModeDir | 0o755, Sys: &syscall.Stat_t{Uid: uid}}
}

func TestDirectories(t *testing.T) {
	t.Parallel()
	home := map[string]string{"HOME": "/Users/ann"}
	xdg := map[string]string{"HOME": "/home/ann", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"}
	for name, c := range map[string]struct {
		goos                string
		uid                 int
		env                 map[string]string
		cache, state, store string
	}{
		"macOS": {
			"darwin", 501, home, "/Users/ann/Library/Caches/pgserver/501", "/Users/ann/.local/state/pgserver",
			"/Users/ann/Library/Caches/pgserver/501/binaries",
		},
		"Linux": {
			"linux", 501, home, "/Users/ann/.cache/pgserver/501", "/Users/ann/.local/state/pgserver",
			"/Users/ann/.cache/pgserver/501/binaries",
		},
		"XDG":          {"linux", 501, xdg, "/c/pgserver/501", "/s/pgserver", "/c/pgserver/501/binaries"},
		"XDG on macOS": {"darwin", 501, xdg, "/c/pgserver/501", "/s/pgserver", "/c/pgserver/501/binaries"},
		"root": {
			"linux", 0, home, "/Users/ann/.cache/pgserver/0", "/var/lib/pgserver", "/var/cache/pgserver-binaries",
		},
		"root with XDG": {"linux", 0, xdg, "/c/pgserver/0", "/s/pgserver", "/c/pgserver-binaries"},
		"root on macOS": {
			"darwin", 0, home, "/Users/ann/Library/Caches/pgserver/0", "/var/lib/pgserver",
			"/Library/Caches/pgserver-binaries",
		},
		"no home": {"linux", 501, nil, "/tmp/pgserver-cache-501", "", "/tmp/pgserver-cache-501/binaries"},
		"root without a home": {
			"linux", 0, nil, "/tmp/pgserver-cache-0", "/var/lib/pgserver", "/var/cache/pgserver-binaries",
		},
		"a relative home": {
			"linux", 501,
			map[string]string{"HOME": "home/ann", "XDG_CACHE_HOME": "c", "XDG_STATE_HOME": "s"},
			"/tmp/pgserver-cache-501", "",
			"/tmp/pgserver-cache-501/binaries",
		},
		"/ for a home": { // of a container's user without a name
			"linux", 501,
			map[string]string{"HOME": "/"},
			"/tmp/pgserver-cache-501", "/.local/state/pgserver",
			"/tmp/pgserver-cache-501/binaries",
		},
		"a missing home": {
			"linux", 501,
			map[string]string{"HOME": "/nonexistent"},
			"/tmp/pgserver-cache-501", "/nonexistent/.local/state/pgserver",
			"/tmp/pgserver-cache-501/binaries",
		},
		"a file for a home": {
			"linux", 501,
			map[string]string{"HOME": "/a/file"},
			"/tmp/pgserver-cache-501", "/a/file/.local/state/pgserver",
			"/tmp/pgserver-cache-501/binaries",
		},
		"another user's home": {
			"linux", 501,
			map[string]string{"HOME": "/home/bob"},
			"/tmp/pgserver-cache-501", "/home/bob/.local/state/pgserver",
			"/tmp/pgserver-cache-501/binaries",
		},
		"no home, TMPDIR": {
			"linux", 501,
			map[string]string{"TMPDIR": "/t"},
			"/t/pgserver-cache-501", "",
			"/t/pgserver-cache-501/binaries",
		},
	} {
		s := machine(c.goos, nil, c.env)
		s.UID = c.uid
		s.Root = fstest.MapFS{
			".":         homeOf(0),
			"Users/ann": homeOf(uint32(c.uid)),
			"home/ann":  homeOf(uint32(c.uid)),
			"home/bob":  homeOf(502),
			"a/file":    {Sys: &syscall.Stat_t{Uid: uint32(c.uid)}},
		}
		state, err := s.StateDir()
		if (err != nil) != (c.state == "") {
			t.Errorf("%s: %v", name, err)
		}
		if s.CacheDir() != c.cache || state != c.state || s.StoreDir() != c.store {
			t.Errorf("%s: cache %s, state %s, store %s", name, s.CacheDir(), state, s.StoreDir())
		}
	}
}

// macOS' sun_path has 104 bytes, its temporary directories are long: a server's socket must fit
// with room to spare.
func TestSocketPathFitsOnMacOS(t *testing.T) {
	t.Parallel()
	s := machine("darwin", nil,
		map[string]string{
			"HOME": "/Users/a.rather.long.user.name", "TMPDIR": "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/",
		})
	state, err := s.StateDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		filepath.Join(s.TempDir(), "pgserver-3w5e11264sgsf", ".s.PGSQL.5432"), // the greatest random name
		filepath.Join(state, "default", ".s.PGSQL.65535"),
	} {
		if len(path) > binaries.MaxSocketPath {
			t.Errorf("%s has %d bytes", path, len(path))
		}
	}
	if binaries.MaxSocketPath != 104-1 {
		t.Errorf("MaxSocketPath = %d", binaries.MaxSocketPath)
	}
}
