package pgpool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgxlisten"
	"github.com/page-builder/persistence/pgerr"
	"github.com/sethvargo/go-retry"
)

const (
	// reconnectBase is the upper end of the first wait before connecting again, doubled for each
	// further one.
	reconnectBase = 100 * time.Millisecond
	// reconnectCap bounds one wait. All instances of a service lose their listeners in the same
	// moment.
	reconnectCap = 5 * time.Second
	// listenTimeout limits login, the check for PgBouncer and each connect where the configuration
	// has no limit.
	listenTimeout = DefaultConnectTimeout
)

// ErrPooled is what a [Listener] reports when its connection leads to PgBouncer or another pooler:
// LISTEN would be lost with the server's connection that it went to.
var ErrPooled = errors.New("LISTEN does not work through PgBouncer: connect to the server itself (DIRECT_DATABASE_URL)")

// Listener returns a listener for NOTIFY on a connection of its own, made with cfg: pgconfig's
// DirectConfig, or any other that does not lead through PgBouncer. Nothing connects before its
// Listen method is called.
//
//	listener, err := pgpool.Listener(cfg, pgpool.WithListenerStatus(&status))
//	...
//	listener.Handle("pages", pgpool.Notified(onPage, reload))
//	err = listener.Listen(ctx)
//
// Listen blocks until ctx ends and returns its error. When the connection is lost, or cannot be
// made, it connects again: after a random wait of at most 100 ms, then 200, 400, … up to 5 s, until
// a connection has lasted that long. Each failure is logged with its category.
//
// PostgreSQL keeps no notification for a listener that is away. Use [Notified] as the handler: it
// is called to read the state anew after every connect, before any notification.
//
// [WithLogger], [WithTracer], [WithPassword], [WithKeepAlive] and [WithListenerStatus] apply; other
// options do nothing here. It works on a copy of cfg. The listener's fields are the caller's to
// change before Listen, except Connect and ReconnectDelay.
func Listener(cfg *pgx.ConnConfig, opts ...Option) (*pgxlisten.Listener, error) {
	if cfg == nil || cfg.Host == "" {
		return nil, errors.New("listener: the configuration is incomplete: make it with pgconfig's DirectConfig or pgx.ParseConfig")
	}
	cfg = cfg.Copy()
	s := newSettings(opts)
	s.keepAlive.apply(cfg)
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = listenTimeout
	}
	if len(s.tracers) > 0 {
		all := s.tracers
		if cfg.Tracer != nil {
			all = append([]pgx.QueryTracer{cfg.Tracer}, all...)
		}
		cfg.Tracer = multitracer.New(all...)
	}
	l := &listening{cfg: cfg, settings: s, status: s.status}
	if l.status == nil {
		l.status = &ListenerStatus{}
	}
	if s.password != nil {
		l.before = hookPassword(cfg, nil, s.password)
	}
	return &pgxlisten.Listener{
		Connect:  l.connect,
		LogError: l.logError,
		// The waiting is connect's, which can draw it at random. 0 would be a minute, and less a
		// busy loop.
		ReconnectDelay: time.Nanosecond,
	}, nil
}

// listening is a Listener under way. Its methods are called by Listen, one at a time.
type listening struct {
	cfg      *pgx.ConnConfig
	settings *settings
	status   *ListenerStatus
	before   func(context.Context, *pgx.ConnConfig) error

	backoff retry.Backoff
	since   time.Time // of the last connection
}

// connect returns an open connection, or ctx's error.
func (l *listening) connect(ctx context.Context) (*pgx.Conn, error) {
	first := l.backoff == nil
	if first || time.Since(l.since) >= reconnectCap {
		l.backoff = retry.WithFullJitter(retry.WithCappedDuration(reconnectCap, retry.NewExponential(reconnectBase)))
	}
	var wait time.Duration
	if !first {
		wait, _ = l.backoff.Next()
	}
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
		conn, err := l.attempt(ctx)
		if err == nil {
			l.since = time.Now()
			l.status.connected(conn)
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		wait, _ = l.backoff.Next()
		l.status.failed(err)
		l.settings.logger.LogAttrs(ctx, slog.LevelWarn, "listener cannot connect, trying again", slog.String("category", string(pgerr.Of(err))),
			slog.String("error", oneLine.Replace(err.Error())), slog.Duration("wait", wait.Round(time.Millisecond)))
	}
}

func (l *listening) attempt(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ConnectTimeout*time.Duration(2+len(l.cfg.Fallbacks)))
	defer cancel()
	cfg := l.cfg.Copy()
	if l.before != nil {
		if err := l.before(ctx, cfg); err != nil {
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, withoutPassword(err)
	}
	server, err := readServerState(ctx, conn)
	if err == nil && server.pooled {
		err = ErrPooled
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

func (l *listening) logError(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // it was told to end
	}
	l.status.failed(err)
	l.settings.logger.LogAttrs(ctx, slog.LevelWarn, "listener", slog.String("category", string(pgerr.Of(err))), slog.String("error", err.Error()))
}

// Notified is a handler for [Listener]: handle is called for every notification of its channel, and
// resync after every connect, the first included, when LISTEN is in effect and before any
// notification is handled.
//
// Whatever was notified while nobody listened is lost; resync must read the state that
// notifications tell about, such as reload a cache or look into a table of jobs, on conn or
// elsewhere. A change that is committed meanwhile may be seen by both. If resync fails, the
// connection is given up and made anew, so that handle never builds on a state that was not read.
// Both run in Listen's goroutine, one call at a time, and hold up what comes after; their errors
// are logged, and one of handle's changes nothing else. They must not use conn after they have
// returned.
func Notified(
	handle func(ctx context.Context, notification *pgconn.Notification) error,
	resync func(ctx context.Context, conn *pgx.Conn) error,
) pgxlisten.Handler {
	return &notified{handle: handle, resync: resync}
}

type notified struct {
	handle func(context.Context, *pgconn.Notification) error
	resync func(context.Context, *pgx.Conn) error
}

var _ pgxlisten.BacklogHandler = (*notified)(nil)

func (n *notified) HandleNotification(ctx context.Context, notification *pgconn.Notification, _ *pgx.Conn) error {
	return n.handle(ctx, notification)
}

func (n *notified) HandleBacklog(ctx context.Context, _ string, conn *pgx.Conn) error {
	err := n.resync(ctx, conn)
	if err != nil {
		// pgxlisten logs it and goes on; on a closed connection it starts again.
		_ = conn.Close(ctx)
		return fmt.Errorf("resync: %w", err)
	}
	return nil
}
