package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

func TestBrokenCommitIsUnknownAndNeverRetried(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		where   fault.Cut
		balance int
	}{
		"the server did not get it": {fault.BeforeRequest, 100},
		"the answer was lost":       {fault.BeforeAnswer, 90},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy, pool := cutCommit(t, b.url, tt.where)
			calls := 0
			err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				calls++
				return add(ctx, tx, 1, -10)
			})
			var unknown *pgtx.CommitUnknownError
			if !errors.As(err, &unknown) || unknown.Err == nil {
				t.Errorf("error is %v, want a CommitUnknownError with a cause", err)
			}
			if got := pgerr.Of(err); got != pgerr.CommitUnknown || pgerr.Retryable(err) {
				t.Errorf("pgerr says %s, retryable %v; want commit_unknown, not retryable", got, pgerr.Retryable(err))
			}
			if sent := proxy.Stats().Commits; calls != 1 || sent != 1 {
				t.Errorf("function called %d times, COMMIT sent %d times, want 1 and 1", calls, sent)
			}
			if got := b.balance(t, 1); got != tt.balance {
				t.Errorf("balance is %d, want %d", got, tt.balance)
			}
			(&bundle{pool: pool}).released(t)
		})
	}
}

// COMMIT that is never answered: Run returns some seconds after ctx, and what went before does not
// hide the outcome.
func TestCommitWithoutAnswerEndsAfterContext(t *testing.T) {
	t.Parallel()
	for name, eager := range map[string]bool{"lazy": false, "eager": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy, pool := cutCommit(t, b.url, fault.Pass)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			proxy.OnRequest(func(r fault.Request) fault.Cut {
				if !r.Commit {
					return fault.Pass
				}
				cancel()
				return fault.HoldRequest
			})
			attempts := 0
			began := time.Now()
			opts := repeatableRead
			opts.Eager = eager
			err := pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				if attempts++; attempts == 1 {
					return stale(ctx, b, tx)
				}
				return add(ctx, tx, 1, -10)
			})
			var exhausted *pgtx.RetryError
			if pgerr.Of(err) != pgerr.CommitUnknown || errors.As(err, &exhausted) {
				t.Errorf("error is %v, want a CommitUnknownError and nothing around it", err)
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v, want the end of ctx in it", err)
			}
			if took := time.Since(began); took < 4*time.Second || took > 15*time.Second {
				t.Errorf("took %s, want about 5s", took)
			}
			if attempts != 2 {
				t.Errorf("%d attempts, want 2", attempts)
			}
			if !eager { // pgx keeps its own connection until the server hangs up
				(&bundle{pool: pool}).released(t)
			}
		})
	}
}

// A transaction that can only be rolled back sends no COMMIT, so that a connection lost just then
// leaves no doubt.
func TestFailedTransactionSendsNoCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy, pool := cutCommit(t, b.url, fault.BeforeRequest)
	err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, `select 1/0`)
		return nil
	})
	var swallowed *pgtx.SwallowedError
	if sent := proxy.Stats().Commits; !errors.As(err, &swallowed) || sent != 0 {
		t.Errorf("error is %v with COMMIT sent %d times, want a SwallowedError and none", err, sent)
	}
}

// A transaction around one with an unknown outcome is rolled back, and must not be repeated: the
// inner one would be too.
func TestUnknownCommitOfSecondDatabaseStopsTheFirst(t *testing.T) {
	t.Parallel()
	first, second := setup(t), setup(t)
	_, pool := cutCommit(t, second.url, fault.BeforeAnswer)
	calls := 0
	err := pgtx.Run(t.Context(), first.pool, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		err := pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 10) })
		return fmt.Errorf("second database: %w", err)
	})
	var unknown *pgtx.CommitUnknownError
	if !errors.As(err, &unknown) {
		t.Errorf("error is %v, want a CommitUnknownError", err)
	}
	if calls != 1 {
		t.Errorf("function called %d times, want 1", calls)
	}
	if got := first.balance(t, 1); got != 100 {
		t.Errorf("first database holds %d, want 100", got)
	}
	if got := second.balance(t, 1); got != 110 {
		t.Errorf("second database holds %d, want 110: applied once", got)
	}
}

// The proxy itself must not be what fails the tests above.
func TestCommitThroughProxy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy, pool := cutCommit(t, b.url, fault.Pass)
	err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, -10) })
	if sent := proxy.Stats().Commits; err != nil || sent != 1 {
		t.Fatalf("error is %v with COMMIT sent %d times, want none and 1", err, sent)
	}
}

// COMMIT is not cut when ctx ends while it is under way: a deferred trigger holds it up until ctx
// is done.
func TestCommitOutlastsContext(t *testing.T) {
	needsSession(t)
	needsLocalTables(t)
	t.Parallel()
	b := setup(t)
	if _, err := b.pool.Exec(t.Context(), `
		create function dawdle() returns trigger language plpgsql as $$
		begin perform pg_advisory_lock(1); perform pg_advisory_unlock(1); return null; end $$;
		create constraint trigger dawdle after update on accounts deferrable initially deferred
			for each row execute function dawdle()`); err != nil {
		t.Fatal(err)
	}
	holder, err := b.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Release()
	if _, err := holder.Exec(t.Context(), `select pg_advisory_lock(1)`); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error)
	go func() {
		result <- pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, -10) })
	}()
	b.eventually(t, `select exists (select from pg_locks where locktype = 'advisory' and not granted
		and database = (select oid from pg_database where datname = current_database()))`)
	cancel()
	if _, err := holder.Exec(t.Context(), `select pg_advisory_unlock(1)`); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("error is %v, want none: COMMIT was under way", err)
	}
	if got := b.balance(t, 1); got != 90 {
		t.Errorf("balance is %d, want 90", got)
	}

	// What would have cut COMMIT 5 s after ctx must not cut whoever has the connection by then.
	time.Sleep(5500 * time.Millisecond)
	for _, conn := range b.pool.AcquireAllIdle(t.Context()) {
		if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
			t.Errorf("the connection afterwards: %v", err)
		}
		conn.Release()
	}
}

func TestRunReportsRefusedCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.pool.Exec(t.Context(), `
		create table transfers (account int references accounts deferrable initially deferred)`); err != nil {
		t.Fatal(err)
	}
	calls := 0
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		_, err := tx.Exec(ctx, `insert into transfers values (99)`)
		return err
	})
	var pgError *pgconn.PgError
	if !errors.As(err, &pgError) || pgError.Code != "23503" || !strings.HasPrefix(err.Error(), "commit: ") {
		t.Errorf("error is %v, want commit: with SQLSTATE 23503", err)
	}
	var unknown *pgtx.CommitUnknownError
	if errors.As(err, &unknown) {
		t.Errorf("%v: the server said no, that is known", err)
	}
	if calls != 1 {
		t.Errorf("function called %d times, want 1", calls)
	}
}
