package pghealth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectLimit limits an attempt at one address, and each hook. Probes do not wait for it. It is
// short enough to notice soon that a database came back after a black hole, and long enough for any
// login. With several hosts each address gets half of it. maxConnecting limits all addresses
// together.
const (
	connectLimit  = 10 * time.Second
	maxConnecting = time.Minute
)

// session is the probe's own connection, made the way the pool makes its own. It has one user at a
// time.
type session struct {
	cfg     *pgxpool.Config
	timeout time.Duration
	turn    chan struct{} // holds a token while the fields below are in use

	conn    *pgx.Conn // nil: not connected
	expires time.Time // zero: never

	server atomic.Pointer[serverFacts] // of conn
}

// serverFacts holds what a server reports when a session connects.
type serverFacts struct {
	version   string
	tls       bool
	connected time.Time
}

func newSession(cfg *pgxpool.Config, timeout time.Duration) *session {
	cfg.ConnConfig.Tracer = nil
	// The pool's handler may wait for the answer to a cancel request. A probe cannot wait that
	// long.
	cfg.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	return &session{cfg: cfg, timeout: timeout, turn: make(chan struct{}, 1)}
}

// do waits for its turn, connects if necessary, and calls fn with a context limited to timeout.
//
// The connection may have died since its last use, or lead to a former primary. That says nothing
// about the database now, so do calls fn again on a new connection.
func (s *session) do(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !s.expires.IsZero() && time.Now().After(s.expires) {
		s.disconnect()
	}
	reused := s.conn != nil
	err := s.try(ctx, fn)
	stale := reused && s.conn == nil && !errors.Is(err, context.DeadlineExceeded)
	if err != nil && stale && ctx.Err() == nil {
		err = s.try(ctx, fn)
	}
	return err
}

func (s *session) try(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	healthy := false
	defer func() { // even if fn panics
		if !healthy {
			s.disconnect()
		}
	}()
	err := fn(ctx, s.conn)
	// Do not pass on a transaction or unread rows that a Schema left behind. Do not keep a session
	// that cannot write, because a new one may reach the primary.
	pg := s.conn.PgConn()
	healthy = !pg.IsClosed() && !pg.IsBusy() && pg.TxStatus() == 'I' && !errors.Is(err, errReadOnly)
	return err
}

func (s *session) connect(ctx context.Context) error {
	limited := func(hook func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, connectLimit)
		defer cancel()
		return hook(ctx)
	}

	cfg := s.cfg.ConnConfig.Copy()
	if s.cfg.BeforeConnect != nil { // it sets passwords that expire
		err := limited(func(ctx context.Context) error { return s.cfg.BeforeConnect(ctx, cfg) })
		if err != nil {
			return err
		}
	}
	// pgx tries one address after another, each for ConnectTimeout.
	limit := connectLimit / time.Duration(min(countHosts(cfg), 2))
	if cfg.ConnectTimeout <= 0 || cfg.ConnectTimeout > limit {
		cfg.ConnectTimeout = limit
	}
	cfg.DialFunc = dialConnects(cfg.DialFunc)
	conn, err := pgx.ConnectConfig(context.WithValue(ctx, connecting{}, true), cfg)
	if err != nil {
		return hidePassword(err)
	}
	adopted := false
	defer func() { // even if a hook panics
		if !adopted {
			closeConn(conn)
		}
	}()
	if s.cfg.AfterConnect != nil {
		if err := limited(func(ctx context.Context) error { return s.cfg.AfterConnect(ctx, conn) }); err != nil {
			return err
		}
	}
	if err := limited(func(ctx context.Context) error { return s.introduce(ctx, conn) }); err != nil {
		return err
	}
	adopted = true
	s.conn = conn
	s.expires = time.Time{}
	if s.cfg.MaxConnLifetime > 0 {
		s.expires = time.Now().Add(s.cfg.MaxConnLifetime)
	}
	_, secure := conn.PgConn().Conn().(*tls.Conn)
	s.server.Store(&serverFacts{conn.PgConn().ParameterStatus("server_version"), secure, time.Now()})
	return nil
}

// introduce names the session in pg_stat_activity, and sets a statement_timeout of half of timeout.
// The other half is for the next check. Without it, a query that waits for a lock would go on after
// the probe has given up.
//
// A pooler would keep both settings on a server connection that other clients use next. Behind
// PgBouncer the PID that the client gets is not the server's. Then introduce sets nothing.
func (s *session) introduce(ctx context.Context, conn *pgx.Conn) error {
	const sql = `select set_config('statement_timeout', '%d', false),
		set_config('application_name', ltrim(left(current_setting('application_name'), 54) || '/pghealth', '/'), false)
		where pg_backend_pid() = %d`
	limit := max(s.timeout/2, time.Millisecond).Milliseconds()
	_, err := conn.PgConn().Exec(ctx, fmt.Sprintf(sql, limit, conn.PgConn().PID())).ReadAll()
	return err
}

// hidePassword removes the password from the configuration in pgx's error. The error's text does
// not show it, but a dump by reflection would.
func hidePassword(err error) error {
	var failed *pgconn.ConnectError
	if errors.As(err, &failed) && failed.Config != nil {
		failed.Config = failed.Config.Copy()
		failed.Config.Password = ""
	}
	return err
}

// connecting marks the context of an attempt to connect.
type connecting struct{}

// dialConnects returns a DialFunc that makes connections with dial and refuses to cancel queries.
//
// pgx dials again to cancel a query that timed out, and takes up to 15 s for it. A probe must not
// open a second connection, least of all to a server in trouble. dialConnects recognizes such a
// dial by its context, which is not the one given to ConnectConfig.
//
// A pool's DialFunc may put a deadline on sockets that it takes for cancel requests. dialConnects
// removes it; pgx sets deadlines itself, from its contexts.
func dialConnects(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(connecting{}) == nil {
			return nil, errors.New("the health probe does not cancel queries")
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if conn.SetDeadline(time.Time{}) != nil {
			conn = noDeadlines{conn} // for example a tunnel of x/crypto/ssh
		}
		return conn, nil
	}
}

// noDeadlines is a connection without deadlines. pgx interrupts a read by setting a deadline of
// now; noDeadlines closes the connection instead.
type noDeadlines struct{ net.Conn }

func (c noDeadlines) SetDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		return c.Close()
	}
	return nil
}

// disconnect returns when the connection is closed and pgx's goroutine for it, if any, has ended.
func (s *session) disconnect() {
	conn := s.conn
	if conn == nil {
		return
	}
	s.conn = nil
	s.server.Store(nil)
	defer closeConn(conn)
	if s.cfg.BeforeClose != nil { // AfterConnect may count connections, and BeforeClose uncount them
		s.cfg.BeforeClose(conn)
	}
}

func closeConn(conn *pgx.Conn) {
	if conn.IsClosed() {
		hangUp(conn.PgConn().Conn()) // or pgx would keep reading for up to 15 s
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		_ = conn.Close(ctx) // the server notices either way
	}
	<-conn.PgConn().CleanupDone()
}

// hangUp closes the socket below TLS. Closing the TLS connection sends an alert, which may take 5
// s.
func hangUp(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

// end disconnects. It waits at most for limit, because a hook or the current user of the connection
// may not return.
func (s *session) end(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.turn <- struct{}{}
		s.disconnect()
		<-s.turn
	}()
	waitFor(done, limit)
}

// countHosts counts the servers that pgx would try. Fallbacks has an entry for each host with and
// without TLS.
func countHosts(cfg *pgx.ConnConfig) int {
	type address struct {
		host string
		port uint16
	}
	seen := map[address]bool{{cfg.Host, cfg.Port}: true}
	for _, f := range cfg.Fallbacks {
		seen[address{f.Host, f.Port}] = true
	}
	return len(seen)
}
