package pgtest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
)

// acquisitions remembers who acquired the connections that are out, as a tracer: AfterRelease would
// make each release a goroutine of its own. It is safe for concurrent use.
type acquisitions struct {
	mu  sync.Mutex
	out map[*pgx.Conn][]uintptr
}

var (
	_ pgxpool.AcquireTracer = (*acquisitions)(nil)
	_ pgxpool.ReleaseTracer = (*acquisitions)(nil)
)

// trace adds itself, and what [Watch] needs, to the pool's tracer, which may be nil.
func trace(cfg *pgxpool.Config) *acquisitions {
	a := &acquisitions{out: map[*pgx.Conn][]uintptr{}}
	tracers := []pgx.QueryTracer{a}
	if findTracer(cfg.ConnConfig.Tracer) == nil {
		tracers = append(tracers, NewTracer())
	}
	if cfg.ConnConfig.Tracer != nil {
		tracers = append(tracers, cfg.ConnConfig.Tracer)
	}
	cfg.ConnConfig.Tracer = multitracer.New(tracers...)
	return a
}

// TraceAcquireStart has nothing to do.
func (a *acquisitions) TraceAcquireStart(
	ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	return ctx
}

// TraceAcquireEnd is called by the goroutine that acquires.
func (a *acquisitions) TraceAcquireEnd(_ context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	if data.Conn == nil {
		return
	}
	callers := make([]uintptr, 48)
	callers = callers[:runtime.Callers(2, callers)]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out[data.Conn] = callers
}

// TraceRelease forgets the connection.
func (a *acquisitions) TraceRelease(_ *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.out, data.Conn)
}

// TraceQueryStart has nothing to do; pgx wants every tracer to have it.
func (a *acquisitions) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd has nothing to do.
func (a *acquisitions) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// some reports whether there is anything to say.
func (a *acquisitions) some() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.out) > 0
}

// stacks says where each connection that is still out was acquired, without the frames of pgx and
// of package testing.
func (a *acquisitions) stacks() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	for _, callers := range a.out {
		b.WriteString("\nacquired by")
		frames := runtime.CallersFrames(callers)
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			if strings.HasPrefix(f.Function, "github.com/jackc/p") || strings.HasPrefix(f.Function, "testing.") ||
				strings.HasPrefix(f.Function, "runtime.") {
				continue
			}
			fmt.Fprintf(&b, "\n  %s\n    %s:%d", f.Function, f.File, f.Line)
		}
	}
	return b.String()
}
