package pgtx_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtx"
)

// TestLedger cuts connections before and after COMMIT under concurrent transfers, each of which writes a line with its
// number, and compares what the callers were told with what the ledger holds. PGTX_FAULTS sets the number of transfers;
// a few are enough for the ordinary run.
func TestLedger(t *testing.T) {
	t.Parallel()
	transfers := 32
	if n, err := strconv.Atoi(os.Getenv("PGTX_FAULTS")); err == nil {
		transfers = n
	}
	run := func(ctx context.Context, pool *pgxpool.Pool, transfer func(context.Context, pgx.Tx) error) error {
		return pgtx.RunWith(ctx, pool, pgtx.Options{MaxAttempts: 20}, transfer)
	}
	if doubled, lost := ledger(t, transfers, run); doubled != 0 || lost != 0 {
		t.Errorf("%d transfers were doubled and %d lost", doubled, lost)
	}
	// The control shows that the faults would be noticed: it trusts pgconn.SafeToRetry.
	naive := func(ctx context.Context, pool *pgxpool.Pool, transfer func(context.Context, pgx.Tx) error) error {
		for {
			err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return transfer(ctx, tx) })
			if err == nil || !pgconn.SafeToRetry(err) && !pgerr.Retryable(err) {
				return err
			}
		}
	}
	if doubled, lost := ledger(t, transfers, naive); doubled == 0 && lost == 0 {
		t.Error("the control neither doubled nor lost a transfer: the test has no teeth")
	} else {
		t.Logf("the control doubled %d transfers and lost %d of %d", doubled, lost, transfers)
	}
}

// ledger returns how many transfers are in the ledger more than once, or although the caller was told they failed; and how
// many are not although the caller was told they succeeded.
func ledger(t *testing.T, transfers int, run func(context.Context, *pgxpool.Pool, func(context.Context, pgx.Tx) error) error) (doubled, lost int) {
	t.Helper()
	b := setup(t)
	// Transfers in opposite directions deadlock. The server looks for that only after deadlock_timeout, 1 s by default,
	// which would be nearly all of this test's time.
	for _, sql := range []string{
		`create table lines (transfer int not null)`,
		`do $$ begin execute format('alter database %I set deadlock_timeout = ''10ms''', current_database()); end $$`,
	} {
		if _, err := b.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	proxy, pool := startProxy(t, b.url, never)
	proxy.random = true
	told := make([]error, transfers)
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			for n := worker; n < transfers; n += 4 {
				told[n] = run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
					if err := add(ctx, tx, 1+n%2, -1); err != nil {
						return err
					}
					if err := add(ctx, tx, 2-n%2, 1); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, `insert into lines values ($1)`, n)
					return err
				})
			}
		})
	}
	workers.Wait()
	b.eventually(t, `select count(*) = 1 from pg_stat_activity where datname = current_database() and (state <> 'idle' or pid = pg_backend_pid())`)
	rows, err := b.pool.Query(t.Context(), `select transfer, count(*) from lines group by 1`)
	if err != nil {
		t.Fatal(err)
	}
	applied := map[int]int{}
	var n, count int
	if _, err := pgx.ForEachRow(rows, []any{&n, &count}, func() error { applied[n] = count; return nil }); err != nil {
		t.Fatal(err)
	}
	unknown := 0
	for n, err := range told {
		switch {
		case errors.As(err, new(*pgtx.CommitUnknownError)):
			if unknown++; applied[n] > 1 {
				doubled++
			}
		case err == nil && applied[n] == 0:
			lost++
		case err == nil && applied[n] > 1, err != nil && applied[n] > 0:
			doubled++
		}
	}
	if sum := b.balance(t, 1) + b.balance(t, 2); sum != 200 {
		t.Errorf("the balances add up to %d, want 200", sum)
	}
	t.Logf("%d COMMITs met the proxy, %d outcomes unknown", proxy.seen(), unknown)
	return doubled, lost
}

// chance is where the next connection is cut: in half of the cases, nowhere.
func chance() cut {
	return []cut{never, never, beforeCommit, afterCommit}[rand.IntN(4)]
}
