package pgpool

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/dial"
	"github.com/page-builder/persistence/pgpool/internal/option"
)

// observer is what this package knows about one pool, told by pgx's hooks. The pool leads to it
// through its tracer.
type observer struct {
	settings *option.Settings
	metrics  Metrics // or nil
	cfg      *pgxpool.Config
	pool     atomic.Pointer[pgxpool.Pool] // nil until Connect has reached the database

	sessions sessions
	leaks    leaks
	waiting  atomic.Int64 // callers inside Acquire
	failures failures
	role     role
	pace     pace
	lost     atomic.Int64 // when a connection was last lost, as nanoseconds since 1970; 0: never
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
	o := &observer{settings: s, metrics: metricsOf(s), cfg: cfg, leaks: leaks{threshold: s.LeakThreshold}}
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
	if t, ok := pool.Config().ConnConfig.Tracer.(*tracer); ok {
		return t.observer
	}
	return nil
}

// hook makes cfg's pool report its connections. The caller's own hooks stay.
func (o *observer) hook(cfg *pgxpool.Config) {
	afterConnect, beforeClose := cfg.AfterConnect, cfg.BeforeClose
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		var s *session
		if sessionOf(conn) == nil { // cfg may be another pool's Config: then its hook comes after this one
			s = newSession(conn)
		}
		if afterConnect != nil {
			if err := afterConnect(ctx, conn); err != nil {
				return err // pgxpool closes it without BeforeClose
			}
		}
		if s != nil {
			o.sessions.add(s)
		}
		return nil
	}
	cfg.BeforeClose = func(conn *pgx.Conn) {
		if s := sessionOf(conn); s != nil {
			o.sessions.remove(s)
			defer s.closing(conn)
		}
		if beforeClose != nil {
			beforeClose(conn)
		}
	}
	o.hookPace(cfg)
	o.hookRole(cfg)
	o.hookPing(cfg)
}

func (o *observer) TraceAcquireStart(
	ctx context.Context, pool *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	o.waiting.Add(1)
	return &acquireContext{Context: ctx, observer: o, pool: pool, began: time.Now()}
}

func (o *observer) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	o.waiting.Add(-1)
	now := time.Now()
	c := acquireContextOf(ctx)
	if c != nil {
		c.end()
	}
	if data.Err != nil {
		o.acquireFailed(ctx, data.Err)
		return
	}
	if s := sessionOf(data.Conn); s != nil {
		s.acquired(now, o.leaks.stack())
		o.watchLeaks()
	}
	if m := o.metrics; m != nil && c != nil {
		m.WaitTime(now.Sub(c.began))
	}
}

func (o *observer) acquireFailed(ctx context.Context, err error) {
	if m := o.metrics; m != nil && errors.Is(err, context.DeadlineExceeded) {
		m.Timeout()
	}
	category := pgerr.Of(err)
	if category == pgerr.Canceled { // the caller gave up, or the pool is closed
		return
	}
	o.failures.log(ctx, o.settings.Logger, "no connection", category, err)
}

func (o *observer) TraceRelease(_ *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	s := sessionOf(data.Conn)
	if s == nil {
		return
	}
	held, holder, reported := s.released()
	if reported {
		o.leakCameBack(holder)
	}
	if m := o.metrics; m != nil && held > 0 {
		m.UseTime(held)
	}
}

type connectKey struct{}

func (o *observer) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return context.WithValue(ctx, connectKey{}, time.Now())
}

func (o *observer) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) {
	if o.pool.Load() == nil {
		return // Connect's own attempts, which it logs itself
	}
	if data.Err != nil {
		err := dial.WithoutPassword(data.Err)
		o.pace.ended(err)
		if o.settings.OnLost != nil {
			switch pgerr.Of(err) {
			case pgerr.Connection, pgerr.Shutdown, pgerr.Refused, pgerr.StartingUp:
				o.settings.OnLost(ctx, err)
			}
		}
		o.failures.log(ctx, o.settings.Logger, "connecting to the database failed", pgerr.Of(err), err)
		return
	}
	o.pace.ended(nil)
	if began, ok := ctx.Value(connectKey{}).(time.Time); ok && o.metrics != nil {
		o.metrics.CreateTime(time.Since(began))
	}
}
