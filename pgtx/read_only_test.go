package pgtx_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtx"
)

// A write that is refused as read-only is what a failover looks like from a connection that was led
// to the wrong server: it is repeated, unless the transaction or the session is meant to read.
func TestReadOnlyServerIsTriedAgain(t *testing.T) {
	t.Parallel()
	const demote = `set transaction read only`
	for name, test := range map[string]struct {
		opts  pgtx.Options
		param string
		first string
		calls int
	}{
		"demoted":             {first: demote, calls: 2},
		"demoted, eager":      {opts: pgtx.Options{Eager: true}, first: demote, calls: 2},
		"demoted, verified":   {opts: pgtx.Options{VerifyCommit: true}, first: `set local transaction_read_only = on`, calls: 2},
		"transaction to read": {opts: pgtx.Options{TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}}, calls: 1},
		"session to read":     {param: "on", calls: 1},
		"RetryIf":             {opts: pgtx.Options{RetryIf: func(error, bool) bool { return false }}, first: demote, calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			config := b.pool.Config()
			if test.param != "" {
				config.ConnConfig.RuntimeParams["default_transaction_read_only"] = test.param
			}
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			calls := 0
			err = pgtx.RunWith(t.Context(), pool, test.opts, func(ctx context.Context, tx pgx.Tx) error {
				if calls++; calls == 1 && test.first != "" {
					if _, err := tx.Exec(ctx, test.first); err != nil {
						return err
					}
				}
				return add(ctx, tx, 1, 1)
			})
			if calls != test.calls {
				t.Errorf("%d calls, want %d: %v", calls, test.calls, err)
			}
			want := pgerr.Category("")
			if test.calls == 1 {
				want = pgerr.ReadOnly
			}
			if got := pgerr.Of(err); got != want {
				t.Errorf("error is %v (%s), want %q", err, got, want)
			}
		})
	}
}
