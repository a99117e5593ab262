package pgotel

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/trace"
)

// Querier has the methods that pools, connections and transactions share. Code that sqlc generates
// takes it as its DBTX.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Tags are what a query says of its origin in a comment, in the format of sqlcommenter, for
// pg_stat_activity and the server's log. They must be few and fixed: each set of tags makes another
// text of a query, which every connection prepares once.
type Tags struct {
	Application, Route, Action string

	// TraceParent adds the traceparent of a sampled trace. Such a query has a text of its own, so
	// it is prepared for one call, which costs a round trip. Others stay as they are. Defaults to
	// false.
	TraceParent bool
}

// Tag returns a Querier that runs queries on db with the tags. Without tags it returns db.
//
//	q := queries.New(pgotel.Tag(tx, pgotel.Tags{Application: "shop", Route: "POST /orders"}))
func Tag(db Querier, tags Tags) Querier {
	comment := tags.comment()
	if comment == "" && !tags.TraceParent {
		return db
	}
	return &tagged{db: db, comment: comment, trace: tags.TraceParent}
}

// comment returns the tags as `key='value'`, by key.
func (t Tags) comment() string {
	var parts []string
	for _, tag := range [][2]string{{"action", t.Action}, {"application", t.Application}, {"route", t.Route}} {
		if tag[1] != "" {
			parts = append(parts, tag[0]+"='"+escape(tag[1])+"'")
		}
	}
	return strings.Join(parts, ",")
}

// escape encodes a value as a URL does. What is left can end neither the quotes nor the comment.
func escape(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

type tagged struct {
	db      Querier
	comment string
	trace   bool
}

func (t *tagged) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return t.db.Exec(ctx, sql, t.args(ctx, args)...)
}

func (t *tagged) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return t.db.Query(ctx, sql, t.args(ctx, args)...)
}

func (t *tagged) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return t.db.QueryRow(ctx, sql, t.args(ctx, args)...)
}

// args adds the rewriter to pgx's options, which come before the arguments. pgx uses the last one
// only, so it calls the caller's.
func (t *tagged) args(ctx context.Context, args []any) []any {
	r := &rewriter{comment: t.comment}
	options, hasMode := 0, false
	for ; options < len(args) && isOption(args[options]); options++ {
		switch option := args[options].(type) {
		case pgx.QueryExecMode:
			hasMode = true
		case pgx.QueryRewriter:
			r.inner = option
		}
	}
	more := []any{r}
	if span := trace.SpanContextFromContext(ctx); t.trace && span.IsSampled() {
		parent := fmt.Sprintf("traceparent='00-%s-%s-%s'", span.TraceID(), span.SpanID(), span.TraceFlags())
		r.comment = strings.TrimPrefix(r.comment+","+parent, ",")
		if !hasMode {
			more = []any{pgx.QueryExecModeDescribeExec, r} // it leaves the statement cache alone
		}
	}
	if r.comment == "" {
		return args
	}
	return slices.Insert(slices.Clone(args), options, more...)
}

func isOption(arg any) bool {
	switch arg.(type) {
	case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID, pgx.QueryRewriter:
		return true
	}
	return false
}

// rewriter adds a comment to a query's text, after what another rewriter makes of it.
type rewriter struct {
	comment string
	inner   pgx.QueryRewriter
}

// RewriteQuery implements [pgx.QueryRewriter].
func (r *rewriter) RewriteQuery(
	ctx context.Context, conn *pgx.Conn, sql string, args []any,
) (newSQL string, newArgs []any, err error) {
	if r.inner != nil {
		if sql, args, err = r.inner.RewriteQuery(ctx, conn, sql, args); err != nil {
			return "", nil, err
		}
	}
	return sql + "\n/*" + r.comment + "*/", args, nil // the text may end in a comment of its line
}
