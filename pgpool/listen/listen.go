// Package listen receives notifications (LISTEN and NOTIFY) with [pgxlisten] on a connection of its
// own. It makes a new connection when the old one breaks, and when what writers notify no longer
// arrives on it.
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
	"cmp"
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
	"github.com/jackc/pgxlisten"
	"github.com/page-builder/persistence/pgconfig"
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
	// defaultHeartbeat is the silence after which the Listener notifies itself. Each time takes a
	// short connection, and a failover takes about as long.
	defaultHeartbeat = 15 * time.Second
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

// WithHeartbeat sets after how long a silence the Listener notifies itself, to see whether
// notifications still arrive. It sends NOTIFY from a short connection of its own, which finds the
// server in the same way as a writer would. If the notification does not arrive within the
// configuration's ConnectTimeout, the Listener makes a new connection: the server was frozen, or
// the writers are on another one. Values that are not positive change nothing. Defaults to 15 s.
func WithHeartbeat(silence time.Duration) Option {
	return func(l *Listener) {
		if silence > 0 {
			l.heart.silence = silence
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
	channels   map[string]bool
	listener   pgxlisten.Listener
	heart      *heart

	// Listen's goroutine alone uses these.
	backoff retry.Backoff
	pending int   // channels whose LISTEN and resync have not succeeded on this connection
	cause   error // why this connection cannot be used, or nil

	mu    sync.Mutex
	state state
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
	file := func(l *Listener) {
		l.password = option.SecretFile(cfg.DirectSecretFile(), direct, func() *slog.Logger { return l.logger })
	}
	return newListener(direct, append([]Option{file}, opts...)), nil
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
	return newListener(cfg, opts), nil
}

func newListener(cfg *pgx.ConnConfig, opts []Option) *Listener {
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = pgpool.DefaultConnectTimeout
	}
	cfg.OnNotification = nil // or pgx calls it instead of returning notifications
	l := &Listener{
		cfg: cfg, logger: slog.Default(), channels: map[string]bool{}, state: state{err: ErrNotListening},
		heart: newHeart(cfg.ConnectTimeout),
	}
	l.listener = pgxlisten.Listener{
		Connect:        l.connect,
		LogError:       l.noteError,
		ReconnectDelay: -1, // none: connect waits for a random time, which a fixed delay cannot
	}
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
// included, when LISTEN is in effect on its channel and before any notification is handled. It must
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
		return errors.New("listen: notify is nil: pass a function for the notifications of the channel")
	}
	l.channels[channel] = true
	l.listener.Handle(channel, &handler{l, notify, resync})
	return nil
}

// Listen receives notifications until ctx ends, and returns the cause of that. When the connection
// breaks, cannot be made, or cannot LISTEN, it connects again after a random wait of at most 100
// ms, then 200, 400, … up to 5 s, until it has listened for that long. It logs each failure with
// its category. Only one Listen can run at a time; another call returns an error.
//
// [WithHeartbeat] describes how Listen notices a server that is frozen, or is not the writers' any
// more.
func (l *Listener) Listen(ctx context.Context) error {
	if len(l.channels) == 0 {
		return errors.New("listen: no handlers: call Handle first")
	}
	if !l.began() {
		return errors.New("listen: Listen is already running")
	}
	l.backoff, l.cause = nil, nil
	ignore := func(context.Context, *pgconn.Notification) error { return nil }
	l.listener.Handle(l.heart.channel, &handler{l, ignore, nil})
	defer func() { // after a panic of a handler too
		_ = l.heart.stop()
		l.ended()
	}()
	_ = l.listener.Listen(ctx) // returns ctx's error only
	return context.Cause(ctx)
}

// connect is called by pgxlisten for the first connection, and again when one has failed.
func (l *Listener) connect(ctx context.Context) (*pgx.Conn, error) {
	silent := l.heart.stop()
	if l.cause != nil {
		l.cause = cmp.Or(silent, l.cause)
		l.waitBeforeRetry(ctx)
	}
	l.pending, l.cause = len(l.channels)+1, nil // the heart has a channel
	ctx, cancel := dial.Budget(ctx, l.cfg)
	defer cancel()
	conn, err := dial.Connect(ctx, l.cfg, l.password)
	if err != nil {
		return nil, err
	}
	server, err := dial.Ask(ctx, conn)
	if err == nil && server.Pooled && !l.anyBackend {
		err = ErrPooled
	}
	if err != nil {
		dial.Close(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// waitBeforeRetry reports the cause and waits for a random time, or until ctx ends.
func (l *Listener) waitBeforeRetry(ctx context.Context) {
	if alive := l.stopped(l.cause); l.backoff == nil || alive >= reconnectCap {
		l.backoff = retry.WithFullJitter(retry.WithCappedDuration(reconnectCap, retry.NewExponential(reconnectBase)))
	}
	wait, _ := l.backoff.Next()
	l.log(ctx, "listener connects again", l.cause, slog.Duration("wait", wait.Round(time.Millisecond)))
	_ = dial.Sleep(ctx, wait)
}

// noteError is called by pgxlisten for each error. The first error ends a connection that does not
// listen yet. The last error ends a connection that does: pgxlisten also reports notifications
// without a handler, which arrive if resync has sent its own LISTEN.
func (l *Listener) noteError(_ context.Context, err error) {
	if l.cause == nil || l.pending == 0 {
		l.cause = err
	}
}

func (l *Listener) log(ctx context.Context, message string, err error, attrs ...slog.Attr) {
	l.logger.LogAttrs(ctx, slog.LevelWarn, message, append(attrs, dial.ErrorAttrs(err)...)...)
}

type handler struct {
	listener *Listener
	notify   func(context.Context, *pgconn.Notification) error
	resync   func(context.Context, *pgx.Conn) error
}

var _ pgxlisten.BacklogHandler = (*handler)(nil)

// HandleBacklog is called when LISTEN is in effect on channel.
func (h *handler) HandleBacklog(ctx context.Context, _ string, conn *pgx.Conn) error {
	if h.resync != nil {
		err := h.resync(ctx, conn)
		if err == nil && conn.PgConn().TxStatus() != 'I' {
			err = errors.New("the resync left a transaction open: end it, or nothing is delivered")
		}
		if err != nil {
			dial.Close(ctx, conn) // pgxlisten goes on after an error, but not on a closed connection
			return err
		}
	}
	if h.listener.pending--; h.listener.pending == 0 {
		h.listener.listening()
		h.listener.heart.start(ctx, conn, h.listener.beat)
	}
	return nil
}

func (h *handler) HandleNotification(ctx context.Context, notification *pgconn.Notification, _ *pgx.Conn) error {
	if h.listener.pending > 0 {
		return nil // a resync failed, and this came before the connection was closed
	}
	h.listener.heart.live(true)
	defer h.listener.heart.live(false)
	if err := h.notify(ctx, notification); err != nil {
		h.listener.log(ctx, "cannot handle a notification", err, slog.String("channel", notification.Channel))
	}
	return nil
}
