package pgtx_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

// scanner is a destination of Scan.
type scanner func()

func (s scanner) Scan(any) error { s(); return nil }

// A panic or Goexit in code of the caller that runs inside a statement leaves the connection in
// order: the function around it can go on.
func TestUnwindingLeavesTheStatement(t *testing.T) {
	t.Parallel()
	for how, leave := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		for name, statement := range map[string]func(ctx context.Context, tx pgx.Tx) error{
			"QueryRow.Scan": func(ctx context.Context, tx pgx.Tx) error {
				return tx.QueryRow(ctx, `select id from accounts`).Scan(scanner(leave))
			},
			"Rows.Scan": func(ctx context.Context, tx pgx.Tx) error {
				rows, err := tx.Query(ctx, `select id from accounts`)
				if err != nil {
					return err
				}
				rows.Next()
				return rows.Scan(scanner(leave))
			},
			"row callback": func(ctx context.Context, tx pgx.Tx) error {
				rows, _ := tx.Query(ctx, `select id from accounts`)
				_, err := pgx.CollectRows(rows, func(pgx.CollectableRow) (int, error) { leave(); return 0, nil })
				return err
			},
			"batch callback": func(ctx context.Context, tx pgx.Tx) error {
				b := moves()
				b.Queue(`select 1`).QueryRow(func(pgx.Row) error { leave(); return nil })
				b.Queue(`select 1`).QueryRow(func(pgx.Row) error { t.Error("another callback was called"); return nil })
				return tx.SendBatch(ctx, b).Close()
			},
			"batch row callback": func(ctx context.Context, tx pgx.Tx) error {
				b := moves()
				b.Queue(`select id from accounts`).Query(func(rows pgx.Rows) error {
					_, err := pgx.CollectRows(rows, func(pgx.CollectableRow) (int, error) { leave(); return 0, nil })
					return err
				})
				return tx.SendBatch(ctx, b).Close()
			},
		} {
			for _, first := range []bool{true, false} {
				t.Run(how+", "+name, func(t *testing.T) {
					t.Parallel()
					b := setup(t)
					pool, _ := countFlushes(t, b.url, pgx.QueryExecModeCacheStatement)
					before := pid(t, pool)
					began := time.Now()
					unwind := func(do func()) {
						done := make(chan struct{})
						go func() {
							defer close(done)
							defer func() { _ = recover() }()
							do()
						}()
						<-done
					}
					unwind(func() {
						_ = pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
							if !first {
								_ = add(ctx, tx, 1, 1)
							}
							return statement(ctx, tx)
						})
					})
					if after := pid(t, pool); after != before && name != "row callback" {
						t.Error("the outermost: the connection was replaced")
					}
					before = pid(t, pool)
					err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
						unwind(func() {
							_ = pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
								return statement(ctx, tx)
							})
						})
						return add(ctx, tx, 2, 1)
					})
					if err != nil || b.balance(t, 1) != 100 || b.balance(t, 2) != 101 {
						t.Errorf("the nested: error is %v", err)
					}
					if after := pid(t, pool); after != before {
						t.Error("the nested: the connection was replaced")
					}
					if took := time.Since(began); took > 4*time.Second {
						t.Errorf("took %v", took)
					}
				})
			}
		}
	}
}

// Hooks belong to the savepoint in which they are registered, and run outside of every transaction
// of their database.
func TestHooksInTheRightPlace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	note := func(seen *[]string, what string) func(context.Context) error {
		return func(ctx context.Context) error {
			if _, inside := pgtx.From(ctx, b.pool); inside {
				what += " inside"
			}
			*seen = append(*seen, what)
			return nil
		}
	}
	t.Run("of a Join that fails", func(t *testing.T) {
		var seen []string
		_ = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			_ = pgtx.RunWith(ctx, b.pool, pgtx.Options{Nesting: pgtx.Join}, func(ctx context.Context, tx pgx.Tx) error {
				return errors.Join(pgtx.AfterRollback(ctx, b.pool, note(&seen, "rolled back")), errBusiness)
			})
			return nil
		})
		if !slices.Equal(seen, []string{"rolled back"}) {
			t.Errorf("called %q", seen)
		}
	})
	t.Run("of a savepoint that is left open", func(t *testing.T) {
		var seen []string
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			sp, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			return pgtx.AfterCommit(ctx, sp, note(&seen, "committed"))
		})
		if err != nil || !slices.Equal(seen, []string{"committed"}) {
			t.Errorf("called %q, %v", seen, err)
		}
	})
	t.Run("of a savepoint that is undone", func(t *testing.T) {
		var seen []string
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			sp, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			return errors.Join(pgtx.AfterCommit(ctx, sp, note(&seen, "committed")), sp.Rollback(ctx))
		})
		if err != nil || len(seen) > 0 {
			t.Errorf("called %q, %v", seen, err)
		}
	})
	t.Run("of a Separate", func(t *testing.T) {
		var seen []string
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			return pgtx.RunWith(ctx, b.pool, pgtx.Options{Nesting: pgtx.Separate},
				func(ctx context.Context, tx pgx.Tx) error {
					return pgtx.AfterCommit(ctx, b.pool, note(&seen, "committed"))
				})
		})
		if err != nil || !slices.Equal(seen, []string{"committed"}) {
			t.Errorf("called %q, %v", seen, err)
		}
	})
	t.Run("after one that panics", func(t *testing.T) {
		var seen []string
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			_ = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
				return errors.Join(
					pgtx.AfterCommit(ctx, b.pool, func(context.Context) error { panic("boom") }),
					pgtx.AfterCommit(ctx, b.pool, note(&seen, "committed")))
			})
		}()
		if !slices.Equal(seen, []string{"committed"}) {
			t.Errorf("called %q", seen)
		}
	})
}

// A Join that fails dooms what cannot be undone without it, and no more.
func TestJoinDoomsItsSavepoint(t *testing.T) {
	t.Parallel()
	fails := func(ctx context.Context, b *bundle) {
		_ = pgtx.RunWith(ctx, b.pool, pgtx.Options{Nesting: pgtx.Join}, func(ctx context.Context, tx pgx.Tx) error {
			return errors.Join(add(ctx, tx, 1, 1), errBusiness)
		})
	}
	for name, fn := range map[string]func(ctx context.Context, tx pgx.Tx, b *bundle) error{
		"in a nested Run": func(ctx context.Context, _ pgx.Tx, b *bundle) error {
			err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error { fails(ctx, b); return nil })
			if !errors.Is(err, errBusiness) {
				t.Errorf("the nested Run: %v", err)
			}
			return nil
		},
		"in a savepoint that is undone": func(ctx context.Context, tx pgx.Tx, b *bundle) error {
			sp, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			err = pgtx.RunWith(ctx, sp, pgtx.Options{Nesting: pgtx.Join}, func(ctx context.Context, tx pgx.Tx) error {
				return errBusiness
			})
			if !errors.Is(err, errBusiness) {
				t.Errorf("the joined Run: %v", err)
			}
			return sp.Rollback(ctx)
		},
	} {
		b := setup(t)
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := fn(ctx, tx, b); err != nil {
				return err
			}
			return add(ctx, tx, 2, 1)
		})
		if err != nil || b.balance(t, 1) != 100 || b.balance(t, 2) != 101 {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		sp, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		_ = pgtx.RunWith(ctx, sp, pgtx.Options{Nesting: pgtx.Join}, func(ctx context.Context, tx pgx.Tx) error {
			return errors.Join(add(ctx, tx, 1, 1), errBusiness)
		})
		if err := sp.Commit(ctx); !errors.Is(err, errBusiness) {
			t.Errorf("Commit of a doomed savepoint: %v", err)
		}
		return add(ctx, tx, 2, 1)
	})
	if err != nil || b.balance(t, 1) != 100 || b.balance(t, 2) != 101 {
		t.Errorf("committed: %v", err)
	}
}

// RELEASE is sent when the nested Run ends.
func TestReleaseIsSentAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	nest := func(ctx context.Context, tx pgx.Tx) error {
		return pgtx.Run(ctx, tx, func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) })
	}
	for name, fn := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"set transaction read only": func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `set transaction read only`); err != nil {
				return err
			}
			var on string
			err := pgtx.Run(ctx, tx, func(ctx context.Context, tx pgx.Tx) error { return nil })
			if err := errors.Join(err, tx.QueryRow(ctx, `show transaction_read_only`).Scan(&on)); err != nil || on != "on" {
				t.Errorf("read only is %q, %v", on, err)
			}
			return nil
		},
		"pg_export_snapshot": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select pg_export_snapshot()`)
			return err
		},
		"own savepoint": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `savepoint mine`)
			if err = errors.Join(err, nest(ctx, tx)); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `rollback to mine`)
			return err
		},
	} {
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := nest(ctx, tx); err != nil {
				return err
			}
			return fn(ctx, tx)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `savepoint mine`); err != nil {
			return err
		}
		return pgtx.Run(ctx, tx, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `rollback to mine`)
			return err
		})
	})
	if code(err) != "3B001" {
		t.Errorf("a nested Run that undid itself: %v", err)
	}
}

// Large objects end with the function that they were obtained in.
func TestLargeObjectsEndWithTheTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, eager := range []bool{false, true} {
		var kept pgx.LargeObjects
		var object *pgx.LargeObject
		err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{Eager: eager},
			func(ctx context.Context, tx pgx.Tx) error {
				kept = tx.LargeObjects()
				oid, err := kept.Create(ctx, 0)
				if err != nil {
					return err
				}
				object, err = kept.Open(ctx, oid, pgx.LargeObjectModeWrite)
				if err != nil {
					return err
				}
				_, err = object.Write([]byte("text"))
				return err
			})
		if err != nil {
			t.Fatal(err)
		}
		_ = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := add(ctx, tx, 1, 1); err != nil {
				return err
			}
			if _, err := kept.Create(ctx, 0); !errors.Is(err, pgx.ErrTxClosed) {
				t.Errorf("Create afterwards: %v, want ErrTxClosed", err)
			}
			if _, err := object.Write([]byte("late")); !errors.Is(err, pgx.ErrTxClosed) {
				t.Errorf("Write afterwards: %v, want ErrTxClosed", err)
			}
			return nil
		})
	}
}

// slow is a source of rows that takes its time.
type slow struct {
	rows int
	wait time.Duration
}

func (s *slow) Next() bool             { time.Sleep(s.wait); s.rows++; return s.rows < 10_000 }
func (s *slow) Values() ([]any, error) { return []any{s.rows + 10, 0}, nil }
func (s *slow) Err() error             { return nil }

func TestCopyFromEndsWithContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id", "balance"},
			&slow{wait: 20 * time.Millisecond})
		return err
	})
	if took := time.Since(began); err == nil || took > 10*time.Second {
		t.Errorf("took %v, error is %v", took, err)
	}
}

type tenantKey struct{}

// The acquire and BEGIN happen on Run's ctx.
func TestBeginIsOnTheContextOfRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	config := b.pool.Config()
	config.MaxConns = 1
	var tenants []any
	config.PrepareConn = func(ctx context.Context, _ *pgx.Conn) (bool, error) {
		tenants = append(tenants, ctx.Value(tenantKey{}))
		return true, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	ctx := context.WithValue(t.Context(), tenantKey{}, "a")
	held, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	waiting := time.AfterFunc(300*time.Millisecond, held.Release)
	defer waiting.Stop()
	err = pgtx.Run(ctx, pool, func(_ context.Context, tx pgx.Tx) error {
		short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := add(short, tx, 1, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first statement: %v, want the end of its ctx", err)
		}
		return add(context.Background(), tx, 1, 1)
	})
	if err != nil || b.balance(t, 1) != 101 {
		t.Errorf("error is %v", err)
	}
	if !slices.Equal(tenants, []any{"a", "a"}) {
		t.Errorf("PrepareConn saw %v", tenants)
	}
}

// The first statement's error is its own, with all its types.
func TestFirstStatementErrorsKeepTheirTypes(t *testing.T) {
	t.Parallel()
	for _, mode := range execModes {
		b := setup(t)
		pool, _ := countFlushes(t, b.url, mode)
		compare := func(name string, statement func(ctx context.Context, tx pgx.Tx) string) {
			t.Helper()
			var ours, plain string
			_ = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				plain = statement(t.Context(), tx)
				return errBusiness
			})
			_ = pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				ours = statement(ctx, tx)
				return errBusiness
			})
			if ours != plain || strings.Contains(ours, "begin: ") {
				t.Errorf("%v, %s: %s, want %s", mode, name, ours, plain)
			}
		}
		text := func(errs ...error) string {
			var all []string
			for _, err := range errs {
				if err == nil {
					all = append(all, "nil")
				} else {
					all = append(all, err.Error())
				}
			}
			return strings.Join(all, " | ")
		}
		compare("batch", func(ctx context.Context, tx pgx.Tx) string {
			b := &pgx.Batch{}
			b.Queue(`select * from nowhere where a = $1`, 1)
			err := tx.SendBatch(ctx, b).Close()
			var preprocessing pgx.ErrPreprocessingBatch
			if errors.As(err, &preprocessing) {
				return "preprocessing " + preprocessing.SQL()
			}
			return text(err)
		})
		for _, sql := range []string{`select 1 / 0`, `select 1 / (id - 2) from accounts order by id`, `-- nothing`, `select 1`, `selec`} {
			compare(sql, func(ctx context.Context, tx pgx.Tx) string {
				rows, err := tx.Query(ctx, sql)
				n := 0
				for rows.Next() {
					n++
				}
				return text(err, rows.Err()) + strings.Repeat("+", n)
			})
		}
	}
}

// Callbacks may be set until the results are closed.
func TestCallbacksSetAfterSendBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, first := range []bool{true, false} {
		got := 0
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if !first {
				if err := add(ctx, tx, 1, 0); err != nil {
					return err
				}
			}
			batch := &pgx.Batch{}
			query := batch.Queue(`select 5`)
			results := tx.SendBatch(ctx, batch)
			query.QueryRow(func(row pgx.Row) error { return row.Scan(&got) })
			return results.Close()
		})
		if err != nil || got != 5 {
			t.Errorf("first %v: %d, %v", first, got, err)
		}
	}
}

// Atomic does the same with VerifyCommit as without.
func TestAtomicIsTheSameVerified(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, queue := range map[string]func(batch *pgx.Batch){
		"callback fails": func(batch *pgx.Batch) {
			batch.Queue(`select 1`).QueryRow(func(pgx.Row) error { return errBusiness })
			batch.Queue(`select 1`).QueryRow(func(pgx.Row) error { t.Error("a later callback was called"); return nil })
		},
		"scan fails": func(batch *pgx.Batch) {
			batch.Queue(`select 'a'`).QueryRow(func(row pgx.Row) error { return row.Scan(new(int)) })
		},
		"query fails": func(batch *pgx.Batch) { batch.Queue(`select 1 / 0`) },
		"server fails": func(batch *pgx.Batch) {
			batch.Queue(`select 1 / 0`).QueryRow(func(row pgx.Row) error { return row.Scan(new(int)) })
		},
	} {
		var seen []string
		for _, opts := range []pgtx.Options{{Name: "pay"}, {Name: "pay", VerifyCommit: true}} {
			before := b.balance(t, 1)
			batch := moves()
			queue(batch)
			err := pgtx.Atomic(t.Context(), b.pool, opts, batch)
			how := "error"
			if errors.As(err, new(*pgtx.HookError)) {
				how = "hook error"
			}
			if b.balance(t, 1) != before {
				how += ", committed"
			}
			seen = append(seen, how+" "+code(err))
		}
		if seen[0] != seen[1] {
			t.Errorf("%s: %q, verified %q", name, seen[0], seen[1])
		}
	}
}

// Savepoints end with the one that they were set in, whatever handle set them.
func TestSiblingSavepoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		one, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		two, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if err := errors.Join(add(ctx, two, 1, 1), one.Commit(ctx)); err != nil {
			return err
		}
		if err := two.Commit(ctx); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("Commit of the second: %v, want ErrTxClosed", err)
		}
		return add(ctx, tx, 2, 1)
	})
	if err != nil || b.balance(t, 1) != 101 || b.balance(t, 2) != 101 {
		t.Errorf("error is %v", err)
	}
}
