package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
	"github.com/sethvargo/go-retry"
)

// A role sees only the rows of its tenant.
func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	for _, mode := range execModes {
		b := setup(t)
		role := fmt.Sprintf("pgtx_tenant_%d", rand.Uint64())
		b.exec(t, `create role `+role+`;
			create table pages (tenant text not null, title text not null);
			alter table pages enable row level security;
			create policy tenants on pages using (tenant = current_setting('app.tenant'));
			grant select, insert on pages to `+role+`;
			insert into pages values ('a''b\', 'mine'), ('other', 'theirs')`)
		t.Cleanup(func() {
			if _, err := b.pool.Exec(context.Background(), `drop owned by `+role+`; drop role `+role); err != nil {
				t.Error(err)
			}
		})
		pool, flushes := countFlushes(t, b.url, mode)
		opts := pgtx.Options{Settings: map[string]string{"app.tenant": `a'b\`, "role": role}}
		for range 2 {
			flushes.Store(0)
			got, err := pgtx.ValueWith(t.Context(), pool, opts,
				func(ctx context.Context, tx pgx.Tx) (titles []string, err error) {
					rows, err := tx.Query(ctx, `select title from pages where title <> $1`, "")
					if err != nil {
						return nil, err
					}
					return pgx.CollectRows(rows, pgx.RowTo[string])
				})
			if err != nil || len(got) != 1 || got[0] != "mine" {
				t.Errorf("%v: %q, %v", mode, got, err)
			}
		}
		want := int64(2)
		if mode == pgx.QueryExecModeDescribeExec || mode == pgx.QueryExecModeSimpleProtocol {
			want = 3
		}
		if n := flushes.Load(); n != want {
			t.Errorf("%v: %d flushes, want %d", mode, n, want)
		}
		// Nothing is left on the connection.
		var tenant, current string
		if err := pool.QueryRow(t.Context(), `select current_setting('app.tenant'), current_setting('role')`).Scan(&tenant, &current); err != nil || tenant != "" || current != "none" {
			t.Errorf("%v: afterwards %q, %q, %v", mode, tenant, current, err)
		}
		var left int
		if err := pool.QueryRow(t.Context(), `select count(*) from pg_prepared_statements where statement like 'set local%'`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%v: %d prepared statements are left, %v", mode, left, err)
		}
	}
}

// Settings take no snapshot: the function may still choose the isolation level.
func TestSettingsTakeNoSnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	opts := pgtx.Options{
		StatementTimeout: time.Minute, LockTimeout: time.Minute,
		Settings: map[string]string{"app.a.b": "x", "search_path": `pg_temp, "$user", public, "Odd ""name"`, "idle_in_transaction_session_timeout": "1min"},
	}
	err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set transaction isolation level repeatable read`); err != nil {
			return err
		}
		var level, path, a string
		err := tx.QueryRow(ctx, `select current_setting('transaction_isolation'), current_setting('search_path'), current_setting('app.a.b')`).Scan(&level, &path, &a)
		if level != "repeatable read" || path != `pg_temp, "$user", public, "Odd ""name"` || a != "x" {
			t.Errorf("level %q, path %s, a %q", level, path, a)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for name, opts := range map[string]pgtx.Options{
		"twice":     {StatementTimeout: time.Second, Settings: map[string]string{"Statement_Timeout": "1"}},
		"zero byte": {Settings: map[string]string{"app.a": "x\x00y"}},
		"no name":   {Settings: map[string]string{"": "x"}},
	} {
		if err := pgtx.RunWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) error {
			return nil
		}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	err = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		return pgtx.RunWith(ctx, b.pool, opts, func(context.Context, pgx.Tx) error { return nil })
	})
	if !errors.Is(err, pgtx.ErrOptionConflict) {
		t.Errorf("nested: %v, want ErrOptionConflict", err)
	}
}

func TestRollbackByTheFunction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var seen journal
	got, err := pgtx.Value(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) (int, error) {
		seen.stage(t, ctx, b.pool, "")
		return 7, errors.Join(add(ctx, tx, 1, 1), fmt.Errorf("dry run: %w", pgtx.ErrRollback))
	})
	if err != nil || got != 7 || b.balance(t, 1) != 100 {
		t.Errorf("%d, %v, balance %d", got, err, b.balance(t, 1))
	}
	if len(seen) != 1 || seen[0] != "rollback" {
		t.Errorf("hooks called: %v", seen)
	}
	err = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
			return errors.Join(add(ctx, tx, 1, 1), pgtx.ErrRollback)
		}); err != nil {
			return err
		}
		return add(ctx, tx, 2, 1)
	})
	if err != nil || b.balance(t, 1) != 100 || b.balance(t, 2) != 101 {
		t.Errorf("nested: %v", err)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made, calls := 0, 0
	opts := pgtx.Options{MaxAttempts: 10, Backoff: func() retry.Backoff {
		made++
		return retry.WithMaxRetries(2, retry.NewConstant(time.Millisecond))
	}}
	err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		return raiseConflict(ctx, tx)
	})
	var gaveUp *pgtx.RetryError
	if !errors.As(err, &gaveUp) || gaveUp.Attempts != 3 || calls != 3 || made != 1 {
		t.Errorf("error is %v after %d calls, %d backoffs", err, calls, made)
	}
}

func TestValueWithAHookError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got, err := pgtx.Value(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) (int, error) {
		return 7, pgtx.AfterCommit(ctx, b.pool, func(context.Context) error { return errBusiness })
	})
	if !errors.As(err, new(*pgtx.HookError)) || got != 7 {
		t.Errorf("%d, %v", got, err)
	}
}

func withKeys(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	b.exec(t, pgtx.IdempotencyTableSQL)
	return b
}

// After a lost COMMIT a row of another transaction with the key says that this one committed: its
// result counts, and no hook is called.
func TestKeyRowHasAnOwner(t *testing.T) {
	t.Parallel()
	b := withKeys(t)
	proxy := fault.NewProxy(t, b.url, fault.Options{})
	pool := connect(t, proxy.URL())
	opts := pgtx.Options{IdempotencyKey: "pay"}
	value := func(pool pgtx.DB, n int, hook func(context.Context) error) (int, error) {
		return pgtx.ValueWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) (int, error) {
			if err := pgtx.AfterCommit(ctx, tx, hook); err != nil {
				return 0, err
			}
			return n, add(ctx, tx, 1, n)
		})
	}
	nothing := func(context.Context) error { return nil }
	proxy.OnRequest(func(r fault.Request) fault.Cut {
		if r.Commit {
			return fault.BeforeRequest
		}
		return fault.Pass
	})
	first := make(chan error, 1)
	// The winner waits for the loser's row, which is gone when the connection breaks.
	started := make(chan struct{})
	go func() {
		<-started
		got, err := value(b.pool, 5, nothing)
		if err == nil && got != 5 {
			err = fmt.Errorf("the winner got %d", got)
		}
		first <- err
	}()
	called := false
	got, err := pgtx.ValueWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) (int, error) {
		if err := pgtx.AfterCommit(ctx, tx, func(context.Context) error { called = true; return nil }); err != nil {
			return 0, err
		}
		if pgtx.Attempt(ctx) == 1 {
			close(started)
			b.eventually(t, `select exists (select from pg_stat_activity where wait_event_type = 'Lock')`)
		}
		return 3, add(ctx, tx, 1, 3)
	})
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err != nil || got != 5 || called || b.balance(t, 1) != 105 {
		t.Errorf("%d, %v, hook called: %v, balance %d", got, err, called, b.balance(t, 1))
	}
}

func TestReplayIntoAFreshValue(t *testing.T) {
	t.Parallel()
	b := withKeys(t)
	opts := pgtx.Options{IdempotencyKey: "fresh"}
	run := func(fn func(ctx context.Context, tx pgx.Tx) (map[string]int, error)) (map[string]int, error) {
		return pgtx.ValueWith(t.Context(), b.pool, opts, fn)
	}
	first, err := run(func(context.Context, pgx.Tx) (map[string]int, error) { return map[string]int{"a": 1}, nil })
	if err != nil {
		t.Fatal(err)
	}
	second, err := run(func(context.Context, pgx.Tx) (map[string]int, error) {
		t.Error("called again")
		return nil, nil
	})
	if err != nil || len(second) != 1 || second["a"] != first["a"] {
		t.Errorf("%v, %v", second, err)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	b := withKeys(t)
	run := func(print string) error {
		return pgtx.RunWith(t.Context(), b.pool, pgtx.Options{IdempotencyKey: "k", Fingerprint: print},
			func(ctx context.Context, tx pgx.Tx) error {
				return add(ctx, tx, 1, 1)
			})
	}
	if err := errors.Join(run("one"), run("one"), run("")); err != nil {
		t.Error(err)
	}
	if err := run("two"); !errors.Is(err, pgtx.ErrKeyReused) {
		t.Errorf("error is %v, want ErrKeyReused", err)
	}
	if got := b.balance(t, 1); got != 101 {
		t.Errorf("balance is %d, want 101", got)
	}
}

// The key's row and the result are written as the role and in the search_path of the connection,
// whatever the function's are.
func TestKeyAndSettings(t *testing.T) {
	t.Parallel()
	b := withKeys(t)
	role := fmt.Sprintf("pgtx_weak_%d", rand.Uint64())
	b.exec(t, `create role `+role+`; grant select, update on accounts to `+role+`; create schema elsewhere; grant usage on schema elsewhere to `+role)
	t.Cleanup(func() {
		if _, err := b.pool.Exec(context.Background(), `drop owned by `+role+`; drop role `+role); err != nil {
			t.Error(err)
		}
	})
	for _, calls := range []int{1, 0} {
		called := 0
		opts := pgtx.Options{IdempotencyKey: "k", Settings: map[string]string{"role": role, "search_path": "elsewhere, pg_temp"}}
		got, err := pgtx.ValueWith(t.Context(), b.pool, opts,
			func(ctx context.Context, tx pgx.Tx) (user string, err error) {
				called++
				if err := tx.QueryRow(ctx, `select current_user`).Scan(&user); err != nil {
					return "", err
				}
				_, err = tx.Exec(ctx, `update public.accounts set balance = balance + $1`, 1)
				return user, err
			})
		if err != nil || got != role || called != calls {
			t.Errorf("%q, %v after %d calls", got, err, called)
		}
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	b := withKeys(t)
	b.exec(t, `insert into pgtx_idempotency_keys (key, owner, fingerprint, created_at)
		select 'old' || n, '', '', now() - interval '8 days' from generate_series(1, 2500) n;
		insert into pgtx_idempotency_keys (key, owner, fingerprint) values ('new', '', '')`)
	if n, err := pgtx.Forget(t.Context(), b.pool, 7*24*time.Hour); err != nil || n != 2500 {
		t.Errorf("%d, %v, want 2500", n, err)
	}
	if n, err := pgtx.Forget(t.Context(), b.pool, 7*24*time.Hour); err != nil || n != 0 {
		t.Errorf("%d, %v, want 0", n, err)
	}
	if _, err := pgtx.Forget(t.Context(), b.pool, 0); err == nil {
		t.Error("no error for 0")
	}
}

// The key answers while the transaction's id does not.
func TestTheKeyAnswersWhatTheIDDoesNot(t *testing.T) {
	t.Parallel()
	b := withKeys(t)
	if err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{IdempotencyKey: "k"},
		func(ctx context.Context, tx pgx.Tx) error {
			return add(ctx, tx, 1, 1)
		}); err != nil {
		t.Fatal(err)
	}
	open := dedicated(t, b)
	unknown := &pgtx.CommitUnknownError{Key: "k"}
	if _, err := open.Exec(t.Context(), `begin`); err != nil {
		t.Fatal(err)
	}
	err := open.QueryRow(t.Context(), `select pg_current_xact_id()::text,
		extract(epoch from pg_postmaster_start_time())::text || ' ' ||
		(select coalesce(extract(epoch from stats_reset)::text, '') from pg_stat_bgwriter)`,
	).Scan(&unknown.XID, &unknown.Server)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := unknown.Resolve(t.Context(), b.pool)
	if err != nil || !committed {
		t.Errorf("committed is %v, error %v", committed, err)
	}
	if _, err := open.Exec(t.Context(), `select 1`); err != nil { // it was not ended, which takes a second
		t.Errorf("the transaction in progress: %v", err)
	}
}
