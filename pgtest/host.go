package pgtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

const (
	// creators is how many clones one process makes at a time. More gain nothing: a clone is a copy
	// of files followed by a checkpoint, of which the server makes one at a time.
	creators = 2
	// ahead limits the clones that wait for future tests. With pendingDrops it bounds what a
	// process holds beyond the databases of its running tests: 8 databases.
	ahead = 4
	// refillDelay is how long a test that got its clone at once has the machine to itself.
	refillDelay = 5 * time.Millisecond
	// pendingDrops limits the databases of ended tests that still exist. Beyond it the end of a
	// test waits.
	pendingDrops = 4
	// droppers is how many databases one process drops at a time. DROP DATABASE waits for a backend
	// to exit 100 ms at a time, and a single dropper would hold up the others.
	droppers = 2
	// dropDelay is how soon a drop may begin, exitWait how long it waits for the backends of a
	// closed pool to exit.
	dropDelay = 10 * time.Millisecond
	exitWait  = 50 * time.Millisecond
	// sweepDelay is how long the first sweep waits, unless it has more than sweepAtOnce databases
	// to drop.
	sweepDelay  = time.Second
	sweepAtOnce = 8
	// adminLimit bounds one of our own statements. A clone takes 20 ms; a machine that swaps may
	// need seconds.
	adminLimit = time.Minute
)

// host is a server and what this process has on it. It is safe for concurrent use.
type host struct {
	server   *pgserver.Server
	settings map[string]string // required of the server
	base     *pgx.ConnConfig   // of the server's administrator
	project  project
	fileCopy bool
	// lease marks this process as alive, and its token is in the names of its databases. Its
	// session is also where statements go that a test waits for.
	lease   *lease.Lease
	creates admin
	drops   admin
	pending chan struct{} // one for each database of an ended test

	sweeping sync.Once
	found    atomic.Int32 // databases of ended processes, counted at the start
	running  atomic.Int32 // databases that tests are using

	mu      sync.Mutex
	sources map[string]*source
	roles   map[bool]*roles // by whether they are superusers
	failed  error           // errors of drops, for the next test to log
}

func newHost(ctx context.Context, settings map[string]string) (*host, error) {
	server, err := pgserver.Acquire(ctx, pgserver.Options{Settings: settings})
	if err != nil {
		return nil, err
	}
	h := &host{
		server: server, settings: settings,
		pending: make(chan struct{}, pendingDrops),
		sources: map[string]*source{},
		roles:   map[bool]*roles{},
	}
	if err := h.start(ctx); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *host) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, adminLimit)
	defer cancel()
	if h.project, err = findProject(); err != nil {
		return err
	}
	if h.base, err = pgserver.ParseConfig(h.server.URL()); err != nil {
		return fmt.Errorf("the server's address: %w", err) // pgx leaves the password out
	}
	h.creates, h.drops = newAdmin(h.session("", nil), creators), newAdmin(h.session("", nil), droppers)
	// The first test will need a copy as soon as the template is found.
	go background(func() { _ = h.creates.exec(context.WithoutCancel(ctx)) }) // the caller of exec gets its error
	conn, err := pgx.ConnectConfig(ctx, h.session("", nil))
	if hasCode(err, "08P01") { // protocol_violation: a pooler that knows no such parameters
		return errPooler
	}
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err) // pgx leaves the password out
	}
	if h.lease, err = lease.Take(ctx, conn, leaseSpace); err != nil {
		return err
	}
	return h.control(ctx, h.inspect)
}

const (
	leaseSpace  = "pgtest"
	makersSpace = "pgtest template" // held while pgtestdb makes databases whose names have no token
)

var errPooler = errors.New("PGTEST_URL leads through a connection pooler, which may give each statement another " +
	"session: name the server itself")

// inspect reports an error if the server is not fit for tests.
func (h *host) inspect(ctx context.Context, conn *pgx.Conn) error {
	var (
		version int
		super   bool
		backend uint32
	)
	err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int, pg_backend_pid(),
		(select rolsuper from pg_roles where rolname = current_user)`).Scan(&version, &backend, &super)
	switch {
	case err != nil:
		return fmt.Errorf("ask for the server's version: %w", err)
	case backend != conn.PgConn().PID():
		return errPooler
	case !super:
		return fmt.Errorf("PGTEST_URL names the role %s, which is no superuser: name one that is, such as postgres; "+
			"it makes roles and template databases, and the tests connect as a role without these rights", h.base.User)
	}
	for name, want := range h.settings {
		var got string
		if err := conn.QueryRow(ctx, "select current_setting($1)", name).Scan(&got); err != nil {
			return fmt.Errorf("pgtest.Settings: %w", err)
		}
		if got != want && !h.server.Ephemeral() { // one of our own has them, maybe in another unit
			return fmt.Errorf("pgtest.Settings wants %s = %s, and the server of PGTEST_URL has %s", name, want, got)
		}
	}
	// Copying files beats logging each page only where nothing is flushed to disk; elsewhere it
	// would force a checkpoint of the user's whole cluster. PostgreSQL 15 and later know the
	// choice, older ones always copy.
	h.fileCopy = h.server.Ephemeral() && version >= 150000
	return nil
}

// control runs fn on the session of the lease. The host is useless once that session is lost.
func (h *host) control(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminLimit)
	defer cancel()
	return h.lease.Do(ctx, fn)
}

// orGone adds [lease.ErrLost] to err if the server has gone: its files were removed, nothing
// answers at its address, or the session of the lease is dead.
func (h *host) orGone(ctx context.Context, err error) error {
	var (
		connect *pgconn.ConnectError
		refused *pgconn.PgError // by a server that is there
	)
	switch {
	case !h.server.Reachable(), errors.As(err, &connect) && !errors.As(err, &refused):
		return errors.Join(lease.ErrLost, err)
	case err == nil:
		return nil
	}
	ping := h.control(context.WithoutCancel(ctx), func(ctx context.Context, conn *pgx.Conn) error {
		return conn.Ping(ctx)
	})
	return errors.Join(ping, err)
}

// source returns the clones of a template.
func (h *host) source(key string, r *roles) *source {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources[key] == nil {
		h.sources[key] = &source{host: h, key: key, roles: r}
	}
	return h.sources[key]
}

func (h *host) close() {
	if h.lease != nil {
		h.lease.Close(context.Background())
	}
	h.server.Release()
}

// admin is a bounded number of connections that stay open for the next caller.
type admin struct {
	config *pgx.ConnConfig
	idle   chan *pgx.Conn // nil: not connected yet
}

func newAdmin(config *pgx.ConnConfig, n int) admin {
	a := admin{config: config, idle: make(chan *pgx.Conn, n)}
	for range n {
		a.idle <- nil
	}
	return a
}

// exec runs the statements one after another, each in its own transaction.
func (a admin) exec(ctx context.Context, statements ...string) error {
	return a.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return execEach(ctx, conn, statements...)
	})
}

func execEach(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	for _, sql := range statements {
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return err
		}
	}
	return nil
}

// with runs fn on one of the connections. It blocks while all are in use.
func (a admin) with(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminLimit)
	defer cancel()
	var conn *pgx.Conn
	select {
	case conn = <-a.idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() {
		if conn != nil && conn.IsClosed() {
			if ctx.Err() != nil { // the statement must not go on when this process has ended
				<-conn.PgConn().CleanupDone()
			}
			conn = nil
		}
		a.idle <- conn
	}()
	if conn == nil {
		var err error
		if conn, err = pgx.ConnectConfig(ctx, a.config); err != nil {
			return err
		}
	}
	return fn(ctx, conn)
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
