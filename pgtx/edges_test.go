package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
	"github.com/sethvargo/go-retry"
)

// poolIn returns a pool of at most conns connections in the given mode.
func poolIn(t *testing.T, url string, mode pgx.QueryExecMode, conns int32) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal("cannot parse the URL")
	}
	config.MaxConns, config.ConnConfig.DefaultQueryExecMode = conns, mode
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

const plusOne = `update accounts set balance = balance + 1 where id = 1`

// A COMMIT or ROLLBACK of the function's own is seen in every form of call: nothing after it is
// repeated.
func TestOwnCommitIsNotRepeated(t *testing.T) {
	t.Parallel()
	batch := func(queries ...string) func(context.Context, pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error {
			b := &pgx.Batch{}
			for _, sql := range queries {
				b.Queue(sql)
			}
			return tx.SendBatch(ctx, b).Close()
		}
	}
	exec := func(sql string, args ...any) func(context.Context, pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, sql, args...); return err }
	}
	const simple = pgx.QueryExecModeSimpleProtocol
	own := plusOne + `; commit; begin`
	for name, fn := range map[string]func(context.Context, pgx.Tx) error{
		"Exec":           exec(own),
		"Exec, option":   exec(own, simple),
		"Exec, argument": exec(plusOne+` and $1; commit; begin`, simple, true),
		"Exec, named":    exec(plusOne+` and @a; commit; begin`, simple, pgx.NamedArgs{"a": true}),
		"Exec, comment":  exec(plusOne + `; rollback /* rollback to */; begin; ` + own),
		"Query": func(ctx context.Context, tx pgx.Tx) error {
			r, err := tx.Query(ctx, own, simple)
			r.Close()
			return err
		},
		"batch":               batch(plusOne, `commit and chain`),
		"batch, several":      batch(own),
		"rollback in comment": exec("rollback; begin -- rollback to x"),
		"prepared": func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Prepare(ctx, "again", "rollback and chain"); err != nil {
				return err
			}
			return exec("again")(ctx, tx)
		},
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, simple} {
			t.Run(name+", "+mode.String(), func(t *testing.T) {
				t.Parallel()
				if name == "batch, several" && mode != simple {
					t.Skip("an error of the server")
				}
				b := setup(t)
				calls := 0
				err := pgtx.Run(t.Context(), poolIn(t, b.url, mode, 2), func(ctx context.Context, tx pgx.Tx) error {
					calls++
					return cmp(fn(ctx, tx), raiseConflict(ctx, tx))
				})
				if calls != 1 || b.balance(t, 1) > 101 || !errors.Is(err, pgtx.ErrEnded) {
					t.Errorf("%d calls, balance %d, %v", calls, b.balance(t, 1), err)
				}
			})
		}
	}
}

func cmp(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// What a text that did not end the transaction looks like must not be taken for an end.
func TestRollbackToIsNoEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, sql := range []string{
		"/*" + strings.Repeat("x", 10_000) + "*/ rollback to a", `rollback /* a /* b */ c */ to a`, "back",
		`rollback work to savepoint a`, `do $$ begin perform 1; end $$; rollback to a`,
	} {
		if err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `savepoint a`); err != nil {
				return err
			}
			if _, err := tx.Prepare(ctx, "back", "rollback to savepoint a"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, sql)
			return err
		}); err != nil {
			t.Errorf("%.50s: %v", sql, err)
		}
	}
}

// If the connection is lost in a text with a COMMIT, that may have been executed.
func TestConnectionLostInOwnCommitAnywhere(t *testing.T) {
	t.Parallel()
	const mark = "/* cut */"
	for name, fn := range map[string]func(context.Context, pgx.Tx) error{
		"long": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, plusOne+" /*"+strings.Repeat("x", 10_000)+"*/; commit "+mark)
			return err
		},
		"nested comment": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, plusOne+"; /* a /* b */ c */ end "+mark)
			return err
		},
		"batch": func(ctx context.Context, tx pgx.Tx) error {
			b := &pgx.Batch{}
			b.Queue(plusOne + mark)
			b.Queue("commit")
			return tx.SendBatch(ctx, b).Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := fault.NewProxy(t, b.url, fault.Options{})
			proxy.OnRequest(func(r fault.Request) fault.Cut {
				if strings.Contains(r.SQL, mark) {
					return fault.BeforeAnswer
				}
				return fault.Pass
			})
			calls := 0
			err := pgtx.Run(t.Context(), poolIn(t, proxy.URL(), pgx.QueryExecModeExec, 2),
				func(ctx context.Context, tx pgx.Tx) error {
					calls++
					return fn(ctx, tx)
				})
			if calls != 1 || err == nil {
				t.Errorf("%d calls, %v", calls, err)
			}
		})
	}
}

// A connection that breaks under COMMIT leaves the outcome of Atomic unknown, also if a pooler says
// so in the place of an earlier answer.
func TestAtomicBehindABrokenPooler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy := fault.NewProxy(t, b.url, fault.Options{})
	pool := poolIn(t, fault.NewPgBouncer(t, proxy.URL(), nil).URL(), pgx.QueryExecModeCacheDescribe, 1)
	do := func(attempts int) error {
		batch := &pgx.Batch{}
		batch.Queue(plusOne)
		return pgtx.Atomic(t.Context(), pool, pgtx.Options{MaxAttempts: attempts}, batch)
	}
	for i, attempts := range []int{1, 3} {
		if err := do(1); err != nil {
			t.Fatal(err)
		}
		proxy.CutCommits(1, fault.BeforeAnswer)
		if err := do(attempts); !errors.As(err, new(*pgtx.CommitUnknownError)) {
			t.Errorf("error is %v, want a CommitUnknownError", err)
		}
		if got, most := b.balance(t, 1), 100+2*(i+1); got > most {
			t.Errorf("balance is %d, want at most %d", got, most)
		}
	}
}

// A query timeout of the pooler ends the client while the server goes on. Nothing is committed.
func TestAtomicWithAQueryTimeoutOfThePooler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bouncer := fault.NewPgBouncer(t, b.url, map[string]string{"query_timeout": "1"})
	batch := &pgx.Batch{}
	batch.Queue(plusOne)
	batch.Queue(`select pg_sleep(2)`)
	err := pgtx.Atomic(t.Context(), poolIn(t, bouncer.URL(), pgx.QueryExecModeExec, 4), pgtx.Options{MaxAttempts: 2},
		batch)
	if err == nil || errors.As(err, new(*pgtx.CommitUnknownError)) {
		t.Errorf("error is %v", err)
	}
	b.eventually(t, `select not exists (select from pg_stat_activity where query like '%pg_sleep%' and state = 'active'
		and pid <> pg_backend_pid())`)
	if got := b.balance(t, 1); got != 100 {
		t.Errorf("balance is %d", got)
	}
}

// What a callback does not read, or reads twice, does not change what COMMIT is told. An error of a
// callback rolls back.
func TestAtomicCallbacksThatMisread(t *testing.T) {
	t.Parallel()
	for _, opts := range []pgtx.Options{{}, verified} {
		for name, fn := range map[string]func(pgx.BatchResults) error{
			"none":      func(pgx.BatchResults) error { return nil },
			"open rows": func(br pgx.BatchResults) error { _, err := br.Query(); return err },
			"close":     func(br pgx.BatchResults) error { return br.Close() },
			"two":       func(br pgx.BatchResults) error { _, _ = br.Exec(); _, _ = br.Exec(); return nil },
			"fails":     func(pgx.BatchResults) error { return errBusiness },
		} {
			b := setup(t)
			b.exec(t, `create table once (n int unique deferrable initially deferred)`)
			for _, second := range []int{2, 1} {
				batch := &pgx.Batch{}
				batch.Queue(`insert into once values ($1)`, 1).Fn = fn
				batch.Queue(`insert into once values ($1)`, second)
				err := pgtx.Atomic(t.Context(), b.pool, opts, batch)
				var rows int
				if err := b.pool.QueryRow(t.Context(), `select count(*) from once`).Scan(&rows); err != nil {
					t.Fatal(err)
				}
				if committed := second == 2 && name != "fails"; (err == nil) != committed || (rows == 2) != committed {
					t.Errorf("%s, second %d, verified %v: %d rows, %v", name, second, opts.VerifyCommit, rows, err)
				}
				b.exec(t, `truncate once`)
			}
		}
	}
}

// pgx calls a callback that reads nothing for ever.
func TestBatchCallbackThatReadsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	calls := 0
	if err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`select 1`).Fn = func(pgx.BatchResults) error {
			if calls++; calls > 1 {
				return errBusiness
			}
			return nil
		}
		return tx.SendBatch(ctx, batch).Close()
	}); err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// A first statement that was executed is not sent again by itself.
func TestExecutedFirstStatementIsNotSentAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `create sequence executed`)
	proxy := fault.NewProxy(t, b.url, fault.Options{})
	const sql = `select nextval('executed'), $1::text`
	proxy.OnRequest(func(r fault.Request) fault.Cut {
		if strings.Contains(r.SQL, "executed") {
			return fault.BeforeAnswer
		}
		return fault.Pass
	})
	pool := poolIn(t, proxy.URL(), pgx.QueryExecModeExec, 20)
	for attempts := 1; attempts <= 3; attempts += 2 {
		b.exec(t, `alter sequence executed restart`)
		calls := 0
		err := pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: attempts},
			func(ctx context.Context, tx pgx.Tx) error {
				calls++
				_, err := tx.Exec(ctx, sql, "a")
				return err
			})
		var executed int
		if err := b.pool.QueryRow(t.Context(), `select last_value from executed`).Scan(&executed); err != nil {
			t.Fatal(err)
		}
		if err == nil || calls != attempts || executed != attempts {
			t.Errorf("MaxAttempts %d: %d calls, executed %d times, %v", attempts, calls, executed, err)
		}
	}
}

// Known statements on connections that died in the pool cost one attempt in all.
func TestStaleConnectionsCostOneAttempt(t *testing.T) {
	needsSession(t)
	t.Parallel()
	b := setup(t)
	proxy := fault.NewProxy(t, b.url, fault.Options{})
	pool := poolIn(t, proxy.URL(), pgx.QueryExecModeCacheDescribe, 10)
	var warm []*pgxpool.Conn
	for range 10 {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := pgtx.Run(t.Context(), conn, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, `select $1::int`, 1).Scan(new(int))
		}); err != nil {
			t.Fatal(err)
		}
		warm = append(warm, conn)
	}
	pids := make([]int32, 0, len(warm))
	for _, conn := range warm {
		pids = append(pids, int32(conn.Conn().PgConn().PID()))
		conn.Release()
	}
	for _, pid := range pids {
		b.exec(t, fmt.Sprintf(`select pg_terminate_backend(%d, 5000)`, pid))
	}
	calls := 0
	err := pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: 2}, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		return tx.QueryRow(ctx, `select $1::int`, 1).Scan(new(int))
	})
	if err != nil {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// A BeginQuery that ends in a comment leaves settings and limits in force.
func TestBeginQueryWithAComment(t *testing.T) {
	t.Parallel()
	b := setup(t)
	opts := pgtx.Options{
		TxOptions: pgx.TxOptions{BeginQuery: "begin isolation level serializable -- audited"}, LockTimeout: time.Second,
		Settings: map[string]string{"app.tenant": "x", "role": "pg_monitor"},
	}
	var seen string
	if err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select concat_ws(' ', current_setting('app.tenant', true),
			current_setting('lock_timeout'), current_user, current_setting('transaction_isolation'))`).Scan(&seen)
	}); err != nil || seen != "x 1s pg_monitor serializable" {
		t.Errorf("%q, %v", seen, err)
	}
}

// The longest duration is a long one.
func TestLongestDurations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, pgtx.IdempotencyTableSQL+`; insert into pgtx_idempotency_keys (key, owner, fingerprint, created_at) values ('a', '', '', now() - interval '1 day')`)
	if n, err := pgtx.Forget(t.Context(), b.pool, math.MaxInt64); n != 0 || err != nil {
		t.Errorf("Forget: %d, %v", n, err)
	}
	opts := pgtx.Options{StatementTimeout: math.MaxInt64, LockTimeout: math.MaxInt64}
	var seen int
	if err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select setting::int from pg_settings where name = 'statement_timeout'`).Scan(&seen)
	}); err != nil || seen != math.MaxInt32 {
		t.Errorf("statement_timeout is %d, %v", seen, err)
	}
}

// COPY works as the first statement, as it does in pgx.
// writingRewriter uses the connection that pgx gives to a rewriter.
type writingRewriter struct{}

func (writingRewriter) RewriteQuery(ctx context.Context, conn *pgx.Conn, sql string, _ []any) (string, []any, error) {
	_, err := conn.Exec(ctx, `update accounts set balance = 0 where id = 2`)
	return sql, []any{1, 1}, err
}

func TestRewriterRunsInTheTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, move, writingRewriter{}); err != nil {
			return err
		}
		return pgtx.ErrRollback
	})
	if err != nil || b.balance(t, 1) != 100 || b.balance(t, 2) != 100 {
		t.Errorf("%v, balances %d and %d: what the rewriter did was not rolled back", err, b.balance(t, 1), b.balance(t, 2))
	}
}

func TestCopyAsTheFirstStatement(t *testing.T) {
	t.Parallel()
	for _, mode := range execModes {
		for _, sql := range []string{`copy (select 1) to stdout`, `/* all */ COPY accounts to stdout`} {
			b := setup(t)
			pool := poolIn(t, b.url, mode, 1)
			query := func(ctx context.Context, tx pgx.Tx) error {
				rows, err := tx.Query(ctx, sql)
				if err != nil {
					return err
				}
				rows.Close()
				return rows.Err()
			}
			plain := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return query(t.Context(), tx) })
			err := pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: 1}, query)
			if fmt.Sprint(err) != fmt.Sprint(plain) {
				t.Errorf("%v, %s: %v, pgx: %v", mode, sql, err, plain)
			}
			batch := &pgx.Batch{}
			batch.Queue(sql)
			if err := pgtx.Atomic(t.Context(), pool, pgtx.Options{MaxAttempts: 1}, batch); err != nil && plain == nil &&
				mode == pgx.QueryExecModeSimpleProtocol {
				t.Errorf("%v, Atomic: %v", mode, err)
			}
		}
	}
}

// Why a transaction with a key cannot commit is told as without one.
func TestKeyDoesNotHideTheCause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, pgtx.IdempotencyTableSQL)
	for name, tt := range map[string]struct {
		fn   func(ctx context.Context, tx pgx.Tx) error
		want func(error) bool
	}{
		"swallowed": {
			func(ctx context.Context, tx pgx.Tx) error { _, _ = tx.Exec(ctx, `select 1 / $1::int`, 0); return nil },
			func(err error) bool { return errors.As(err, new(*pgtx.SwallowedError)) && code(err) == "22012" },
		},
		"joined": {
			func(ctx context.Context, _ pgx.Tx) error {
				_ = pgtx.RunWith(ctx, b.pool, pgtx.Options{Nesting: pgtx.Join}, func(context.Context, pgx.Tx) error {
					return errBusiness
				})
				return nil
			},
			func(err error) bool {
				return errors.Is(err, errBusiness) && strings.HasPrefix(err.Error(), "commit: rolled back")
			},
		},
		"open rows": {
			func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Query(ctx, `select 1`); return err },
			func(err error) bool {
				return errors.Is(err, pgtx.ErrTxInUse) && strings.HasPrefix(err.Error(), "commit: rolled back")
			},
		},
	} {
		_, err := pgtx.ValueWith(t.Context(), b.pool, pgtx.Options{IdempotencyKey: name},
			func(ctx context.Context, tx pgx.Tx) (int, error) {
				return 1, tt.fn(ctx, tx)
			})
		if !tt.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// search_path is a list of names in the server's own syntax; what is none is refused, as are names
// that the server would cut off or take for one another.
func TestSettingsAreTakenLiterally(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `create schema "a,b"; create schema "q""s"`)
	for value, want := range map[string]string{
		`"a,b", public`: "{a,b}|{public}", `"q""s"`: `{q"s}`, `Public , "a,b"`: "{public}|{a,b}", ``: "", `"$user",public`: "{public}",
	} {
		var seen string
		if err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{Settings: map[string]string{"search_path": value}},
			func(ctx context.Context, tx pgx.Tx) error {
				return tx.QueryRow(ctx, `select coalesce(string_agg('{' || s || '}', '|'), '') from unnest(current_schemas(false)) s`).Scan(&seen)
			}); err != nil || seen != want {
			t.Errorf("search_path %s is %s, want %s, %v", value, seen, want, err)
		}
	}
	for _, settings := range []map[string]string{
		{"search_path": `public,`},
		{"search_path": `"a`},
		{"search_path": `a b`},
		{"search_path": `a"b"`},
		{"search_path": `,a`},
		{"app." + strings.Repeat("x", 64): "1"},
		{"App.Tenant": "a", "app.tenant": "b"},
	} {
		if err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{Settings: settings},
			func(context.Context, pgx.Tx) error {
				return nil
			}); err == nil {
			t.Errorf("%v was taken", settings)
		}
	}
}

// One repetition heals all statements of a connection that a migration or DISCARD ALL made useless.
func TestManyStaleStatements(t *testing.T) {
	needsSession(t)
	t.Parallel()
	for _, mode := range execModes[:2] {
		for _, sql := range []string{`alter table accounts add column note text`, `discard all`, `deallocate all`} {
			b := setup(t)
			pool := poolIn(t, b.url, mode, 1)
			calls := 0
			fn := func(ctx context.Context, tx pgx.Tx) error {
				calls++
				for i := range 8 {
					if _, err := tx.Exec(ctx, fmt.Sprintf(`select *, %d from accounts where id = $1`, i),
						1); err != nil {
						return err
					}
				}
				return nil
			}
			batch := &pgx.Batch{}
			for i := range 8 {
				batch.Queue(fmt.Sprintf(`select *, %d, 'x' from accounts where id = $1`, i), 1)
			}
			for name, run := range map[string]func() error{
				"Run":    func() error { return pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: 2}, fn) },
				"Atomic": func() error { return pgtx.Atomic(t.Context(), pool, pgtx.Options{MaxAttempts: 2}, batch) },
			} {
				if err := run(); err != nil {
					t.Fatal(err)
				}
				if _, err := pool.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
				calls = 0
				if err := run(); err != nil || calls > 2 {
					t.Errorf("%v, %s, %s: %v after %d calls", mode, sql, name, err, calls)
				}
				b.exec(t, `alter table accounts drop column if exists note`)
				pool.Reset()
			}
		}
	}
}

// After a migration all connections of a pool may have stale statements, more than there are
// attempts.
func TestStaleStatementsOfAllConnections(t *testing.T) {
	needsSession(t)
	t.Parallel()
	for _, mode := range execModes[:2] {
		b := setup(t)
		const conns = 8
		pool := poolIn(t, b.url, mode, conns)
		calls := 0
		read := func(ctx context.Context, tx pgx.Tx) error {
			calls++
			if err := add(ctx, tx, 1, 0); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `select * from accounts where id = $1`, 1)
			return err
		}
		var held []*pgxpool.Conn
		for range conns {
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, conn)
			t.Cleanup(conn.Release) // again, which does nothing, unless the test has failed
			if err := pgtx.Run(t.Context(), conn, read); err != nil {
				t.Fatal(err)
			}
		}
		for _, conn := range held {
			conn.Release()
		}
		b.exec(t, `alter table accounts alter column balance type bigint`)
		calls = 0
		err := pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: 2, Backoff: noWaits}, read)
		if err != nil || calls > conns+1 {
			t.Errorf("%v: %v after %d calls", mode, err, calls)
		}
	}
}

// noWaits fails what waits between attempts.
func noWaits() retry.Backoff {
	return retry.BackoffFunc(func() (time.Duration, bool) { return 0, true })
}

// A transaction that was made read-write has an effect, and its lost COMMIT is unknown.
func TestReadOnlyMadeReadWrite(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy := fault.NewProxy(t, b.url, fault.Options{})
	pool := connect(t, proxy.URL())
	opts := pgtx.Options{TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}}
	for _, first := range []string{`set transaction read write`, `set local transaction_read_only = off`} {
		proxy.CutCommits(1, fault.BeforeAnswer)
		calls := 0
		err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			calls++
			if _, err := tx.Exec(ctx, first); err != nil {
				return err
			}
			return add(ctx, tx, 1, 1)
		})
		if !errors.As(err, new(*pgtx.CommitUnknownError)) || calls != 1 {
			t.Errorf("%s: %v after %d calls", first, err, calls)
		}
	}
	proxy.CutCommits(1, fault.BeforeAnswer)
	batch := &pgx.Batch{}
	batch.Queue(`set transaction read write`)
	batch.Queue(plusOne)
	before := b.balance(t, 1)
	err := pgtx.Atomic(t.Context(), poolIn(t, proxy.URL(), pgx.QueryExecModeExec, 2), opts, batch)
	if !errors.As(err, new(*pgtx.CommitUnknownError)) || b.balance(t, 1) > before+1 {
		t.Errorf("Atomic: %v, balance %d after %d", err, b.balance(t, 1), before)
	}
	opts.Settings = map[string]string{"transaction_read_only": "off"}
	if err := pgtx.RunWith(t.Context(), pool, opts, func(context.Context, pgx.Tx) error { return nil }); err == nil {
		t.Error("a setting that contradicts ReadOnly was taken")
	}
}

// Texts say what happened.
func TestEndedSavepointsAndBatches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		one, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if err := one.Commit(ctx); err != nil {
			return err
		}
		if err := one.Rollback(ctx); err == nil || err.Error() != pgx.ErrTxClosed.Error() {
			t.Errorf("Rollback after Commit: %v, want pgx's", err)
		}
		batch := &pgx.Batch{}
		batch.Queue(`select 1`).Exec(func(pgconn.CommandTag) error { return errBusiness })
		batch.Queue(`select 1`)
		results := tx.SendBatch(ctx, batch)
		_ = results.Close()
		if _, err := results.Exec(); !errors.Is(err, errBusiness) {
			t.Errorf("Exec after Close: %v, want the callback's error", err)
		}
		rows, _ := tx.Query(ctx, `select * from nowhere`)
		if rows.Conn() == nil {
			t.Error("the rows of a failed query have no connection")
		}
		return nil
	}); err == nil {
		t.Error("no error")
	}
}

// A savepoint of the outer function that ends inside a nested Run leaves its cause.
func TestOuterSavepointEndsInANestedRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		outer, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		nested := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := outer.Rollback(ctx); err != nil {
				return err
			}
			return add(ctx, tx, 1, 1)
		})
		if nested == nil {
			t.Error("the nested Run succeeded")
		}
		_, err = tx.Exec(ctx, `select 1`)
		return err
	})
	if err == nil || strings.Contains(err.Error(), "conn closed") {
		t.Errorf("error is %v", err)
	}
}
