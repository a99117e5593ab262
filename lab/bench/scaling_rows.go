package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// titled is a row of the table entries.
type titled struct {
	ID    int64
	Title string
}

const (
	mostRows    = 10_000
	readEntries = "select id, title from entries where id <= $1"
)

// rows read and written by one operation.
func (g growth) rows(ctx context.Context) error {
	theirs, err := pgxpool.New(ctx, g.url)
	if err != nil {
		return err
	}
	defer theirs.Close()
	cfg, err := pgconfig.Parse(g.url)
	if err != nil {
		return err
	}
	ours, err := pgpool.Connect(ctx, cfg, quiet)
	if err != nil {
		return err
	}
	defer ours.Close()
	_, err = theirs.Exec(ctx, fmt.Sprintf(`create table entries (id bigint primary key, title text not null);
		create table written (id bigint, title text);
insert into entries select i, 'title ' || i from generate_series(1, %d) i; analyze entries`, mostRows))
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what  string
		sides func(rows int) []side
	}{
		{"a query through the pool", func(rows int) []side {
			return []side{{"pgxpool", readFrom(theirs, rows)}, {"pgpool.Connect", readFrom(ours, rows)}}
		}},
		{"a query in a transaction", func(rows int) []side { return readInTransaction(theirs, rows) }},
		{"CopyFrom in a transaction", func(rows int) []side { return copies(theirs, rows) }},
		{"a batch of inserts", func(rows int) []side { return inserts(theirs, rows) }},
	} {
		curve := &curve{what: c.what, unit: "rows", per: "row"}
		if _, err := theirs.Exec(ctx, "truncate written"); err != nil {
			return err
		}
		var loads []load
		for _, n := range g.sizes(10, 100, 1000, mostRows) {
			times := max(1, min(50, 2000/n)) // a measurement of some milliseconds
			loads = append(loads, load{size: n, work: n, atOnce: 1}.of(ctx, times, 1, c.sides(n)))
		}
		if err := g.measure(ctx, curve, g.url, g.share(5), loads); err != nil {
			return err
		}
		curve.summary(g.report)
	}
	return nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func read(ctx context.Context, db querier, want int) error {
	rows, err := db.Query(ctx, readEntries, want)
	if err != nil {
		return err
	}
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[titled])
	if err == nil && len(entries) != want {
		err = fmt.Errorf("%d rows, want %d", len(entries), want)
	}
	return err
}

func readFrom(pool *pgxpool.Pool, rows int) func(context.Context) error {
	return func(ctx context.Context) error { return read(ctx, pool, rows) }
}

func readInTransaction(pool *pgxpool.Pool, rows int) []side {
	return []side{
		{"pgx.BeginFunc", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return read(ctx, tx, rows) })
		}},
		{"pgtx.Run", func(ctx context.Context) error {
			return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error { return read(ctx, tx, rows) })
		}},
	}
}

func copies(pool *pgxpool.Pool, rows int) []side {
	write := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"written"}, []string{"id", "title"},
			pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
				return []any{int64(i), "a title"}, nil
			}))
		return err
	}
	return []side{
		{"pgx.BeginFunc", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return write(ctx, tx) })
		}},
		{"pgtx.Run", func(ctx context.Context) error { return pgtx.Run(ctx, pool, write) }},
	}
}

func inserts(pool *pgxpool.Pool, rows int) []side {
	batch := func() *pgx.Batch {
		b := &pgx.Batch{}
		for i := range rows {
			b.Queue("insert into written values ($1, $2)", i, "a title")
		}
		return b
	}
	return []side{
		{"pgx.BeginFunc, SendBatch", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch()).Close() })
		}},
		{"pgtx.Atomic", func(ctx context.Context) error { return pgtx.Atomic(ctx, pool, pgtx.Options{}, batch()) }},
	}
}
