package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

const (
	// creators is how many clones one process makes at a time. More gain nothing: a clone is a copy
	// of files followed by a checkpoint, of which the server makes one at a time.
	creators = 2
	// ahead is how many clones wait for tests that have not asked yet. With pendingDrops it bounds
	// what a process holds beyond the databases of its running tests: 8 databases.
	ahead = 4
	// primedAhead is how many of those are connected to. They are lost for the next process.
	primedAhead = 2
	// refillDelay is how long a test that got its clone at once has the machine for itself.
	refillDelay = 5 * time.Millisecond
	// pendingDrops is how many databases of ended tests may still be there. The next test's end
	// waits.
	pendingDrops = 4
	// droppers is how many drops one process has under way. One alone would hold up the others
	// while it waits for a backend to exit, which DROP DATABASE does 100 ms at a time.
	droppers = 2
	// dropDelay is how soon a drop may begin, exitWait how long it waits for the backends of a
	// closed pool to exit.
	dropDelay = 10 * time.Millisecond
	exitWait  = 50 * time.Millisecond
	// sweepDelay is how long the first sweep waits, unless more than sweepAtOnce databases are to
	// be dropped.
	sweepDelay  = time.Second
	sweepAtOnce = 8
	// adminLimit bounds one statement of ours. A clone takes 20 ms; a machine that swaps may need
	// seconds.
	adminLimit = time.Minute
)

// host is a server and what this process has on it. It is safe for concurrent use.
type host struct {
	server   *pgserver.Server
	token    string // in the names of this process's databases
	fileCopy bool
	// owner holds the advisory lock that tells other processes that this one lives; see
	// leftover.go. The lock goes with the connection, so with the process.
	ownerMu  sync.Mutex
	owner    *pgx.Conn
	lockedIn string // the database whose locks those are
	creates  admin
	drops    admin
	pending  chan struct{} // one for each database of an ended test

	sweeping sync.Once
	found    atomic.Int32 // databases of ended processes at the start
	running  atomic.Int32 // databases that tests have

	mu      sync.Mutex
	sources map[string]*source
	failed  error // of drops that had no test to tell
}

func newHost(ctx context.Context) (*host, error) {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return nil, err
	}
	var random [4]byte
	rand.Read(random[:]) // never fails
	h := &host{
		server:  server,
		token:   hex.EncodeToString(random[:]),
		creates: newAdmin(server.URL(), creators),
		drops:   newAdmin(server.URL(), droppers),
		pending: make(chan struct{}, pendingDrops),
		sources: map[string]*source{},
	}
	if err := h.start(ctx); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *host) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, adminLimit)
	defer cancel()
	// Somebody will want a copy as soon as the template is found.
	go background(func() { _ = h.creates.exec(context.WithoutCancel(ctx)) }) // who needs it gets its error
	cfg, err := pgx.ParseConfig(h.server.URL())
	if err != nil {
		return fmt.Errorf("the server's address: %w", err) // pgx leaves the password out
	}
	// An idle connection is cut by some servers, and with it went the lock.
	cfg.RuntimeParams["idle_session_timeout"] = "0"
	owner, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err) // pgx leaves the password out
	}
	h.owner = owner
	var version int
	err = owner.QueryRow(ctx, "select current_setting('server_version_num')::int, current_database()::text, "+
		"pg_advisory_lock($1)::text, pg_advisory_lock_shared($2)::text",
		lockKey(h.token), lockKey(living)).Scan(&version, &h.lockedIn, nil, nil)
	if err != nil {
		return fmt.Errorf("lock %s: %w", h.token, err)
	}
	// Copying files beats logging each page only where nothing is flushed to disk; elsewhere it
	// would force a checkpoint of somebody's whole cluster. PostgreSQL 15 and later know the
	// choice, older ones always copy.
	h.fileCopy = h.server.Ephemeral() && version >= 150000
	return nil
}

// lockKey is the advisory lock of a process's token.
func lockKey(token string) int64 {
	f := fnv.New64a()
	f.Write([]byte("pgtest\x00" + token))
	return int64(f.Sum64())
}

// control runs a statement on the connection that holds the lock. If that is lost the host is of no
// use any more.
func (h *host) control(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminLimit)
	defer cancel()
	h.ownerMu.Lock()
	defer h.ownerMu.Unlock()
	err := fn(ctx, h.owner)
	if h.owner.IsClosed() {
		return errors.Join(errLost, err)
	}
	return err
}

// errLost: the server has gone, or has ended the connection that holds this process's lock.
var errLost = errors.New("the server has gone")

// gone adds errLost to err if that is so: nobody answers at the server's address, or the connection
// with the lock is dead.
func (h *host) gone(ctx context.Context, err error) error {
	var (
		connect *pgconn.ConnectError
		refused *pgconn.PgError // by a server that is there
	)
	if errors.As(err, &connect) && !errors.As(err, &refused) {
		return errors.Join(errLost, err)
	}
	ping := h.control(context.WithoutCancel(ctx), func(ctx context.Context, conn *pgx.Conn) error {
		return conn.Ping(ctx)
	})
	return errors.Join(ping, err)
}

// source returns the clones of a template.
func (h *host) source(key string) *source {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources[key] == nil {
		h.sources[key] = &source{host: h, key: key}
	}
	return h.sources[key]
}

func (h *host) close() {
	if h.owner != nil {
		h.owner.Close(context.Background())
	}
	h.server.Release()
}

// admin is a bounded number of connections that are kept for the next who needs one.
type admin struct {
	url  string
	idle chan *pgx.Conn // nil: to be connected
}

func newAdmin(url string, n int) admin {
	a := admin{url: url, idle: make(chan *pgx.Conn, n)}
	for range n {
		a.idle <- nil
	}
	return a
}

// exec runs the statements one after another, each in its own transaction.
func (a admin) exec(ctx context.Context, statements ...string) error {
	return a.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		for _, sql := range statements {
			if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
				return err
			}
		}
		return nil
	})
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
			conn = nil
		}
		a.idle <- conn
	}()
	if conn == nil {
		var err error
		if conn, err = pgx.Connect(ctx, a.url); err != nil {
			return err
		}
	}
	return fn(ctx, conn)
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
