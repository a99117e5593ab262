package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// A COMMIT or ROLLBACK of the function's own ends the transaction, even if it begins another one:
// nothing is repeated, nothing after it is sent, and nobody is told that it committed.
func TestOwnCommitIsSeen(t *testing.T) {
	t.Parallel()
	batched := func(sql ...string) func(context.Context, pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error {
			b := &pgx.Batch{}
			for _, text := range sql {
				b.Queue(text)
			}
			return tx.SendBatch(ctx, b).Close()
		}
	}
	execute := func(sql string) func(context.Context, pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, sql); return err }
	}
	query := func(sql string) func(context.Context, pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, sql)
			if err != nil {
				return err
			}
			rows.Close()
			return rows.Err()
		}
	}
	for name, tt := range map[string]struct {
		end  func(context.Context, pgx.Tx) error
		ends bool
	}{
		"commit":                    {execute(`commit`), true},
		"commit and chain":          {execute(`commit and chain`), true},
		"commit; begin":             {execute(`commit; begin`), true},
		"commit; begin; select 1":   {execute(`commit; begin; select 1`), true},
		"rollback":                  {execute(`rollback`), true},
		"abort":                     {execute(`abort`), true},
		"rollback; begin":           {execute(`rollback; begin`), true},
		"rollback and chain":        {execute(`rollback and chain`), true},
		"with comments":             {execute("rollback /* all */ and -- of it\n chain"), true},
		"end":                       {execute(`end`), true},
		"commit and chain, Query":   {query(`commit and chain`), true},
		"rollback and chain, Query": {query(`rollback and chain`), true},
		"commit and chain, batch":   {batched(`commit and chain`), true},
		"commit, begin, batch":      {batched(`commit`, `begin`), true},
		"rollback to":               {execute(`savepoint a; select 1; rollback to a`), false},
		"rollback to, with words":   {execute(`savepoint a; select 1; rollback work to /* x */ savepoint a`), false},
		"rollback to, batch":        {batched(`savepoint a`, `rollback transaction to savepoint a`), false},
		"rollback to, then all":     {execute(`savepoint a; rollback to a; rollback; begin`), true},
	} {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, first %v", name, first), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				calls, hooks := 0, 0
				err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
					calls++
					hook := func(context.Context) error { hooks++; return nil }
					if err := errors.Join(pgtx.AfterCommit(ctx, tx, hook),
						pgtx.AfterRollback(ctx, tx, hook)); err != nil {
						return err
					}
					if !first {
						if err := add(ctx, tx, 1, 1); err != nil {
							return err
						}
					}
					if err := tt.end(ctx, tx); err != nil {
						return err
					}
					if err := add(ctx, tx, 2, 1); (err != nil) != tt.ends {
						t.Errorf("a statement afterwards: %v", err)
					}
					return nil
				})
				if errors.Is(err, pgtx.ErrEnded) != tt.ends || calls != 1 || (hooks == 0) != tt.ends {
					t.Errorf("error is %v after %d calls, %d hooks", err, calls, hooks)
				}
				if got, want := b.balance(t, 2), 101; (got == want) == tt.ends {
					t.Errorf("balance is %d", got)
				}
			})
		}
	}
}

func TestOwnCommitInAtomicIsSeen(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{`rollback`, `commit`, `commit and chain`} {
		for _, opts := range []pgtx.Options{{}, verified} {
			b := setup(t)
			batch := moves()
			batch.Queue(sql)
			if err := pgtx.Atomic(t.Context(), b.pool, opts, batch); !errors.Is(err, pgtx.ErrEnded) {
				t.Errorf("%s, verified %v: error is %v, want ErrEnded", sql, opts.VerifyCommit, err)
			}
			if err := pgtx.Atomic(t.Context(), b.pool, opts, moves()); err != nil {
				t.Error(err)
			}
		}
	}
}

// Whether the function's own COMMIT was executed before the connection broke is not known.
func TestConnectionLostInOwnCommit(t *testing.T) {
	t.Parallel()
	for _, where := range []fault.Cut{fault.BeforeRequest, fault.BeforeAnswer} {
		b := setup(t)
		proxy := fault.NewProxy(t, b.url, fault.Options{})
		pool := connect(t, proxy.URL())
		proxy.CutCommits(1, where)
		calls := 0
		err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			calls++
			if err := add(ctx, tx, 1, 1); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, ` /* mine */ commit`)
			return err
		})
		if err == nil || calls != 1 {
			t.Errorf("cut %d: error is %v after %d calls", where, err, calls)
		}
	}
}

// The server ended the session before COMMIT: the outcome is known.
func TestSessionEndedBeforeCommit(t *testing.T) {
	needsSession(t)
	t.Parallel()
	for _, unix := range []bool{false, true} {
		for _, setting := range []string{"idle_in_transaction_session_timeout"} {
			t.Run(fmt.Sprintf("%s, Unix socket %v", setting, unix), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				url := b.url
				if !unix {
					url = fault.NewProxy(t, b.url, fault.Options{Raw: true}).URL()
				}
				pool := connect(t, url)
				calls := 0
				err := pgtx.RunWith(t.Context(), pool, pgtx.Options{Settings: map[string]string{setting: "50"}},
					func(ctx context.Context, tx pgx.Tx) error {
						calls++
						if err := add(ctx, tx, 1, 1); err != nil {
							return err
						}
						b.eventually(t, fmt.Sprintf(`select not exists (select from pg_stat_activity where pid = %d)`, tx.Conn().PgConn().PID()))
						return nil
					})
				if err == nil || errors.As(err, new(*pgtx.CommitUnknownError)) {
					t.Errorf("error is %v after %d calls", err, calls)
				}
				if got := b.balance(t, 1); got != 100 {
					t.Errorf("balance is %d, want 100", got)
				}
			})
		}
	}
}

// The COMMIT of a transaction that only reads has no effect that could be doubled.
func TestLostCommitOfAReadOnlyTransactionIsRepeated(t *testing.T) {
	t.Parallel()
	for _, where := range []fault.Cut{fault.BeforeRequest, fault.BeforeAnswer} {
		b := setup(t)
		proxy := fault.NewProxy(t, b.url, fault.Options{})
		pool := connect(t, proxy.URL())
		proxy.CutCommits(1, where)
		calls := 0
		opts := pgtx.Options{TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}}
		got, err := pgtx.ValueWith(t.Context(), pool, opts,
			func(ctx context.Context, tx pgx.Tx) (balance int, err error) {
				calls++
				err = tx.QueryRow(ctx, `select balance from accounts where id = $1`, 1).Scan(&balance)
				return balance, err
			})
		if err != nil || calls != 2 || got != 100 {
			t.Errorf("cut %d: %d, %v after %d calls", where, got, err, calls)
		}
		proxy.CutCommits(1, where)
		batch := &pgx.Batch{}
		batch.Queue(`select balance from accounts`)
		if err := pgtx.Atomic(t.Context(), pool, opts, batch); err != nil {
			t.Errorf("Atomic, cut %d: %v", where, err)
		}
	}
}

// What made the transaction fail decides about another attempt, not what the function made of it.
func TestCauseDecidesNotItsConsequence(t *testing.T) {
	t.Parallel()
	for name, fn := range map[string]func(ctx context.Context, tx pgx.Tx, pool *pgxpool.Pool) error{
		"ignored": func(ctx context.Context, tx pgx.Tx, _ *pgxpool.Pool) error {
			_ = raiseConflict(ctx, tx)
			return nil
		},
		"next statement": func(ctx context.Context, tx pgx.Tx, _ *pgxpool.Pool) error {
			_ = raiseConflict(ctx, tx)
			return add(ctx, tx, 1, 1)
		},
		"BeforeCommit hook": func(ctx context.Context, tx pgx.Tx, pool *pgxpool.Pool) error {
			_ = raiseConflict(ctx, tx)
			return pgtx.BeforeCommit(ctx, pool, func(ctx context.Context) error { return add(ctx, tx, 1, 1) })
		},
		"joined with a cleanup": func(ctx context.Context, tx pgx.Tx, _ *pgxpool.Pool) (err error) {
			defer func() { err = errors.Join(err, add(ctx, tx, 1, 1)) }()
			return raiseConflict(ctx, tx)
		},
		"translated": func(ctx context.Context, tx pgx.Tx, _ *pgxpool.Pool) error {
			return fmt.Errorf("cannot save: %s", raiseConflict(ctx, tx))
		},
		"translated in a nested Run": func(ctx context.Context, tx pgx.Tx, pool *pgxpool.Pool) error {
			_ = pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
				return fmt.Errorf("cannot save: %s", raiseConflict(ctx, tx))
			})
			return nil
		},
		"savepoint undone by hand": func(ctx context.Context, tx pgx.Tx, _ *pgxpool.Pool) error {
			sp, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			err = raiseConflict(ctx, sp)
			return errors.Join(err, sp.Rollback(ctx))
		},
		"on the bare connection": func(ctx context.Context, tx pgx.Tx, _ *pgxpool.Pool) error {
			_, err := tx.Conn().Exec(ctx, `do $$ begin raise 'made up' using errcode = '40001'; end $$`)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			calls := 0
			err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
				if calls++; calls > 1 {
					return nil
				}
				return fn(ctx, tx, b.pool)
			})
			if err != nil || calls != 2 {
				t.Errorf("error is %v after %d calls, want none after 2", err, calls)
			}
		})
	}
}

// What another transaction met is not this one's to repeat.
func TestSeparateFailureIsFinal(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]pgtx.Options{
		"one attempt": {Nesting: pgtx.Separate, MaxAttempts: 1},
		"narrowed":    {Nesting: pgtx.Separate, RetryIf: func(error, bool) bool { return false }},
		"used up":     {Nesting: pgtx.Separate, MaxAttempts: 2},
	} {
		b := setup(t)
		outer := 0
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			outer++
			if err := add(ctx, tx, 1, 1); err != nil {
				return err
			}
			return pgtx.RunWith(ctx, b.pool, opts, raiseConflict)
		})
		if !isConflict(err) || outer != 1 {
			t.Errorf("%s: error is %v after %d calls, want 1", name, err, outer)
		}
	}
}

// BeginQuery and CommitQuery may be several statements, whatever comes first in the function.
func TestQueriesOfSeveralStatements(t *testing.T) {
	t.Parallel()
	opts := pgtx.Options{TxOptions: pgx.TxOptions{
		BeginQuery:  `begin; set local application_name = 'several'`,
		CommitQuery: `select 1; commit`,
	}}
	for _, mode := range execModes {
		for name, fn := range firsts {
			b := setup(t)
			pool, _ := countFlushes(t, b.url, mode)
			if err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				if err := fn(ctx, tx); err != nil {
					return err
				}
				var seen string
				if err := tx.QueryRow(ctx, `show application_name`).Scan(&seen); err != nil || seen != "several" {
					t.Errorf("%v, %s: application_name is %q, %v", mode, name, seen, err)
				}
				return nil
			}); err != nil {
				t.Errorf("%v, %s: %v", mode, name, err)
			}
		}
		b := setup(t)
		pool, _ := countFlushes(t, b.url, mode)
		if err := pgtx.Atomic(t.Context(), pool, opts, moves()); err != nil || b.balance(t, 1) != 90 {
			t.Errorf("%v, Atomic: %v", mode, err)
		}
	}
}

// An attempt that was given up does not hold up the next one by its locks.
func TestAttemptGivenUpLosesItsLocks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy := fault.NewProxy(t, b.url, fault.Options{})
	config, err := pgxpool.ParseConfig(proxy.URL())
	if err != nil {
		t.Fatal("cannot parse the proxy's URL")
	}
	config.MaxConns = 4
	config.ConnConfig.ConnectTimeout = 2 * time.Second
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	frozen := make(map[uint32]bool)
	proxy.OnRequest(func(r fault.Request) fault.Cut {
		if len(frozen) == 0 && r.SQL == `select 'freeze'` {
			frozen[r.PID] = true
			return fault.HoldAnswer
		}
		return fault.Pass
	})
	calls := 0
	opts := pgtx.Options{AttemptTimeout: time.Second, Timeout: 30 * time.Second}
	err = pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		if err := add(ctx, tx, 1, 1); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `select 'freeze'`)
		return err
	})
	if err != nil || calls != 2 || b.balance(t, 1) != 101 {
		t.Errorf("error is %v after %d calls", err, calls)
	}
}
