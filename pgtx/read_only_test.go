package pgtx_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// A write that is refused as read-only is what a failover looks like from a connection that was led
// to a standby: it is repeated. What is read-only by choice stays so.
func TestReadOnlyByChoiceIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		opts  pgtx.Options
		param string
		first string
	}{
		"the function's choice": {first: `set transaction read only`},
		"eager":                 {opts: pgtx.Options{Eager: true}, first: `set local transaction_read_only = on`},
		"a setting":             {opts: pgtx.Options{Settings: map[string]string{"transaction_read_only": "on"}}},
		"BeginQuery":            {opts: pgtx.Options{TxOptions: pgx.TxOptions{BeginQuery: "begin read only"}}},
		"transaction to read":   {opts: pgtx.Options{TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}}},
		"session to read":       {param: "on"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			config := b.pool.Config()
			if test.param != "" {
				needsSession(t)
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
			if calls != 1 || pgerr.Of(err) != pgerr.ReadOnly {
				t.Errorf("%d calls, %v", calls, err)
			}
		})
	}
}

func TestStandbyIsTriedAgain(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	primary.Exec(t, `create table made (n int)`)
	standby := primary.Standby(t, nil)
	pool := connect(t, standby.URL())
	for _, opts := range []pgtx.Options{{RetryIf: func(error, bool) bool { return false }}, {}} {
		calls := 0
		err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			if calls++; calls == 2 {
				standby.Promote(t)
			}
			_, err := tx.Exec(ctx, `insert into made values ($1)`, 1)
			return err
		})
		if again := opts.RetryIf == nil; (err == nil) != again || (calls == 2) != again {
			t.Errorf("%d calls, %v", calls, err)
		}
	}
}
