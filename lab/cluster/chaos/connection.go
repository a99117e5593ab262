package chaos

import (
	"context"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

// connections counts, for each connection of a pool, how many statements failed on it because its
// server was gone or had changed its role. It is a tracer.
type connections struct {
	mu     sync.Mutex
	failed map[*pgx.Conn][]string   // what failed
	open   map[*pgx.Conn]*statement // sent last, not answered yet
}

var (
	_ pgx.QueryTracer = (*connections)(nil)
	_ pgx.BatchTracer = (*connections)(nil)
)

// statementKey finds a statement in its ctx.
type statementKey struct{}

// statement is a statement that runs.
type statement struct {
	harmless bool // an error of it adds no failure to its sender
	told     bool // that it failed: pgx tells the end of a batch twice if it could not be prepared

	with *statement // the BEGIN that it travels with
}

// start marks statements whose error is no new failure: those on a connection that is known to be
// dead, because nothing is sent, and the ROLLBACK after a failure.
func (c *connections) start(ctx context.Context, conn *pgx.Conn, sql string) context.Context {
	s := &statement{harmless: conn.IsClosed() || sql == "rollback"}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[*pgx.Conn]*statement{}
	}
	s.with, c.open[conn] = c.open[conn], s
	return context.WithValue(ctx, statementKey{}, s)
}

func (c *connections) end(ctx context.Context, conn *pgx.Conn, err error) {
	s, ok := ctx.Value(statementKey{}).(*statement)
	if !ok {
		return
	}
	c.mu.Lock()
	delete(c.open, conn)
	c.mu.Unlock()
	if err == nil || s.harmless || s.told {
		return
	}
	s.told = true
	if s.with != nil && s.with.told {
		return // the caller has one failure, of two statements
	}
	switch pgerr.Of(err) {
	case pgerr.Connection, pgerr.Shutdown, pgerr.StartingUp, pgerr.ReadOnly:
	case pgerr.Timeout:
		if !conn.IsClosed() {
			return // a limit of the server's
		}
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = map[*pgx.Conn][]string{}
	}
	c.failed[conn] = append(c.failed[conn], strings.Join(strings.Fields(err.Error()), " "))
}

// read returns how many connections had failures, and the failures of the worst one.
func (c *connections) read() (conns int, worst []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, failures := range c.failed {
		if len(failures) > len(worst) {
			worst = failures
		}
	}
	return len(c.failed), worst
}

// TraceQueryStart looks whether the connection is dead already.
func (c *connections) TraceQueryStart(
	ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData,
) context.Context {
	return c.start(ctx, conn, data.SQL)
}

// TraceQueryEnd looks at the error.
func (c *connections) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	c.end(ctx, conn, data.Err)
}

// TraceBatchStart looks whether the connection is dead already.
func (c *connections) TraceBatchStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return c.start(ctx, conn, "")
}

// TraceBatchQuery does nothing: the end of the batch has the error.
func (c *connections) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd looks at the error.
func (c *connections) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	c.end(ctx, conn, data.Err)
}
