package pgtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tracer lets [Watch] see the statements of a pool that [New] did not make. Combine it with other
// tracers by [multitracer.New]. It is safe for concurrent use.
type Tracer struct {
	active atomic.Int32 // without watchers a statement costs one load

	mu       sync.Mutex
	watched  []*Watched
	prepared map[string]string     // the statements that were prepared under a name
	acquired map[*pgx.Conn]callers // connections that are not released yet
}

var (
	_ pgx.QueryTracer       = (*Tracer)(nil)
	_ pgx.BatchTracer       = (*Tracer)(nil)
	_ pgx.PrepareTracer     = (*Tracer)(nil)
	_ pgx.CopyFromTracer    = (*Tracer)(nil)
	_ pgxpool.AcquireTracer = (*Tracer)(nil)
	_ pgxpool.ReleaseTracer = (*Tracer)(nil)
)

// NewTracer returns a tracer for ConnConfig.Tracer of one pool.
func NewTracer() *Tracer {
	return &Tracer{prepared: map[string]string{}, acquired: map[*pgx.Conn]callers{}}
}

// addTracer returns the pool's Tracer, and adds one if there is none.
func addTracer(cfg *pgxpool.Config) *Tracer {
	tracer := findTracer(cfg.ConnConfig.Tracer)
	if tracer == nil {
		tracer = NewTracer()
		if other := cfg.ConnConfig.Tracer; other != nil {
			cfg.ConnConfig.Tracer = multitracer.New(tracer, other)
		} else {
			cfg.ConnConfig.Tracer = tracer
		}
	}
	return tracer
}

// findTracer returns the [Tracer] among those of a pool, or nil.
func findTracer(tracer pgx.QueryTracer) *Tracer {
	switch t := tracer.(type) {
	case *Tracer:
		return t
	case *multitracer.Tracer:
		for _, inner := range t.QueryTracers {
			if found := findTracer(inner); found != nil {
				return found
			}
		}
	}
	return nil
}

func (tr *Tracer) add(w *Watched) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.watched = append(tr.watched, w)
	tr.active.Store(int32(len(tr.watched)))
}

func (tr *Tracer) remove(w *Watched) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.watched = slices.DeleteFunc(tr.watched, func(other *Watched) bool { return other == w })
	tr.active.Store(int32(len(tr.watched)))
}

func (tr *Tracer) record(sql string, args []any, batch bool) {
	if tr.active.Load() == 0 {
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if text, ok := tr.prepared[sql]; ok {
		sql = text
	}
	if !counts(sql) {
		return
	}
	s := statement{sql: sql, args: args, sum: sumArgs(args), batch: batch, callers: findCallers()}
	for _, w := range tr.watched {
		w.mu.Lock()
		w.statements = append(w.statements, s)
		w.mu.Unlock()
	}
}

// TraceQueryStart records the statement.
func (tr *Tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	tr.record(data.SQL, data.Args, false)
	return ctx
}

// TraceQueryEnd does nothing.
func (tr *Tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart records all statements of the batch.
func (tr *Tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	if data.Batch != nil {
		for _, q := range data.Batch.QueuedQueries {
			tr.record(q.SQL, q.Arguments, true)
		}
	}
	return ctx
}

// TraceBatchQuery does nothing.
func (tr *Tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd does nothing.
func (tr *Tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// TracePrepareStart notes what a name stands for.
func (tr *Tracer) TracePrepareStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TracePrepareStartData,
) context.Context {
	if data.Name != "" {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.prepared[data.Name] = data.SQL
	}
	return ctx
}

// TracePrepareEnd does nothing.
func (tr *Tracer) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

// TraceCopyFromStart records a COPY as one statement.
func (tr *Tracer) TraceCopyFromStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceCopyFromStartData,
) context.Context {
	tr.record("copy "+data.TableName.Sanitize()+" from stdin", nil, false)
	return ctx
}

// TraceCopyFromEnd does nothing.
func (tr *Tracer) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}

// TraceAcquireStart does nothing.
func (tr *Tracer) TraceAcquireStart(
	ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	return ctx
}

// TraceAcquireEnd runs on the goroutine that acquires.
func (tr *Tracer) TraceAcquireEnd(_ context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	if data.Conn == nil {
		return
	}
	from := findCallers()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.acquired[data.Conn] = from
}

// TraceRelease forgets the connection.
func (tr *Tracer) TraceRelease(_ *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	delete(tr.acquired, data.Conn)
}

// leaks says where each connection that is not released was acquired, or returns "".
func (tr *Tracer) leaks() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var b strings.Builder
	for _, from := range tr.acquired {
		b.WriteString("\n  acquired at " + from.String())
	}
	return b.String()
}

// counts reports whether a statement reads or writes rows, by its first word.
func counts(sql string) bool {
	switch firstWord(sql) {
	case "", "begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "set", "reset", "show",
		"discard", "prepare", "deallocate", "listen", "unlisten":
		return false
	}
	return true
}

// firstWord skips space and comments, which sqlc and query tags put in front.
func firstWord(sql string) string {
	for {
		sql = strings.TrimLeft(sql, " \t\r\n(;")
		switch {
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			_, sql, _ = strings.Cut(sql, "*/")
		default:
			end := strings.IndexFunc(sql, func(r rune) bool { return (r|0x20) < 'a' || (r|0x20) > 'z' })
			if end < 0 {
				end = len(sql)
			}
			return strings.ToLower(sql[:end])
		}
	}
}

// callers are the frames that led to a call.
type callers []uintptr

func findCallers() callers {
	pcs := make([]uintptr, 64)
	return pcs[:runtime.Callers(1, pcs)]
}

// String returns up to three lines of the program, without the frames of libraries: sqlc's code,
// its caller, and one more.
func (c callers) String() string {
	var lines []string
	for frames, more := runtime.CallersFrames(c), true; more && len(lines) < 3; {
		var f runtime.Frame
		f, more = frames.Next()
		if !slices.ContainsFunc(libraries, func(prefix string) bool { return strings.HasPrefix(f.Function, prefix) }) {
			lines = append(lines, fmt.Sprintf("%s:%d", f.File, f.Line))
		}
	}
	return strings.Join(lines, "\n    called by ")
}

var libraries = []string{
	"runtime.", "testing.", "database/sql.", "sync.", "iter.", "slices.", "golang.org/x/sync/",
	"github.com/jackc/", "github.com/page-builder/persistence/pgtest.", "github.com/page-builder/persistence/pgtx.",
	"github.com/page-builder/persistence/pgtx/", "github.com/page-builder/persistence/pgquery.",
	"github.com/page-builder/persistence/pgquery/", "github.com/page-builder/persistence/pgotel.",
}
