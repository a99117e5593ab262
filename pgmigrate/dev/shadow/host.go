package shadow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

const (
	// cleanupLimit limits the cleanup, which does not depend on the caller's context.
	cleanupLimit = 10 * time.Second
	// createLimit limits the copy of a template. It takes 20 ms without flushes, and seconds on a
	// busy server.
	createLimit = time.Minute
	prefix      = "pgmigrate_shadow_"
)

// host is a server with a lease, which shows other processes that this one is alive. The host ends
// with its last database.
type host struct {
	server *pgserver.Server // nil for a server that the caller named
	base   *pgx.ConnConfig
	major  int
	note   string

	mu    sync.Mutex
	lease *lease.Lease // its token is in the names of all its databases
	users int          // databases, and one for the opener
	made  int
	alive map[string]bool // the databases that are not dropped yet
}

func newHost(ctx context.Context, opts Options) (*host, error) {
	h := &host{users: 1, alive: map[string]bool{}}
	live, err := askLive(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := h.acquire(ctx, opts.URL, live); err != nil {
		return nil, err
	}
	if err := h.connect(ctx, live); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// settings make a separate server for shadows, because roles that migrations need must not appear
// on the tests' server.
var settings = map[string]string{"cluster_name": "pgmigrate_shadow"}

// acquire finds the server. It does not connect.
func (h *host) acquire(ctx context.Context, url string, live identity) error {
	if url == "" {
		server, err := pgserver.Acquire(ctx, pgserver.Options{Version: live.major, Settings: settings})
		var missing *pgserver.NotFoundError
		if live.major != 0 && errors.As(err, &missing) {
			server, err = pgserver.Acquire(ctx, pgserver.Options{Settings: settings})
		}
		if err != nil {
			return fmt.Errorf("%w\nor name a server for shadow databases with --shadow-url or SHADOW_DATABASE_URL", err)
		}
		h.server, url = server, server.URL()
	}
	cfg, err := parse(url)
	h.base = cfg
	return err
}

// parse hides the parser's error, which quotes the address with its password.
func parse(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the shadow server's address does not parse: want the form " +
			"postgres://USER:PASSWORD@HOST:5432/postgres")
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "pgmigrate-dev"
	}
	return cfg, nil
}

func (h *host) connect(ctx context.Context, live identity) error {
	conn, err := pgx.ConnectConfig(ctx, h.base)
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err) // pgx leaves the password out
	}
	// Take the lease before the first database exists: a sweep drops databases without one.
	if h.lease, err = lease.Take(ctx, conn, leaseSpace); err != nil {
		return err
	}
	return h.lease.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		self, err := identify(ctx, conn)
		if err != nil {
			return err
		}
		if self.same(live) {
			return errSame
		}
		h.major = self.major
		if live.major != 0 && live.major != self.major {
			h.note = fmt.Sprintf("the database is on PostgreSQL %d, its shadow on %d: differences may be those of the "+
				"versions", live.major, self.major)
		}
		return sweep(ctx, conn)
	})
}

// leaseSpace is the same for all processes that make shadow databases.
const leaseSpace = "pgmigrate shadow"

// exec runs a statement on the session of the lease.
func (h *host) exec(ctx context.Context, sql string) error {
	return h.lease.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}

// ours reports whether pgserver started the server: it holds no data, and we are superuser.
func (h *host) ours() bool { return h.server != nil && h.server.Ephemeral() }

func (h *host) create(ctx context.Context, template string, opts Options) (*DB, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.made++
	name := fmt.Sprintf("%s%s_%d", prefix, h.lease.Token(), h.made)
	sql := "create database " + quoted(name) + " template " + quoted(template)
	// Copying files is faster if nothing is flushed to disk. On a user's server it would force a
	// checkpoint. PostgreSQL 15 and later have the option.
	if h.ours() && h.major >= 15 {
		sql += " strategy file_copy"
	}
	// Do not use the caller's context: if it were canceled in the middle, pgx would close the
	// session that holds the lock.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createLimit)
	defer cancel()
	if err := h.exec(ctx, sql); err != nil {
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "42501" {
			return nil, fmt.Errorf("%w; give the role the right: alter role … createdb", err)
		}
		return nil, err
	}
	h.users++
	h.alive[name] = true
	if err := h.exec(ctx, "revoke all on database "+quoted(name)+" from public"); err != nil {
		return nil, errors.Join(err, h.dropLocked(name))
	}
	cfg := h.base.Copy()
	cfg.Database = name
	return &DB{host: h, name: name, config: cfg, opts: opts}, nil
}

func (h *host) drop(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropLocked(name)
}

func (h *host) dropLocked(name string) error {
	if !h.alive[name] {
		return nil
	}
	delete(h.alive, name)
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	defer h.leave(ctx)
	drop := "drop database if exists " + quoted(name) + " with (force)"
	err := h.exec(ctx, drop)
	if !errors.Is(err, lease.ErrLost) {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, h.base) // the server may have been restarted
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, drop)
	return err
}

// release ends the opener's use of the host.
func (h *host) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	h.leave(ctx)
}

func (h *host) leave(ctx context.Context) {
	if h.users--; h.users > 0 {
		return
	}
	if h.lease != nil {
		h.lease.Close(ctx)
	}
	if h.server != nil {
		h.server.Release()
	}
}

// waitUnused returns when the database has no sessions. The backend of a closed connection takes a
// moment to end, and a database with a session cannot be a template.
func (h *host) waitUnused(ctx context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		var used bool
		err := h.lease.Do(context.WithoutCancel(ctx), func(ctx context.Context, conn *pgx.Conn) error {
			const connected = "select exists (select from pg_stat_activity where datname = $1)"
			return conn.QueryRow(ctx, connected, name).Scan(&used)
		})
		if err != nil || !used {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is in use: %w", name, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// createRole makes a role that cannot log in, unless it exists.
func (h *host) createRole(ctx context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.exec(ctx, "create role "+quoted(name))
	var pgErr *pgconn.PgError
	// Another process may make it at the same time: 42710 duplicate object, 23505 from the
	// catalog's index.
	if errors.As(err, &pgErr) && (pgErr.Code == "42710" || pgErr.Code == "23505") {
		return nil
	}
	return err
}

func quoted(name string) string {
	return pgx.Identifier{strings.ReplaceAll(name, "\x00", "")}.Sanitize()
}
