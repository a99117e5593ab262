//go:build guides

package snippets_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtx"
)

// The handler of docs/transactions.md gives each outcome its status.
func TestAnswer(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	exec := func(sql string, args ...any) error {
		return pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql, args...)
			return err
		})
	}
	config := pool.Config()
	config.MaxConns = 1
	full, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(full.Close)
	held, err := full.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	for _, c := range []struct {
		what string
		err  error
		want int
	}{
		{"committed", exec("select $1::int", 1), 204},
		{"a hook failed", pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			return pgtx.AfterCommit(ctx, pool, func(context.Context) error { return errors.New("no cache") })
		}), 204},
		{"no row", fmt.Errorf("order: %w", pgx.ErrNoRows), 404},
		{"a constraint", exec("insert into sites (slug, name) values ($1, $1), ($1, $1)", "a"), 409},
		{"a deadlock that lasts", exec("do $$ begin raise exception 'x' using errcode = '40P01'; end $$"), 503},
		{"a full pool", pgtx.RunWith(t.Context(), full, pgtx.Options{AcquireTimeout: 10 * time.Millisecond},
			func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "select $1::int", 1)
				return err
			}), 503},
		{"not known", &pgtx.CommitUnknownError{Err: errors.New("unexpected EOF")}, 503},
		{"too late", pgtx.RunWith(t.Context(), pool, pgtx.Options{Timeout: time.Millisecond},
			func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "select pg_sleep($1)", 1)
				return err
			}), 503},
		{"a mistake", exec("select no_such_column, $1::int", 1), 500},
		{"its own", errors.New("disk is full"), 500},
	} {
		w := httptest.NewRecorder()
		if answer(w, c.err); w.Code != c.want {
			t.Errorf("%s: %d, want %d, for %v", c.what, w.Code, c.want, c.err)
		}
	}
}
