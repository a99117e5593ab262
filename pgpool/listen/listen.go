// Package listen receives notifications (LISTEN and NOTIFY) on a connection of its own. It makes a
// new connection when the old one breaks, stops answering, or leads to a server that became
// read-only.
//
//	listener, err := listen.New(cfg) // DIRECT_DATABASE_URL, or DATABASE_URL
//	...
//	err = listener.Handle("pages", onPage, reload)
//	...
//	err = listener.Listen(ctx) // until ctx ends
//
// PostgreSQL keeps no notification for a listener that is away. The resync function of
// [Listener.Handle] therefore reads the state again after every connect, before any notification is
// handled.
//
// [Listener.Alive] says whether notifications arrive. A Listener fits pghealth's Options.Listener.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/dial"
	"github.com/page-builder/persistence/pgpool/internal/option"
	"github.com/sethvargo/go-retry"
)

const (
	// reconnectBase is the upper end of the first wait before connecting again. It doubles for each
	// further wait.
	reconnectBase = 100 * time.Millisecond
	// reconnectCap bounds one wait. All instances of a service lose their listeners at the same
	// moment.
	reconnectCap = 5 * time.Second
	// defaultHeartbeat is how often an idle connection is asked. A failover takes seconds.
	defaultHeartbeat = 5 * time.Second
	// maxChannel is the longest identifier that PostgreSQL does not cut.
	maxChannel = 63 // bytes
)

var (
	// ErrPooled is the cause when the connection leads to PgBouncer or another pooler. LISTEN would
	// be lost together with the server connection that it went to.
	ErrPooled = errors.New("LISTEN does not work through PgBouncer: connect to the server itself (DIRECT_DATABASE_URL)")

	// ErrNotListening is the cause while the Listener has not listened yet, and after Listen has
	// returned.
	ErrNotListening = errors.New("not listening yet, or not any more")
)

var errReadOnly = errors.New("the server became read-only: the writers may be on another one")

// Option changes how [New] and [NewConfig] build a Listener.
type Option func(*Listener)

// WithLogger sets where lost connections and errors of the handlers are logged. nil logs nothing.
// Defaults to [slog.Default] at the time of the call.
func WithLogger(logger *slog.Logger) Option {
	return func(l *Listener) {
		if logger == nil {
			logger = slog.New(slog.DiscardHandler)
		}
		l.logger = logger
	}
}

// WithPassword sets where the password of each new connection comes from. pgpool.WithPassword
// describes source. Defaults to none for [NewConfig]; for [New] to the secret file of the
// configuration, if it has one, which is read again for each connection.
func WithPassword(source func(ctx context.Context) (string, error)) Option {
	return func(l *Listener) { l.password = dial.PasswordOnly(source) }
}

// WithAnyBackend turns off the check behind [ErrPooled]. The check compares the process ID that the
// login named with the one that answers. Some proxies rewrite the first although each client has a
// server connection of its own.
func WithAnyBackend() Option {
	return func(l *Listener) { l.anyBackend = true }
}

// WithHeartbeat sets how often the Listener asks the server whether it still answers and still takes
// writes. The server has the configuration's ConnectTimeout to answer. A server that is frozen for
// longer than both together is left. Values that are not positive change nothing. Defaults to 5 s.
func WithHeartbeat(interval time.Duration) Option {
	return func(l *Listener) {
		if interval > 0 {
			l.heartbeat = interval
		}
	}
}

// Listener receives notifications. Handle must not be called after Listen. Everything else is safe
// for concurrent use.
type Listener struct {
	cfg        *pgx.ConnConfig
	logger     *slog.Logger
	password   dial.Password
	anyBackend bool
	heartbeat  time.Duration
	handlers   map[string]handler // by channel

	mu    sync.Mutex
	state state
}

type handler struct {
	notify func(context.Context, *pgconn.Notification) error
	resync func(context.Context, *pgx.Conn) error // or nil
}

// New returns a Listener for cfg's DirectConfig. It connects when [Listener.Listen] is called.
//
// A secret file of cfg is read again for each connection, unless DIRECT_DATABASE_URL has a password
// of its own.
func New(cfg pgconfig.Config, opts ...Option) (*Listener, error) {
	direct, err := cfg.DirectConfig()
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := newListener(direct)
	l.password = option.SecretFile(cfg.DirectSecretFile(), direct, func() *slog.Logger { return l.logger })
	return l.with(opts), nil
}

// NewConfig returns a Listener for cfg, which must not lead through PgBouncer. It works on a copy.
// What is not set in cfg becomes pgpool's default: ConnectTimeout and TCP keepalive.
func NewConfig(cfg *pgx.ConnConfig, opts ...Option) (*Listener, error) {
	if cfg == nil || cfg.Host == "" {
		return nil, errors.New("listen: the configuration is incomplete: make it with pgx.ParseConfig, or use " +
			"listen.New")
	}
	cfg = cfg.Copy()
	pgpool.DefaultKeepAlive.Apply(cfg)
	return newListener(cfg).with(opts), nil
}

func newListener(cfg *pgx.ConnConfig) *Listener {
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = pgpool.DefaultConnectTimeout
	}
	// The handler of a caller may send a cancel request, which could meet the question that follows.
	cfg.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	return &Listener{
		cfg: cfg, logger: slog.Default(), heartbeat: defaultHeartbeat, handlers: map[string]handler{},
		state: state{err: ErrNotListening},
	}
}

func (l *Listener) with(opts []Option) *Listener {
	for _, opt := range opts {
		if opt != nil {
			opt(l)
		}
	}
	return l
}

// Handle sets what happens with the notifications of a channel. Call it before Listen. A later call
// for the same channel replaces the earlier one.
//
// notify is called for every notification. resync is called after every connect, the first
// included, when LISTEN is in effect on all channels and before any notification is handled. It must
// read the state that the notifications are about, on conn or elsewhere: fill a cache, or look into
// a table of jobs. Both may see a change that is committed meanwhile. If resync fails, the Listener
// makes a new connection, so notify never builds on a state that was not read. A nil resync does
// nothing.
//
// Both run in Listen's goroutine, one call at a time, and delay what comes after. Their errors are
// logged; an error of notify changes nothing else. They must not use conn after they have returned.
//
// A resync that leaves a transaction open has failed: the server delivers notifications outside of
// transactions only.
//
// A channel that is empty, longer than 63 bytes, not UTF-8 or has a zero byte is an error:
// PostgreSQL cuts or refuses the name, so nothing would arrive.
func (l *Listener) Handle(
	channel string,
	notify func(ctx context.Context, notification *pgconn.Notification) error,
	resync func(ctx context.Context, conn *pgx.Conn) error,
) error {
	if channel == "" || len(channel) > maxChannel {
		return fmt.Errorf("listen: the channel name has %d bytes: PostgreSQL takes 1 to %d", len(channel), maxChannel)
	}
	if !utf8.ValidString(channel) || strings.ContainsRune(channel, 0) {
		return fmt.Errorf("listen: the channel name %q is not UTF-8 or has a zero byte: choose another one", channel)
	}
	if notify == nil {
		return errors.New("listen: there is no function for the notifications of a channel")
	}
	l.handlers[channel] = handler{notify, resync}
	return nil
}

// Listen receives notifications until ctx ends, and returns the cause of that. When the connection
// breaks, cannot be made, or cannot LISTEN, it connects again after a random wait of at most 100
// ms, then 200, 400, … up to 5 s, until it has listened for that long. It logs each failure with
// its category. Only one Listen can run at a time; another call returns an error.
//
// [WithHeartbeat] describes when Listen leaves a server that is frozen or became read-only. No
// question is asked while a handler runs.
func (l *Listener) Listen(ctx context.Context) error {
	if len(l.handlers) == 0 {
		return errors.New("listen: there is no handler: call Handle first")
	}
	if !l.began() {
		return errors.New("listen: the listener is listening already")
	}
	defer l.ended()
	var backoff retry.Backoff
	for {
		err := l.serve(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if alive := l.stopped(err); backoff == nil || alive >= reconnectCap {
			backoff = retry.WithFullJitter(retry.WithCappedDuration(reconnectCap, retry.NewExponential(reconnectBase)))
		}
		wait, _ := backoff.Next()
		l.log(ctx, "listener connects again", err, slog.Duration("wait", wait.Round(time.Millisecond)))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// serve handles the notifications of one connection. It returns why that ended.
func (l *Listener) serve(ctx context.Context) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer dial.Close(ctx, conn)
	writable := !isReadOnly(conn)
	for channel, handler := range l.handlers {
		if handler.resync == nil {
			continue
		}
		if err := handler.resync(ctx, conn); err != nil {
			return fmt.Errorf("resync %q: %w", channel, err)
		}
		if conn.PgConn().TxStatus() != 'I' {
			return fmt.Errorf("resync %q: it left a transaction open: end it, or nothing is delivered", channel)
		}
	}
	l.listening()
	for asked := time.Now(); ; {
		notification, err := wait(ctx, conn, asked.Add(l.heartbeat))
		switch {
		case notification != nil:
			l.handle(ctx, notification)
		case ctx.Err() != nil || conn.IsClosed():
			return err
		default:
			if err := l.ask(ctx, conn, writable); err != nil {
				return err
			}
			asked = time.Now()
		}
	}
}

// connect returns a connection with LISTEN in effect on all channels.
func (l *Listener) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := dial.Budget(ctx, l.cfg)
	defer cancel()
	conn, err := dial.Connect(ctx, l.cfg, l.password)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	server, err := dial.Ask(ctx, conn)
	if err == nil && server.Pooled && !l.anyBackend {
		err = ErrPooled
	}
	for channel := range l.handlers {
		if err == nil {
			_, err = conn.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize())
		}
	}
	if err != nil {
		dial.Close(ctx, conn)
		return nil, fmt.Errorf("listen: %w", err)
	}
	return conn, nil
}

// wait returns the next notification, or none at the deadline or when conn broke.
func wait(ctx context.Context, conn *pgx.Conn, deadline time.Time) (*pgconn.Notification, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return conn.WaitForNotification(ctx)
}

// ask returns an error if the server does not answer in time, or became read-only although it was
// writable. A new connection to a server that was read-only from the start would be the same.
func (l *Listener) ask(ctx context.Context, conn *pgx.Conn, writable bool) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ConnectTimeout)
	defer cancel()
	if err := conn.PgConn().Ping(ctx); err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	if !writable || !isReadOnly(conn) {
		return nil
	}
	var source string
	err := conn.QueryRow(ctx, `select source from pg_settings where name = 'default_transaction_read_only'`,
		pgx.QueryExecModeSimpleProtocol).Scan(&source)
	if err == nil && source != "session" { // a resync may have set it
		err = errReadOnly
	}
	return err
}

// isReadOnly does not ask: the server reports each change with its next answer.
func isReadOnly(conn *pgx.Conn) bool {
	return conn.PgConn().ParameterStatus("default_transaction_read_only") == "on"
}

func (l *Listener) handle(ctx context.Context, notification *pgconn.Notification) {
	handler, ok := l.handlers[notification.Channel]
	if !ok {
		return // a resync has sent a LISTEN of its own
	}
	if err := handler.notify(ctx, notification); err != nil {
		l.log(ctx, "cannot handle a notification", err, slog.String("channel", notification.Channel))
	}
}

func (l *Listener) log(ctx context.Context, message string, err error, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("category", string(pgerr.Of(err))),
		slog.String("error", dial.OneLine.Replace(err.Error())))
	l.logger.LogAttrs(ctx, slog.LevelWarn, message, attrs...)
}
