package pgpool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// roleInterval is how long a connection of a pool with target_session_attrs is used before the
	// pool checks the server's role again. A failover takes seconds, so a round trip every 5 s
	// notices it soon and costs next to nothing.
	roleInterval = 5 * time.Second
	// roleTimeout is far more than a round trip.
	roleTimeout = 2 * time.Second
	// resetInterval keeps a pool whose only server stays read-only from connecting again for every
	// write that fails.
	resetInterval = time.Second
	// resetLogInterval keeps such a pool from filling the log.
	resetLogInterval = time.Minute
)

// role replaces the connections of a pool whose server lost the role that it had.
type role struct {
	validate pgconn.ValidateConnectFunc // of target_session_attrs, or nil
	readOnly atomic.Bool                // sessions are read-only by configuration, so 25006 says nothing

	mu      sync.Mutex
	reset   time.Time
	logged  time.Time
	dropped int32 // connections that were replaced one by one since then
}

// hookError makes connections that were refused a write suspect. It cannot tell whether the server
// was demoted or the transaction was READ ONLY; the next acquire asks.
func hookError(cfg *pgx.ConnConfig) {
	onError := cfg.OnPgError
	cfg.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		if err.Code == "25006" { // read_only_sql_transaction
			if s, ok := conn.CustomData()[sessionKey].(*session); ok {
				s.suspect.Store(true)
			}
		}
		if onError != nil {
			return onError(conn, err)
		}
		return err.Severity != "FATAL"
	}
}

func (o *observer) hookRole(cfg *pgxpool.Config) {
	o.role.validate = cfg.ConnConfig.ValidateConnect
	switch cfg.ConnConfig.RuntimeParams["default_transaction_read_only"] {
	case "on", "true", "yes", "1":
		o.role.readOnly.Store(true)
	}
	next, beforeAcquire := cfg.PrepareConn,
		cfg.BeforeAcquire //nolint:staticcheck // callers still set it, and it would be passed over
	if next == nil && beforeAcquire != nil {
		next = func(ctx context.Context, conn *pgx.Conn) (bool, error) { //nolint:unparam // as PrepareConn
			return beforeAcquire(ctx, conn), nil
		}
	}
	cfg.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (ok bool, err error) {
		c := o.acquireOf(ctx)
		if c != nil {
			c.session = o.claim(conn)
			if c.session != nil && !o.hasRole(ctx, c, conn, c.session) {
				return false, nil
			}
		}
		switch {
		case next == nil:
			return true, nil
		case c == nil:
			return next(ctx, conn)
		}
		c.enter(checking)
		if ok, err = next(ctx, conn); err != nil && c.Err() != nil {
			err = c.Err() // pgx does not recognize an AcquireError as the end of a context
		}
		return ok, err
	}
}

// hasRole reports whether conn may be handed out. If it asked the server and the server has changed
// its role, all others are replaced too.
func (o *observer) hasRole(ctx context.Context, c *acquireContext, conn *pgx.Conn, s *session) bool {
	stale := o.role.validate != nil && time.Since(s.checked) >= roleInterval
	if !stale && (!s.suspect.Load() || o.role.readOnly.Load()) {
		return true
	}
	c.enter(checking)
	ctx, cancel := context.WithTimeout(ctx, roleTimeout)
	defer cancel()
	var err error
	if o.role.validate != nil {
		err = o.role.validate(ctx, conn.PgConn())
		var notPreferred *pgconn.NotPreferredError
		if errors.As(err, &notPreferred) {
			err = nil // prefer-standby takes a primary too
		}
	} else {
		err = o.mayWrite(ctx, conn.PgConn())
	}
	if err == nil {
		s.suspect.Store(false)
		s.checked = time.Now()
		return true
	}
	if conn.IsClosed() {
		return false // it says nothing about the role
	}
	if o.resetPool(err) {
		return false
	}
	// Replaced a moment ago, and the server is still the wrong one. With target_session_attrs,
	// connecting looks for the right one. Without, a new connection may meet the same one, or,
	// where a load balancer follows the primary, the right one.
	s.suspect.Store(false)
	return o.role.validate == nil && !o.mayDrop()
}

// mayWrite returns nil if transactions of the session can write, or are read-only because an
// operator configured the role or the database so. That is no change, and new connections would
// find the same.
func (o *observer) mayWrite(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, `select current_setting('transaction_read_only'), pg_is_in_recovery(), source
		from pg_settings where name = 'default_transaction_read_only'`).ReadAll()
	if err != nil {
		return err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil
	}
	row := results[0].Rows[0]
	switch readOnly, standby, source := string(row[0]) == "on", string(row[1]) == "t", string(row[2]); {
	case !readOnly:
		return nil
	case !standby && (source == "user" || source == "database" || source == "database user"):
		o.role.readOnly.Store(true)
		return nil
	}
	return errors.New("the session is read-only")
}

// resetPool replaces every connection, now or when it is released.
func (o *observer) resetPool(reason error) bool {
	o.role.mu.Lock()
	defer o.role.mu.Unlock()
	now := time.Now()
	if now.Sub(o.role.reset) < resetInterval {
		return false
	}
	o.role.reset, o.role.dropped = now, 0
	o.pool.Load().Reset()
	if now.Sub(o.role.logged) >= resetLogInterval {
		o.role.logged = now
		o.settings.Logger.Warn("a connection leads to the wrong server, replacing all connections",
			"reason", reason.Error())
	}
	return true
}

// mayDrop reports whether one more connection may be replaced although all were replaced within
// resetInterval. The limit is the size of the pool: in a failover each connection fails once, and a
// server that stays read-only does not cause a connect for every write.
func (o *observer) mayDrop() bool {
	o.role.mu.Lock()
	defer o.role.mu.Unlock()
	if o.role.dropped >= o.cfg.MaxConns {
		return false
	}
	o.role.dropped++
	return true
}
