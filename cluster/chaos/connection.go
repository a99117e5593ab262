package chaos

import (
	"context"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

// connections counts, for each connection of a pool, how many statements failed on it because its server was gone or had
// changed its role. It is a tracer.
type connections struct {
	mu     sync.Mutex
	failed map[*pgx.Conn][]string // what failed
}

var (
	_ pgx.QueryTracer = (*connections)(nil)
	_ pgx.BatchTracer = (*connections)(nil)
)

type deadKey struct{}

// start marks what is begun on a connection that is known to be dead: nothing is sent, so it fails nobody anew.
func (c *connections) start(ctx context.Context, conn *pgx.Conn) context.Context {
	if conn.IsClosed() {
		return context.WithValue(ctx, deadKey{}, true)
	}
	return ctx
}

func (c *connections) end(ctx context.Context, conn *pgx.Conn, err error) {
	if err == nil || ctx.Value(deadKey{}) != nil {
		return
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

// read returns on how many connections something failed, and what on the worst.
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
func (c *connections) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return c.start(ctx, conn)
}

// TraceQueryEnd looks at the error.
func (c *connections) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	c.end(ctx, conn, data.Err)
}

// TraceBatchStart looks whether the connection is dead already.
func (c *connections) TraceBatchStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return c.start(ctx, conn)
}

// TraceBatchQuery does nothing: the end of the batch has the error.
func (c *connections) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd looks at the error.
func (c *connections) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	c.end(ctx, conn, data.Err)
}
