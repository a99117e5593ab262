package pgtx_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

func TestObserver(t *testing.T) {
	t.Parallel()
	write := func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) }
	fail := func(ctx context.Context, tx pgx.Tx) error { _ = add(ctx, tx, 1, 1); return errBusiness }
	type function = func(context.Context, pgx.Tx) error
	nested := func(db pgtx.DB, opts pgtx.Options, fn function) function {
		return func(ctx context.Context, _ pgx.Tx) error { _ = pgtx.RunWith(ctx, db, opts, fn); return nil }
	}
	tests := []struct {
		name  string
		run   func(t *testing.T, b *bundle, opts pgtx.Options) error
		wants []string
		is    error // of the last report
	}{
		{"pool", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, write)
		}, []string{"pay transaction 1 committed"}, nil},
		{"connection", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), dedicated(t, b), opts, write)
		}, []string{"pay transaction 1 committed"}, nil},
		{"value", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			_, err := pgtx.ValueWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) (int, error) {
				return 1, nil
			})
			return err
		}, []string{"pay transaction 1 committed"}, nil},
		{"the function fails", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, fail)
		}, []string{"pay transaction 1 rolled_back"}, errBusiness},
		{"never begins", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return pgtx.RunWith(ctx, b.pool, opts, write)
		}, []string{"pay transaction 1 rolled_back"}, context.Canceled},
		{"repeated", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				if pgtx.Attempt(ctx) < 3 {
					return raiseConflict(ctx, tx)
				}
				return write(ctx, tx)
			})
		}, []string{
			"pay transaction 1 rolled_back again", "pay transaction 2 rolled_back again", "pay transaction 3 committed",
		}, nil},
		{"gives up", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			opts.MaxAttempts = 2
			return pgtx.RunWith(t.Context(), b.pool, opts, raiseConflict)
		}, []string{"pay transaction 1 rolled_back again", "pay transaction 2 rolled_back"}, nil},
		{"unknown", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			_, pool := cutCommit(t, b.url, fault.BeforeAnswer)
			return pgtx.RunWith(t.Context(), pool, opts, write)
		}, []string{"pay transaction 1 unknown"}, nil},
		{"Timeout", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			opts.Timeout = 50 * time.Millisecond
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				<-ctx.Done()
				return ctx.Err()
			})
		}, []string{"pay transaction 1 rolled_back"}, pgtx.ErrTimeout},
		{"hook fails", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, _ pgx.Tx) error {
				return pgtx.AfterCommit(ctx, b.pool, func(context.Context) error { return errBusiness })
			})
		}, []string{"pay transaction 1 committed"}, errBusiness},
		{"hook after rollback fails", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, _ pgx.Tx) error {
				_ = pgtx.AfterRollback(ctx, b.pool, func(context.Context) error { return errBusiness })
				return pgx.ErrNoRows
			})
		}, []string{"pay transaction 1 rolled_back"}, errBusiness},
		{"savepoints", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, _ pgx.Tx) error {
				_ = nested(b.pool, pgtx.Options{}, write)(ctx, nil)
				return nested(b.pool, pgtx.Options{Name: "part"}, fail)(ctx, nil)
			})
		}, []string{"pay savepoint 1 released", "part savepoint 1 rolled_back", "pay transaction 1 committed"}, nil},
		{"savepoint on a pgx.Tx", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			tx, err := b.pool.Begin(t.Context())
			if err != nil {
				return err
			}
			defer tx.Rollback(t.Context())
			return pgtx.RunWith(t.Context(), tx, opts, write)
		}, []string{"pay savepoint 1 released"}, nil},
		{"joined", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, nested(b.pool, pgtx.Options{Nesting: pgtx.Join}, fail))
		}, []string{"pay joined 1 rolled_back", "pay transaction 1 rolled_back"}, errBusiness},
		{"separate", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, nested(b.pool, pgtx.Options{Nesting: pgtx.Separate}, write))
		}, []string{"pay transaction 1 committed", "pay transaction 1 committed"}, nil},
		{"second database", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, nested(setup(t).pool, pgtx.Options{}, write))
		}, []string{"pay transaction 1 committed"}, nil},
		{"Atomic", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.Atomic(t.Context(), b.pool, opts, moves())
		}, []string{"pay batch 1 committed"}, nil},
		{"Atomic fails", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			batch := moves()
			batch.Queue(`select 1/0`)
			return pgtx.Atomic(t.Context(), b.pool, opts, batch)
		}, []string{"pay batch 1 rolled_back"}, nil},
		{"Atomic, a callback fails", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			batch := moves()
			batch.Queue(`select 1`).QueryRow(func(pgx.Row) error { return errBusiness })
			return pgtx.Atomic(t.Context(), b.pool, opts, batch)
		}, []string{"pay batch 1 rolled_back"}, errBusiness},
		{"Atomic inside", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, _ pgx.Tx) error {
				return pgtx.Atomic(ctx, b.pool, pgtx.Options{}, moves())
			})
		}, []string{"pay savepoint 1 released", "pay transaction 1 committed"}, nil},
		{"panic", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			defer func() { _ = recover() }()
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, _ pgx.Tx) error {
				return pgtx.Run(ctx, b.pool, func(context.Context, pgx.Tx) error { panic("boom") })
			})
		}, []string{"pay savepoint 1 rolled_back", "pay transaction 1 rolled_back"}, nil},
		{"Goexit", func(t *testing.T, b *bundle, opts pgtx.Options) error {
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = pgtx.RunWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) error {
					runtime.Goexit()
					return nil
				})
			}()
			<-done
			return nil
		}, []string{"pay transaction 1 rolled_back"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var told reports
			began := time.Now()
			err := tt.run(t, b, pgtx.Options{Name: "pay", Observe: told.observe})
			took := time.Since(began)
			if got := told.lines(); !slices.Equal(got, tt.wants) {
				t.Fatalf("reports are %q, want %q: %v", got, tt.wants, err)
			}
			last := told.seen[len(told.seen)-1]
			if tt.is != nil && !errors.Is(last.Err, tt.is) || err != nil && err.Error() != last.Err.Error() {
				t.Errorf("the last report has %v, want %v; Run returned %v", last.Err, tt.is, err)
			}
			for _, r := range told.seen {
				sum := r.Acquire + r.Begin + r.Run + r.Commit + r.Wait
				if sum > r.Elapsed || r.Elapsed > took || r.Start.Before(began) || r.Again != (r.Wait > 0) {
					t.Errorf("times do not add up in %v: %+v", took, r)
				}
			}
		})
	}
}

// Each phase is made slow in turn, and has to be the one that took the time.
func TestObserverTimesPhases(t *testing.T) {
	t.Parallel()
	const slow = 300 * time.Millisecond
	b := setup(t)
	pool := taken(t, b)
	b.exec(t, `create table slow (id int);
		create function doze() returns trigger language plpgsql as 'begin perform pg_sleep(0.3); return null; end';
		create constraint trigger doze after insert on slow deferrable initially deferred
			for each row execute function doze()`)
	for phase, run := range map[string]func(opts pgtx.Options) error{
		"acquire": func(opts pgtx.Options) error {
			opts.AcquireTimeout, opts.MaxAttempts = slow, 1
			return pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				return add(ctx, tx, 1, 1)
			})
		},
		"begin": func(opts pgtx.Options) error {
			opts.TxOptions.BeginQuery, opts.Eager = `begin; select pg_sleep(0.3)`, true
			return pgtx.RunWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) error { return nil })
		},
		"run": func(opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				if err := add(ctx, tx, 1, 1); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, `select pg_sleep(0.3)`)
				return err
			})
		},
		"commit": func(opts pgtx.Options) error {
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `insert into slow values ($1)`, 1)
				return err
			})
		},
	} {
		var told reports
		err := run(pgtx.Options{Observe: told.observe})
		if (err != nil) != (phase == "acquire") || len(told.seen) != 1 {
			t.Fatalf("%s: %v, %d reports", phase, err, len(told.seen))
		}
		r := told.seen[0]
		for name, spent := range map[string]time.Duration{
			"acquire": r.Acquire, "begin": r.Begin, "run": r.Run, "commit": r.Commit,
		} {
			if name == phase && spent < slow {
				t.Errorf("%s took %v, want at least %v: %+v", name, spent, slow, r)
			}
		}
	}
}

// An observer costs nothing when there is none: a name and an unset observer allocate what no
// options do. An empty transaction is used because nothing of it depends on the network.
func TestNoObserverAllocatesNothing(t *testing.T) {
	b := setup(t)
	allocations := func(opts pgtx.Options) float64 {
		return testing.AllocsPerRun(1000, func() {
			if err := pgtx.RunWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) error {
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	const without = 6 // what it took before there were observers
	if got := allocations(pgtx.Options{Name: "pay"}); got > without {
		t.Errorf("an empty transaction without an observer allocates %v times, want at most %d", got, without)
	}
	if got := allocations(pgtx.Options{Observe: func(context.Context, pgtx.Report) {}}); got > without+1 {
		t.Errorf("with one it allocates %v times, want at most %d", got, without+1)
	}
}
