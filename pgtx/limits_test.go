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
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtx"
)

// settings reads the limits of the server.
func settings(ctx context.Context, db pgtx.DB) (string, error) {
	var statement, lock string
	err := db.QueryRow(ctx, `select current_setting('statement_timeout'), current_setting('lock_timeout')`).Scan(&statement, &lock)
	return statement + " " + lock, err
}

func TestServerLimitsRideWithBegin(t *testing.T) {
	t.Parallel()
	limits := pgtx.Options{StatementTimeout: 1500 * time.Millisecond, LockTimeout: time.Microsecond}
	firsts := map[string]func(context.Context, pgx.Tx) error{
		"Query": func(ctx context.Context, tx pgx.Tx) error { return nil },
		"Exec":  func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) },
		"no arguments": func(ctx context.Context, tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, `-- nothing`)
			if tag.String() != "" {
				t.Errorf("the tag of a comment is %q", tag)
			}
			return err
		},
		"Batch": func(ctx context.Context, tx pgx.Tx) error { return tx.SendBatch(ctx, moves()).Close() },
		"Begin": func(ctx context.Context, tx pgx.Tx) error { return inner(ctx, tx, nil) },
		"syntax error": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select frm 1`)
			return err
		},
	}
	for _, mode := range execModes {
		for name, first := range firsts {
			for _, eager := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v, %s, eager %v", mode, name, eager), func(t *testing.T) {
					t.Parallel()
					b := setup(t)
					pool, _ := countFlushes(t, b.url, mode)
					opts := limits
					opts.Eager = eager
					if err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
						if err := first(ctx, tx); err != nil {
							return err
						}
						got, err := settings(ctx, tx)
						if want := "1500ms 1ms"; got != want {
							t.Errorf("limits are %s, want %s", got, want)
						}
						return err
					}); err != nil {
						var pgError *pgconn.PgError
						if name != "syntax error" || !errors.As(err, &pgError) || pgError.Position != 12 {
							t.Fatal(err)
						}
					}
					if got, err := settings(t.Context(), pool); err != nil || got != "0 0" {
						t.Errorf("afterwards the limits are %s: %v", got, err)
					}
				})
			}
		}
	}
}

func TestServerLimitsOfAtomic(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got string
	batch := &pgx.Batch{}
	batch.Queue(`show statement_timeout`).QueryRow(func(row pgx.Row) error { return row.Scan(&got) })
	if err := pgtx.Atomic(t.Context(), b.pool, pgtx.Options{StatementTimeout: time.Second}, batch); err != nil ||
		got != "1s" {
		t.Errorf("limit is %q: %v", got, err)
	}
}

func TestServerLimitsInsideAreAConflict(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		return pgtx.RunWith(ctx, b.pool, pgtx.Options{LockTimeout: time.Second}, func(context.Context, pgx.Tx) error {
			return nil
		})
	})
	if !errors.Is(err, pgtx.ErrOptionConflict) {
		t.Errorf("error is %v, want ErrOptionConflict", err)
	}
}

func TestAcquireTimeout(t *testing.T) {
	t.Parallel()
	for _, eager := range []bool{false, true} {
		b := setup(t)
		pool := taken(t, b)
		opts := pgtx.Options{AcquireTimeout: 10 * time.Millisecond, MaxAttempts: 1, Eager: eager}
		err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			return add(ctx, tx, 1, 1)
		})
		if !errors.Is(err, pgtx.ErrAcquireTimeout) {
			t.Errorf("eager %v: %v, want ErrAcquireTimeout", eager, err)
		}
		if err := pgtx.Atomic(t.Context(), pool, opts, moves()); !errors.Is(err, pgtx.ErrAcquireTimeout) {
			t.Errorf("Atomic: %v, want ErrAcquireTimeout", err)
		}
	}
}

// A server that refuses one more connection costs no attempt if one of the pool comes free: pgxpool
// does not wait for it.
func TestConnectionIsWaitedForWhileTheServerIsFull(t *testing.T) {
	needsSession(t)
	t.Parallel()
	b := setup(t)
	config, err := pgxpool.ParseConfig(b.ordinary(t))
	if err != nil {
		t.Fatal("cannot parse the URL")
	}
	config.MaxConns = 4
	connects := make(chan struct{}, 100)
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		connects <- struct{}{}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	held, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release) // again, which does nothing, unless the test has failed
	<-connects
	b.exec(t, `alter role "`+config.ConnConfig.User+`" connection limit 1`)
	go func() {
		for range 3 { // are refused
			select {
			case <-connects:
			case <-t.Context().Done():
				return
			}
		}
		held.Release()
	}()
	calls := 0
	err = pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: 1}, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		return add(ctx, tx, 1, 1)
	})
	if err != nil || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// A pool that says itself what it lacks, as pgpool's does, is heard: its error, its category, and
// no operation twice.
func TestAcquireErrorOfThePool(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, opts := range []pgtx.Options{{}, {AcquireTimeout: 10 * time.Millisecond}} {
		limit := 10 * time.Millisecond
		if opts.AcquireTimeout > 0 {
			limit = time.Minute
		}
		err := pgtx.RunWith(t.Context(), &busyPool{b.pool, limit}, opts, func(ctx context.Context, tx pgx.Tx) error {
			return add(ctx, tx, 1, 1)
		})
		var busy *busyError
		if !errors.As(err, &busy) || errors.Is(err, pgtx.ErrAcquireTimeout) != (opts.AcquireTimeout > 0) ||
			pgerr.Of(err) != pgerr.Saturated {
			t.Errorf("%v: error is %v, of category %s", opts.AcquireTimeout, err, pgerr.Of(err))
		}
		if text := err.Error(); strings.Count(text, "acquire: ") != 1 || !strings.Contains(text, "the pool is busy") {
			t.Errorf("%v: the text is %q", opts.AcquireTimeout, text)
		}
	}
}

// busyPool never has a connection, and says so after limit.
type busyPool struct {
	*pgxpool.Pool
	limit time.Duration
}

func (p *busyPool) Acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	<-ctx.Done()
	return nil, &busyError{ctx.Err()}
}

type busyError struct{ err error }

func (e *busyError) Error() string            { return "acquire: the pool is busy" }
func (e *busyError) Unwrap() error            { return e.err }
func (e *busyError) Category() pgerr.Category { return pgerr.Saturated }

// After the limit nothing is applied, whether the function notices it or not.
func TestTimeout(t *testing.T) {
	t.Parallel()
	functions := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"in a statement": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select pg_sleep($1)`, 60)
			return err
		},
		"unnoticed": func(ctx context.Context, _ pgx.Tx) error { <-ctx.Done(); return nil },
	}
	for name, fn := range functions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{Timeout: 200 * time.Millisecond},
				func(ctx context.Context, tx pgx.Tx) error {
					if err := add(ctx, tx, 1, 1); err != nil {
						return err
					}
					return fn(ctx, tx)
				})
			if !errors.Is(err, pgtx.ErrTimeout) {
				t.Errorf("error is %v, want ErrTimeout", err)
			}
			b.released(t)
			if got := b.balance(t, 1); got != 100 {
				t.Errorf("balance is %d, want 100", got)
			}
		})
	}
}

func TestRetryIf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		err     error // nil: the transaction's own conflict
		retryIf func(error, bool) bool
		calls   int
	}{
		{"as usual", nil, nil, 3},
		{"another transaction's", serializationFailure, nil, 1},
		{"narrowed", nil, func(error, bool) bool { return false }, 1},
		{"widened", errBusiness, func(err error, retryable bool) bool {
			return retryable || errors.Is(err, errBusiness)
		}, 3},
		{"not asked after a commit elsewhere", &pgtx.HookError{Err: errBusiness}, func(error, bool) bool {
			return true
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			calls := 0
			opts := pgtx.Options{MaxAttempts: 3, RetryIf: tt.retryIf}
			err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				calls++
				if got := pgtx.Attempt(ctx); got != calls {
					t.Errorf("Attempt is %d in call %d", got, calls)
				}
				if tt.err == nil {
					return raiseConflict(ctx, tx)
				}
				return tt.err
			})
			if (tt.err != nil && !errors.Is(err, tt.err)) || (tt.err == nil && !isConflict(err)) || calls != tt.calls {
				t.Errorf("%v after %d calls, want %d", err, calls, tt.calls)
			}
		})
	}
	if got := pgtx.Attempt(t.Context()); got != 0 {
		t.Errorf("Attempt outside is %d, want 0", got)
	}
}

// The limit of a nested Run is its own: what it did is undone, and with Join, which cannot undo it
// alone, the whole.
func TestNestedTimeoutUndoesItsOwn(t *testing.T) {
	t.Parallel()
	for nesting, want := range map[pgtx.Nesting]int{pgtx.Savepoint: 90, pgtx.Join: 100} {
		b := setup(t)
		opts := pgtx.Options{Nesting: nesting, Timeout: 200 * time.Millisecond}
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := add(ctx, tx, 1, -10); err != nil {
				return err
			}
			err := pgtx.RunWith(ctx, b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				err := add(context.WithoutCancel(ctx), tx, 2, 10)
				<-ctx.Done()
				return err
			})
			if !errors.Is(err, pgtx.ErrTimeout) {
				t.Errorf("nesting %d: inner error is %v, want ErrTimeout", nesting, err)
			}
			return nil
		})
		if one, two := b.balance(t, 1), b.balance(t, 2); one != want || two != 100 ||
			(err == nil) != (nesting == pgtx.Savepoint) {
			t.Errorf("nesting %d: error is %v, balances are %d and %d, want %d and 100", nesting, err, one, two, want)
		}
	}
}
