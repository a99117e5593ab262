package pgtx_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

// tracer is what a tracer of pgx can see of a transaction.
type tracer struct {
	mu   sync.Mutex
	seen []string
}

func (r *tracer) add(ctx context.Context, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what, _, _ = strings.Cut(strings.ReplaceAll(what, "\n", " "), "(")
	r.seen = append(r.seen, fmt.Sprintf("%s %d: %s", pgtx.Name(ctx), pgtx.Attempt(ctx), what))
}

func (r *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.add(ctx, data.SQL)
	return ctx
}
func (r *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (r *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	var texts []string
	for _, q := range data.Batch.QueuedQueries {
		texts = append(texts, q.SQL)
	}
	r.add(ctx, "batch "+strings.Join(texts, "; "))
	return ctx
}
func (r *tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (r *tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (r *tracer) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool,
	_ pgxpool.TraceAcquireStartData,
) context.Context {
	r.add(ctx, "acquire")
	return ctx
}
func (r *tracer) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {}

// Everything that a transaction sends has its name and attempt in ctx.
func TestTracersSeeNameAndAttempt(t *testing.T) {
	t.Parallel()
	program := func(pool *pgxpool.Pool) func(ctx context.Context, tx pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error {
			if err := pgtx.RunWith(ctx, pool, pgtx.Options{Name: "part"}, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select $1::int`, 1)
				return err
			}); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `select 2`); err != nil {
				return err
			}
			if pgtx.Attempt(ctx) == 1 {
				return raiseConflict(ctx, tx)
			}
			return nil
		}
	}
	one := func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, `select $1::int`, 1); return err }
	tests := []struct {
		name  string
		opts  pgtx.Options
		fn    func(pool *pgxpool.Pool) func(ctx context.Context, tx pgx.Tx) error
		wants []string
	}{
		{"lazy", pgtx.Options{}, func(*pgxpool.Pool) func(context.Context, pgx.Tx) error { return one }, []string{
			"pay 1: acquire", "pay 1: begin", "pay 1: select $1::int", "pay 1: commit",
		}},
		{"eager", pgtx.Options{Eager: true}, func(*pgxpool.Pool) func(context.Context, pgx.Tx) error {
			return one
		}, []string{
			"pay 1: acquire", "pay 1: begin", "pay 1: select $1::int", "pay 1: commit",
		}},
		{"nested and repeated", pgtx.Options{}, program, []string{
			"pay 1: acquire", "pay 1: begin; savepoint pgtx_1", "part 1: select $1::int", "pay 1: release savepoint pgtx_1", "pay 1: select 2",
			"pay 1: do $$ begin raise 'made up' using errcode = '40001'; end $$", "pay 1: rollback",
			"pay 2: acquire", "pay 2: begin; savepoint pgtx_1", "part 2: select $1::int", "pay 2: release savepoint pgtx_1", "pay 2: select 2", "pay 2: commit",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			config := b.pool.Config()
			var seen tracer
			config.ConnConfig.Tracer = &seen
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			tt.opts.Name = "pay"
			if err := pgtx.RunWith(t.Context(), pool, tt.opts, tt.fn(pool)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(seen.seen, tt.wants) {
				t.Errorf("seen %q\nwant %q", seen.seen, tt.wants)
			}
		})
	}
}
