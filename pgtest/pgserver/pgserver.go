// Package pgserver starts a throw-away PostgreSQL server for tests and shares it between all
// processes of the same user: the first [Acquire] starts it from a cached data directory, later
// ones join it, and when the last process that holds it has ended, however it ended, the server
// stops and its files are removed.
//
//	func TestSomething(t *testing.T) {
//		url := pgserver.Database(t) // an empty database of its own, dropped after the test
//		...
//	}
//
// The server trades durability for speed (fsync is off), listens on a Unix socket in a directory
// that only its user can enter, and opens no TCP port. PostgreSQL refuses to run as root: there it
// runs as the user postgres, or nobody.
//
// Variables, read at each Acquire:
//
//   - PGTEST_URL: use this server instead of starting one. It must be on loopback or a Unix socket,
//     unless PGTEST_ALLOW_REMOTE is 1.
//   - PGTEST_BINDIR: the directory of postgres, initdb and pg_ctl. Nothing else is searched.
//   - PGTEST_VERSION: the major version to choose among the installed ones, or to download, such as
//     16.
//   - PGTEST_DOWNLOAD: off forbids to download PostgreSQL where none is found.
//
// [Dev] is a second kind of server, a durable one for a developer's machine.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
)

// Options says which server to acquire. The zero value is the server that every other caller with
// the zero value shares.
type Options struct {
	// BinDir is the directory of postgres, initdb and pg_ctl. Default: PGTEST_BINDIR, then PATH,
	// pg_config --bindir and the usual places of Linux distributions, Homebrew and Postgres.app.
	BinDir string

	// Version is a major version to choose among the installed ones, or to download. Default:
	// PGTEST_VERSION, then the first found. Zero takes any from 14.
	Version int

	// Settings are added to postgresql.conf, such as {"max_prepared_transactions": "10"}. Callers
	// with different settings get different servers.
	Settings map[string]string

	// Dir is where the server's files go. Default: /dev/shm if it has room, then [os.TempDir]. As
	// root, the user that the server drops to must be able to enter it.
	Dir string

	// CacheDir keeps initialized data directories between runs (about 40 MB each). Default:
	// pgserver in [os.UserCacheDir], or in the temporary directory if that cannot be made.
	CacheDir string
}

// linger is how long a server without users stays up. go test runs packages one after another when
// it is short of processors, and another start costs more than waiting; a killed test run should
// leave nothing behind for long.
const linger = 3 * time.Second

// startLimit is for a machine with fifty busy processes for each core, where initdb takes a minute.
// A server that fails exits, which ends the wait.
const startLimit = 3 * time.Minute

// Server is a running PostgreSQL that stays up at least until Release. It is safe for concurrent
// use.
type Server struct {
	url     *url.URL
	own     bool   // started by this package, not named by PGTEST_URL
	dir     string // of a server started by this package
	release func()
}

// Acquire joins the server that opts describes, and starts it if none runs. It blocks until the
// server accepts connections or ctx is done, at most three minutes. Joining takes a millisecond or
// two, starting a few tenths of a second, and about a second more the first time, when the data
// directory is made and cached. Where there is no PostgreSQL a download comes before that; see
// [Binaries].
//
// The error for a machine without PostgreSQL is a [*NotFoundError].
func Acquire(ctx context.Context, opts Options) (*Server, error) {
	if s, err := configured(os.Getenv); s != nil || err != nil {
		return s, err
	}
	spec, err := resolve(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, errors.New("not ready within three minutes"))
	defer cancel()
	told := announce("PostgreSQL from " + spec.bin + " to start, here or in another process; initdb runs " +
		"once on a machine")
	inst, err := spec.acquire(ctx)
	told()
	if err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	return &Server{url: inst.url(), own: true, dir: inst.dir, release: inst.leave}, nil
}

// URL returns the connection string of the server's database postgres, with a superuser's rights on
// a server started here.
func (s *Server) URL() string { return s.url.String() }

// DatabaseURL returns the connection string of the named database on this server.
func (s *Server) DatabaseURL(name string) string {
	u := *s.url
	u.Path = "/" + name
	return u.String()
}

// Ephemeral reports whether the server was started by this package: its data is thrown away, fsync
// is off and the caller is superuser. It is false for the server that PGTEST_URL names.
func (s *Server) Ephemeral() bool { return s.own }

// Reachable reports whether the socket of a server that this package started is still there: its
// files may have been removed under it. For PGTEST_URL's server it returns true.
func (s *Server) Reachable() bool {
	if !s.own {
		return true
	}
	_, err := os.Stat(filepath.Join(s.dir, ".s.PGSQL."+port))
	return err == nil
}

// Release gives the server up. It stops a few seconds after its last user released it or ended.
// Release may be called more than once.
func (s *Server) Release() { s.release() }

// spec describes a server, from Options and the environment.
type spec struct {
	bin      string // directory of the binaries
	settings string // postgresql.conf
	dir      string // wanted parent directory, or ""
	cache    string
	owner    Owner
	key      string // same key, same server
}

func resolve(ctx context.Context, opts Options) (*spec, error) {
	owner, err := FindOwner()
	if err != nil {
		return nil, err
	}
	bin, err := findBinaries(ctx, opts.BinDir, opts.Version)
	if err != nil {
		return nil, err
	}
	cache, err := binaries.Here().MakeCacheDir(opts.CacheDir)
	if err != nil {
		return nil, err
	}
	s := &spec{bin: bin, settings: throwAwaySettings(opts.Settings), dir: opts.Dir, cache: cache, owner: owner}
	s.key = s.digest()
	return s, nil
}

// acquire tries to join until it gets the lock, and starts a server under it.
func (s *spec) acquire(ctx context.Context) (*instance, error) {
	for {
		if inst, err := s.join(); err == nil {
			return inst, nil
		}
		lock, err := flock.Try(s.lockFile())
		if err != nil {
			return nil, err
		}
		if lock != nil {
			defer lock.Close() // closing unlocks
			return s.joinOrStart(ctx)
		}
		// 5 ms: short against a start, and 60 processes waiting cost nothing.
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return nil, fmt.Errorf("waiting for another process to start the server: %w", err)
		}
	}
}

// joinOrStart runs under the lock.
func (s *spec) joinOrStart(ctx context.Context) (*instance, error) {
	inst, err := s.join()
	switch {
	case err == nil:
		return inst, nil
	case errors.Is(err, errUnwatched):
		// The watchdog was killed, its server was not: watch it again, so that it ends with its
		// users.
		if inst, err := s.adopt(); err == nil {
			return inst, nil
		}
	}
	s.discardUnfinished()
	inst, err = s.start(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.writeLockFile(inst.dir); err != nil {
		inst.leave()
		return nil, err
	}
	return inst, nil
}

// announce says on standard error what pgserver is waiting for, if that takes longer than two
// seconds. The caller calls done at the end.
func announce(what string) (done func()) {
	t := time.AfterFunc(2*time.Second, func() { fmt.Fprintf(os.Stderr, "pgserver: waiting for %s\n", what) })
	return func() { t.Stop() }
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
