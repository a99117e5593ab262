package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// pid is the backend of a pool of one connection.
func pid(t *testing.T, pool *pgxpool.Pool) (pid int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `select pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func code(err error) string {
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) {
		return pgError.Code
	}
	return ""
}

// The preparation of a first statement that is new to the connection waits for table locks, too.
func TestLimitsCoverThePreparationOfTheFirstStatement(t *testing.T) {
	needsSession(t)
	t.Parallel()
	for _, mode := range execModes {
		for name, run := range map[string]func(ctx context.Context, pool *pgxpool.Pool, opts pgtx.Options) error{
			"Run": func(ctx context.Context, pool *pgxpool.Pool, opts pgtx.Options) error {
				return pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
					return add(ctx, tx, 1, 1)
				})
			},
			"Query": func(ctx context.Context, pool *pgxpool.Pool, opts pgtx.Options) error {
				return pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
					return tx.QueryRow(ctx, `select balance from accounts`).Scan(new(int))
				})
			},
			"Atomic": func(ctx context.Context, pool *pgxpool.Pool, opts pgtx.Options) error {
				return pgtx.Atomic(ctx, pool, opts, moves())
			},
		} {
			t.Run(mode.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				pool, _ := countFlushes(t, b.url, mode)
				before := pid(t, pool)
				holder := dedicated(t, b)
				if _, err := holder.Exec(t.Context(),
					`begin; lock table accounts in access exclusive mode`); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				err := run(ctx, pool, pgtx.Options{LockTimeout: 200 * time.Millisecond})
				if code(err) != "55P03" || ctx.Err() != nil {
					t.Errorf("error is %v, want SQLSTATE 55P03", err)
				}
				if after := pid(t, pool); after != before {
					t.Error("the connection was replaced")
				}
				if _, err := holder.Exec(t.Context(), `rollback`); err != nil {
					t.Fatal(err)
				}
				if err := run(t.Context(), pool, pgtx.Options{LockTimeout: time.Minute}); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

// After a first statement that failed the server's transaction has really failed, and after a BEGIN
// that failed there is no connection on which statements would commit by themselves.
func TestFailedBeginIsReal(t *testing.T) {
	t.Parallel()
	insert := func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `insert into accounts values (3, 0)`)
		return err
	}
	for _, mode := range execModes {
		for name, tt := range map[string]struct {
			opts  pgtx.Options
			first func(ctx context.Context, tx pgx.Tx) error
		}{
			"cannot be prepared": {pgtx.Options{}, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `update nowhere set a = $1`, 1)
				return err
			}},
			"fails": {pgtx.Options{}, func(ctx context.Context, tx pgx.Tx) error {
				return tx.QueryRow(ctx, `select 1 / $1::int`, 0).Scan(new(int))
			}},
			"BEGIN fails": {
				pgtx.Options{TxOptions: pgx.TxOptions{BeginQuery: "begin isolation level nonsense"}},
				func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) },
			},
			"setting fails": {
				pgtx.Options{Settings: map[string]string{"work_mem": "much"}},
				func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) },
			},
			"setting fails, alone": {
				pgtx.Options{Settings: map[string]string{"work_mem": "much"}},
				func(ctx context.Context, tx pgx.Tx) error { return tx.SendBatch(ctx, moves()).Close() },
			},
		} {
			t.Run(mode.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				pool, _ := countFlushes(t, b.url, mode)
				err := pgtx.RunWith(t.Context(), pool, tt.opts, func(ctx context.Context, tx pgx.Tx) error {
					err := tt.first(ctx, tx)
					if err == nil {
						t.Error("the first statement succeeded")
					}
					if err := insert(ctx, tx.Conn()); err == nil {
						t.Error("a statement on the connection succeeded")
					}
					return err
				})
				if err == nil {
					t.Error("no error")
				}
				var n int
				if err := pool.QueryRow(t.Context(), `select count(*) from accounts`).Scan(&n); err != nil || n != 2 {
					t.Errorf("%d accounts, %v", n, err)
				}
			})
		}
	}
}

// A connection that died in the pool costs no attempt.
func TestStaleConnectionsCostNoAttempt(t *testing.T) {
	needsSession(t)
	t.Parallel()
	const connections = 20
	for _, unix := range []bool{true, false} {
		for name, run := range map[string]func(ctx context.Context, pool *pgxpool.Pool) error{
			"Run": func(ctx context.Context, pool *pgxpool.Pool) error {
				return pgtx.RunWith(ctx, pool, pgtx.Options{MaxAttempts: 1},
					func(ctx context.Context, tx pgx.Tx) error {
						return add(ctx, tx, 1, 1)
					})
			},
			"BEGIN alone": func(ctx context.Context, pool *pgxpool.Pool) error {
				return pgtx.RunWith(ctx, pool, pgtx.Options{MaxAttempts: 1, Eager: true},
					func(ctx context.Context, tx pgx.Tx) error {
						return add(ctx, tx, 1, 1)
					})
			},
			"Atomic": func(ctx context.Context, pool *pgxpool.Pool) error {
				return pgtx.Atomic(ctx, pool, pgtx.Options{MaxAttempts: 1}, moves())
			},
		} {
			t.Run(fmt.Sprintf("%s, Unix socket %v", name, unix), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				url := fault.NewProxy(t, b.url, fault.Options{Unix: unix}).URL()
				config, err := pgxpool.ParseConfig(url)
				if err != nil {
					t.Fatal("cannot parse the proxy's URL")
				}
				config.MaxConns = connections
				pool, err := pgxpool.NewWithConfig(t.Context(), config)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(pool.Close)
				var warm []*pgxpool.Conn
				for range connections {
					conn, err := pool.Acquire(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if err := run(t.Context(), b.pool); err != nil { // any statement
						t.Fatal(err)
					}
					if _, err := conn.Exec(t.Context(), move, 1, 0); err != nil {
						t.Fatal(err)
					}
					warm = append(warm, conn)
				}
				pids := make([]int32, 0, connections)
				for _, conn := range warm {
					pids = append(pids, int32(conn.Conn().PgConn().PID()))
					conn.Release()
				}
				if _, err := b.pool.Exec(t.Context(), `select pg_terminate_backend(p) from unnest($1::int[]) p`,
					pids); err != nil {
					t.Fatal(err)
				}
				b.eventually(t, fmt.Sprintf(`select not exists (select from pg_stat_activity where pid = any ('{%s}'))`,
					strings.Trim(strings.Join(strings.Fields(fmt.Sprint(pids)), ","), "[]")))
				if err := run(t.Context(), pool); err != nil {
					t.Errorf("error is %v", err)
				}
			})
		}
	}
}

// An error of the client before anything was sent costs neither the transaction nor the connection.
func TestClientErrorsLeaveTheConnection(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	many.WriteString(`select 1 where 1 in (0`)
	args := make([]any, 66_000)
	for i := range args {
		fmt.Fprintf(&many, ", $%d::int", i+1)
		args[i] = i
	}
	many.WriteString(`)`)
	for _, mode := range execModes[:len(execModes)-1] {
		for name, tt := range map[string]struct {
			sql  string
			args []any
		}{
			"too many arguments": {many.String(), args},
			"does not fit":       {`select $1::int4`, []any{int64(1) << 40}},
			"no codec":           {`select $1::int4`, []any{make(chan int)}},
			"too few":            {`select $1::int4, $2::int4`, []any{1}},
		} {
			t.Run(mode.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				pool, _ := countFlushes(t, b.url, mode)
				before := pid(t, pool)
				var plain error
				if err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
					_, plain = tx.Exec(t.Context(), tt.sql, tt.args...)
					return nil
				}); (err != nil) != (code(plain) != "") {
					t.Fatalf("pgx: %v", err)
				}
				server := code(plain) != "" // in mode exec the server finds some of them
				for range 2 {               // with and without a description
					calls := 0
					err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
						calls++
						if _, err := tx.Exec(ctx, tt.sql, tt.args...); err == nil || plain == nil ||
							err.Error() != plain.Error() {
							t.Errorf("error is %.200v, want pgx's, %.200v", err, plain)
						}
						if server {
							return nil
						}
						return add(ctx, tx, 1, 1)
					})
					if (err == nil) == server || calls != 1 {
						t.Errorf("error is %.200v after %d calls", err, calls)
					}
					batch := &pgx.Batch{}
					batch.Queue(tt.sql, tt.args...)
					if err := pgtx.Atomic(t.Context(), pool, pgtx.Options{}, batch); err == nil ||
						errors.As(err, new(*pgtx.CommitUnknownError)) {
						t.Errorf("Atomic: error is %.200v", err)
					}
				}
				// SendBatch of pgx closes it after too many arguments.
				if after := pid(t, pool); after != before && name != "too many arguments" {
					t.Error("the connection was replaced")
				}
			})
		}
	}
}

// A migration or DISCARD ALL makes prepared statements useless. The whole is repeated.
func TestStalePlansAfterAMigration(t *testing.T) {
	needsSession(t)
	t.Parallel()
	read := func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select * from accounts where id = $1`, 1)
		if err != nil {
			return err
		}
		rows.Close()
		return rows.Err()
	}
	for _, mode := range execModes {
		for name, sql := range map[string]string{
			"changed result": `alter table accounts alter column balance type bigint`, "more columns": `alter table accounts add column note text`,
			"discarded": "",
		} {
			t.Run(mode.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				pool, _ := countFlushes(t, b.url, mode)
				calls := 0
				later := func(ctx context.Context, tx pgx.Tx) error {
					calls++
					if _, err := tx.Exec(ctx, `select 1`); err != nil {
						return err
					}
					return read(ctx, tx)
				}
				once := pgtx.Options{MaxAttempts: 1}
				batch := &pgx.Batch{}
				batch.Queue(`select * from accounts where id = $1`, 1)
				atomic := func() error { return pgtx.Atomic(t.Context(), pool, pgtx.Options{MaxAttempts: 2}, batch) }
				for range 2 {
					if err := errors.Join(pgtx.RunWith(t.Context(), pool, once, read),
						pgtx.RunWith(t.Context(), pool, once, later), atomic()); err != nil {
						t.Fatal(err)
					}
				}
				change := func() {
					t.Helper()
					var err error
					if sql == "" {
						_, err = pool.Exec(t.Context(), `discard all`)
					} else {
						_, err = b.pool.Exec(t.Context(), sql)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				change()
				if err := pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: 2}, read); err != nil {
					t.Errorf("first statement: %v", err)
				}
				if calls = 0; sql == "" {
					change()
				}
				if err := pgtx.Run(t.Context(), pool, later); err != nil || calls > 2 {
					t.Errorf("later statement: %v after %d calls", err, calls)
				}
				if sql == "" {
					change()
				}
				if err := atomic(); err != nil {
					t.Errorf("Atomic: %v", err)
				}
			})
		}
	}
}

// More texts than are kept, in any order, leave a bounded number of prepared statements.
func TestDescriptionsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, _ := countFlushes(t, b.url, pgx.QueryExecModeCacheStatement)
	for i := range 300 {
		if err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, fmt.Sprintf(`select $1::int + %d`, i%200), 1).Scan(new(int))
		}); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := pool.QueryRow(t.Context(), `select count(*) from pg_prepared_statements where name like 'pgtx%'`).Scan(&n); err != nil || n > 128 || n == 0 {
		t.Errorf("%d prepared statements, %v", n, err)
	}
}

// seenBy collects what tracers see of queries.
type seenBy struct{ events []string }

func (s *seenBy) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if conn == nil {
		s.events = append(s.events, "no connection")
	}
	s.events = append(s.events, fmt.Sprintf("start %s %v", data.SQL, data.Args))
	return context.WithValue(ctx, seenKey{}, data.SQL)
}

func (s *seenBy) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	s.events = append(s.events, fmt.Sprintf("end %v %s %q", ctx.Value(seenKey{}), data.CommandTag, code(data.Err)))
}

func (s *seenBy) TracePrepareStart(ctx context.Context, _ *pgx.Conn, data pgx.TracePrepareStartData) context.Context {
	s.events = append(s.events, "prepare "+data.SQL)
	return ctx
}

func (s *seenBy) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

type seenKey struct{}

// Tracers see of a first statement what they see of it in a transaction of pgx.
func TestTracersSeeAPlainFirstStatement(t *testing.T) {
	t.Parallel()
	statements := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"Exec":    func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) },
		"no args": func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, `select 1`); return err },
		"QueryRow": func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, `select $1::int`, 1).Scan(new(int))
		},
		"no rows": func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, `select 1 where false`).Scan(new(int))
		},
		"NamedArgs": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select @a::int`, pgx.NamedArgs{"a": 1})
			return err
		},
		"fails": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select 1 / $1::int`, 0)
			return err
		},
		"mode": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select $1::int`, pgx.QueryExecModeExec, 1)
			return err
		},
		"formats": func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, `select $1::int`, pgx.QueryResultFormats{0}, 1).Scan(new(string))
		},
		"cannot be encoded": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select $1::int`, "x y")
			return err
		},
		"scan fails": func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, `select 'a'`).Scan(new(int)) },
		"unknown table": func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `select * from nowhere where a = $1`, 1)
			rows.Close()
			return errors.Join(err, rows.Err())
		},
	}
	for _, mode := range execModes {
		for name, statement := range statements {
			t.Run(mode.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				seen := func(run func(pool *pgxpool.Pool) error) []string {
					config := b.pool.Config()
					config.MaxConns = 1
					tracer := &seenBy{}
					config.ConnConfig.Tracer, config.ConnConfig.DefaultQueryExecMode = tracer, mode
					pool, err := pgxpool.NewWithConfig(t.Context(), config)
					if err != nil {
						t.Fatal(err)
					}
					defer pool.Close()
					for range 2 {
						result := "ok"
						if err := run(pool); err != nil {
							result = err.Error()
						}
						tracer.events = append(tracer.events, result)
					}
					// BEGIN's and the statement's overlap, as they do on the wire. pgx prepares a
					// text again after every error.
					slices.Sort(tracer.events)
					return slices.Compact(tracer.events)
				}
				ours := seen(func(pool *pgxpool.Pool) error {
					return pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: 1}, statement)
				})
				plain := seen(func(pool *pgxpool.Pool) error {
					return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return statement(t.Context(), tx) })
				})
				if !slices.Equal(ours, plain) {
					t.Errorf("seen\n%s\nwant\n%s", strings.Join(ours, "\n"), strings.Join(plain, "\n"))
				}
			})
		}
	}
}
