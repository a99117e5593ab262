package pghealth

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectLimit is for one attempt to connect, all hosts together. Probes do not wait for it. It is
// short enough for a database that comes back behind a black hole to be noticed soon, and long for
// any handshake.
const connectLimit = 10 * time.Second

// session is the probe's own connection, made the way the pool makes its own. One user at a time.
type session struct {
	cfg     *pgxpool.Config
	timeout time.Duration
	turn    chan struct{} // holds a token while somebody uses what follows

	conn    *pgx.Conn // nil: not connected
	expires time.Time // zero: never

	maxAge   time.Duration               // of failure
	failure  *unreachedError             // of the last attempt to connect, if it failed
	failedAt time.Time                   // when
	failures atomic.Int64                // so far
	server   atomic.Pointer[serverFacts] // of the last connection
}

// serverFacts is what a server tells when it is connected to.
type serverFacts struct {
	version   string
	connected time.Time
}

// unreachedError is of an attempt to connect.
type unreachedError struct{ err error }

func (e *unreachedError) Error() string { return e.err.Error() }
func (e *unreachedError) Unwrap() error { return e.err }

func newSession(cfg *pgxpool.Config, timeout, maxAge time.Duration) *session {
	c := cfg.ConnConfig
	c.Tracer = nil
	// The pool's may wait for an answer to a cancel request before it gives up, which a probe
	// cannot.
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	// Recognisable in pg_stat_activity beside the application's own.
	if c.RuntimeParams == nil {
		c.RuntimeParams = make(map[string]string)
	}
	c.RuntimeParams["application_name"] = strings.TrimPrefix(c.RuntimeParams["application_name"]+"/pghealth", "/")
	return &session{cfg: cfg, timeout: timeout, maxAge: maxAge, turn: make(chan struct{}, 1)}
}

// do waits for its turn, connects if need be, and calls fn with a context limited to timeout. An
// old connection may have died or been left behind by a failover since it was last used, which says
// nothing about the database now: when that is what fn met, it is called again on a new one.
//
// An attempt to connect that failed meanwhile, or less than maxAge ago, is not repeated: all checks
// of a probe come at the same time, and a wrong password must not be tried by each of them. The
// error is an *unreachedError.
func (s *session) do(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	failures := s.failures.Load()
	select {
	case s.turn <- struct{}{}:
		defer s.pass(ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !s.expires.IsZero() && time.Now().After(s.expires) {
		s.disconnect()
	}
	reused := s.conn != nil
	if !reused && s.failure != nil && (s.failures.Load() != failures || time.Since(s.failedAt) < s.maxAge) {
		return s.failure
	}
	err := s.try(ctx, fn)
	stale := reused && s.conn == nil && !errors.Is(err, context.DeadlineExceeded)
	if err != nil && stale && ctx.Err() == nil {
		err = s.try(ctx, fn)
	}
	return err
}

// pass gives the turn to the next one. When ctx is done the probe may have been closed meanwhile,
// and nobody may come.
func (s *session) pass(ctx context.Context) {
	if ctx.Err() != nil {
		s.disconnect()
	}
	<-s.turn
}

func (s *session) try(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			s.failure, s.failedAt = &unreachedError{err}, time.Now()
			s.failures.Add(1)
			return s.failure
		}
		s.failure = nil
		s.server.Store(&serverFacts{version: s.conn.PgConn().ParameterStatus("server_version"), connected: time.Now()})
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	healthy := false
	defer func() { // also when fn panics
		if !healthy {
			s.disconnect()
		}
	}()
	err := fn(ctx, s.conn)
	// A Schema may have left a transaction or unread rows behind; whoever comes next must not meet
	// them. A session that cannot write is not kept, because a new one may reach the primary.
	pg := s.conn.PgConn()
	healthy = !pg.IsClosed() && !pg.IsBusy() && pg.TxStatus() == 'I' && !errors.Is(err, errReadOnly)
	return err
}

func (s *session) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()

	cfg := s.cfg.ConnConfig.Copy()
	if s.cfg.BeforeConnect != nil { // passwords that expire are set there
		if err := s.cfg.BeforeConnect(ctx, cfg); err != nil {
			return err
		}
	}
	// pgx tries one host after another, each for ConnectTimeout: the last one needs its share.
	if share := connectLimit / time.Duration(hosts(cfg)); cfg.ConnectTimeout <= 0 || cfg.ConnectTimeout > share {
		cfg.ConnectTimeout = share
	}
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		// pgx dials again, on a context of its own, to cancel a query that timed out, and takes up
		// to 15 s for it. A probe may not open a second connection, least of all to a server in
		// trouble.
		if ctx.Value(connecting{}) == nil {
			return nil, errors.New("the health probe does not cancel queries")
		}
		return dial(ctx, network, addr)
	}
	conn, err := pgx.ConnectConfig(context.WithValue(ctx, connecting{}, true), cfg)
	if err != nil {
		return err
	}
	s.conn = conn
	s.expires = time.Time{}
	if s.cfg.MaxConnLifetime > 0 {
		s.expires = time.Now().Add(s.cfg.MaxConnLifetime)
	}
	if s.cfg.AfterConnect != nil {
		ready := false
		defer func() {
			if !ready {
				s.disconnect()
			}
		}()
		if err := s.cfg.AfterConnect(ctx, conn); err != nil {
			return err
		}
		ready = true
	}
	return nil
}

// connecting marks the context of an attempt to connect.
type connecting struct{}

// disconnect returns when the connection and the goroutine that pgx may have for it are gone.
func (s *session) disconnect() {
	if s.conn == nil {
		return
	}
	if s.conn.IsClosed() {
		hangUp(s.conn.PgConn().Conn()) // or pgx would go on reading for up to 15 s
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		_ = s.conn.Close(ctx) // the server notices either way
	}
	<-s.conn.PgConn().CleanupDone()
	s.conn = nil
}

// hangUp closes the socket under TLS, without the alert that TLS would take up to 5 s to send.
func hangUp(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

// end disconnects, unless somebody does not give the connection back within limit.
func (s *session) end(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
		s.disconnect()
		<-s.turn
	case <-timer.C:
	}
}

// hosts counts the servers that pgx would try. Fallbacks has an entry for each host with and
// without TLS.
func hosts(cfg *pgx.ConnConfig) int {
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
