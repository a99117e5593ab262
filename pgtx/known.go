package pgtx

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// knowledge is what this package keeps with a connection, and loses with it.
type knowledge struct {
	conn     *pgx.Conn
	tracer   pgx.QueryTracer
	mode     pgx.QueryExecMode
	keyTable string // the table of idempotency keys, with its schema

	descriptions map[described]*pgconn.StatementDescription
	obsolete     []string // names of statements to close on the server
}

// described is the key of a description: the modes with a cache keep their own.
type described struct {
	mode pgx.QueryExecMode
	sql  string
}

// maxDescriptions limits the statements that are kept for a connection. A service usually has a few
// dozen first statements, and each prepared one takes tens of kilobytes on the server.
const maxDescriptions = 128

const customKey = "github.com/page-builder/persistence/pgtx"

// knowledgeOf returns what is kept with conn.
func knowledgeOf(conn *pgx.Conn) *knowledge {
	data := conn.PgConn().CustomData()
	if k, ok := data[customKey].(*knowledge); ok {
		return k
	}
	config := conn.Config() // a deep copy, so only once
	k := &knowledge{
		conn: conn, tracer: config.Tracer, mode: config.DefaultQueryExecMode,
		descriptions: map[described]*pgconn.StatementDescription{},
	}
	data[customKey] = k
	return k
}

// keep remembers a description. The mode that describes each time keeps none.
func (k *knowledge) keep(mode pgx.QueryExecMode, d *pgconn.StatementDescription) {
	if mode != pgx.QueryExecModeDescribeExec {
		k.descriptions[described{mode, d.SQL}] = d
	}
}

// makeRoom forgets all descriptions if there are too many.
func (k *knowledge) makeRoom() {
	if len(k.descriptions) < maxDescriptions {
		return
	}
	for _, d := range k.descriptions {
		if d.Name != "" {
			k.obsolete = append(k.obsolete, d.Name)
		}
	}
	clear(k.descriptions)
}

// traceQuery tells the tracer that a statement is sent. The returned function tells it the end.
func (k *knowledge) traceQuery(ctx context.Context, sql string, args []any) (
	context.Context, func(pgconn.CommandTag, error),
) {
	if k.tracer == nil {
		return ctx, func(pgconn.CommandTag, error) {}
	}
	ctx = k.tracer.TraceQueryStart(ctx, k.conn, pgx.TraceQueryStartData{SQL: sql, Args: args})
	return ctx, func(tag pgconn.CommandTag, err error) {
		k.tracer.TraceQueryEnd(ctx, k.conn, pgx.TraceQueryEndData{CommandTag: tag, Err: err})
	}
}

// tracePrepare tells the tracer that a statement is prepared. The returned function tells it the
// end.
func (k *knowledge) tracePrepare(ctx context.Context, name, sql string) (end func(error)) {
	tracer, ok := k.tracer.(pgx.PrepareTracer)
	if !ok {
		return func(error) {}
	}
	ctx = tracer.TracePrepareStart(ctx, k.conn, pgx.TracePrepareStartData{Name: name, SQL: sql})
	return func(err error) { tracer.TracePrepareEnd(ctx, k.conn, pgx.TracePrepareEndData{Err: err}) }
}
