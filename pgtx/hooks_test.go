package pgtx_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// journal collects which hooks were called. A hook says what it saw of account 1 from outside.
type journal []string

func (j *journal) hook(name string, result error) func(context.Context) error {
	return func(context.Context) error { *j = append(*j, name); return result }
}

func (j *journal) stage(t *testing.T, ctx context.Context, db pgtx.DB, suffix string) {
	t.Helper()
	for name, register := range map[string]func(context.Context, pgtx.DB, func(context.Context) error) error{
		"before": pgtx.BeforeCommit, "commit": pgtx.AfterCommit, "rollback": pgtx.AfterRollback,
	} {
		if err := register(ctx, db, j.hook(name+suffix, nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHooksFollowTheOutcome(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		outer, inner error
		wants        journal
	}{
		{"both commit", nil, nil, journal{"before1", "before2", "commit1", "commit2"}},
		{"inner undone", nil, errBusiness, journal{"before1", "commit1"}},
		{"outer fails", errBusiness, nil, journal{"rollback1", "rollback2"}},
		{"both fail", errBusiness, errBusiness, journal{"rollback1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var seen journal
			err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
				seen.stage(t, ctx, b.pool, "1")
				err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
					seen.stage(t, ctx, b.pool, "2")
					if err := add(ctx, tx, 1, 1); err != nil {
						return err
					}
					return tt.inner
				})
				if !errors.Is(err, tt.inner) {
					t.Errorf("inner error is %v", err)
				}
				return tt.outer
			})
			if !errors.Is(err, tt.outer) {
				t.Errorf("error is %v, want %v", err, tt.outer)
			}
			if !slices.Equal(seen, tt.wants) {
				t.Errorf("called %v, want %v", seen, tt.wants)
			}
		})
	}
}

func TestBeforeCommitIsInside(t *testing.T) {
	t.Parallel()
	for _, result := range []error{nil, errBusiness} {
		b := setup(t)
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			return pgtx.BeforeCommit(ctx, b.pool, func(ctx context.Context) error {
				if _, err := pgtx.Querier(ctx, b.pool).Exec(ctx, move, 1, -10); err != nil {
					return err
				}
				return pgtx.BeforeCommit(ctx, b.pool, func(context.Context) error { return result })
			})
		})
		want := 90
		if result != nil {
			want = 100
		}
		if got := b.balance(t, 1); !errors.Is(err, result) || got != want {
			t.Errorf("error is %v and balance %d, want %v and %d", err, got, result, want)
		}
	}
}

// After COMMIT nothing may be repeated, whatever a hook returns; and every hook is called.
func TestAfterCommitErrorSaysCommitted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	calls, late := 0, false
	ctx, cancel := context.WithCancel(t.Context())
	err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		if err := errors.Join(
			pgtx.AfterCommit(ctx, b.pool, func(ctx context.Context) error {
				cancel()
				if got := b.balance(t, 1); got != 90 {
					t.Errorf("the hook sees a balance of %d, want 90", got)
				}
				return serializationFailure
			}),
			pgtx.AfterCommit(ctx, tx, func(ctx context.Context) error { late = ctx.Err() == nil; return nil }),
		); err != nil {
			return err
		}
		return add(ctx, tx, 1, -10)
	})
	var hook *pgtx.HookError
	if !errors.As(err, &hook) || !errors.Is(err, serializationFailure) || calls != 1 || !late {
		t.Errorf("error is %v after %d calls, second hook with a live ctx: %v", err, calls, late)
	}
}

func TestHooksOfRepeatedAttemptsAreDropped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var seen journal
	calls := 0
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		seen.stage(t, ctx, b.pool, "")
		if calls++; calls < 3 {
			return raiseConflict(ctx, tx)
		}
		return nil
	})
	if want := (journal{"before", "commit"}); err != nil || calls != 3 || !slices.Equal(seen, want) {
		t.Errorf("%v after %d calls, called %v, want %v", err, calls, seen, want)
	}
}

func TestAfterRollbackOfAPanic(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var seen journal
	func() {
		defer func() { _ = recover() }()
		_ = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			seen.stage(t, ctx, b.pool, "")
			panic("boom")
		})
	}()
	if want := (journal{"rollback"}); !slices.Equal(seen, want) {
		t.Errorf("called %v, want %v", seen, want)
	}
}

func TestNoHookAfterAnUnknownCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, pool := cutCommit(t, b.url, fault.BeforeAnswer)
	var seen journal
	err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
		seen.stage(t, ctx, pool, "")
		return add(ctx, tx, 1, -10)
	})
	var unknown *pgtx.CommitUnknownError
	if want := (journal{"before"}); !errors.As(err, &unknown) || !slices.Equal(seen, want) {
		t.Errorf("error is %v, called %v, want %v", err, seen, want)
	}
}

func TestHookWithoutTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	nothing := func(context.Context) error { return nil }
	if err := pgtx.AfterCommit(t.Context(), b.pool, nothing); !errors.Is(err, pgtx.ErrNoTransaction) {
		t.Errorf("outside: %v, want ErrNoTransaction", err)
	}
	var escaped context.Context
	if err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, _ pgx.Tx) error {
		escaped = ctx
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := pgtx.AfterCommit(escaped, b.pool, nothing); !errors.Is(err, pgtx.ErrTxClosed) {
		t.Errorf("after the function returned: %v, want ErrTxClosed", err)
	}
	outer, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Rollback(t.Context())
	if err := pgtx.Run(t.Context(), outer, func(ctx context.Context, tx pgx.Tx) error {
		return pgtx.AfterCommit(ctx, tx, nothing)
	}); err == nil {
		t.Error("a hook was accepted in a transaction begun elsewhere")
	}
}

// serializationFailure is one of another transaction: it says nothing about the one at hand.
var serializationFailure error = &pgconn.PgError{Severity: "ERROR", Code: "40001", Message: "made up"}

// raiseConflict makes the transaction fail as a serialization failure does.
func raiseConflict(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `do $$ begin raise 'made up' using errcode = '40001'; end $$`)
	return err
}

func isConflict(err error) bool {
	var pgError *pgconn.PgError
	return errors.As(err, &pgError) && pgError.Code == "40001"
}
