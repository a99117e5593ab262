package pgtx_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

// TestConformance runs every first call over pgx's own transaction and over ours, followed by
// another statement and the commit, and compares what the function saw and what the table holds.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			native, _ := countFlushes(t, b.url, mode)
			ours := map[string]*pgxpool.Pool{}
			for _, name := range []string{"lazy", "eager"} {
				ours[name], _ = countFlushes(t, b.url, mode)
			}
			for _, first := range firstCalls {
				if pooled && first.name == "Prepare" {
					continue // its name exists already on the other session
				}
				program := func(ctx context.Context, tx pgx.Tx) string {
					return first.call(ctx, tx) + "|" + exec(move, 2, 1)(ctx, tx) + "|" + queryRow(`select $1::int`, 5)(ctx, tx)
				}
				want := conform(t, native, plain, program)
				for name, pool := range ours {
					opts := pgtx.Options{MaxAttempts: 1, Eager: name == "eager"}
					got := conform(t, pool,
						func(ctx context.Context, pool *pgxpool.Pool, fn func(context.Context, pgx.Tx)) error {
							return pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
								fn(ctx, tx)
								return nil
							})
						}, program)
					if strings.Contains(first.name, "ended by COMMIT") { // the rest is refused
						got, _, _ = strings.Cut(got, "|")
						want, _, _ = strings.Cut(want, "|")
					}
					if got != want {
						t.Errorf("%s, %s:\n got %s\nwant %s", first.name, name, got, want)
					}
				}
			}
		})
	}
}

func plain(ctx context.Context, pool *pgxpool.Pool, fn func(context.Context, pgx.Tx)) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	fn(ctx, tx)
	if tx.Conn().PgConn().TxStatus() == 'I' {
		_ = tx.Rollback(ctx)
		return pgtx.ErrEnded
	}
	return tx.Commit(ctx)
}

// conform runs program twice, with cold and with warm caches, and describes the second run and what
// it left.
func conform(t *testing.T, pool *pgxpool.Pool,
	run func(context.Context, *pgxpool.Pool, func(context.Context, pgx.Tx)) error,
	program func(context.Context, pgx.Tx) string,
) string {
	t.Helper()
	var described []string
	for range 2 {
		if _, err := pool.Exec(t.Context(), `delete from accounts; insert into accounts values (1, 100), (2, 100)`); err != nil {
			t.Fatal(err)
		}
		var seen string
		err := run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) { seen = program(ctx, tx) })
		result := "committed"
		switch {
		case errors.Is(err, pgtx.ErrEnded):
			result = "ended"
		case errors.Is(err, pgx.ErrTxCommitRollback):
			result = "rolled back"
		case err != nil:
			result = err.Error()
		}
		var left string
		if err := pool.QueryRow(t.Context(),
			`select coalesce(string_agg(id || ':' || balance, ' ' order by id), '') from accounts`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		described = append(described, seen+" => "+result+", "+left)
	}
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections still acquired", n)
	}
	return strings.Join(described, "\n     ")
}
