package pgpool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/option"
)

// observer is what this package knows about one pool. pgx's hooks tell it. The pool leads to it
// through its tracer.
//
// The hooks are copied with the pool's Config. Another pool that is made from it runs them too, so
// each hook first finds out whether it runs for this pool: by the pool that TraceAcquireStart
// names, or by the connection's owner. For another pool it does nothing.
type observer struct {
	settings *option.Settings
	metrics  Metrics // or nil
	cfg      *pgxpool.Config
	pool     atomic.Pointer[pgxpool.Pool] // nil until Connect has reached the database
	epoch    time.Time                    // of clock

	newcomers atomic.Pointer[acquireContext] // acquires within the last acquireTick, not watched yet
	waiting   atomic.Int64                   // callers inside Acquire
	checking  atomic.Int64                   // of these, those that ask the server on a connection of the pool
	sessions  sync.Map                       // the pool's, each a *session
	leaks     leaks
	log       throttle
	role      role
	types     types
	pace      pace
	lost      atomic.Int64 // when a connection was last lost, on the clock; 0: never
}

// tracer is the pool's: what the caller set, and last our own hooks, so that it is our context
// whose Err the pool returns, whatever the others wrap around theirs.
type tracer struct {
	*multitracer.Tracer
	observer *observer
	others   []pgx.QueryTracer
}

var (
	_ pgx.QueryTracer       = (*observer)(nil)
	_ pgx.BatchTracer       = (*observer)(nil)
	_ pgx.CopyFromTracer    = (*observer)(nil)
	_ pgx.ConnectTracer     = (*observer)(nil)
	_ pgxpool.AcquireTracer = (*observer)(nil)
	_ pgxpool.ReleaseTracer = (*observer)(nil)
)

// observe makes the observer of the pool that cfg will make.
func observe(cfg *pgxpool.Config, s *option.Settings) *observer {
	o := &observer{
		settings: s, cfg: cfg, leaks: leaks{threshold: s.LeakThreshold},
		epoch: time.Now().Add(-time.Nanosecond), // so that the clock is never 0
	}
	o.metrics, _ = s.Metrics.(Metrics)
	o.log.logger = s.Logger
	o.types.names, o.types.log = s.Types, &o.log
	var others []pgx.QueryTracer
	switch own := cfg.ConnConfig.Tracer.(type) {
	case nil:
	case *tracer: // cfg is another pool's Config: its tracers are wanted, its limits and figures are not
		others = append(others, own.others...)
	default:
		others = append(others, own)
	}
	others = append(others, s.Tracers...)
	cfg.ConnConfig.Tracer = &tracer{
		Tracer:   multitracer.New(append(others[:len(others):len(others)], o)...),
		observer: o,
		others:   others,
	}
	return o
}

// observerOf returns nil for a pool that another package made.
func observerOf(pool *pgxpool.Pool) *observer {
	if t, ok := pool.Config().ConnConfig.Tracer.(*tracer); ok && t.observer.pool.Load() == pool {
		return t.observer
	}
	return nil
}

// clock is the time since the observer was made. It is monotonic and costs half of time.Now.
func (o *observer) clock() time.Duration { return time.Since(o.epoch) }

// hook makes cfg's pool report its connections. The caller's own hooks stay.
func (o *observer) hook(cfg *pgxpool.Config) {
	o.hookBeforeConnect(cfg)
	o.hookAfterConnect(cfg)
	o.hookClose(cfg)
	o.hookRole(cfg)
	o.hookPing(cfg)
}

// hookAfterConnect registers the types first, so that the caller's own hook can use them. The
// options' functions come last.
func (o *observer) hookAfterConnect(cfg *pgxpool.Config) {
	functions := []func(context.Context, *pgx.Conn) error{o.types.register}
	if cfg.AfterConnect != nil {
		functions = append(functions, cfg.AfterConnect)
	}
	functions = append(functions, o.settings.AfterConnect...)
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if sessionOf(conn) == nil { // the hook of another pool may have come before this one
			newSession(conn)
		}
		for _, prepare := range functions {
			if err := prepare(ctx, conn); err != nil {
				return err
			}
		}
		return nil
	}
}

func (o *observer) hookClose(cfg *pgxpool.Config) {
	next := cfg.BeforeClose
	cfg.BeforeClose = func(conn *pgx.Conn) {
		if s := o.owned(conn); s != nil {
			o.sessions.Delete(s)
			defer s.closing(conn)
		}
		if next != nil {
			next(conn)
		}
	}
}

func (o *observer) acquireFailed(ctx context.Context, err error) {
	if o.metrics != nil && errors.Is(err, context.DeadlineExceeded) {
		o.metrics.Timeout()
	}
	category := pgerr.Of(err)
	if category == pgerr.Canceled { // the caller gave up, or the pool is closed
		return
	}
	o.log.failure(ctx, "no connection", category, err, o.hint(category))
}

// hint says what to do where the error cannot.
func (o *observer) hint(category pgerr.Category) string {
	if category == pgerr.TooManyConnections {
		return "the server takes fewer connections than the pool's limit: lower DATABASE_POOL_MAX_CONNS, " +
			"or raise max_connections or the role's CONNECTION LIMIT"
	}
	return ""
}

func (o *observer) TraceRelease(_ *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	s := o.owned(data.Conn)
	if s == nil {
		return
	}
	since, leak, ok := o.released(s)
	o.warnOfLeaks("connection that was held too long came back", leak)
	if !ok {
		return
	}
	o.addLoad(-1)
	if o.metrics != nil {
		o.metrics.UseTime(o.clock() - since)
	}
}

type connectKey struct{}

func (o *observer) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	if o.metrics == nil || ctx.Value(startupKey{}) != nil {
		return ctx
	}
	return context.WithValue(ctx, connectKey{}, o.clock())
}

func (o *observer) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) {
	if began, ok := ctx.Value(connectKey{}).(time.Duration); ok && data.Err == nil {
		o.metrics.CreateTime(o.clock() - began)
	}
	if o.acquireOf(ctx) == nil {
		return // Connect's own attempts, which it logs itself, or another pool's
	}
	o.pace.ended(data.Err)
	if data.Err == nil {
		return
	}
	category := pgerr.Of(data.Err)
	switch category {
	case pgerr.Canceled:
		return // the pool is being closed
	case pgerr.Connection, pgerr.Shutdown, pgerr.Refused, pgerr.StartingUp:
		if o.settings.OnLost != nil {
			o.settings.OnLost(ctx, data.Err)
		}
	}
	o.log.failure(ctx, "connecting to the database failed", category, data.Err, o.hint(category))
}
