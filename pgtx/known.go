package pgtx

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// knowledge is what this package keeps with a connection. It dies with it.
type knowledge struct {
	conn          *pgx.Conn
	tracer        pgx.QueryTracer
	prepareTracer pgx.PrepareTracer
	mode          pgx.QueryExecMode
	lineage       *lineage
	keyTable      string // the table of idempotency keys, with its schema

	// The statements that were prepared or described, in the order of their last use, and the names
	// of those that are to be closed.
	descriptions map[described]*list.Element
	order        list.List
	evicted      []string
}

// described is the key of a description: the modes with a cache keep their own.
type described struct {
	mode pgx.QueryExecMode
	sql  string
}

// maxDescriptions limits the statements that are kept for a connection. A first statement is
// usually one of a service's few dozen; each prepared one takes tens of kilobytes on the server.
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
		descriptions: map[described]*list.Element{},
	}
	k.prepareTracer, _ = config.Tracer.(pgx.PrepareTracer)
	data[customKey] = k
	return k
}

func (k *knowledge) find(mode pgx.QueryExecMode, sql string) *pgconn.StatementDescription {
	if element, ok := k.descriptions[described{mode, sql}]; ok {
		k.order.MoveToBack(element)
		return element.Value.(*pgconn.StatementDescription) //nolint:forcetypeassert // nothing else is put in
	}
	return nil
}

// keep remembers a description. The mode that always describes again keeps none.
func (k *knowledge) keep(mode pgx.QueryExecMode, d *pgconn.StatementDescription) {
	if mode == pgx.QueryExecModeDescribeExec {
		return
	}
	k.descriptions[described{mode, d.SQL}] = k.order.PushBack(d)
}

// makeRoom makes room for one more description. It forgets the one that was not used for the
// longest time if there are too many.
func (k *knowledge) makeRoom() {
	if k.order.Len() < maxDescriptions {
		return
	}
	oldest := k.order.Front().Value.(*pgconn.StatementDescription) //nolint:forcetypeassert // nothing else is put in
	mode := pgx.QueryExecModeCacheStatement
	if oldest.Name == "" {
		mode = pgx.QueryExecModeCacheDescribe
	} else {
		k.evicted = append(k.evicted, oldest.Name)
	}
	k.remove(described{mode, oldest.SQL})
}

// forget drops the descriptions of a text that the server no longer accepts.
func (k *knowledge) forget(sql string) {
	k.remove(described{pgx.QueryExecModeCacheStatement, sql})
	k.remove(described{pgx.QueryExecModeCacheDescribe, sql})
}

func (k *knowledge) remove(key described) {
	if element, ok := k.descriptions[key]; ok {
		k.order.Remove(element)
		delete(k.descriptions, key)
	}
}

// preparedName is made from the text, so that a pooler that switches servers can make it unknown,
// but never let it stand for another statement.
func preparedName(sql string) string {
	sum := sha256.Sum256([]byte(sql))
	return "pgtx_" + hex.EncodeToString(sum[:16])
}

// traceBegin tells the tracer that BEGIN is sent, as pgx does for a BEGIN that goes alone. The
// function it returns tells the end.
func (k *knowledge) traceBegin(ctx context.Context, prelude []string) (end func(error)) {
	if k.tracer == nil {
		return func(error) {}
	}
	ctx = k.tracer.TraceQueryStart(ctx, k.conn, pgx.TraceQueryStartData{SQL: joinSQL(prelude)})
	return func(err error) {
		end := pgx.TraceQueryEndData{Err: err}
		if err == nil {
			end.CommandTag = pgconn.NewCommandTag("BEGIN")
		}
		k.tracer.TraceQueryEnd(ctx, k.conn, end)
	}
}

// tracePrepare tells the tracer that a statement is prepared. The function it returns tells the
// end.
func (k *knowledge) tracePrepare(ctx context.Context, mode pgx.QueryExecMode, sql string) (end func(error)) {
	if k.prepareTracer == nil {
		return func(error) {}
	}
	name := ""
	if mode == pgx.QueryExecModeCacheStatement {
		name = preparedName(sql)
	}
	ctx = k.prepareTracer.TracePrepareStart(ctx, k.conn, pgx.TracePrepareStartData{Name: name, SQL: sql})
	return func(err error) { k.prepareTracer.TracePrepareEnd(ctx, k.conn, pgx.TracePrepareEndData{Err: err}) }
}
